/**
 * Real processes are killed while they make versions: every version that the server lists restores byte for byte, and no try
 * after a kill sends more than one chunk again. A kill counts only if it struck in mid-transfer: something of what is new was
 * kept, and something was not.
 */
import { execFile } from 'node:child_process';
import { createCipheriv, createHash } from 'node:crypto';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { mkdir, mkdtemp, open, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventually, seededRandom, simulate, type Random } from '@lab/testing';
import type { RunningProcess } from '@lab/testing/processes';
import { describe, expect, it } from 'vitest';
import { isLost, sweep } from '@lab/store';
import { decodeBundle, hashOf } from '@lab/store/bundle';
import { chunksIn, fileChunks } from '@lab/store/chunker';
import { walkUnfinished } from '@lab/store/pack-index';
import { makeKey, writeKey } from '../src/channel/keys.ts';
import { chunkBytesMax, chunksOf, type Entry } from '../src/domain/manifest.ts';
import { entriesOf, nameOf, openStore, type BackupStore, type Version } from '../src/versions.ts';
import { BackupSystem, registeredPath, type RunningNode } from './processes.ts';

const MiB = 1024 * 1024;
/** Offers, manifests and frames around the content. */
const framingBytesMax = 256 * 1024;
const seeds = process.env['CHAOS'] === 'all' ? 100 : 40;
/** Of the kills, so many must strike in mid-transfer; the others struck while the version was being made, or just after. */
const midTransferShareMin = 0.6;
const keep = 4;
/** A node trusts the times of a file that is older (file-cache.ts). */
const knownAfterMs = 2_100;

// A tree that changes, and what it was.

/** Fresh bytes that do not shrink: what is sent of them is as long as they are. */
function freshBytes(random: Random, length: number): Buffer {
  const key = Buffer.from(Array.from({ length: 48 }, () => random.integer(0, 255)));
  return createCipheriv('aes-256-ctr', key.subarray(0, 32), key.subarray(32)).update(Buffer.alloc(length));
}

/** Path to what is there: `folder MODE`, `link TARGET`, `file MODE SIZE SHA-256`. */
type State = ReadonlyMap<string, string>;

const fileText = (mode: number, bytes: Uint8Array): string => `file ${mode.toString(8)} ${bytes.length} ${hashOf(bytes)}`;
const folderText = (mode: number): string => `folder ${mode.toString(8)}`;

/** What is in a folder of the file system, links not followed. */
function stateOf(folder: string): State {
  const state = new Map<string, string>();
  const visit = (path: string): void => {
    const at = join(folder, path);
    const stats = lstatSync(at);
    const mode = stats.mode & 0o7777;
    if (stats.isSymbolicLink()) state.set(path, `link ${readlinkSync(at)}`);
    else if (stats.isFile()) state.set(path, fileText(mode, readFileSync(at)));
    else {
      state.set(path, folderText(mode));
      for (const name of readdirSync(at)) visit(path === '' ? name : `${path}/${name}`);
    }
  };
  visit('');
  return state;
}

class LiveTree {
  readonly #folder: string;
  /** Bytes of each blob that the tree consists of. */
  readonly #blobs = new Map<string, ReadonlyMap<string, number>>();
  readonly #texts = new Map<string, string>();

  constructor(root: string) {
    this.#folder = join(root, registeredPath);
    this.folder('', 0o755);
  }

  get state(): State {
    return new Map(this.#texts);
  }

  /** Hash to length, of all that a version of the tree needs. */
  get blobs(): Map<string, number> {
    return new Map([...this.#blobs.values()].flatMap((blobs) => [...blobs]));
  }

  folder(path: string, mode: number): void {
    mkdirSync(join(this.#folder, path), { recursive: true });
    chmodSync(join(this.#folder, path), mode);
    this.#texts.set(path, folderText(mode));
  }

  file(path: string, mode: number, bytes: Uint8Array): void {
    writeFileSync(join(this.#folder, path), bytes);
    chmodSync(join(this.#folder, path), mode);
    this.#texts.set(path, fileText(mode, bytes));
    this.#blobs.set(path, new Map([...chunksIn(bytes, fileChunks)].map((chunk) => [hashOf(chunk), chunk.length])));
  }

  link(path: string, target: string): void {
    this.remove(path);
    symlinkSync(target, join(this.#folder, path));
    this.#texts.set(path, `link ${target}`);
  }

  remove(path: string): void {
    rmSync(join(this.#folder, path), { recursive: true, force: true });
    for (const known of [...this.#texts.keys()]) {
      if (known !== path && !known.startsWith(`${path}/`)) continue;
      this.#texts.delete(known);
      this.#blobs.delete(known);
    }
  }

  read(path: string): Buffer {
    return this.#texts.has(path) ? readFileSync(join(this.#folder, path)) : Buffer.alloc(0);
  }

  /** About a hundred small files, a large one, and what else a tree has. */
  fill(random: Random): void {
    for (const folder of ['docs', 'docs/deep', 'src', 'zürich']) {
      this.folder(folder, 0o750);
      for (let file = 0; file < 25; file++) this.file(`${folder}/${file}`, 0o644, freshBytes(random, random.integer(0, 20_000)));
    }
    this.link('docs/link', '../src/1');
    this.file('big', 0o600, freshBytes(random, 6 * MiB));
  }

  /**
   * Some small changes, and a large one, so that its transfer takes a while. `large` is the content of that, where it is given.
   */
  change(random: Random, large = freshBytes(random, random.integer(6 * MiB, 10 * MiB))): void {
    const folder = random.pick(['docs', 'docs/deep', 'src', 'zürich']);
    for (let edits = random.integer(0, 8); edits > 0; edits--)
      this.file(`${folder}/${random.integer(0, 30)}`, random.pick([0o644, 0o600]), freshBytes(random, random.integer(1, 60_000)));
    for (let deletes = random.integer(0, 4); deletes > 0; deletes--) this.remove(`${folder}/${random.integer(0, 30)}`);
    if (random.chance(0.2)) this.link('docs/link', `../src/${random.integer(0, 99)}`);
    if (random.chance(0.2)) this.folder('src', random.pick([0o700, 0o755]));
    if (random.chance(0.2)) this.file('empty', 0o644, Buffer.alloc(0));
    const old = this.read('big');
    const isAppended = random.chance(0.3) && old.length < 16 * MiB;
    this.file('big', 0o600, isAppended ? Buffer.concat([old, large]) : large);
  }
}

// What the store has.

/** Whole bundles in packs that have not been completed. */
async function unfinishedHashes(store: BackupStore): Promise<Set<string>> {
  const hashes = new Set<string>();
  const incoming = join(store.directory, 'incoming');
  for (const name of readdirSync(incoming, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.pack')) continue;
    // A living writer may move it away meanwhile: then it is in `packs`.
    const file = await open(join(incoming, name), 'r').catch(() => undefined);
    if (file === undefined) continue;
    for (const { header } of await walkUnfinished(file)) for (const { hash } of header.blobs) hashes.add(hash);
    await file.close();
  }
  return hashes;
}

/** Of the blobs, those that no try has brought so far; their bytes. */
async function lackingBytes(store: BackupStore, blobs: ReadonlyMap<string, number>): Promise<number> {
  const unfinished = await unfinishedHashes(store);
  await store.refresh();
  let sum = 0;
  for (const [hash, bytes] of blobs) if (store.sizeOf(hash) === undefined && !unfinished.has(hash)) sum += bytes;
  return sum;
}

function entryText(entry: Entry): string {
  if (entry.type === 'file') return `file ${entry.mode.toString(8)} ${entry.size} ${entry.sha256}`;
  return entry.type === 'folder' ? folderText(entry.mode) : `link ${entry.target}`;
}

/** A version as a restore would write it: every bundle is read from its pack, every file put together. */
async function restoredState(store: BackupStore, version: Version): Promise<State> {
  const entries: Entry[] = [];
  for await (const entry of entriesOf(store, version)) entries.push(entry);
  const hashes = new Set<string>();
  for await (const hash of store.hashesOf(version)) hashes.add(hash);
  const blobs = new Map<string, Uint8Array>();
  for await (const { bytes: bundle } of store.bundlesWith(hashes))
    for (const { hash, bytes } of decodeBundle(bundle).blobs) blobs.set(hash, bytes);
  for (const entry of entries) {
    if (entry.type !== 'file') continue;
    const content = createHash('sha256');
    for (const [hash] of chunksOf(entry)) content.update(blobs.get(hash)!);
    if (content.digest('hex') !== entry.sha256) throw new Error(`${entry.path} is not what it was`);
  }
  return new Map(entries.map((entry) => [entry.path, entryText(entry)]));
}

/** Bytes in packs that are being written, or were when their writer died. */
function unfinishedBytes(store: string): number {
  const incoming = join(store, 'incoming');
  const packs = readdirSync(incoming, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.pack'));
  return packs.reduce((sum, name) => sum + (statSync(join(incoming, name), { throwIfNoEntry: false })?.size ?? 0), 0);
}

const packNames = (store: string): string[] => readdirSync(join(store, 'packs')).filter((name) => name.endsWith('.pack'));

/** A disk that is soon full, in memory. */
class SmallDisk implements AsyncDisposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async mount(options: string): Promise<SmallDisk> {
    const folder = await mkdtemp(join(tmpdir(), 'backup-disk-'));
    await promisify(execFile)('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder]);
    const disk = new SmallDisk(folder);
    await mkdir(disk.#others);
    return disk;
  }

  get store(): string {
    return join(this.#folder, 'store');
  }

  /** What takes the room. */
  get #others(): string {
    return join(this.#folder, 'others');
  }

  /** Leaves so many bytes. */
  async fill(bytesLeft: number): Promise<void> {
    const { bavail, bsize } = await statfs(this.#folder);
    await writeFile(join(this.#others, 'filler'), Buffer.alloc(bavail * bsize - bytesLeft));
  }

  /** Leaves so many files that can be made. */
  async useUpFiles(filesLeft: number): Promise<void> {
    const { ffree } = await statfs(this.#folder);
    for (let file = filesLeft; file < ffree; file++) await writeFile(join(this.#others, String(file)), '');
  }

  async empty(): Promise<void> {
    await rm(this.#others, { recursive: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await promisify(execFile)('umount', ['--lazy', this.#folder]);
    await rm(this.#folder, { recursive: true });
  }
}

// Kills.

type When = { share: number } | { file: RegExp };
interface Strike {
  victim: string;
  when: When;
}

/** Mostly in the middle of the content; sometimes where a pack is completed, or a version made. */
function drawStrike(random: Random, nodes: readonly string[]): Strike {
  const victim = random.pick(['standalone', random.pick(nodes)]);
  const when = random.chance(0.85)
    ? { share: 0.35 + 0.45 * random.next() }
    : { file: random.pick([/^incoming\/.*\.index$/, /^versions\/.*\.new$/]) };
  return { victim, when };
}

type Place = 'before' | 'in mid-transfer' | 'while the version was made' | 'after';

/** A system under attack: what it should have, and where the kills struck. */
class Siege implements AsyncDisposable {
  readonly system: BackupSystem;
  readonly store: BackupStore;
  readonly trees = new Map<string, LiveTree>();
  readonly struck = new Map<Place, number>();
  /** Of each version that was made, by node and number. */
  readonly #states = new Map<string, State>();

  constructor(system: BackupSystem, store: BackupStore) {
    this.system = system;
    this.store = store;
  }

  static async start(options: { settings?: string[]; store?: string } = {}): Promise<Siege> {
    const system = await BackupSystem.start('kills', options);
    return new Siege(system, await openStore(system.store));
  }

  /** A node whose tree is filled and has its first version. */
  async addNode(name: string, versions = keep): Promise<LiveTree> {
    const { root } = await this.system.addNode(name);
    const tree = new LiveTree(root);
    tree.fill(seededRandom(0).fork(name));
    this.trees.set(name, tree);
    await this.system.register(name, versions);
    await this.backUp(name);
    return tree;
  }

  async backUp(name: string): Promise<void> {
    await this.system.backUp(name);
    await this.expectNewest(name);
  }

  /** No try is under way that might see half of a change. */
  idle(): Promise<unknown> {
    return eventually(async () => {
      const { tasks, nowMs } = await this.system.status();
      return tasks.every(({ current, dueMs }) => current === undefined && dueMs > nowMs);
    });
  }

  /** Changes, a backup and a kill; then the backup succeeds, and nothing of what was kept is sent again. */
  async round(random: Random): Promise<void> {
    await this.idle();
    const names = random.pick([['a'], ['b'], ['a', 'b']]);
    // What both have is sent by one, and the other relies on it.
    const shared = random.chance(0.15) ? freshBytes(random, random.integer(6 * MiB, 10 * MiB)) : undefined;
    for (const name of names) this.trees.get(name)!.change(random.fork(name), shared);
    if (random.chance(0.08)) await this.#grown();
    const newBytes = new Map<string, number>();
    for (const name of names) newBytes.set(name, await this.lackingOf(name));
    const strike = drawStrike(random, names);
    await this.#attack(strike, names, newBytes);
    const sentBytes = new Map(names.map((name) => [name, this.relay(name).bytes]));
    const lacking = new Map<string, number>();
    for (const name of names) {
      lacking.set(name, await this.lackingOf(name));
      if (strike.victim === 'standalone' || strike.victim === name) this.relay(name).mark();
    }
    await this.#note(strike.victim === 'standalone' ? names : [strike.victim], newBytes, lacking);
    await (strike.victim === 'standalone' ? this.system.startStandalone() : this.system.restartNode(strike.victim));
    const failures = new Map(await Promise.all(names.map(async (name) => [name, await this.#backUpAgain(name)] as const)));
    for (const name of names) {
      await this.expectNewest(name);
      // On a busy machine a try may fail of its own, and cost a chunk as any interruption.
      const spareBytes = framingBytesMax + failures.get(name)! * (chunkBytesMax + framingBytesMax);
      const again = this.relay(name).bytes;
      if (strike.victim !== 'standalone' && strike.victim !== name) {
        expect(again).toBeLessThanOrEqual(newBytes.get(name)! + spareBytes);
        continue;
      }
      expect(again, 'what was kept is sent again').toBeLessThanOrEqual(lacking.get(name)! + spareBytes);
      const most = newBytes.get(name)! + chunkBytesMax + framingBytesMax + spareBytes;
      expect(sentBytes.get(name)! + again, 'more than a chunk is sent again').toBeLessThanOrEqual(most);
    }
  }

  /** Backs up until it succeeds; how many tries failed. */
  async #backUpAgain(name: string): Promise<number> {
    const { attempts: before } = await this.system.taskOf(name);
    // One that is under way may be the good one; what is asked for then comes after it.
    const idle = await eventually(
      async () => {
        const task = await this.system.taskOf(name);
        return task.current === undefined && task;
      },
      { timeoutMs: 120_000, intervalMs: 20 },
    );
    const isDone = idle && idle.attempts > before && idle.last?.result !== 'failed';
    await this.system.backUp(name);
    return (await this.system.taskOf(name)).attempts - before - (isDone ? 2 : 1);
  }

  /** The last change is so old that nodes remember what they read: what was interrupted is offered again without being read. */
  async #grown(): Promise<void> {
    const nowMs = Date.now();
    await eventually(() => Date.now() > nowMs + knownAfterMs, { intervalMs: 20 });
  }

  /** Begins the backups, and kills when it is time, or when they are over. */
  async #attack({ victim, when }: Strike, names: readonly string[], newBytes: ReadonlyMap<string, number>): Promise<void> {
    const watched = victim === 'standalone' ? names : [victim];
    const relays = watched.map((name) => this.relay(name));
    const wanted = watched.reduce((sum, name) => sum + newBytes.get(name)!, 0);
    for (const name of names) this.relay(name).mark();
    const attempts = new Map<string, number>();
    for (const name of names) attempts.set(name, await this.system.beginBackup(name));
    const isTime = (): boolean => {
      if (relays.every(({ isOver }) => isOver)) return true;
      if ('file' in when) return this.#isThere(when.file);
      return relays.reduce((sum, { bytes }) => sum + bytes, 0) > when.share * wanted;
    };
    await eventually(isTime, { intervalMs: 1, timeoutMs: 120_000 });
    const program = victim === 'standalone' ? this.system.standalone : this.system.nodes.get(victim)!.program;
    await program.kill();
    // The requester keeps what it has received when it notices.
    if (victim !== 'standalone') await this.system.outcomeAfter(victim, attempts.get(victim)!);
  }

  #isThere(file: RegExp): boolean {
    for (const folder of ['incoming', 'versions'])
      for (const name of readdirSync(join(this.store.directory, folder), { recursive: true, encoding: 'utf8' }))
        if (file.test(`${folder}/${name}`)) return true;
    return false;
  }

  /** Where the work stood when the fault struck. */
  async #note(
    names: readonly string[],
    newBytes: ReadonlyMap<string, number>,
    lacking: ReadonlyMap<string, number>,
  ): Promise<void> {
    const sum = (bytes: ReadonlyMap<string, number>): number => names.reduce((total, name) => total + bytes.get(name)!, 0);
    let place: Place = sum(lacking) === sum(newBytes) ? 'before' : 'in mid-transfer';
    if (sum(lacking) === 0) {
      const made = await Promise.all(names.map((name) => this.#isMade(name)));
      place = made.every(Boolean) ? 'after' : 'while the version was made';
    }
    this.struck.set(place, (this.struck.get(place) ?? 0) + 1);
  }

  async #isMade(name: string): Promise<boolean> {
    const { number } = await this.store.newest(nameOf({ node: name, path: registeredPath }));
    return !this.#states.has(`${name} ${number}`);
  }

  /** The newest version is the tree as it is now, and one more than there were. */
  async expectNewest(name: string): Promise<void> {
    const { state } = this.trees.get(name)!;
    await this.store.refresh();
    const { number, version } = await this.store.newest(nameOf({ node: name, path: registeredPath }));
    const before = [...this.#states.keys()].filter((key) => key.startsWith(`${name} `)).length;
    expect(number).toBe(before + 1);
    expect(await restoredState(this.store, version!)).toEqual(state);
    this.#states.set(`${name} ${number}`, state);
  }

  /** Every version that is listed is what the tree was when it was made; resolves with their number. */
  async expectAllWhole(): Promise<number> {
    const listed = await this.system.list();
    expect(listed.filter(({ state }) => state !== 'whole')).toEqual([]);
    await this.store.refresh();
    const versions = (await this.store.versions()).filter((version): version is Version => !isLost(version));
    expect(versions.map(({ node, version }) => `${node} ${version}`)).toEqual(
      listed.map(({ node, version }) => `${node} ${version}`),
    );
    for (const version of versions)
      expect(await restoredState(this.store, version)).toEqual(this.#states.get(`${version.node} ${version.version}`));
    return versions.length;
  }

  /** As `expectAllWhole`, by the programs that users have: what `restore` writes is what was there. */
  async expectAllRestore(): Promise<void> {
    for (const { node, version } of await this.system.list()) {
      const to = join(this.system.folder, `restored-${node}-${version}`);
      const args = ['--node', node, '--path', registeredPath, '--version', String(version), '--to', to];
      expect(await this.system.admin('restore', ...args)).toEqual({ code: 0, output: expect.any(String) as string });
      expect(stateOf(to)).toEqual(this.#states.get(`${node} ${version}`));
      await rm(to, { recursive: true });
    }
  }

  /** Nothing that a try has brought is needed any more: without this, a hundred rounds would fill the disk. */
  async tidy(): Promise<void> {
    await sweep(this.store, { nowMs: Date.now(), graceMs: 0 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.system[Symbol.asyncDispose]();
    await this.store.close().catch(() => undefined);
  }

  relay(name: string): RunningNode['relay'] {
    return this.system.nodes.get(name)!.relay;
  }

  /** Bytes of the tree as it is now that the store has not got. */
  lackingOf(name: string): Promise<number> {
    return lackingBytes(this.store, this.trees.get(name)!.blobs);
  }
}

/** Its exit code, if it ends in time. */
function endedWithin(program: RunningProcess, timeoutMs: number): Promise<number | null> {
  return Promise.race([program.ended(), eventually(() => !program.isAlive, { timeoutMs }).then(() => program.ended())]);
}

describe.concurrent('a server or a node is killed while it makes a version', () => {
  // Each kill has a limit of its own.
  it(
    'every version that is listed restores byte for byte, and at most a chunk is sent again',
    { timeout: 7_200_000 },
    async () => {
      await using siege = await Siege.start();
      for (const name of ['a', 'b']) await siege.addNode(name);
      let kills = 0;
      await simulate({ seeds, env: process.env, file: import.meta.filename }, async (random, seed) => {
        await siege.round(random);
        kills++;
        if (seed % 10 !== 0) return;
        await siege.tidy();
        const versions = await siege.expectAllWhole();
        const places = [...siege.struck].map(([place, count]) => `${count} ${place}`).join(', ');
        console.log(`${seed} kills: ${places}; ${versions} versions whole`);
      });
      await siege.expectAllWhole();
      await siege.expectAllRestore();
      const verified = await siege.system.admin('verify');
      expect(verified).toEqual({ code: 0, output: expect.stringContaining('all as it was written') as string });
      // What the dead have left was taken over: the standalone's folder and this test's are there.
      expect(readdirSync(join(siege.store.directory, 'incoming'))).toHaveLength(2);
      expect(siege.struck.get('in mid-transfer') ?? 0).toBeGreaterThanOrEqual(midTransferShareMin * kills);
    },
  );

  it('a node that hangs is given up and tried again, and goes on when it thaws', { timeout: 120_000 }, async () => {
    await using siege = await Siege.start();
    const { system } = siege;
    const tree = await siege.addNode('a');
    tree.change(seededRandom(2), freshBytes(seededRandom(2), 12 * MiB));
    const newBytes = await siege.lackingOf('a');
    siege.relay('a').mark();
    const attempts = await system.beginBackup('a');
    await eventually(() => siege.relay('a').bytes > 5 * MiB, { intervalMs: 1 });
    const { program } = system.nodes.get('a')!;
    program.signal('SIGSTOP');
    try {
      const { result, reason } = await system.outcomeAfter('a', attempts, 50_000);
      expect({ result, reason }).toEqual({ result: 'failed', reason: expect.stringMatching(/./) as string });
      const { failures, dueMs, last } = await system.taskOf('a');
      expect(failures).toBeGreaterThan(0);
      expect(dueMs).toBeGreaterThan(last!.endedMs);
    } finally {
      program.signal('SIGCONT');
    }
    const kept = newBytes - (await siege.lackingOf('a'));
    console.log(`the node hung when ${kept} of ${newBytes} bytes were kept`);
    expect(kept).toBeGreaterThan(0);
    expect(kept).toBeLessThan(newBytes);
    await siege.backUp('a');
  });
});

describe('a server is killed while it writes packs anew', () => {
  it('every version that is listed restores byte for byte', { timeout: 600_000 }, async () => {
    const kills = 3;
    await using siege = await Siege.start({ settings: ['--sweep-interval', '1s'] });
    const { system, store } = siege;
    const tree = await siege.addNode('a', 1);
    const random = seededRandom(1);
    let rounds = 0;
    // On a busy machine the moment is often missed.
    for (let struck = 0; struck < kills; rounds++) {
      // Half of a pack is needed on, the other half is not.
      tree.file('stays', 0o644, freshBytes(random, 8 * MiB));
      tree.change(random, freshBytes(random, 6 * MiB));
      await siege.backUp('a');
      tree.file('big', 0o600, freshBytes(random, 6 * MiB));
      await siege.backUp('a');
      const packs = packNames(store.directory);
      const bytes = random.integer(1, MiB / 4);
      // Packs that nothing needs went before; when a new one is there, the moment was missed.
      const isOver = (): boolean => packNames(store.directory).some((pack) => !packs.includes(pack));
      const isUnderWay = (): boolean => unfinishedBytes(store.directory) >= bytes || isOver();
      // It may all have been done before the first look.
      await eventually(isUnderWay, { timeoutMs: 15_000, intervalMs: 1 }).catch(() => undefined);
      await system.standalone.kill();
      if (unfinishedBytes(store.directory) > 0) struck++;
      await system.startStandalone();
      await siege.expectAllWhole();
      await siege.idle();
    }
    console.log(`${kills} of ${rounds} kills while packs were written anew`);
    await siege.expectAllRestore();
  });
});

describe('an admin says shutdown in mid-transfer', () => {
  it('the server ends in good order, and the next one goes on from what was kept', async () => {
    await using siege = await Siege.start();
    const { system } = siege;
    const tree = await siege.addNode('a');
    tree.change(seededRandom(3), freshBytes(seededRandom(3), 12 * MiB));
    const newBytes = await siege.lackingOf('a');
    const relay = siege.relay('a');
    relay.mark();
    relay.holdAfter(6 * MiB);
    await system.beginBackup('a');
    await eventually(async () => relay.isHolding && (await siege.lackingOf('a')) < newBytes);
    expect(await system.admin('shutdown')).toMatchObject({ code: 0 });
    expect(await endedWithin(system.standalone, 10_000)).toBe(0);
    relay.letPass();
    relay.mark();
    const lacking = await siege.lackingOf('a');
    expect(lacking).toBeGreaterThan(0);
    expect(lacking).toBeLessThan(newBytes);
    await system.startStandalone();
    await siege.backUp('a');
    expect(relay.bytes).toBeLessThanOrEqual(lacking + framingBytesMax);
  });
});

describe('somebody has a wrong key', () => {
  it('an admin is turned away by the server, and the server by a node', async () => {
    await using system = await BackupSystem.start('keys');
    const wrong = join(system.folder, 'wrong');
    const refused = { code: 1, output: expect.stringContaining('wrong key') as string };
    const strangers = makeKey();
    for (const identity of ['admin-a', 'node-a']) writeKey(`${wrong}-${identity}`, makeKey(strangers, identity));
    expect(await system.admin('list', '--key-file', `${wrong}-admin-a`)).toEqual(refused);
    const { root } = await system.addNode('a', `${wrong}-node-a`);
    new LiveTree(root).fill(seededRandom(4));
    await system.register('a');
    const { result, reason } = await system.outcomeAfter('a', 0);
    expect({ result, reason }).toEqual({ result: 'failed', reason: expect.stringContaining('wrong key') as string });
    expect(await system.list()).toEqual([]);
    await system.nodes.get('a')!.program.kill();
    await system.restartNode('a');
    expect(await system.backUp('a')).toMatchObject({ version: 1 });
  });

  it('a node that answers at the address of another is found out, and no version is made of it', async () => {
    await using system = await BackupSystem.start('exchanged');
    for (const name of ['a', 'b']) new LiveTree((await system.addNode(name)).root).fill(seededRandom(4));
    await system.register('a', undefined, system.nodes.get('b')!.relay);
    const { result, reason } = await system.outcomeAfter('a', 0);
    expect({ result, reason }).toEqual({ result: 'failed', reason: expect.stringContaining('has no key') as string });
    expect(await system.list()).toEqual([]);
  });
});

/** Only root may mount; in a container, which is where CI runs, that is who runs the tests. */
describe.runIf(process.getuid?.() === 0)('the disk of the store is full', { concurrent: true }, () => {
  it('status says so, versions restore, and when there is room the next backup succeeds', async () => {
    await using disk = await SmallDisk.mount('size=24m');
    await using siege = await Siege.start({ store: disk.store });
    const { system } = siege;
    const tree = await siege.addNode('a');
    tree.change(seededRandom(5), freshBytes(seededRandom(5), 8 * MiB));
    await disk.fill(4 * MiB);
    const { result } = await system.outcomeAfter('a', await system.beginBackup('a'));
    expect(result).toBe('failed');
    expect(await system.admin('status')).toEqual({ code: 0, output: expect.stringContaining('ENOSPC') as string });
    await siege.expectAllRestore();
    await disk.empty();
    await siege.backUp('a');
    await siege.expectAllRestore();
  });

  it('a server that was killed in mid-transfer starts there, and its versions restore', async () => {
    await using disk = await SmallDisk.mount('size=24m');
    await using siege = await Siege.start({ store: disk.store });
    const { system } = siege;
    const tree = await siege.addNode('a');
    tree.change(seededRandom(6), freshBytes(seededRandom(6), 10 * MiB));
    siege.relay('a').mark();
    await system.beginBackup('a');
    await eventually(() => unfinishedBytes(disk.store) > 3 * MiB, { intervalMs: 1 });
    await system.standalone.kill();
    expect(unfinishedBytes(disk.store)).toBeGreaterThan(0);
    await disk.fill(0);
    await system.startStandalone();
    await siege.expectAllRestore();
    await disk.empty();
    await siege.backUp('a');
    await siege.expectAllRestore();
  });

  it.each([0, 1, 2, 3])('%i more files can be made: when there is room again, the next backup succeeds', async (filesLeft) => {
    await using disk = await SmallDisk.mount('size=64m,nr_inodes=100');
    await using siege = await Siege.start({ store: disk.store });
    const tree = await siege.addNode('a');
    tree.change(seededRandom(7), freshBytes(seededRandom(7), 8 * MiB));
    await disk.useUpFiles(filesLeft);
    const { result } = await siege.system.outcomeAfter('a', await siege.system.beginBackup('a'));
    expect(result).toBe('failed');
    await disk.empty();
    await siege.backUp('a');
  });
});
