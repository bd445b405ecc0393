import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RouteCounts } from './route-counts.ts';

type Route = [start: number, end: number, year: number];

function contents(counts: RouteCounts): Map<string, number> {
  const found = new Map<string, number>();
  for (const [year, routes] of counts.years) {
    routes.forEach((start, end, trips) => {
      const key = `${start} ${end} ${year}`;
      expect(found.has(key)).toBe(false);
      found.set(key, trips);
    });
  }
  return found;
}

test('it counts as a map does, for any integers in any order', () => {
  const integer = fc.oneof(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 1020, max: 1028 }), fc.integer());
  fc.assert(
    fc.property(
      fc.array(fc.tuple(integer, integer, fc.integer({ min: 2010, max: 2022 })), { maxLength: 2000 }),
      (routes: Route[]) => {
        const counts = new RouteCounts();
        const expected = new Map<string, number>();
        for (const route of routes) {
          counts.add(...route);
          expected.set(route.join(' '), (expected.get(route.join(' ')) ?? 0) + 1);
        }
        expect(contents(counts)).toEqual(expected);
        expect(counts.size).toBe(expected.size);
      },
    ),
  );
});

test.each([0, 1000])('nothing is lost or doubled while it grows to 90,000 routes of stations from number %i', (first) => {
  const counts = new RouteCounts();
  for (let round = 1; round <= 2; round++) {
    for (let route = 0; route < 90_000; route++) counts.add(first + (route % 300), first + Math.floor(route / 300), 2017);
    expect(counts.size).toBe(90_000);
  }
  expect(new Set(contents(counts).values())).toEqual(new Set([2]));
});

test('with more than four million routes it refuses every further trip, so that none is counted twice by trying again', () => {
  const counts = new RouteCounts();
  for (let route = 0; route <= 4_000_000; route++) counts.add(route & 0x7ff, route >> 11, 2016);
  expect(() => counts.add(0, 0, 2016)).toThrow('more than 4000000 routes');
  expect(() => counts.add(0, 0, 2017)).toThrow('split the input');
});
