import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeMutant } from './mutant.ts';

let app: string;
beforeAll(() => {
  app = mkdtempSync(join(tmpdir(), 'lab-mutant-'));
  for (const name of ['src', 'tmp']) mkdirSync(join(app, name));
  writeFileSync(join(app, 'src/sum.ts'), 'export const sum = (a: number, b: number): number => a + b;\n');
  writeFileSync(join(app, 'src/sum.test.ts'), '');
});
afterAll(() => rmSync(app, { recursive: true }));

it('is the sources with one mistake, without their tests, and goes without a trace', async () => {
  let folder: string;
  {
    using mutant = makeMutant(join(app, 'src'), { file: 'sum.ts', right: 'a + b', wrong: 'a - b' });
    folder = mutant.folder;
    expect(readFileSync(join(folder, 'sum.ts'), 'utf8')).toContain('a - b');
    expect(existsSync(join(folder, 'sum.test.ts'))).toBe(false);
    const { sum } = (await mutant.import('sum.ts')) as { sum: (a: number, b: number) => number };
    expect(sum(5, 3)).toBe(2);
  }
  expect(existsSync(folder)).toBe(false);
  expect(readFileSync(join(app, 'src/sum.ts'), 'utf8')).toContain('a + b');
});

it.each([
  ['a * b', '0 times'],
  ['number', '3 times'],
])('refuses a mistake about %s, which is not there once', (right, why) => {
  expect(() => makeMutant(join(app, 'src'), { file: 'sum.ts', right, wrong: '' })).toThrow(why);
  expect(readdirSync(join(app, 'tmp'))).toEqual([]);
});
