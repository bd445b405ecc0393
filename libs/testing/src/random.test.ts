import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from './random.ts';

const seeds = fc.integer({ min: 0, max: 0xffffffff });
const draw = (seed: number, count = 20): number[] => {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => random.next());
};

describe('seededRandom', () => {
  it('gives the numbers of mulberry32', () => {
    // What the C of the algorithm's author gives for the seed 1, over 2^32.
    const expected = [2693262067, 11749833, 2265367787, 4213581821];
    expect(draw(1, 4).map((value) => value * 2 ** 32)).toEqual(expected);
  });

  it('gives the same numbers for the same seed, and others for another', () => {
    fc.assert(fc.property(seeds, (seed) => void expect(draw(seed)).toEqual(draw(seed))));
    fc.assert(fc.property(seeds, (seed) => void expect(draw(seed)).not.toEqual(draw(seed + 1))));
  });

  it('gives whole numbers within both bounds, and all of them', () => {
    const random = seededRandom(7);
    const drawn = Array.from({ length: 1000 }, () => random.integer(-2, 3));
    expect([...new Set(drawn)].sort((a, b) => a - b)).toEqual([-2, -1, 0, 1, 2, 3]);
    expect(() => random.integer(1, 0)).toThrow('there is no whole number from 1 to 0');
  });

  it('picks every item, and refuses to pick from nothing', () => {
    const random = seededRandom(7);
    expect(new Set(Array.from({ length: 100 }, () => random.pick(['a', 'b', 'c'])))).toEqual(new Set(['a', 'b', 'c']));
    expect(() => random.pick([])).toThrow('there is nothing to pick from');
  });

  it('shuffles without losing anything or touching the list', () => {
    fc.assert(
      fc.property(seeds, fc.array(fc.integer()), (seed, items) => {
        const before = [...items];
        const after = seededRandom(seed).shuffle(items);
        expect(items).toEqual(before);
        expect(after.toSorted((a, b) => a - b)).toEqual(before.toSorted((a, b) => a - b));
      }),
    );
  });

  it('shuffles into every order about equally often', () => {
    const random = seededRandom(7);
    const counts = new Map<string, number>();
    for (let round = 0; round < 6000; round++) {
      const order = random.shuffle(['a', 'b', 'c']).join('');
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    // 1,000 each is expected, with a standard deviation of 29: five of those either way.
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(145);
  });

  it('strikes a chance about as often as it is probable, never at 0 and always at 1', () => {
    const random = seededRandom(7);
    const strikes = (probability: number): number =>
      Array.from({ length: 1000 }, () => random.chance(probability)).filter(Boolean).length;
    expect(strikes(0)).toBe(0);
    expect(strikes(1)).toBe(1000);
    expect(Math.abs(strikes(0.2) - 200)).toBeLessThan(65);
  });

  it('forks by label, whatever was drawn before', () => {
    const fork = (draws: number, label: string): number[] => {
      const random = seededRandom(7);
      for (let drawn = 0; drawn < draws; drawn++) random.next();
      const forked = random.fork(label);
      return Array.from({ length: 10 }, () => forked.next());
    };
    expect(fork(0, 'network')).toEqual(fork(5, 'network'));
    expect(fork(0, 'network')).not.toEqual(fork(0, 'clients'));
  });
});
