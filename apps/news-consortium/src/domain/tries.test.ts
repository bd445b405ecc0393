import fc from 'fast-check';
import { expect, it } from 'vitest';
import { freeFailures, waitAfter } from './tries.ts';

it('the first wrong passwords cost nothing, then the wait doubles, up to five minutes', () => {
  expect([0, 4, 5, 6, 8, 12, 13, 14, 10_000].map((failures) => waitAfter(failures))).toEqual([
    ...[0, 0, 1_000, 2_000, 8_000, 128_000],
    ...[256_000, 300_000, 300_000],
  ]);
});

it('a failure more is never a shorter wait', () => {
  const count = fc.nat({ max: 5_000 });
  fc.assert(fc.property(count, count, (failures, free) => waitAfter(failures, free) <= waitAfter(failures + 1, free)));
  expect(waitAfter(freeFailures)).toBeGreaterThan(0);
});
