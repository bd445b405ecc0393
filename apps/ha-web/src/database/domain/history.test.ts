import { describe, expect, it } from 'vitest';
import { gtidOf, History, sequenceOf } from './history.ts';

describe('sequenceOf', () => {
  it('is the number of the last transaction, 0 before the first', () => {
    expect(sequenceOf('')).toBe(0);
    expect(sequenceOf('0-173801749-42')).toBe(42);
    expect(gtidOf('0-173801749-42')).toEqual({ server: 173_801_749, sequence: 42 });
  });

  it('refuses a history of several domains', () => {
    expect(() => sequenceOf('0-1-42,1-1-3')).toThrow('"0-1-42,1-1-3" is not a position');
  });
});

describe('History', () => {
  const run = (server: number, first: number, last: number, log = 'a') => ({ server, first, last, log });
  function historyOf(...connections: (readonly ReturnType<typeof run>[])[]): History {
    const history = new History();
    for (const connection of connections) history.add(connection);
    return history;
  }

  it('is what connections hold together, the later one where they overlap', () => {
    const history = historyOf([run(1, 1, 50)], [run(1, 40, 60, 'b')]);
    expect(history.behind(0)).toEqual([run(1, 1, 39), run(1, 40, 60, 'b')]);
    expect(history.behind(45)).toEqual([run(1, 46, 60, 'b')]);
    expect(history.last).toBe(60);
  });

  it('keeps what a later connection came to its end before, where they agree', () => {
    const history = historyOf([run(1, 1, 50)], [run(1, 10, 20, 'b')], []);
    expect(history.behind(0)).toEqual([run(1, 1, 9), run(1, 10, 20, 'b'), run(1, 21, 50)]);
  });

  it('forgets what a primary logged last and no other knows', () => {
    const history = historyOf([run(1, 1, 105)], [run(1, 50, 102, 'b'), run(2, 103, 103, 'b')]);
    expect(history.behind(49)).toEqual([run(1, 50, 102, 'b'), run(2, 103, 103, 'b')]);
    expect(history.has({ server: 2, sequence: 103 })).toBe(true);
    expect(history.has({ server: 1, sequence: 103 })).toBe(false);
    expect(history.contradicts({ server: 1, sequence: 103 })).toBe(true);
    expect(history.contradicts({ server: 1, sequence: 104 })).toBe(false);
  });

  it('keeps the tail of a lost primary as long as nobody is known to have gone on without it', () => {
    const history = historyOf([run(1, 1, 105)], [run(1, 50, 101, 'b')]);
    expect(history.last).toBe(105);
    history.add([run(1, 50, 102, 'c'), run(2, 103, 104, 'c')]);
    expect(history.behind(102)).toEqual([run(2, 103, 104, 'c')]);
  });

  it('has a gap where nobody knows since when two logs differ, and where something was not fetched', () => {
    expect(historyOf([run(1, 1, 105)], [run(2, 50, 110, 'b')]).behind(0)).toEqual([run(1, 1, 48), run(2, 50, 110, 'b')]);
    expect(historyOf([run(1, 1, 10)], [run(1, 20, 30, 'b')]).behind(0)).toEqual([run(1, 1, 10), run(1, 20, 30, 'b')]);
  });
});
