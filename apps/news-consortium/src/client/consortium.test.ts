import { FakeClock } from '@lab/testing';
import { RequestTimeoutError } from '@lab/protocol';
import { describe, expect, it } from 'vitest';
import { Refusal } from '../wire/refusal.ts';
import { Consortium, NoAnswerError } from './consortium.ts';

/** Asks two agents whose answers are these, one after the other; the clock runs through all pauses. */
async function where(answers: readonly Error[], patienceMs = 60_000): Promise<{ asked: [string, number][]; outcome: unknown }> {
  const clock = new FakeClock();
  const asked: [string, number][] = [];
  const consortium = new Consortium({
    agents: () => Promise.resolve(['one:1', 'two:2']),
    async ask(address, _kind, _body, { timeoutMs }) {
      asked.push([address, timeoutMs]);
      const answer = answers[asked.length - 1];
      if (answer === undefined) return { nodes: ['node'] } as never;
      if (answer instanceof RequestTimeoutError) clock.advance(timeoutMs);
      throw answer;
    },
    ...{ clock, patienceMs },
  });
  let outcome: unknown;
  const trying = consortium.ask('where', {}).then(
    (reply) => (outcome = reply),
    (error: unknown) => (outcome = error),
  );
  while (outcome === undefined) {
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(10);
  }
  await trying;
  return { asked, outcome };
}

const silence = new RequestTimeoutError(1_200);

describe('the consortium', () => {
  it('leaves agents that do not answer for the next one, and gives more time when even the third try brings no answer', async () => {
    const { asked, outcome } = await where([silence, silence, silence, silence, silence, silence]);
    expect(outcome).toEqual({ nodes: ['node'] });
    expect(asked.map(([address]) => address)).toEqual(['one:1', 'two:2', 'one:1', 'two:2', 'one:1', 'two:2', 'one:1']);
    expect(asked.map(([, timeoutMs]) => timeoutMs)).toEqual([1_200, 1_200, 1_200, 2_400, 4_800, 9_600, 9_600]);
  });

  it('gives no more time after answers, however often they say not now', async () => {
    const notNow = new Refusal('unavailable', 'not now');
    const { asked } = await where([notNow, notNow, notNow, notNow, notNow]);
    expect(new Set(asked.map(([, timeoutMs]) => timeoutMs))).toEqual(new Set([1_200]));
  });

  it('gives up when its patience ends, which is said with an exit code', async () => {
    const { outcome } = await where(
      Array.from({ length: 100 }, () => silence),
      10_000,
    );
    expect(outcome).toBeInstanceOf(NoAnswerError);
    expect(outcome).toMatchObject({ exitCode: 3, message: expect.stringMatching(/^no answer in 10 s: /) as string });
  });
});
