import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { copyWorkspace } from './judging.ts';
import { Mutants, packagesWithMistakes, summary, type Verdict } from './mutants.ts';

const root = join(import.meta.dirname, '..');

describe('a workspace of one tiny package', () => {
  const files: Record<string, string> = {
    '.gitignore': 'tmp/\nnode_modules/\n',
    'vitest.config.js': `export default { test: { projects: [{ test: { name: 'unit', include: ['**/*.test.js'] } }] } };`,
    'libs/sum/package.json': '{ "name": "@tiny/sum", "type": "module", "exports": "./src/sum.js" }',
    'libs/sum/src/sum.js': 'export const sum = (a, b) => a + b;\nexport const name = "sum";\n',
    'libs/sum/src/sum.test.js': `import { expect, it } from 'vitest'; import { sum } from '@tiny/sum'; it('adds', () => expect(sum(2, 3)).toBe(5));`,
    'libs/sum/src/text.test.js': `import { readFileSync } from 'node:fs'; import { it } from 'vitest';
      it('makes a mutant', () => { if (!readFileSync(import.meta.dirname + '/sum.js', 'utf8').includes('"sum"')) throw new Error('change the mistake'); });`,
    // Caught where no unit test looks.
    'libs/sum/test/simulate.ts': `import { sum } from '../src/sum.js';
      if (sum(0, 7) !== 7) { console.log(JSON.stringify({ failure: { promise: 'Nothing is lost', scenario: { faults: [{}, {}] } } })); process.exitCode = 1; }`,
    'libs/sum/test/mistakes.ts': `const file = 'src/sum.js';
      export const mistakes = [
        { rule: 'takes away', file, right: 'a + b', wrong: 'a - b' },
        { rule: 'knows no zero', file, right: 'a + b', wrong: 'a && a + b' },
        { rule: 'has its name in capitals', file, right: '"sum"', wrong: '"SUM"', noBug: 'Nobody reads it.' },
      ];`,
  };
  let workspace: string;
  beforeAll(() => {
    mkdirSync(join(root, 'tmp'), { recursive: true });
    workspace = mkdtempSync(join(root, 'tmp/tiny-'));
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(dirname(join(workspace, file)), { recursive: true });
      writeFileSync(join(workspace, file), text);
    }
  });
  afterAll(() => rmSync(workspace, { recursive: true, force: true }));

  it('is told who has caught what by what it does, and is not touched', { timeout: 600_000 }, async () => {
    const verdicts: Verdict[] = [];
    using copy = copyWorkspace(workspace);
    const [[, folder]] = [...packagesWithMistakes(workspace)] as [[string, string]];
    const score = await new Mutants(root, workspace, copy.folder, folder, false).score((verdict) => verdicts.push(verdict));
    expect(verdicts).toMatchObject([
      { rule: 'takes away', caughtBy: 'unit', by: 'adds' },
      { rule: 'knows no zero', caughtBy: 'simulation', by: 'Nothing is lost', faults: 2 },
      { rule: 'has its name in capitals', caughtBy: undefined, noBug: 'Nobody reads it.' },
    ]);
    expect(score).toMatchObject({ package: 'sum', verdicts });
    expect(summary(score)).toMatch(
      /^2 of 2 caught: unit 1 \(clean \d+ s\), simulation 1 \(clean \d+ s\); 1 is no bug\. It took \d+ s\.$/,
    );
    for (const [file, text] of Object.entries(files)) expect(readFileSync(join(workspace, file), 'utf8')).toBe(text);
  });
});
