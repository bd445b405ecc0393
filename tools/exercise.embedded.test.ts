/**
 * Each exercise can be failed and solved: its check says which promise is broken, and accepts the solution. All of it happens in one copy of the workspace.
 * That of the smallest app, and those of one other a day, in turn; with CHAOS=all, as at night, all of them.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Exercises } from './exercise.ts';
import { inTurn } from './in-turn.ts';
import { copyWorkspace } from './judging.ts';

const root = join(import.meta.dirname, '..');
const apps = readdirSync(join(root, 'apps')).filter((app) => existsSync(join(root, 'apps', app, 'exercises')));
const all = inTurn(apps).flatMap((app) =>
  readdirSync(join(root, 'apps', app, 'exercises')).map((name): [string, number, string] => [app, Number.parseInt(name), name]),
);

let copy: ReturnType<typeof copyWorkspace>;
const git = (...args: string[]): string => execFileSync('git', args, { cwd: copy.folder, encoding: 'utf8' });
/** The right sources keep their promises for all seeds, as other tests see; here the judge is tested. */
function judgeByFewSeeds(app: string, name: string): void {
  const file = join(copy.folder, 'apps', app, 'exercises', name, 'exercise.json');
  const exercise = JSON.parse(readFileSync(file, 'utf8')) as { seeds?: number };
  if (exercise.seeds !== undefined) writeFileSync(file, JSON.stringify({ ...exercise, seeds: 4 }));
}

beforeAll(() => {
  copy = copyWorkspace(root);
  for (const [app, , name] of all) judgeByFewSeeds(app, name);
  git('init', '--quiet');
  git('add', '--all');
  git('-c', 'user.name=test', '-c', 'user.email=test@localhost', 'commit', '--quiet', '--message', 'The kit');
});
afterAll(() => copy[Symbol.dispose]());

describe.each(all)('exercise %s %i', (app, number) => {
  it('is not solved at first, for the right reason, and is by its solution', { timeout: 600_000 }, async () => {
    const exercises = new Exercises(copy.folder, app);
    const { kind, promise = '', promises = [] } = exercises.definition(number);
    await exercises.begin(number);
    const answer = kind === 'find' ? promises.indexOf(promise) + 1 : undefined;
    const before = await exercises.check(answer);
    expect(before.solved).toBe(false);
    expect(before.text).toContain(
      { break: `broken: ${promise}.`, build: 'does not pass', find: 'and on the one with the mistake, too' }[kind],
    );
    await exercises.solve();
    expect(await exercises.check(answer)).toMatchObject({ solved: true });
    exercises.reset();
    expect(git('status', '--porcelain')).toBe('');
  });
});

describe('a judge', () => {
  const app = 'word-count';
  const path = (file: string): string => join(copy.folder, 'apps', app, file);
  const change = (file: string, from: string, to: string): void => {
    const text = readFileSync(path(file), 'utf8');
    expect(text).toContain(from);
    writeFileSync(path(file), text.replace(from, to));
  };

  it('is not deceived by other tests, takes another repair, and keeps what is put away', { timeout: 600_000 }, async () => {
    const exercises = new Exercises(copy.folder, app);
    change('src/messages.ts', 'word-count.answers', 'word-count.other');
    await expect(exercises.begin(1)).rejects.toThrow('src/messages.ts');
    git('checkout', '--', '.');
    await exercises.begin(1);
    expect(() => exercises.explain()).toThrow('after 2 tries');
    // The promise is checked no more, by no seed.
    change('test/simulated-system.ts', '!isDeepStrictEqual(', 'false && isDeepStrictEqual(');
    change('exercises/1-twice/exercise.json', '"seeds":4', '"seeds":1');
    expect((await exercises.check(undefined)).text).toContain('broken: Each word of each job is counted once.');
    // Not where it was before.
    change('src/roles/counter.ts', 'held.state.add(', 'if (!held.state.has(batch.number)) held.state.add(');
    change(
      'src/domain/word-count.ts',
      '  get complete',
      '  has(number: number): boolean {\n    return this.#seen.has(number);\n  }\n\n  get complete',
    );
    expect(await exercises.check(undefined)).toMatchObject({ solved: true });
    expect(exercises.explain()).toContain('idempotent');
    expect(exercises.reset()).toContain('exercise-1.patch');
    expect(git('status', '--porcelain', '--', `apps/${app}/src`)).toBe('');
    git('apply', '--whitespace=nowarn', path('tmp/exercise-1.patch'));
    expect(readFileSync(path('src/roles/counter.ts'), 'utf8')).toContain('held.state.has(');
    git('checkout', '--', '.');
  });
});
