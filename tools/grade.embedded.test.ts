/** Submissions, right, wrong and hostile, are graded for what they do: the teacher is a copy of the workspace, with a commit of its own. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { withMistake } from '@lab/testing';
import { eject } from './eject.ts';
import { grade, main, type Grade } from './grade.ts';
import { copyWorkspace } from './judging.ts';
import { mistakesOf } from './mutants.ts';
import { makeCopy } from './new.ts';

const root = join(import.meta.dirname, '..');
const app = 'word-count';
const [counted, answered] = [
  'Each word of each job is counted once',
  'Every job is answered, and nothing of it is held after that',
];
const tests = "The system's tests pass";

/** On a machine where much else runs. */
const timeout = 600_000;

let teacher: ReturnType<typeof copyWorkspace>;
const git = (...args: string[]): string => execFileSync('git', args, { cwd: teacher.folder, encoding: 'utf8' });
const path = (file: string): string => join(teacher.folder, 'apps', app, file);
const edit = (file: string, change: (text: string) => string): void => {
  const text = readFileSync(path(file), 'utf8');
  expect(change(text)).not.toBe(text);
  writeFileSync(path(file), change(text));
};
beforeAll(() => {
  teacher = copyWorkspace(root);
  git('init', '--quiet');
  git('add', '--all');
  git('-c', 'user.name=test', '-c', 'user.email=test@localhost', 'commit', '--quiet', '--message', 'The kit');
});
afterEach(() => {
  git('checkout', '--', '.');
  git('clean', '-dfq', 'apps');
  // Nothing is left behind.
  expect(readdirSync(join(teacher.folder, 'tmp')).filter((name) => name.startsWith('grade'))).toEqual([]);
});
afterAll(() => teacher[Symbol.dispose]());

const gradeNow = (asked = {}): Promise<Grade> => grade(teacher.folder, app, { seeds: 30, ...asked }, () => undefined);

it('the right program has all points, whatever became of its tests', { timeout }, async () => {
  rmSync(path('test/word-count.test.ts'));
  edit('test/simulated-system.ts', (text) => text.replace('!isDeepStrictEqual(', '!isDeepStrictEqual({}) && ('));
  writeFileSync(path('src/mine.test.ts'), 'throw new Error("not run");');
  const result = await gradeNow();
  expect(result).toMatchObject({ score: 100, max: 100, app });
  expect(result.lines.map(({ promise }) => promise)).toEqual([counted, answered, 'no program fails', tests]);
  expect(result.lines[0]).toMatchObject({
    kept: true,
    evidence: expect.stringMatching(/^30 seeds, \d+ faults, \d+ kills$/) as string,
  });
  expect(result.differs).toEqual([
    `new: apps/${app}/src/mine.test.ts`,
    `changed: apps/${app}/test/simulated-system.ts`,
    `gone: apps/${app}/test/word-count.test.ts`,
  ]);
  expect(result.own[0]).toMatchObject({ promise: counted, kept: false });
});

it('a promise of its own that is broken is told, and gives and takes no points', { timeout }, async () => {
  const listed = `promises: ['${counted}'`;
  edit('test/simulated-system.ts', (text) =>
    text
      .replace(`${listed}]`, `${listed}, 'No line is long', 'No line is empty']`)
      .replace(
        'const rabbitmq =',
        "if (lines.length > 5) throw new PromiseBroken('No line is long', 'one is');\n  const rabbitmq =",
      ),
  );
  const printed: string[] = [];
  const code = await main(
    ...([teacher.folder, [app, '--seeds', '10'], {}] as const),
    (text) => printed.push(text),
    () => undefined,
  );
  expect(code).toBe(1);
  expect(printed.join('')).toMatch(/word-count: 100 of 100 points, by word-count's tests of commit [0-9a-f]{12}\nBy your own/);
  expect(printed.join('')).toMatch(/✗ No line is long .* no points\n.*No line is empty .* no points\n/);
});

it('who says the same in other words has all points', { timeout }, async () => {
  edit('src/domain/word-count.ts', (text) =>
    text.replace('if (this.#seen.has(number)) return;', 'const isRepeat = this.#seen.has(number);\n    if (isRepeat) return;'),
  );
  expect(await gradeNow()).toMatchObject({ score: 100, own: [], differs: [] });
});

it('a mistake loses the points of the promise that it breaks, which a command shows again', { timeout }, async () => {
  const mistake = (await mistakesOf(root, `apps/${app}`)).find(({ rule }) => rule === 'counts a repeat')!;
  edit(mistake.file, (text) => withMistake(text, mistake));
  // The learner's own oracle sees nothing.
  edit('test/simulated-system.ts', (text) => text.replace('!isDeepStrictEqual(', 'false && isDeepStrictEqual('));
  const printed: string[] = [];
  const code = await main(
    teacher.folder,
    [app, '--seeds', '30'],
    {},
    (text) => printed.push(text),
    () => undefined,
  );
  expect(code).toBe(1);
  expect(printed.join('')).toMatch(new RegExp(`✗ ${counted} .* 0 of 25\n✓ ${answered} .* 25 of 25\n`));
  expect(printed.join('')).toMatch(/again: npx nx simulate word-count --seed \d+\n/);
});

describe('no points has a submission that', () => {
  const first = 'src/messages.ts';
  const before = (code: string): void => edit(first, (text) => `${text}\n${code}\n`);

  it.each([
    ['hangs', 'for (;;);', 'it hangs while it is loaded'],
    ['cannot be loaded', 'throw new Error("no answer");', 'no answer'],
    [
      'prints a report and exits',
      `console.log(JSON.stringify({ system: '${app}', seeds: 30, seconds: 1, faults: {}, failure: null })); process.exit(0);`,
      'its process ends while it is loaded, with 0',
    ],
    [
      'writes a report where the grader reads',
      '(await import(\'node:fs\')).writeSync(3, \'x {"seed":1,"kinds":[]}\\n\'); process.exit(0);',
      'it writes a report of its own',
    ],
    ['changes a function of the language', 'JSON.stringify = () => "{}";', 'TypeError'],
    ['changes a global', 'globalThis.Map = class extends Map {};', 'TypeError'],
    [
      'changes a module of Node',
      "const util = (await import('node:util')).default; util.isDeepStrictEqual = () => true;",
      'TypeError',
    ],
    [
      'changes the simulation',
      "const { World } = await import('@lab/simulation'); World.prototype.until = async () => undefined;",
      'TypeError',
    ],
    [
      'overwrites tests',
      "(await import('node:fs')).writeFileSync(import.meta.dirname + '/../test/simulated-system.ts', '');",
      'ERR_ACCESS_DENIED',
    ],
  ])('%s', { timeout }, async (_, code, reason) => {
    before(code);
    const { score, lines } = await gradeNow({ seeds: 1, patienceMs: 20_000 });
    expect(score).toBe(0);
    expect(lines.map(({ kept }) => kept)).toEqual([false, false]);
    expect(lines[0]!.detail).toContain(reason);
  });
});

it('Ctrl-C ends it at once, and leaves no copy', { timeout }, async () => {
  const child = spawn(process.execPath, [join(teacher.folder, 'tools/grade.ts'), app], { stdio: ['ignore', 'ignore', 'pipe'] });
  child.stderr.once('data', () => child.kill('SIGINT'));
  expect(await once(child, 'exit')).toEqual([130, null]);
});

it('a repository of its own is judged under its own name, and by what nobody has seen', { timeout }, async () => {
  await makeCopy(teacher.folder, 'my-lab', app);
  const folder = join(teacher.folder, 'tmp/theirs');
  await eject(teacher.folder, 'my-lab', folder);
  rmSync(join(teacher.folder, 'apps/my-lab'), { recursive: true });
  const hidden = join(teacher.folder, 'tmp/hidden');
  mkdirSync(hidden);
  writeFileSync(join(hidden, 'seeds'), '5000\n');
  writeFileSync(join(hidden, 'text.txt'), 'one two one');
  writeFileSync(
    join(hidden, 'text.test.ts'),
    `import { readFileSync } from 'node:fs';
    import { expect, it } from 'vitest';
    import { plainLoop } from '../simulated-system.ts';
    const text = readFileSync(import.meta.dirname + '/text.txt', 'utf8');
    it('is counted', () => expect(plainLoop([text])).toEqual({ one: 2, two: 1 }));`,
  );
  const { lines, ...rest } = await gradeNow({ of: folder, hidden });
  expect(rest).toMatchObject({ app: 'my-lab', score: 100, differs: [] });
  expect(lines.map(({ promise, kept }) => [promise, kept])).toEqual([
    ...[counted, answered, 'no program fails', tests].map((promise) => [promise, true]),
    ['Hidden: text', true],
  ]);
});
