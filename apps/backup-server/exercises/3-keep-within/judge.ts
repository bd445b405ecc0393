import { seededRandom } from '@lab/testing';
import { expect, it } from 'vitest';
import { statusText } from '../../src/admin/texts.ts';
import { adminConfigs } from '../../src/config.ts';
import { surplus, type KeepRules, type Kept } from '../../src/domain/retention.ts';
import { decode, encode, type Head } from '../../src/messages.ts';
import type { StatusResult } from '../../src/roles/server.ts';

const dayMs = 86_400_000;
const rules = (given: KeepRules & { keepWithinDays: number }): KeepRules => given;
const madeAt = (...days: number[]): Kept[] => days.map((day, index) => ({ version: index + 1, createdMs: day * dayMs }));

it('what was made within the days before the newest stays, and the rest goes', () => {
  expect(surplus(madeAt(1, 2.9, 3, 3.1, 9.9, 10), rules({ keepWithinDays: 7 }))).toEqual([1, 2]);
  const random = seededRandom(5);
  for (let round = 0; round < 50; round++) {
    const days = Array.from({ length: 20 }, () => random.integer(0, 4_000) / 100).sort((a, b) => a - b);
    const within = random.integer(1, 20);
    const gone = days.flatMap((day, index) => (days.at(-1)! * dayMs - day * dayMs > within * dayMs ? [index + 1] : []));
    expect(surplus(madeAt(...days), rules({ keepWithinDays: within }))).toEqual(gone);
  }
});

it('beside what the other rules keep', () => {
  expect(surplus(madeAt(1, 2, 3, 8, 9), rules({ keep: 3, keepWithinDays: 2 }))).toEqual([1, 2]);
  expect(surplus(madeAt(1, 2, 3, 8, 9), rules({ keep: 1, keepWithinDays: 6 }))).toEqual([1, 2]);
});

it('the newest is the one with the highest number, whatever the clock said', () => {
  expect(surplus(madeAt(400, 1, 5, 9), rules({ keepWithinDays: 5 }))).toEqual([2]);
});

it('one whose record is damaged counts for nothing, and goes when all that stay are newer', () => {
  const versions = [{ version: 1 }, { version: 2, createdMs: 8 * dayMs }, { version: 3, createdMs: 9 * dayMs }, { version: 4 }];
  expect(surplus(versions, rules({ keepWithinDays: 3 }))).toEqual([1]);
  expect(surplus([{ version: 1 }], rules({ keepWithinDays: 3 }))).toEqual([]);
});

it('an admin gives it, and it arrives wherever a registration does', () => {
  const { keepWithinDays } = adminConfigs.register.shape as unknown as Record<string, { parse: (text: string) => unknown }>;
  expect(keepWithinDays?.parse('7')).toBe(7);
  const registration = { node: 'a', address: 'host:1', path: 'docs', every: '30', keepWithinDays: 7 };
  const attempt = '0b5a7f0e-4d3c-4b5e-9a53-0a4f0d6c1a2b';
  for (const head of [
    { kind: 'register', ...registration },
    { kind: 'due', attempt, ...registration },
  ] as Head[])
    expect(decode(encode(head), 'register', 'due').head).toMatchObject({ keepWithinDays: 7 });
  expect(() => decode(encode({ kind: 'register', ...registration, keepWithinDays: 0 } as Head), 'register')).toThrow();
});

it('status shows it', () => {
  const task = {
    node: 'desk',
    address: 'desk:1',
    path: 'a',
    every: '1h',
    dueMs: 60_000,
    attempts: 1,
    failures: 0,
    isLate: false,
  };
  const store = { packs: 0, bytes: 0, damaged: [], isLooking: false };
  const status = { tasks: [{ ...task, keep: 3, keepWithinDays: 7 }], nowMs: 0, scrub: { slice: 0, dueMs: 0 }, store };
  expect(statusText(status as StatusResult)).toContain('│ 3, 7 days');
});
