import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PairMap } from './pair-map.ts';

function contents(pairs: PairMap): Map<string, number> {
  const found = new Map<string, number>();
  pairs.forEach((a, b, value) => {
    expect(found.has(`${a} ${b}`)).toBe(false);
    found.set(`${a} ${b}`, value);
  });
  return found;
}

test('it adds up as a map does, for any integers in any order', () => {
  const integer = fc.oneof(fc.integer({ min: -3, max: 30 }), fc.integer());
  fc.assert(
    fc.property(fc.array(fc.tuple(integer, integer, fc.integer({ min: 1, max: 9 })), { maxLength: 2000 }), (added) => {
      const pairs = new PairMap(4);
      const expected = new Map<string, number>();
      for (const [a, b, by] of added) {
        expect(pairs.get(a, b)).toBe(expected.get(`${a} ${b}`) ?? 0);
        expected.set(`${a} ${b}`, (expected.get(`${a} ${b}`) ?? 0) + by);
        expect(pairs.add(a, b, by)).toBe(expected.get(`${a} ${b}`));
      }
      expect(contents(pairs)).toEqual(expected);
      expect(pairs.size).toBe(expected.size);
    }),
  );
});

test('nothing is lost or doubled while it grows to 90,000 pairs', () => {
  const pairs = new PairMap();
  for (let round = 1; round <= 2; round++) {
    for (let pair = 0; pair < 90_000; pair++) pairs.add(pair % 300, Math.floor(pair / 300), 1);
    expect(pairs.size).toBe(90_000);
  }
  expect(new Set(contents(pairs).values())).toEqual(new Set([2]));
});

test('it has nothing when it was cleared, and takes the same pairs anew', () => {
  const pairs = new PairMap();
  for (let pair = 0; pair < 1000; pair++) pairs.add(pair, -pair, 1);
  pairs.clear();
  expect([pairs.size, pairs.get(7, -7), contents(pairs).size]).toEqual([0, 0, 0]);
  expect([pairs.add(7, -7, 5), pairs.size]).toEqual([5, 1]);
});
