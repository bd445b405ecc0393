/** `npm run new`, `npm run eject` and `npm run update` on a kit of a few files. apps.copy.test.ts does them with every app of ours. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { portOf } from '../docker/compose.ts';
import { eject, update } from './eject.ts';
import { makeCopy, refusal } from './new.ts';
import { textFile, writeTree } from './trees.ts';

const lines = (first: string): string =>
  ['one', 'two', 'three', 'four', 'five', 'six', 'seven'].join('\n').replace('one', first) + '\n';
const manifest = (more: object): string => JSON.stringify({ version: '0.1.0', private: true, ...more });
const files: Record<string, string> = {
  'package.json': manifest({
    name: 'kit',
    workspaces: ['libs/*', 'apps/*'],
    scripts: { test: 'true', 'test:all': 'true' },
    devDependencies: {},
  }),
  '.gitignore': 'node_modules/\n',
  '.prettierrc.json': '{ "singleQuote": true }',
  '.npmrc': 'fund=false\n',
  'apps/tiny/package.json': manifest({
    name: '@lab/tiny',
    scripts: { demo: 'node src/main.ts' },
    dependencies: { '@lab/near': '*' },
  }),
  'apps/tiny/README.md': [
    '# tiny',
    `\`npx nx up tiny\`, then \`npx nx break tiny kill a --keep\` on 127.0.0.1:${portOf('tiny')}`,
    '`npx nx exercise tiny 1`',
    '[main](src/main.ts), [far](../../libs/far/README.md), [unused](../../libs/unused/README.md)\n',
  ].join('\n'),
  'apps/tiny/exercises/1-first/exercise.json': '{}',
  'apps/tiny/compose.yaml': 'image: ${LAB_QUEUE_IMAGE:?}\nnetworks: 10.89.0.0/24 10.10.0.0/24\n',
  'apps/tiny/src/main.ts':
    "export const queue = 'tiny.work';\nexport const commands = ['npx nx look APP', `npx nx break ${app}`];\n",
  'apps/tiny/src/tiny.txt': lines('tiny'),
  'docker/queue/Dockerfile': 'FROM a\n',
  'docker/other/Dockerfile': 'FROM b\n',
  'libs/near/package.json': manifest({ name: '@lab/near', devDependencies: { '@lab/far': '*' } }),
  'libs/near/src/index.txt': lines('near'),
  'libs/near/src/old.txt': lines('old'),
  'libs/near/test/near.integration.test.ts': lines('engine'),
  'libs/far/package.json': manifest({ name: '@lab/far' }),
  'libs/far/README.md': 'npx nx test far, npx nx simulate tiny --seed 4, npx nx look ${app} --replay f, npx nx load tiny help\n',
  'libs/unused/package.json': manifest({ name: '@lab/unused' }),
  'libs/unused/README.md': '# unused\n',
};

let scratch: string;
let kit: string;
let own: string;
let said: string[];

const git = (folder: string, ...args: string[]): string =>
  execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@localhost', ...args], { cwd: folder, encoding: 'utf8' }).trim();
const read = (folder: string, path: string): string => readFileSync(join(folder, path), 'utf8');
const change = (folder: string, path: string, from: string, to: string): void =>
  writeFileSync(join(folder, path), read(folder, path).replace(from, to));
const commitAll = (folder: string): void => {
  git(folder, 'add', '--all');
  git(folder, 'commit', '--quiet', '--message', 'change');
};

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'lab-eject-'));
  [kit, own] = [join(scratch, 'kit'), join(scratch, 'own')];
  writeTree(kit, new Map(Object.entries(files).map(([path, text]) => [path, textFile(text)])));
  git(kit, 'init', '--quiet');
  commitAll(kit);
  said = [];
  vi.spyOn(console, 'error').mockImplementation((text: string) => void said.push(text));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(scratch, { recursive: true });
});

it('an app with the mistake of an exercise in it is not copied, nor ejected, until that is solved or put away', async () => {
  const state = (solved: boolean): void =>
    writeTree(
      kit,
      new Map([['apps/tiny/tmp/exercises.json', textFile(JSON.stringify({ current: 1, begun: { 1: { solved } } }))]]),
    );
  state(false);
  await expect(makeCopy(kit, 'my-lab', 'tiny')).rejects.toThrow('exercise 1 of tiny is begun, and has changed its code');
  await expect(eject(kit, 'tiny', own)).rejects.toThrow('npx nx exercise tiny reset');
  state(true);
  await makeCopy(kit, 'my-lab', 'tiny');
});

describe('new', () => {
  it('renames files, queues, port, networks and commands, and nothing that only looks like them', async () => {
    await makeCopy(kit, 'my-lab', 'tiny');
    expect(read(kit, 'apps/my-lab/src/main.ts')).toContain("queue = 'my-lab.work'");
    expect(read(kit, 'apps/my-lab/src/my-lab.txt')).toBe(lines('my-lab'));
    expect(read(kit, 'apps/my-lab/README.md')).toContain(
      `\`npx nx up my-lab\`, then \`npx nx break my-lab kill a --keep\` on 127.0.0.1:${portOf('my-lab')}`,
    );
    expect(read(kit, 'apps/my-lab/README.md')).toContain('`npx nx exercise tiny 1`');
    expect(read(kit, 'apps/my-lab/compose.yaml')).toMatch(/networks: 10\.(?!89)\d+\.0\.0\/24 10\.10\.0\.0\/24/);
    expect(JSON.parse(read(kit, 'apps/my-lab/package.json'))).toMatchObject({ name: '@lab/my-lab', lab: { from: 'tiny' } });
    expect(git(kit, 'status', '--porcelain')).toBe('?? apps/my-lab/');
  });

  it('gives a copy of a copy networks of its own, too, and keeps what both come from', async () => {
    await makeCopy(kit, 'my-lab', 'tiny');
    await makeCopy(kit, 'third', 'my-lab');
    const networks = ['tiny', 'my-lab', 'third'].map((app) => /10\.\d+/.exec(read(kit, `apps/${app}/compose.yaml`))?.[0]);
    expect(new Set(networks).size).toBe(3);
    expect(JSON.parse(read(kit, 'apps/third/package.json'))).toMatchObject({ lab: { from: 'tiny' } });
  });

  it.each(['My-lab', 'my_lab', '', '-lab', 'a'.repeat(25), '../up'])('refuses "%s", which is no name', (name) => {
    expect(refusal(kit, name)).toMatch(/^".*" is no name for an app: small letters/);
  });

  it('refuses the name of what is there', () => {
    expect(refusal(kit, 'tiny')).toMatch(/^apps\/tiny is there already/);
    expect(refusal(kit, 'near')).toMatch(/^libs\/near is there already/);
    expect(refusal(kit, 'my-lab')).toBeUndefined();
  });
});

describe('eject', () => {
  it('takes the app, what it needs and nothing else, in one commit that names that of the kit', async () => {
    await eject(kit, 'tiny', own);
    expect(said).toEqual([`making a repository of tiny in ${own}`]);
    const listed = git(own, 'ls-files').split('\n');
    const expected = Object.keys(files).filter((path) => !/unused|other|integration|exercises/.test(path));
    expect(listed).toEqual(
      [
        ...expected.map((path) => path.replace('apps/tiny/README', 'README')),
        ...['.github/workflows/ci.yml', 'eslint.config.js', 'tools/update.ts'],
      ].sort(),
    );
    expect(git(own, 'log', '--format=%b')).toBe(`Kit-Commit: ${git(kit, 'rev-parse', 'HEAD')}`);
    expect(git(own, 'status', '--porcelain')).toBe('');
  });

  it('calls commands as they are called there, and links only to what is there', async () => {
    await eject(kit, 'tiny', own);
    expect(read(own, 'README.md')).toContain('`npm run up`, then `npm run break -- kill a --keep`');
    expect(read(own, 'README.md')).toContain('`npx nx exercise tiny 1`');
    expect(read(own, 'apps/tiny/src/main.ts')).toContain("commands = ['npm run look --', `npm run break --`];");
    expect(read(own, 'README.md')).toContain('[main](apps/tiny/src/main.ts), [far](libs/far/README.md), unused\n');
    expect(read(own, 'libs/far/README.md')).toBe(
      'npx vitest run --project unit libs/far/, npm run simulate -- --seed 4, npm run look -- --replay f, npm run load -- help\n',
    );
    expect(JSON.parse(read(own, 'package.json'))).toMatchObject({ scripts: { demo: 'cd apps/tiny && node src/main.ts' } });
  });

  it('gives a copy that was changed a second commit, so that the first is what the kit has', async () => {
    await makeCopy(kit, 'my-lab', 'tiny');
    change(kit, 'apps/my-lab/src/my-lab.txt', 'seven', 'mine');
    await eject(kit, 'my-lab', own);
    expect(git(own, 'log', '--format=%s').split('\n')).toEqual([
      'my-lab: what was changed before',
      'Begin with tiny of the lab kit',
    ]);
    expect(git(own, 'show', '--format=', '--name-only')).toBe('apps/my-lab/src/my-lab.txt');
  });

  it('touches no folder in which something is', async () => {
    await expect(eject(kit, 'tiny', kit)).rejects.toThrow(/is not empty: name an empty folder/);
  });
});

describe('update', () => {
  it('merges what the kit has changed, added, removed and renamed with what the owner has changed', async () => {
    await makeCopy(kit, 'my-lab', 'tiny');
    await eject(kit, 'my-lab', own);
    change(own, 'libs/near/src/index.txt', 'seven', 'mine');
    change(own, 'apps/my-lab/src/my-lab.txt', 'seven', 'mine');
    commitAll(own);
    // The copy is not there any more: what counts is the original, under the copy's name.
    rmSync(join(kit, 'apps/my-lab'), { recursive: true });
    change(kit, 'libs/near/src/index.txt', 'near', 'nearer');
    writeFileSync(join(kit, 'libs/near/src/new.txt'), lines('new'));
    rmSync(join(kit, 'libs/near/src/old.txt'));
    renameSync(join(kit, 'apps/tiny/src/tiny.txt'), join(kit, 'apps/tiny/src/small.txt'));
    commitAll(kit);

    expect(await update(own, kit)).toBe(true);

    const changed = ['apps/my-lab/src/small.txt', 'libs/near/src/index.txt', 'libs/near/src/new.txt'];
    expect(git(own, 'diff', '--name-only', '--diff-filter=d', '--no-renames', 'HEAD^').split('\n')).toEqual(changed);
    expect(read(own, 'libs/near/src/index.txt')).toBe(lines('nearer').replace('seven', 'mine'));
    expect(read(own, 'libs/near/src/new.txt')).toBe(lines('new'));
    expect(existsSync(join(own, 'libs/near/src/old.txt'))).toBe(false);
    expect(read(own, 'apps/my-lab/src/small.txt')).toBe(lines('my-lab').replace('seven', 'mine'));
    expect(existsSync(join(own, 'apps/my-lab/src/my-lab.txt'))).toBe(false);
    expect(git(own, 'status', '--porcelain')).toBe('');
    const merged = git(own, 'rev-parse', 'HEAD');
    expect(await update(own, kit)).toBe(true);
    expect(git(own, 'rev-parse', 'HEAD')).toBe(merged);
  });

  it('leaves a conflict to the owner, who can go back', async () => {
    await eject(kit, 'tiny', own);
    change(own, 'libs/near/src/index.txt', 'near', 'mine');
    commitAll(own);
    change(kit, 'libs/near/src/index.txt', 'near', 'theirs');
    commitAll(kit);
    expect(await update(own, kit)).toBe(false);
    expect(read(own, 'libs/near/src/index.txt')).toMatch(/^<<<<<<< HEAD\nmine\n=======\ntheirs\n>>>>>>> /);
    git(own, 'merge', '--abort');
    expect(git(own, 'status', '--porcelain')).toBe('');
    expect(read(own, 'libs/near/src/index.txt')).toBe(lines('mine'));
  });

  it('begins nothing where something is not committed', async () => {
    await eject(kit, 'tiny', own);
    change(own, 'libs/near/src/index.txt', 'near', 'mine');
    change(kit, 'libs/near/src/index.txt', 'seven', 'theirs');
    commitAll(kit);
    await expect(update(own, kit)).rejects.toThrow('something here is not committed');
    expect(read(own, 'libs/near/src/index.txt')).toBe(lines('mine'));
  });
});
