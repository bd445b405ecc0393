import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { withMistake } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { mistakesOf, packagesWithMistakes, section, updated } from './mutants.ts';

const root = join(import.meta.dirname, '..');

it('the document gets the sections that are new, and keeps the others', () => {
  const score = (name: string, rule: string) => ({
    package: name,
    cleanSeconds: { unit: 1 },
    verdicts: [{ rule, caughtBy: 'unit' as const, by: 'a test', faults: undefined, seconds: 2, noBug: undefined }],
  });
  const first = updated('# Mistakes\n\nOf old.\n', [score('b', 'one'), score('a', 'two')]);
  expect(first).toMatch(/^# Mistakes\n\nOf old\.\n\n## a\n[^#]*\| two \| unit \| 2 \|\n\n## b\n[^#]*\| one \| unit \| 2 \|\n$/);
  expect(updated(first, [score('b', 'three')])).toBe(first.replace('| one |', '| three |'));
  expect(section(score('a', 'two'))).toContain('1 of 1 caught: unit 1 (clean 1 s). It took 2 s.');
});

describe('the mistakes', () => {
  it.each([...packagesWithMistakes(root)])(
    'of %s are about code that is there, each in a line of the document',
    async (_, folder) => {
      const mistakes = await mistakesOf(root, folder);
      for (const mistake of mistakes) withMistake(readFileSync(join(root, folder, mistake.file), 'utf8'), mistake);
      const rules = mistakes.map(({ rule }) => rule);
      expect(rules.filter((rule, index) => rule.length > 80 || rules.indexOf(rule) !== index)).toEqual([]);
    },
  );
});
