import { PassThrough, Writable } from 'node:stream';
import { FakeClock } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { whenSilent } from './dump.ts';

function watched(reader: Writable) {
  const clock = new FakeClock();
  const stream = new PassThrough({ highWaterMark: 1 });
  let silent = 0;
  const cancel = whenSilent(stream, clock, () => silent++);
  stream.pipe(reader);
  return { clock, stream, cancel, silent: () => silent };
}

describe('whenSilent', () => {
  it('calls when nothing comes for a minute', async () => {
    const { clock, stream, silent, cancel } = watched(new Writable({ write: (_chunk, _encoding, done) => done() }));
    await clock.advanceAsync(59_000);
    stream.write('a row');
    await clock.advanceAsync(60_000);
    expect(silent()).toBe(0);
    await clock.advanceAsync(2_000);
    expect(silent()).toBeGreaterThan(0);
    cancel();
  });

  it('waits for a reader that is slow', async () => {
    const held: (() => void)[] = [];
    const reader = new Writable({ highWaterMark: 1, write: (_chunk, _encoding, done) => void held.push(done) });
    const { clock, stream, silent, cancel } = watched(reader);
    stream.write('a row');
    stream.write('the next');
    await clock.advanceAsync(600_000);
    expect(held).toHaveLength(1);
    expect(silent()).toBe(0);
    cancel();
  });
});
