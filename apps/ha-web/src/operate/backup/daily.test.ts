import { describe, expect, it } from 'vitest';
import { daily } from './daily.ts';

/** Days before the clocks are changed. */
const [spring, autumn] = ['2026-03-27T12:00:00Z', '2026-10-23T12:00:00Z'];

/** The next three runs, in UTC. */
const next = (time: string, timeZone: string, from: string): string[] =>
  daily({ time, timeZone })
    .nextRuns(3, from)
    .map((date) => date.toISOString().slice(5, 16));

describe('daily', () => {
  it('keeps the time of its zone when summer time begins and ends', () => {
    expect(next('02:00', 'Europe/Lisbon', spring)).toEqual(['03-28T02:00', '03-29T01:00', '03-30T01:00']);
    expect(next('02:00', 'Europe/Lisbon', autumn)).toEqual(['10-24T01:00', '10-25T02:00', '10-26T02:00']);
  });

  it('leaves out no day that has no such time, and takes one once that has it twice', () => {
    expect(next('02:30', 'Europe/Berlin', spring)).toEqual(['03-28T01:30', '03-29T01:00', '03-30T00:30']);
    expect(next('02:30', 'Europe/Berlin', autumn)).toEqual(['10-24T00:30', '10-25T00:30', '10-26T01:30']);
  });
});
