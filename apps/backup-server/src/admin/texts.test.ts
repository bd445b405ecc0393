import { describe, expect, it } from 'vitest';
import type { StatusTask } from '../roles/nodes-manager.ts';
import type { StatusResult } from '../roles/server.ts';
import { statusText, troubles, unsoundText, unwrittenText, verifyText } from './texts.ts';

const task = (path: string, more: Partial<StatusTask> = {}): StatusTask => ({
  ...{ node: 'desk', address: 'desk:1', path, every: '1h', dueMs: 60_000, attempts: 1, failures: 0, isLate: false },
  ...more,
});
const attempt = { attempt: 'id', order: 1, begunMs: 0, heardMs: 0 };
const status = (tasks: StatusTask[], store: Partial<StatusResult['store']> = {}): StatusResult => ({
  ...{ tasks, nowMs: 0, scrub: { slice: 0, dueMs: 0 } },
  store: { packs: 2, bytes: 2048, damaged: [], isLooking: false, ...store },
});

describe('a status', () => {
  it('tells what is queued from what is under way', () => {
    const progress = { files: 0, bytes: 0, sentBytes: 0 };
    const tasks = [
      task('a', { current: attempt }),
      task('b', { current: { ...attempt, progress } }),
      task('c', { current: { ...attempt, progress: { ...progress, files: 3, bytes: 1024 } } }),
      task('d'),
      task('e', { keepHourly: 24, keep: 3 }),
    ];
    const rows = statusText(status(tasks))
      .split('\n')
      .filter((line) => line.includes('desk:1'))
      .map((line) =>
        line
          .split('│')
          .map((cell) => cell.trim())
          .slice(5, 7),
      );
    expect(rows).toEqual([
      ['all', 'queued'],
      ['all', 'under way'],
      ['all', 'under way: 3 files, 1.00 KiB'],
      ['all', 'in 60 s'],
      ['3, 24 hourly', 'in 60 s'],
    ]);
    expect(statusText(status(tasks))).toMatch(/\n2.00 KiB in 2 packs, none known to be damaged$/);
  });

  it('has what is long below its table', () => {
    const reason = `\u202e${'long '.repeat(100)}`;
    const nothing = { files: 0, bytes: 0, sentBytes: 0, storedBytes: 0, elapsedMs: 0, endedMs: 0 };
    const text = statusText(status([task('a', { last: { result: 'failed', ...nothing, reason } }), task('b')]));
    const rows = text.split('\n').filter((line) => line.includes('│'));
    expect(Math.max(...rows.map((row) => row.length))).toBeLessThan(220);
    expect(text).toContain(`\n"a" of node desk: failed: \\u{202e}${'long '.repeat(100)}\n`);
    expect(text).not.toContain('"b" of node desk');
  });

  it('says what keeps a store from getting smaller', () => {
    const damaged = [
      { node: 'desk', path: 'a', versions: 2, stopSweeps: 1 },
      { node: 'desk', path: 'b', versions: 1, stopSweeps: 0 },
    ];
    const sentence = 'nothing older is swept: nobody knows what 1 version of "a" of node desk may need';
    expect(statusText(status([], { damaged })).split(sentence)).toHaveLength(2);
    expect(statusText(status([], { damaged }))).not.toContain('version of "b" of node desk may need');
    expect(troubles(status([], { damaged })).join('\n')).toContain(sentence);
  });

  it('says that damage is being looked for, and does not pass for good meanwhile', () => {
    const looking = status([task('a')], { isLooking: true });
    expect(statusText(looking)).toMatch(/packs\ndamage was found; which versions have it is being looked for$/);
    expect(troubles(looking)).toHaveLength(1);
    expect(troubles(status([task('a')]))).toEqual([]);
  });
});

it('of what verify finds twenty places are named', () => {
  const findings = Array.from({ length: 22 }, (_, index) => ({ what: 'content', place: `${index}`, repaired: false }) as const);
  const lines = verifyText({ bytes: 0, findings, damaged: [] }).split('\n');
  expect([lines[0], lines.at(-2), lines.at(-1), lines.length]).toEqual([
    '0 B read, 22 damaged places found',
    '  content at 19, no version needs it',
    '  and 2 more, which --json lists',
    22,
  ]);
});

it('damaged content that no version needs does not make a store unsound', () => {
  const found = (what: 'content' | 'header') => ({ findings: [{ what, place: '1', repaired: false }], bytes: 0, damaged: [] });
  expect(unsoundText(found('content'))).toBeUndefined();
  expect(unsoundText(found('header'))).toContain('not repaired: 1 damaged place;');
});

it('what verify finds missing is of a path and a node, and of so many versions', () => {
  const lines = (others: number): string[] => {
    const neededBy = { name: '["laptop","Documents"]', version: 6, others };
    const finding = { what: 'missing', place: 'blob 01ab', repaired: false, neededBy } as const;
    return verifyText({ bytes: 0, findings: [finding], damaged: [] }).split('\n');
  };
  const line = '  missing: blob 01ab, of version 6 of "Documents" of node laptop';
  expect([lines(0)[1], lines(2)[1]]).toEqual([line, `${line} and 2 other versions`]);
});

it('of what was not written a hundred are named', () => {
  const unwritten = Array.from({ length: 102 }, (_, index) => ({ path: `\udce9${index}`, reason: 'no' }));
  const lines = unwrittenText(unwritten).split('\n');
  expect([lines[0], lines[1], lines.at(-1), lines.length]).toEqual([
    '102 entries could not be restored:',
    '  \\xe90: no',
    '  and 2 more, which --json lists',
    102,
  ]);
});
