import { expect, it } from 'vitest';
import { Patience } from './patience.ts';

const hourMs = 3_600_000;
const nothing = { files: 0, bytes: 0, sentBytes: 0 };

it('is at an end an hour after a node has got further for the last time, whatever it says to have lost since', () => {
  const patience = new Patience(0);
  expect(patience.endOf({ ...nothing, files: 5 }, 10)).toBeUndefined();
  expect(patience.endOf({ ...nothing, files: 4 }, hourMs + 10)).toBeUndefined();
  expect(patience.endOf({ ...nothing, files: 5 }, hourMs + 11)?.message).toBe('the node has got no further for 60 minutes');
});

it('is at an end after a day, although the node gets further', () => {
  const patience = new Patience(0);
  for (let nowMs = 0; nowMs <= 24 * hourMs; nowMs += hourMs)
    expect(patience.endOf({ ...nothing, bytes: nowMs }, nowMs)).toBeUndefined();
  expect(patience.endOf({ ...nothing, bytes: 1e12 }, 24 * hourMs + 1)?.message).toBe('the backup was not done after 24 hours');
});
