/** What has sources of others judged: copies of the workspace, in which they take the place of its own, and programs and tests that run there. */
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { repositoryFiles } from './repository-files.ts';

const kit = join(import.meta.dirname, '..');
const vitest = join(dirname(fileURLToPath(import.meta.resolve('vitest/package.json'))), 'vitest.mjs');

/** Copies of the workspace's sources, in its folder `tmp`, where everything in `node_modules` but its own packages is found. Dispose of them. */
export function copyWorkspace(root: string): Disposable & { folder: string } {
  mkdirSync(join(root, 'tmp'), { recursive: true });
  const folder = mkdtempSync(join(root, 'tmp/mutants-'));
  for (const file of repositoryFiles(root)) {
    mkdirSync(join(folder, dirname(file)), { recursive: true });
    cpSync(join(root, file), join(folder, file));
  }
  linkPackages(folder);
  return { folder, [Symbol.dispose]: () => removeFolder(folder) };
}

/** A copy of the workspace as a commit has it, where its packages are found; what uses it is in the folder's name. Dispose of it. */
export function copyOfCommit(root: string, commit: string, use: string): Disposable & { folder: string } {
  mkdirSync(join(root, 'tmp'), { recursive: true });
  const folder = mkdtempSync(join(root, `tmp/${use}-`));
  const env = { ...process.env, GIT_INDEX_FILE: `${folder}.index` };
  execFileSync('git', ['read-tree', commit], { cwd: root, env });
  execFileSync('git', ['checkout-index', '--all', `--prefix=${folder}/`], { cwd: root, env });
  rmSync(env.GIT_INDEX_FILE);
  linkPackages(folder);
  return { folder, [Symbol.dispose]: () => removeFolder(folder) };
}

/** What was killed just now may write a last file. */
const removeFolder = (folder: string): void => rmSync(folder, { recursive: true, force: true, maxRetries: 20 });

/** Lets a workspace's copy, somewhere below the original, find its own packages; all else in `node_modules` is found above. */
export function linkPackages(copy: string): void {
  mkdirSync(join(copy, 'node_modules'), { recursive: true });
  for (const kind of ['libs', 'apps'].filter((each) => existsSync(join(copy, each)))) {
    for (const each of readdirSync(join(copy, kind))) {
      const { name } = JSON.parse(readFileSync(join(copy, kind, each, 'package.json'), 'utf8')) as { name: string };
      const link = join(copy, 'node_modules', name);
      mkdirSync(dirname(link), { recursive: true });
      symlinkSync(relative(dirname(link), join(copy, kind, each)), link);
    }
  }
  // Some tests run what a package's dependencies have there.
  symlinkSync(join(kit, 'node_modules/.bin'), join(copy, 'node_modules/.bin'));
}

/** Puts a file or a folder of somebody in the place of another; files that are not to be replaced stay those of the other. */
export function replaceFiles(theirs: string, ours: string, isReplaced: (path: string) => boolean): void {
  for (const file of filesBelow(ours)) if (isReplaced(file)) rmSync(file);
  const filter = (source: string): boolean => statSync(source).isDirectory() || isReplaced(source);
  if (existsSync(theirs)) cpSync(theirs, ours, { recursive: true, filter });
}

export function filesBelow(path: string): string[] {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (!stats?.isDirectory()) return stats === undefined ? [] : [path];
  return readdirSync(path).flatMap((name) => filesBelow(join(path, name)));
}

/** Runs a Node program, for so long at the most; without a code if it had to be killed. */
export async function runNode(
  args: readonly string[],
  cwd: string,
  env: Record<string, string>,
  patienceMs?: number,
): Promise<{ code: number | undefined; stdout: string; stderr: string }> {
  const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe'];
  // A process group of its own: a mistake may hang in one of its workers.
  const child = spawn(process.execPath, args, { cwd, env: { ...process.env, ...env }, stdio, detached: true });
  const kill = (): void => void process.kill(-child.pid!, 'SIGKILL');
  const timer = patienceMs === undefined ? undefined : setTimeout(kill, patienceMs);
  // Before others remove the folder that it runs in.
  process.prependOnceListener('exit', kill);
  const [code, stdout, stderr] = await Promise.all([
    new Promise<number | null>((resolve, reject) => child.once('error', reject).once('exit', resolve)),
    text(child.stdout),
    text(child.stderr),
  ]);
  clearTimeout(timer);
  process.off('exit', kill);
  return { code: code ?? undefined, stdout, stderr };
}

/** What vitest's reporter `json` writes. */
export interface Report {
  numPassedTests: number;
  testResults: {
    name: string;
    status: string;
    message: string;
    assertionResults: { status: string; fullName: string; failureMessages: string[] }[];
  }[];
}

export interface FailedTest {
  name: string;
  file: string;
  message: string;
  isFile: boolean;
}

/** A file that cannot be loaded has no tests, and yet has failed. */
export function failedTests({ testResults }: Report): FailedTest[] {
  return testResults.flatMap(({ name, status, message, assertionResults }): FailedTest[] => {
    if (status === 'failed' && assertionResults.length === 0) return [{ name, file: name, message, isFile: true }];
    const failed = assertionResults.filter((result) => result.status === 'failed');
    return failed.map(({ fullName, failureMessages }) => ({
      name: fullName,
      file: name,
      message: failureMessages.join('\n'),
      isFile: false,
    }));
  });
}

/** What became of tests. */
export interface TestRun {
  readonly passed: number;
  /** The first that did not pass. */
  readonly failed: FailedTest | undefined;
  /** What else was wrong, or what is with the first that failed. */
  readonly problem: string | undefined;
}

/** Runs tests of a workspace's copy, by what vitest is told of them, for so long at the most. */
export async function runTests(copy: string, args: readonly string[], patienceMs: number): Promise<TestRun> {
  const report = join(copy, 'tmp-report.json');
  rmSync(report, { force: true });
  const output = ['--reporter=json', `--outputFile=${report}`];
  // One seed shows that a simulation runs.
  const { code, stderr } = await runNode([vitest, 'run', ...output, ...args], copy, { SEEDS: '1' }, patienceMs);
  const nothing = { passed: 0, failed: undefined };
  if (code === undefined) return { ...nothing, problem: 'it does not end' };
  const result = existsSync(report) ? (JSON.parse(readFileSync(report, 'utf8')) as Report) : undefined;
  const passed = result?.numPassedTests ?? 0;
  const [failed] = result === undefined ? [] : failedTests(result);
  if (failed !== undefined) return { passed, failed, problem: `"${failed.name}"\n${failed.message.slice(0, 1_000)}` };
  if (result === undefined || code !== 0) return { ...nothing, problem: `an error outside of a test\n${stderr.slice(0, 2_000)}` };
  return { passed, failed: undefined, problem: undefined };
}
