/**
 * An app is a template: its folder is copied under a new name, nothing outside it is touched but the lock file, and the copy's types, demo and first
 * system test pass; what else the app promises does not hang on its name. It happens in a scratch copy of the workspace.
 */
import { execFile, execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { portOf } from './docker/compose.ts';
import { repositoryFiles } from './tools/repository-files.ts';

const execute = promisify(execFile);
const root = import.meta.dirname;
/** Beside the original, so that packages can be linked instead of copied. */
const scratch = join(root, 'tmp', 'copy-of-workspace');
const apps = readdirSync(join(root, 'apps'));
/** Of a simulation's seeds, enough to see that it runs. */
const env = { ...process.env, SEEDS: '4', INIT_CWD: undefined, npm_config_loglevel: 'error' };

const run = async (program: string, ...args: string[]): Promise<string> => {
  const { stdout, stderr } = await execute(program, args, { cwd: scratch, env, maxBuffer: 64 * 1024 * 1024 });
  return stdout + stderr;
};

/** What every file has in it, but for the copies, the lock file, and what is made of other files. */
function treeOutsideCopies(): Map<string, string> {
  const files = readdirSync(scratch, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !/\/(node_modules|\.nx|tmp)\//.test(path));
  const copies = apps.map((app) => `${folderOf(app)}/`);
  const outside = paths.filter((path) => !copies.some((copy) => path.startsWith(copy)) && !path.endsWith('/package-lock.json'));
  return new Map(outside.map((path) => [path, readFileSync(path, 'utf8')]));
}

let before: ReadonlyMap<string, string>;

/** Its demo runs on containers, and takes minutes: its own suites are about those. */
function needsEngine(app: string): boolean {
  const manifest = JSON.parse(readFileSync(join(root, 'apps', app, 'package.json'), 'utf8')) as { lab?: { demo?: string } };
  return manifest.lab?.demo === 'engine';
}

const nameOf = (app: string): string => `${app}-copied`;
const folderOf = (app: string): string => join(scratch, 'apps', nameOf(app));

/** The test of the whole system: `system.test.ts`, or where there is only one, that. */
function systemTest(app: string): string {
  const tests = readdirSync(join(folderOf(app), 'test')).filter((file) => /^[^.]+\.test\.ts$/.test(file));
  return `apps/${nameOf(app)}/test/${tests.includes('system.test.ts') ? 'system.test.ts' : tests[0]!}`;
}

beforeAll(async () => {
  rmSync(scratch, { recursive: true, force: true });
  for (const file of repositoryFiles(root)) {
    mkdirSync(join(scratch, dirname(file)), { recursive: true });
    cpSync(join(root, file), join(scratch, file));
  }
  execFileSync('cp', ['-al', join(root, 'node_modules'), scratch]);
  // npm writes into it, and so through the link into that of the original.
  rmSync(join(scratch, 'node_modules/.package-lock.json'), { force: true });
  for (const app of apps) {
    cpSync(join(scratch, 'apps', app), folderOf(app), { recursive: true });
    const manifest = join(folderOf(app), 'package.json');
    writeFileSync(manifest, readFileSync(manifest, 'utf8').replace(`"@lab/${app}"`, `"@lab/${nameOf(app)}"`));
  }
  before = treeOutsideCopies();
  await run('npm', 'install', '--offline', '--ignore-scripts');
}, 120_000);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe.each(apps)('a copy of %s under another name', (app) => {
  const name = nameOf(app);

  it('has right types, passes a system test and its demo, with nothing else changed', { timeout: 240_000 }, async () => {
    await run('npx', 'nx', 'typecheck', name);
    expect(await run('npx', 'vitest', 'run', '--project', 'unit', systemTest(app))).toMatch(/Tests .*\d+ passed/);
    if (!needsEngine(app)) expect(await run('npx', 'nx', 'demo', name)).toContain('Checked:');
    expect(treeOutsideCopies()).toEqual(before);
  });

  it('has a compose project and a host port of its own', () => {
    expect(portOf(name)).not.toBe(portOf(app));
  });
});
