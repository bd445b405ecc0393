import { seededRandom } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { FaultPlan, kindOf, kinds, type KindName } from './faults.ts';

const all = Object.keys(kinds) as KindName[];
const places = Array.from({ length: 2_000 }, (_, place) => `role.1 call #${place} queue`);

const strike = (plan: FaultPlan, asked: readonly string[]): void => {
  for (const place of asked) for (const kind of all) plan.strikes(kind, place);
};

describe('a plan', () => {
  it('draws the same faults from the same seed, each whatever was asked before', () => {
    const [plan, backwards] = [1, 2].map(() => FaultPlan.recorded(seededRandom(5), all)) as [FaultPlan, FaultPlan];
    strike(plan, places);
    strike(backwards, [...places].reverse());
    const sorted = ({ fired }: FaultPlan): string[] => fired.map(({ key, arg }) => `${key} ${arg}`).sort();
    expect(plan.fired.length).toBeGreaterThan(100);
    expect(sorted(backwards)).toEqual(sorted(plan));
  });

  it('has each kind off in some seeds, weak in some and strong in others', () => {
    const counts = Array.from({ length: 40 }, (_, seed) => {
      const plan = FaultPlan.recorded(seededRandom(seed), ['late']);
      strike(plan, places);
      return plan.fired.length / places.length;
    });
    expect(counts).toContain(0);
    expect(counts.some((rate) => rate > 0 && rate < kinds.late.chance / 2)).toBe(true);
    expect(counts.some((rate) => rate > kinds.late.chance * 2)).toBe(true);
  });

  it('strikes as much less as the share of a place is', () => {
    const plan = FaultPlan.recorded(seededRandom(5), ['late']);
    const struck = [1, 0.1, 0].map((share) => places.filter((place) => plan.strikes('late', place, share) !== undefined).length);
    expect(struck[0]).toBeGreaterThan(2 * struck[1]!);
    expect(struck[1]).toBeGreaterThan(0);
    expect(struck[2]).toBe(0);
  });

  it('replays what is listed, and nothing else', () => {
    const recorded = FaultPlan.recorded(seededRandom(5), all);
    strike(recorded, places);
    const listed = recorded.fired.filter((_, index) => index % 3 === 0);
    const replayed = FaultPlan.replayed(listed);
    strike(replayed, places);
    expect(replayed.fired).toEqual(listed);
  });

  it('keeps arguments within what their kind says', () => {
    const plan = FaultPlan.recorded(seededRandom(7), all);
    strike(plan, places);
    for (const fault of plan.fired) {
      const [min, max] = kinds[kindOf(fault)].arg;
      expect(fault.arg).toBeGreaterThanOrEqual(min);
      expect(fault.arg).toBeLessThanOrEqual(max);
    }
  });
});

it('the kind of a fault stands at the end of its key', () => {
  for (const kind of all) expect(kindOf({ key: `a.1 publish #1 b ${kind}`, arg: 0 })).toBe(kind);
  expect(() => kindOf({ key: 'a.1 publish #1 b explodes', arg: 0 })).toThrow('"a.1 publish #1 b explodes" ends with no kind');
});
