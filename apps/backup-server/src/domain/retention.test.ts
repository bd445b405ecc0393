import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { surplus, type KeepRules, type Kept } from './retention.ts';

/** Versions numbered from 1 that were made at these times. */
const madeAt = (...times: string[]): Kept[] => times.map((time, index) => ({ version: index + 1, createdMs: Date.parse(time) }));
const keptOf = (versions: readonly Kept[], rules: KeepRules): number[] => {
  const gone = surplus(versions, rules);
  return versions.map(({ version }) => version).filter((version) => !gone.includes(version));
};

describe('retention', () => {
  it('without a rule keeps all', () => {
    expect(surplus(madeAt('2026-01-01', '2026-01-02'), {})).toEqual([]);
  });

  it('keeps the newest', () => {
    expect(keptOf(madeAt('2026-01-01', '2026-01-02', '2026-01-03'), { keep: 2 })).toEqual([2, 3]);
  });

  it.each<[keyof KeepRules, string[], number[]]>([
    ['keepHourly', ['2026-01-01T10:00Z', '2026-01-01T10:59Z', '2026-01-01T11:00Z', '2026-01-01T11:30Z'], [2, 4]],
    ['keepDaily', ['2026-01-01T00:00Z', '2026-01-01T23:59Z', '2026-01-02T00:00Z', '2026-01-02T12:00Z'], [2, 4]],
    // A Sunday and a Monday; the year changes in the middle of a week.
    ['keepWeekly', ['2025-12-28T12:00Z', '2025-12-29T00:00Z', '2026-01-04T23:59Z', '2026-01-05T00:00Z'], [3, 4]],
    ['keepMonthly', ['2025-12-31T23:00Z', '2026-01-01T00:00Z', '2026-01-31T23:59Z', '2026-02-01T00:00Z'], [3, 4]],
  ])('%s keeps the newest of each period', (rule, times, kept) => {
    expect(keptOf(madeAt(...times), { [rule]: 2 })).toEqual(kept);
  });

  it('adds up over the rules, and keeps the oldest as long as one of them has room', () => {
    const daily = Array.from({ length: 10 }, (_, day) => `2026-01-${String(day + 1).padStart(2, '0')}T12:00Z`);
    expect(keptOf(madeAt(...daily), { keep: 1, keepDaily: 3 })).toEqual([8, 9, 10]);
    expect(keptOf(madeAt(...daily), { keepDaily: 2, keepMonthly: 3 })).toEqual([1, 9, 10]);
  });

  it('goes by numbers where the clock went back', () => {
    expect(keptOf(madeAt('2036-01-01', '2026-01-01', '2026-01-02'), { keepDaily: 1 })).toEqual([3]);
  });

  it('counts none whose record is damaged, and removes it when all that are kept are newer', () => {
    const versions = [{ version: 1 }, ...madeAt('2026-01-01', '2026-01-02', '2026-01-03').map(next), { version: 5 }];
    expect(keptOf(versions, { keep: 2 })).toEqual([3, 4, 5]);
    expect(keptOf([{ version: 1 }, { version: 2 }], { keep: 1 })).toEqual([1, 2]);
  });

  const rules = fc.record(
    Object.fromEntries(
      ['keep', 'keepHourly', 'keepDaily', 'keepWeekly', 'keepMonthly'].map((rule) => [rule, fc.integer({ min: 1, max: 8 })]),
    ) as Record<keyof KeepRules, fc.Arbitrary<number>>,
    { requiredKeys: [] },
  );
  /** Steps of a minute to two months. */
  const versions = fc.array(fc.integer({ min: 1, max: 90_000 }), { minLength: 1, maxLength: 60 }).map((steps) => {
    let minutes = 0;
    return steps.map((step, index) => ({ version: index + 1, createdMs: 60_000 * (minutes += step) }));
  });

  it('keeps the newest version, and at least what the rules say of what there is', () => {
    fc.assert(
      fc.property(versions, rules, (all, some) => {
        const kept = keptOf(all, some);
        expect(kept).toContain(all.length);
        const given = Object.values(some).filter((count) => count !== undefined);
        const most = given.reduce((sum, count) => sum + count, 0);
        if (given.length > 0) expect(kept.length).toBeLessThanOrEqual(most);
        if (some.keep !== undefined) expect(kept.slice(-some.keep)).toEqual(all.slice(-some.keep).map(({ version }) => version));
      }),
    );
  });

  it('once more removes nothing, and each further rule only keeps more', () => {
    fc.assert(
      fc.property(versions, rules, rules, (all, some, others) => {
        const kept = keptOf(all, some);
        const left = all.filter(({ version }) => kept.includes(version));
        expect(surplus(left, some)).toEqual([]);
        if (Object.keys(some).length > 0) expect(keptOf(all, { ...others, ...some })).toEqual(expect.arrayContaining(kept));
      }),
    );
  });
});

const next = ({ version, createdMs }: Kept): Kept => ({ version: version + 1, createdMs: createdMs! });
