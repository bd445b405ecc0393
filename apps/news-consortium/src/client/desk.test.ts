import { ConfigError, ExitError } from '@lab/process';
import { FakeClock } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { Refusal } from '../wire/refusal.ts';
import { NoAnswerError } from './consortium.ts';
import { explained, troubleTeller } from './desk.ts';

const failWith = (error: Error, json = false): Promise<number> => explained(json, () => Promise.reject(error));

describe('a command that does not succeed', () => {
  it.each([
    ['a refusal', new Refusal('unknown-area', 'there is no area \u001b[2Jx'), 1, 'there is no area [2Jx (unknown-area)'],
    ['the lack of any answer', new NoAnswerError('no answer in 30 s'), 3, 'no answer in 30 s (no-answer)'],
    ['something here', new ExitError('no password', 2), 2, 'no password'],
  ])('says %s in a sentence, with an exit code', async (_, error, exitCode, message) => {
    await expect(failWith(error)).rejects.toMatchObject({ name: 'ExitError', exitCode, message });
  });

  it('says it as an object where programs ask', async () => {
    const failed = failWith(new Refusal('unknown-area', 'there is no area x'), true);
    await expect(failed).rejects.toMatchObject({ message: '{"error":{"code":"unknown-area","message":"there is no area x"}}' });
  });

  it('ends without a word where nobody reads any more', async () => {
    expect(await failWith(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))).toBe(141);
  });

  it('leaves to others what is theirs', async () => {
    await expect(failWith(new ConfigError(['a flag']))).rejects.toThrow(ConfigError);
    await expect(failWith(new TypeError('a fault'))).rejects.toThrow(TypeError);
  });
});

describe('trouble', () => {
  it('is told once, when it has lasted for a second; another one later is told again', () => {
    const clock = new FakeClock();
    const told: string[] = [];
    const tell = troubleTeller(clock, 30_000, async (text) => void told.push(text));
    const happen = (times: number): void => {
      for (let at = 0; at < times; at++) {
        tell(new Error('nobody is there'));
        clock.advance(200);
      }
    };
    happen(5);
    expect(told).toEqual([]);
    happen(20);
    expect(told).toEqual(['no answer yet: nobody is there; trying for 30 s']);
    clock.advance(10_000);
    happen(5);
    expect(told).toHaveLength(1);
    happen(5);
    expect(told).toHaveLength(2);
  });
});
