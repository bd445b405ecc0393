/**
 * The system against restic with a local repository, and its archives against tar, on the same tree in the same run: 20,000
 * files and 1 GiB, of which one file has a quarter. Each round has a new store, a new cache and a new repository; who goes
 * first changes from round to round, and nothing drops the page cache. `--files N`, `--mib N` and `--rounds N` make it smaller,
 * `--json FILE` writes the rows. It needs about 5 times the tree's size for each round in the folder for temporary files (`TMPDIR`).
 *
 * Nothing is removed before the end. ext4 does not give an inode again that was freed within the last five minutes, and looks at
 * each of them anew for every file that is made: after a removal of as many files it takes most of a restore's time.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { lstat, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { splitAddress } from '@lab/process';
import { explainBench, freePort, median, reportBench, type BenchRow } from '@lab/testing';
import { startProcess, type RunningProcess } from '@lab/testing/processes';
import { install } from '../../../docker/engine.ts';
import { ask } from '../src/admin/ask.ts';
import { connectChannel } from '../src/channel/channel.ts';
import { keyFor, makeKey, writeKey } from '../src/channel/keys.ts';
import type { Task } from '../src/domain/registry.ts';
import type { StatusResult } from '../src/roles/server.ts';
import { makeTree, type Tree } from './tree.ts';

explainBench();

const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '20000' },
    mib: { type: 'string', default: '1024' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'string' },
  },
});
const files = atLeast('files', values.files, 4);
const treeBytes = atLeast('mib', values.mib, 1) * 2 ** 20;
const rounds = atLeast('rounds', values.rounds, 1);

const program = join(import.meta.dirname, '../src/main.ts');
const memoryMaxMb = 300;
/** What was modified less than 2 s before a check is read again, as file systems' clocks are coarse. */
const coarseClockMs = 2100;
const memoryPollMs = 20;
/** Of what a program says: enough to see why it failed. */
const outputTailMax = 4000;

function atLeast(name: string, text: string, min: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < min)
    throw new RangeError(`--${name} is "${text}": it must be a whole number from ${min}`);
  return value;
}

const interruption = new AbortController();
const { signal } = interruption;
const say = (text: string): void => void process.stderr.write(`${text}\n`);

// ---- Processes

interface Ended {
  stdout: string;
  seconds: number;
  peakMb: number;
}

/** The largest resident size so far, as the kernel has it; 0 of a process that has ended. */
function peakMbOf(pid: number): number {
  const file = `/proc/${pid}/status`;
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(file, 'utf8'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

/** Runs a program to its end. */
async function run(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Ended> {
  const startMs = performance.now();
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'], signal, killSignal: 'SIGKILL' });
  let stdout = '';
  let stderr = '';
  let peakMb = 0;
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr = (stderr + text).slice(-outputTailMax)));
  const poll = setInterval(() => (peakMb = Math.max(peakMb, peakMbOf(child.pid!))), memoryPollMs);
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    const seconds = (performance.now() - startMs) / 1000;
    if (code === 0) return { stdout, seconds, peakMb };
    const said = (stderr.trim() || stdout.trim()).slice(-outputTailMax);
    throw new Error(`${[command, ...args].join(' ')} ended with exit code ${code}: ${said}`);
  } finally {
    clearInterval(poll);
    // After an interruption: what still runs still writes.
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
      await new Promise((resolve) => child.once('exit', resolve));
  }
}

const runOurs = (args: readonly string[]): Promise<Ended> => run(process.execPath, [program, ...args]);

/** Starts a process of ours that listens on the port; resolves when it does. */
async function startService(port: number, args: readonly string[]): Promise<RunningProcess> {
  const service = startProcess([program, ...args]);
  try {
    await service.listening(port);
    return service;
  } catch (error) {
    await service.kill();
    throw error;
  }
}

// ---- Ours

/** What `admin backup --json` prints. */
interface Backup {
  outcome: string;
  /** Of file contents that travelled, before compression. */
  sentBytes: number;
  storedBytes: number;
  elapsedMs: number;
}

function parseBackup(stdout: string): Backup {
  const backup = JSON.parse(stdout) as Backup;
  const numbers = [backup.sentBytes, backup.storedBytes, backup.elapsedMs];
  if (typeof backup.outcome === 'string' && numbers.every(Number.isFinite)) return backup;
  throw new TypeError(`admin backup --json printed ${stdout.trim()}: outcome, sentBytes, storedBytes or elapsedMs is missing`);
}

interface Ours extends AsyncDisposable {
  store: string;
  /** Registers it, and waits for the end of the backup that is due by that: the clock runs from the registration on. */
  first(path: string): Promise<Backup & { seconds: number }>;
  /** Throws unless the outcome is one of these: a time of anything else is not what was asked for. */
  backup(path: string, outcomes: readonly string[]): Promise<Backup & { seconds: number }>;
  restore(path: string, to: string): Promise<Ended>;
  query(path: string, file: string): Promise<Ended>;
  standalone: RunningProcess;
  node: RunningProcess;
}

async function startOurs(place: string, root: string): Promise<Ours> {
  const [serverPort, nodePort] = [await freePort(), await freePort()];
  const [server, node] = [`127.0.0.1:${serverPort}`, `127.0.0.1:${nodePort}`];
  const [store, cache, keyFile] = [join(place, 'store'), join(place, 'cache'), join(place, 'key')];
  for (const folder of [store, cache]) await mkdir(folder);
  const master = makeKey();
  writeKey(keyFile, master);
  writeKey(`${keyFile}-node`, makeKey(master, 'node-bench'));
  const key = ['--key-file', keyFile];
  await using started = new AsyncDisposableStack();
  const standalone = started.use(await startService(serverPort, ['standalone', '--listen', server, '--store', store, ...key]));
  const nodeArgs = [
    'node',
    '--name',
    'bench',
    '--listen',
    node,
    '--root',
    root,
    '--key-file',
    `${keyFile}-node`,
    '--cache',
    cache,
  ];
  const nodeService = started.use(await startService(nodePort, nodeArgs));
  const admin = (command: string, path: string, args: readonly string[]): Promise<Ended> =>
    runOurs(['admin', '--server', server, ...key, command, '--node', 'bench', '--path', path, ...args]);
  /** One connection for all looks: a process for each would take its part of the two cores. */
  const ended = async (path: string): Promise<NonNullable<Task['last']>> => {
    const channel = await connectChannel({ ...splitAddress(server), identity: 'admin', key: keyFor(master, 'admin') });
    try {
      for (; ; await pause(100, undefined, { signal })) {
        const { tasks } = await ask<StatusResult>(channel, { kind: 'status' });
        const last = tasks.find((task) => task.path === path)?.last;
        if (last !== undefined) return last;
      }
    } finally {
      channel.destroy();
    }
  };
  const services = started.move();
  return {
    store,
    standalone,
    node: nodeService,
    first: async (path) => {
      const startMs = performance.now();
      await admin('register', path, ['--address', node, '--every', '1h']);
      const { result, ...backup } = await ended(path);
      if (result !== 'version') throw new Error(`the first backup of ${path} ended so: ${result}, ${backup.reason}`);
      return { outcome: result, ...backup, seconds: (performance.now() - startMs) / 1000 };
    },
    backup: async (path, outcomes) => {
      const { stdout, seconds } = await admin('backup', path, ['--json']);
      const backup = parseBackup(stdout);
      if (outcomes.includes(backup.outcome)) return { ...backup, seconds };
      throw new Error(`backup of ${path} should have the outcome ${outcomes.join(' or ')}: ${stdout.trim()}`);
    },
    restore: (path, to) => admin('restore', path, ['--to', to]),
    query: (path, file) => admin('query', path, ['--save-to', file]),
    [Symbol.asyncDispose]: () => services.disposeAsync(),
  };
}

// ---- Theirs

interface Restic {
  repository: string;
  backup(): Promise<number>;
  restore(to: string): Promise<number>;
}

async function ensureRestic(): Promise<void> {
  const version = (): Promise<string> => run('restic', ['version']).then(({ stdout }) => stdout.trim());
  try {
    return say(await version());
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get'))
    throw new Error('restic is not on the PATH: apt-get install restic');
  await install(['restic']);
  say(await version());
}

async function initRestic(place: string, root: string, path: string): Promise<Restic> {
  const repository = join(place, 'restic');
  // Its cache is new as well, and goes with the round.
  const own = { RESTIC_REPOSITORY: repository, RESTIC_PASSWORD: 'bench', RESTIC_CACHE_DIR: join(place, 'restic-cache') };
  const restic = (args: readonly string[]): Promise<number> =>
    run('restic', args, { cwd: root, env: { ...process.env, ...own } }).then(({ seconds }) => seconds);
  await restic(['init']);
  return {
    repository,
    backup: () => restic(['backup', path]),
    restore: (to) => restic(['restore', 'latest', '--target', to]),
  };
}

// ---- Rounds

/** Seconds. */
interface Pair {
  ours: number;
  theirs: number;
}

const backupSteps = ['first backup', 'nothing changed', '1 % changed'] as const;
type BackupStep = (typeof backupSteps)[number];

interface BackupRound extends Pair {
  sentBytes: number;
  storedBytes: number;
  storeGrowthBytes: number;
  resticGrowthBytes: number;
}

interface Round {
  backups: Record<BackupStep, BackupRound>;
  /** Bytes sent in bytes changed. */
  sentRatio: number;
  restore: Pair;
  query: Pair;
  recheck: { seconds: number; elapsedMs: number; sentBytes: number };
  peaksMb: Record<string, number>;
}

interface Bench {
  /** What the node serves. */
  root: string;
  tree: Tree;
  recheckTree: Tree;
}

const treePath = 'tree';
const recheckPath = 'recheck';

/** One after the other, who is first depending on the round; what one has left unwritten is written before the other starts. */
async function inTurn<A, B>(round: number, place: string, ours: () => Promise<A>, theirs: () => Promise<B>): Promise<[A, B]> {
  const settled = async <T>(measure: () => Promise<T>): Promise<T> => {
    await run('sync', ['-f', place]);
    return measure();
  };
  if (round % 2 === 0) return [await settled(ours), await settled(theirs)];
  const second = await settled(theirs);
  return [await settled(ours), second];
}

async function folderBytes(folder: string): Promise<number> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  let sum = 0;
  for (const entry of entries) if (entry.isFile()) sum += (await lstat(join(entry.parentPath, entry.name))).size;
  return sum;
}

async function newFolder(folder: string): Promise<string> {
  await mkdir(folder);
  return folder;
}

/** Throws unless the folder, or the one with the tree's name in it, has what the tree has. */
async function expectEqual(tree: Tree, folder: string): Promise<void> {
  const inner = join(folder, treePath);
  await run('diff', ['-rq', '--no-dereference', tree.directory, existsSync(inner) ? inner : folder]);
}

async function measureRound({ root, tree, recheckTree }: Bench, round: number, place: string): Promise<Round> {
  await using ours = await startOurs(place, root);
  const restic = await initRestic(place, root, treePath);
  const backup = async (measure: () => Promise<Backup & { seconds: number }>): Promise<BackupRound> => {
    const [store, repository] = [await folderBytes(ours.store), await folderBytes(restic.repository)];
    const [{ seconds, sentBytes, storedBytes }, theirs] = await inTurn(round, place, measure, () => restic.backup());
    const storeGrowthBytes = (await folderBytes(ours.store)) - store;
    const resticGrowthBytes = (await folderBytes(restic.repository)) - repository;
    return { ours: seconds, theirs, sentBytes, storedBytes, storeGrowthBytes, resticGrowthBytes };
  };
  say('  backups');
  await tree.reset();
  await pause(coarseClockMs, undefined, { signal });
  const first = await backup(() => ours.first(treePath));
  const unchanged = await backup(() => ours.backup(treePath, ['unchanged']));
  const changedBytes = await tree.change();
  await pause(coarseClockMs, undefined, { signal });
  const changed = await backup(() => ours.backup(treePath, ['version']));
  const restored = await measureRestore(ours, restic, tree, round, place);
  const queried = await measureQuery(ours, root, tree, round, place);
  const recheck = await measureRecheck(ours, recheckTree);
  return {
    backups: { 'first backup': first, 'nothing changed': unchanged, '1 % changed': changed },
    sentRatio: changed.sentBytes / changedBytes,
    restore: restored.times,
    query: queried.times,
    recheck,
    peaksMb: {
      standalone: ours.standalone.peakMb,
      node: ours.node.peakMb,
      'admin restore': restored.peakMb,
      'admin query': queried.peakMb,
    },
  };
}

type Peaked = { times: Pair; peakMb: number };

async function measureRestore(ours: Ours, restic: Restic, tree: Tree, round: number, place: string): Promise<Peaked> {
  say('  restore');
  const to = await newFolder(join(place, 'restored-ours'));
  const resticTo = await newFolder(join(place, 'restored-restic'));
  const [{ seconds, peakMb }, theirs] = await inTurn(
    round,
    place,
    () => ours.restore(treePath, to),
    () => restic.restore(resticTo),
  );
  await expectEqual(tree, to);
  await expectEqual(tree, resticTo);
  return { times: { ours: seconds, theirs }, peakMb };
}

async function measureQuery(ours: Ours, root: string, tree: Tree, round: number, place: string): Promise<Peaked> {
  say('  query');
  const archive = join(place, 'ours.tgz');
  const [{ seconds, peakMb }, theirs] = await inTurn(
    round,
    place,
    () => ours.query(treePath, archive),
    () => run('tar', ['czf', join(place, 'tar.tgz'), '-C', root, treePath]),
  );
  if (round === 0) {
    const to = await newFolder(join(place, 'extracted'));
    await run('tar', ['xzf', archive, '-C', to]);
    await expectEqual(tree, to);
  }
  return { times: { ours: seconds, theirs: theirs.seconds }, peakMb };
}

async function measureRecheck(ours: Ours, tree: Tree): Promise<Round['recheck']> {
  say(`  ${tree.files.toLocaleString('en')} unchanged files`);
  await ours.first(recheckPath);
  await run('sync', ['-f', tree.directory]);
  return ours.backup(recheckPath, ['unchanged']);
}

// ---- Rows

const atMost = (name: string, value: number, unit: string, limit: number): BenchRow => ({
  name,
  value,
  unit,
  target: `<= ${limit}`,
  holds: value <= limit,
});
const shown = (name: string, value: number, unit: string): BenchRow => ({ name, value, unit, target: null, holds: null });

/** The ratio is the median of each round's, so what slows the machine for a while slows both sides of it. */
function compared(name: string, other: string, pairs: readonly Pair[], limit: number): BenchRow[] {
  return [
    shown(name, median(pairs.map(({ ours }) => ours)), 's'),
    shown(`${name}, ${other}`, median(pairs.map(({ theirs }) => theirs)), 's'),
    atMost(`${name} / ${other}`, median(pairs.map(({ ours, theirs }) => ours / theirs)), 'ratio', limit),
  ];
}

function volumes(step: BackupStep, backups: readonly BackupRound[]): BenchRow[] {
  const mib = (name: string, bytes: (backup: BackupRound) => number): BenchRow =>
    shown(`${step}, ${name}`, median(backups.map(bytes)) / 2 ** 20, 'MiB');
  return [
    mib('sent', ({ sentBytes }) => sentBytes),
    mib('stored', ({ storedBytes }) => storedBytes),
    mib("store's growth", ({ storeGrowthBytes }) => storeGrowthBytes),
    mib("restic's growth", ({ resticGrowthBytes }) => resticGrowthBytes),
  ];
}

const backupLimits: Readonly<Record<BackupStep, number>> = { 'first backup': 1, 'nothing changed': 0.5, '1 % changed': 1 };

function rowsOf(all: readonly Round[], recheckFiles: number): BenchRow[] {
  const of = (value: (round: Round) => number): number[] => all.map(value);
  const backups = (step: BackupStep): BackupRound[] => all.map((round) => round.backups[step]);
  const recheck = `${recheckFiles.toLocaleString('en')} unchanged files`;
  return [
    ...backupSteps.flatMap((step) => compared(step, 'restic', backups(step), backupLimits[step])),
    atMost('1 % changed, sent / changed', Math.max(...of(({ sentRatio }) => sentRatio)), 'ratio', 1.2),
    ...compared(
      'restore',
      'restic',
      all.map(({ restore }) => restore),
      1,
    ),
    ...compared(
      'query to .tgz',
      'tar czf',
      all.map(({ query }) => query),
      0.9,
    ),
    atMost(recheck, median(of((round) => round.recheck.seconds)), 's', 1),
    shown(`${recheck}, without the start of admin`, median(of((round) => round.recheck.elapsedMs / 1000)), 's'),
    atMost(`${recheck}, sent`, Math.max(...of((round) => round.recheck.sentBytes)), 'bytes', 0),
    ...Object.keys(all[0]!.peaksMb).map((name) =>
      atMost(`${name}, peak memory`, Math.max(...of(({ peaksMb }) => peaksMb[name]!)), 'MB', memoryMaxMb),
    ),
    ...backupSteps.flatMap((step) => volumes(step, backups(step))),
  ];
}

async function measureAll(place: string): Promise<BenchRow[]> {
  await ensureRestic();
  const root = join(place, 'root');
  const bigBytes = treeBytes / 4;
  const recheckFiles = Math.floor(files / 2);
  say(
    `making ${files.toLocaleString('en')} files with ${treeBytes / 2 ** 20} MiB, and ${recheckFiles.toLocaleString('en')} small ones`,
  );
  const bench: Bench = {
    root,
    tree: await makeTree({
      directory: join(root, treePath),
      seed: 1,
      smallFiles: files - 1,
      smallBytes: treeBytes - bigBytes,
      bigBytes,
      signal,
    }),
    recheckTree: await makeTree({
      directory: join(root, recheckPath),
      seed: 2,
      smallFiles: recheckFiles,
      smallBytes: recheckFiles * 4096,
      bigBytes: 0,
      signal,
    }),
  };
  const all: Round[] = [];
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}`);
    all.push(await measureRound(bench, round, await newFolder(join(place, `round-${round + 1}`))));
  }
  return rowsOf(all, recheckFiles);
}

async function main(): Promise<void> {
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interruption.abort());
  const place = await mkdtemp(join(tmpdir(), 'lab-backup-bench-'));
  try {
    await reportBench(await measureAll(place), process.argv.slice(2));
  } catch (error) {
    if (!signal.aborted) throw error;
    say('interrupted');
    process.exitCode = 130;
  } finally {
    await rm(place, { recursive: true, force: true, maxRetries: 3 });
  }
}

await main();
