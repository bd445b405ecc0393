/**
 * A disk in memory, for tests: it knows what is synced and what is not, so it can give every disk that a power cut would leave. It does
 * nothing of its own accord, and takes effect in the order of its calls; so a run on it can be repeated.
 *
 * What a power cut leaves, after "All File Systems Are Not Created Equal" (ALICE, OSDI 2014) and CrashMonkey (OSDI 2018):
 *
 * - of what was written to a file since its last sync: nothing, all, all but the end of the last piece, all but the first piece, or as many
 *   bytes that are 0;
 * - each change of a name in a folder since its last sync, or not, whatever became of the others; a rename as a whole, which the sync of
 *   the folder that it leads to makes durable.
 */
import { hash } from 'node:crypto';
import { basename, dirname } from 'node:path';
import type { Random } from '@lab/testing';
import type { Disk, DiskFile, Stat } from '../src/disk.ts';
import type { HeldLock } from '../src/lock.ts';

/** Bytes are never changed in place, so copies of a disk share them. */
interface File {
  readonly kind: 'file';
  /** What is synced; then, if they are others, what the first piece since then made of it, what there was before the last one, and what is there. */
  contents: Buffer[];
  mtimeMs: number;
  isLocked: boolean;
}

interface Folder {
  readonly kind: 'folder';
  readonly names: Map<string, Entry>;
  readonly synced: Map<string, Entry>;
  mtimeMs: number;
}

type Entry = File | Folder;

/** A name in a folder, and what it is of. */
interface Place {
  folder: Folder;
  name: string;
  entry: Entry;
}

/** A name that comes, or goes, or both: a rename. */
interface Change {
  readonly removed?: Place | undefined;
  readonly added?: Place | undefined;
}

/** One call of the store, before it takes effect. */
export interface DiskCall {
  /** Counts from 1. */
  readonly number: number;
  /** The method of `Disk` or, of an open file, `file.` and that of `DiskFile`. */
  readonly operation: string;
  readonly path: string;
}

/**
 * Stands around every call: what it throws the call throws, when it resolves is when the call does, and without `effect`, which does the
 * work at once, nothing happens.
 */
export type OnCall = <T>(call: DiskCall, effect: () => T) => T | Promise<T>;

export interface FakeDiskOptions {
  /** What makes a name durable: a sync of its folder (POSIX), or only one of the file, or of one in the folder that has the name (GlusterFS). */
  namesSyncedBy?: 'folder' | 'file';
  /** For the times of files, in ms since 1970. Default: always 0. */
  nowMs?: () => number;
}

export class FakeDisk implements Disk {
  /** Default: all calls take effect at once. */
  onCall: OnCall = (_, effect) => effect();
  /** A disk that gets full takes a part of what is written, and then rejects with `ENOSPC`; no file or folder can be made then. */
  bytesMax = Infinity;
  readonly #options: Required<FakeDiskOptions>;
  #root = newFolder(0);
  /** Those that are not durable, the oldest first. */
  #changes: Change[] = [];
  #calls = 0;
  /** What cannot be read: blocks of a file, by their numbers, or `all` of it. */
  readonly #bad = new Map<Entry, Set<number> | 'all'>();

  /** Has one empty folder, `/`. */
  constructor({ namesSyncedBy = 'folder', nowMs = () => 0 }: FakeDiskOptions = {}) {
    this.#options = { namesSyncedBy, nowMs };
  }

  async link(from: string, to: string): Promise<void> {
    await this.#call('link', to, () => {
      const { entry } = this.#existing(from, 'link');
      const place = this.#placeOf(to, 'link');
      if (place.folder.names.has(place.name)) throw diskError('EEXIST', 'link', to);
      this.#change({ added: { ...place, entry } });
    });
  }

  async mkdir(path: string, { recursive = false } = {}): Promise<string | undefined> {
    return this.#call('mkdir', path, () => {
      const there = this.#find(path);
      if (there !== undefined && !(recursive && there.kind === 'folder')) throw diskError('EEXIST', 'mkdir', path);
      if (!recursive) return void this.#makeFolder(path);
      const missing: string[] = [];
      for (let at = path; this.#find(at) === undefined; at = dirname(at)) missing.unshift(at);
      for (const each of missing) this.#makeFolder(each);
      return missing[0];
    });
  }

  async open(path: string, flags: 'r' | 'r+' | 'w' | 'wx+'): Promise<DiskFile> {
    return this.#call('open', path, () => {
      const there = this.#find(path);
      if (there !== undefined && flags === 'wx+') throw diskError('EEXIST', 'open', path);
      if (there?.kind === 'folder' && flags !== 'r') throw diskError('EISDIR', 'open', path);
      const entry = flags.startsWith('r') ? this.#existing(path, 'open').entry : this.#fileAt(path, 'open');
      if (entry.kind === 'file') this.#checkReadable(entry, 'open', path);
      if (flags === 'w') this.#truncate(entry as File, 0);
      return this.#opened(entry, path);
    });
  }

  async readdir(path: string): Promise<string[]> {
    return this.#call('readdir', path, () => {
      const folder = this.#folderAt(path, 'scandir');
      this.#checkReadable(folder, 'scandir', path);
      return [...folder.names.keys()].sort();
    });
  }

  async readFile(path: string): Promise<Buffer> {
    return this.#call('readFile', path, () => {
      const file = fileOf(this.#existing(path, 'open').entry, 'read', path);
      if (this.#bad.has(file)) throw diskError('EIO', 'read', path);
      return Buffer.from(bytesOf(file));
    });
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#call('rename', `${from} to ${to}`, () => {
      const removed = this.#existing(from, 'rename');
      const place = this.#placeOf(to, 'rename');
      const replaced = place.folder.names.get(place.name);
      if (replaced === removed.entry) return;
      if (replaced?.kind === 'file' && removed.entry.kind === 'folder') throw diskError('ENOTDIR', 'rename', to);
      if (replaced?.kind === 'folder' && removed.entry.kind === 'file') throw diskError('EISDIR', 'rename', to);
      if (replaced?.kind === 'folder' && replaced.names.size > 0) throw diskError('ENOTEMPTY', 'rename', to);
      this.#change({ removed, added: { ...place, entry: removed.entry } });
    });
  }

  async rm(path: string, { recursive = false, force = false } = {}): Promise<void> {
    await this.#call('rm', path, () => {
      if (force && this.#find(path) === undefined) return;
      const place = this.#existing(path, 'rm');
      if (place.entry.kind === 'folder' && !recursive) throw diskError('ERR_FS_EISDIR', 'rm', path);
      this.#remove(place);
    });
  }

  async rmdir(path: string): Promise<void> {
    await this.#call('rmdir', path, () => {
      if (this.#folderAt(path, 'rmdir').names.size > 0) throw diskError('ENOTEMPTY', 'rmdir', path);
      this.#change({ removed: this.#existing(path, 'rmdir') });
    });
  }

  async stat(path: string): Promise<Stat> {
    return this.#call('stat', path, () => {
      const { entry } = this.#existing(path, 'stat');
      if (entry.kind === 'file') this.#checkReadable(entry, 'stat', path);
      return statOf(entry);
    });
  }

  async writeFile(path: string, bytes: Uint8Array | string): Promise<void> {
    await this.#call('writeFile', path, () => {
      const file = this.#fileAt(path, 'open');
      this.#truncate(file, 0);
      this.#writeAll(file, Buffer.from(bytes), path);
    });
  }

  async tryLock(path: string, { existing = false } = {}): Promise<HeldLock | undefined> {
    return this.#call('tryLock', path, () => {
      if (existing && this.#find(path) === undefined) return undefined;
      const file = this.#fileAt(path, 'open');
      if (file.isLocked) return undefined;
      file.isLocked = true;
      return { release: () => void (file.isLocked = false) };
    });
  }

  /** The same disk, synced and not synced, without what is open or locked: as a process finds it whose predecessor was killed. */
  copy(): FakeDisk {
    const disk = new FakeDisk(this.#options);
    const twins = new Map<Entry, Entry>();
    disk.#root = twinOf(this.#root, twins) as Folder;
    const twinPlace = (place: Place | undefined): Place | undefined =>
      place && { ...place, folder: twinOf(place.folder, twins) as Folder, entry: twinOf(place.entry, twins) };
    disk.#changes = this.#changes.map(({ removed, added }) => ({ removed: twinPlace(removed), added: twinPlace(added) }));
    return disk;
  }

  /**
   * The disks that a power cut may leave now, each once. Where there are more than so many: nothing and all of what is not synced, these two
   * with a single thing otherwise, and any others, by chance.
   */
  *crashStates(max: number, random: Random): Generator<FakeDisk> {
    const pending = this.#changes.flatMap(({ added }) => added?.entry ?? []);
    const files = [...entriesIn([this.#root, ...pending])].filter(isFile).filter((each) => each.contents.length > 1);
    const contents = files.map(contentsOf);
    const sizes = [...this.#changes.map(() => 2), ...contents.map(({ length }) => length)];
    const seen = new Set<string>();
    for (const choice of choices(sizes, max, random)) {
      const chosen = new Map(files.map((file, index) => [file, contents[index]![choice[this.#changes.length + index]!]!]));
      const changes = this.#changes.filter((_, index) => choice[index] === 1);
      const disk = this.#after(changes, chosen);
      const mark = disk.fingerprint();
      if (seen.has(mark)) continue;
      seen.add(mark);
      yield disk;
    }
  }

  /**
   * Makes something unreadable, with `EIO`: the block of a file that this byte is in, until it is written again; the names in a
   * folder; without `at`, a file altogether.
   */
  spoil(path: string, at?: number): void {
    const { entry } = this.#existing(path, 'spoil');
    const blocks = this.#bad.get(entry);
    if (at === undefined || blocks === 'all') this.#bad.set(entry, 'all');
    else this.#bad.set(entry, new Set(blocks).add(Math.floor(at / blockBytes)));
  }

  /** The bytes of all files. */
  usedBytes(): number {
    return [...entriesIn([this.#root])].reduce((sum, each) => sum + (each.kind === 'file' ? bytesOf(each).length : 0), 0);
  }

  /** Frees all locks, as the end of every process does. */
  freeLocks(): void {
    for (const each of entriesIn([this.#root])) if (each.kind === 'file') each.isLocked = false;
  }

  /** All that is there becomes durable, as it does when enough time goes by. */
  syncAll(): void {
    for (const each of entriesIn([this.#root])) if (each.kind === 'file') each.contents = [bytesOf(each)];
    this.#settle(() => true);
  }

  /** The same for disks with the same names and bytes. */
  fingerprint(): string {
    const lines: string[] = [];
    const numbers = new Map<File, number>();
    const add = (path: string, entry: Entry): void => {
      if (entry.kind === 'folder') {
        lines.push(path);
        for (const [name, each] of [...entry.names].sort(([a], [b]) => (a < b ? -1 : 1))) add(`${path}/${name}`, each);
      } else {
        numbers.set(entry, numbers.get(entry) ?? numbers.size);
        lines.push(`${path} ${numbers.get(entry)} ${digestOf(bytesOf(entry))}`);
      }
    };
    add('', this.#root);
    return hash('sha1', lines.join('\n'));
  }

  async #call<T>(operation: string, path: string, effect: () => T): Promise<T> {
    return this.onCall({ number: ++this.#calls, operation, path }, effect);
  }

  #opened(entry: Entry, path: string): DiskFile {
    let isClosed = false;
    const call = <T>(operation: string, effect: () => T): Promise<T> =>
      this.#call(`file.${operation}`, path, () => {
        if (isClosed) throw diskError('EBADF', operation, path);
        return effect();
      });
    const file = (operation: string): File => fileOf(entry, operation, path);
    return {
      read: (buffer, offset, length, position) =>
        call('read', () => ({ bytesRead: this.#read(file('read'), buffer, offset, position, position + length, path) })),
      write: (bytes, offset, length, position) =>
        call('write', () => ({
          bytesWritten: this.#write(file('write'), Buffer.from(bytes.subarray(offset, offset + length)), position, path),
        })),
      writeFile: (bytes) => call('writeFile', () => this.#writeAll(file('write'), Buffer.from(bytes), path)),
      truncate: (length) => call('truncate', () => this.#truncate(file('ftruncate'), length)),
      stat: () => call('stat', () => statOf(entry)),
      sync: () => call('sync', () => this.#sync(entry)),
      close: () => call('close', () => void (isClosed = true)),
    };
  }

  #find(path: string): Entry | undefined {
    let at: Entry | undefined = this.#root;
    for (const name of path.split('/')) if (name !== '') at = at?.kind === 'folder' ? at.names.get(name) : undefined;
    return at;
  }

  #existing(path: string, syscall: string): Place {
    const entry = this.#find(path);
    if (entry === undefined) throw diskError(this.#reasonMissing(path), syscall, path);
    const folder = this.#find(dirname(path)) as Folder;
    return { folder, name: basename(path), entry };
  }

  #reasonMissing(path: string): string {
    for (let at = dirname(path); ; at = dirname(at)) {
      const entry = this.#find(at);
      if (entry !== undefined) return entry.kind === 'file' ? 'ENOTDIR' : 'ENOENT';
    }
  }

  #folderAt(path: string, syscall: string): Folder {
    const { entry } = this.#existing(path, syscall);
    if (entry.kind === 'file') throw diskError('ENOTDIR', syscall, path);
    return entry;
  }

  /** Where a name is, or may be. */
  #placeOf(path: string, syscall: string): { folder: Folder; name: string } {
    const folder = this.#find(dirname(path));
    if (folder?.kind !== 'folder') throw diskError(this.#reasonMissing(path), syscall, path);
    return { folder, name: basename(path) };
  }

  /** Made where it is missing. */
  #fileAt(path: string, syscall: string): File {
    const place = this.#placeOf(path, syscall);
    const there = place.folder.names.get(place.name);
    if (there !== undefined) return fileOf(there, syscall, path);
    if (this.usedBytes() >= this.bytesMax) throw diskError('ENOSPC', syscall, path);
    const entry: File = { kind: 'file', contents: [Buffer.alloc(0)], mtimeMs: this.#options.nowMs(), isLocked: false };
    this.#change({ added: { ...place, entry } });
    return entry;
  }

  #makeFolder(path: string): void {
    if (this.usedBytes() >= this.bytesMax) throw diskError('ENOSPC', 'mkdir', path);
    const place = this.#placeOf(path, 'mkdir');
    this.#change({ added: { ...place, entry: newFolder(this.#options.nowMs()) } });
  }

  #remove(place: Place): void {
    const { entry } = place;
    if (entry.kind === 'folder') for (const [name, each] of [...entry.names]) this.#remove({ folder: entry, name, entry: each });
    this.#change({ removed: place });
  }

  #change(change: Change): void {
    apply(change, ({ names }) => names);
    for (const place of [change.removed, change.added]) if (place !== undefined) place.folder.mtimeMs = this.#options.nowMs();
    this.#changes.push(change);
  }

  #checkReadable(entry: Entry, syscall: string, path: string): void {
    if (this.#bad.get(entry) === 'all') throw diskError('EIO', syscall, path);
  }

  /** Up to the first block that is bad. */
  #read(file: File, buffer: Buffer, offset: number, from: number, to: number, path: string): number {
    const bad = this.#bad.get(file) ?? new Set();
    const end = Math.min(to, bytesOf(file).length);
    let good = from;
    while (good < end && bad !== 'all' && !bad.has(Math.floor(good / blockBytes)))
      good = (Math.floor(good / blockBytes) + 1) * blockBytes;
    if (good === from && from < end) throw diskError('EIO', 'read', path);
    return bytesOf(file).copy(buffer, offset, from, Math.min(good, to));
  }

  /** As much as the disk has room for. */
  #write(file: File, piece: Buffer, offset: number, path: string): number {
    const before = bytesOf(file);
    const room = this.bytesMax === Infinity ? Infinity : Math.max(0, this.bytesMax - this.usedBytes());
    const length = Math.min(piece.length, Math.max(0, before.length - offset) + room);
    if (length === 0 && piece.length > 0) throw diskError('ENOSPC', 'write', path);
    const after = Buffer.alloc(Math.max(before.length, offset + length));
    before.copy(after);
    piece.copy(after, offset, 0, length);
    this.#put(file, after);
    const bad = this.#bad.get(file);
    for (let at = offset; bad !== undefined && bad !== 'all' && at < offset + length; at += blockBytes)
      bad.delete(Math.floor(at / blockBytes));
    return length;
  }

  #writeAll(file: File, bytes: Buffer, path: string): void {
    for (let at = 0; at < bytes.length;) at += this.#write(file, bytes.subarray(at), at, path);
  }

  #truncate(file: File, length: number): void {
    if (bytesOf(file).length !== length) this.#put(file, Buffer.concat([bytesOf(file)], length));
  }

  #put(file: File, bytes: Buffer): void {
    file.contents = [...file.contents.slice(0, 2), ...file.contents.slice(2).slice(-1), bytes];
    file.mtimeMs = this.#options.nowMs();
  }

  #sync(entry: Entry): void {
    if (entry.kind === 'file') entry.contents = [bytesOf(entry)];
    if (this.#options.namesSyncedBy === 'folder')
      return this.#settle(({ removed, added }) => (added ?? removed)!.folder === entry);
    const kept = new Set<Entry>(entry.kind === 'file' ? [entry, ...foldersAround(entry, this.#root)] : []);
    this.#settle(({ removed, added }) => (added === undefined ? removed!.folder === entry : kept.has(added.entry)));
  }

  #settle(isDurable: (change: Change) => boolean): void {
    let left: Change[] = [];
    for (const change of this.#changes) {
      if (!isDurable(change)) {
        left.push(change);
        continue;
      }
      apply(change, ({ synced }) => synced);
      // What happened to one of these names before does not count any more.
      const without = (place: Place | undefined): Place | undefined =>
        isSame(place, change.removed) || isSame(place, change.added) ? undefined : place;
      left = left.map(({ removed, added }) => ({ removed: without(removed), added: without(added) }));
    }
    this.#changes = left.filter(({ removed, added }) => removed !== undefined || added !== undefined);
  }

  /** As if these changes had been made, and no others. */
  #after(changes: readonly Change[], contents: ReadonlyMap<File, Buffer>): FakeDisk {
    const namesOf = new Map<Folder, Map<string, Entry>>();
    const names = (folder: Folder): Map<string, Entry> => {
      const known = namesOf.get(folder) ?? new Map(folder.synced);
      namesOf.set(folder, known);
      return known;
    };
    for (const change of changes) apply(change, names);
    const twins = new Map<Entry, Entry>();
    const build = (entry: Entry): Entry => {
      const known = twins.get(entry);
      if (known !== undefined) return known;
      const built: Entry =
        entry.kind === 'file'
          ? { ...entry, contents: [contents.get(entry) ?? bytesOf(entry)], isLocked: false }
          : newFolder(
              entry.mtimeMs,
              [...names(entry)].map(([name, each]) => [name, build(each)]),
            );
      twins.set(entry, built);
      return built;
    };
    const disk = new FakeDisk(this.#options);
    disk.#root = build(this.#root) as Folder;
    return disk;
  }
}

/** What Node's errors say of themselves; stores look at the code alone. */
export function diskError(code: string, syscall: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${syscall} '${path}'`), { code, syscall, path });
}

const blockBytes = 4096;

const newFolder = (mtimeMs: number, names: Iterable<[string, Entry]> = []): Folder => {
  const map = new Map(names);
  return { kind: 'folder', names: map, synced: new Map(map), mtimeMs };
};

const isFile = (entry: Entry): entry is File => entry.kind === 'file';

const bytesOf = (file: File): Buffer => file.contents.at(-1)!;

const statOf = (entry: Entry): Stat => ({ size: entry.kind === 'file' ? bytesOf(entry).length : 0, mtimeMs: entry.mtimeMs });

function fileOf(entry: Entry, syscall: string, path: string): File {
  if (entry.kind === 'folder') throw diskError('EISDIR', syscall, path);
  return entry;
}

function apply({ removed, added }: Change, names: (folder: Folder) => Map<string, Entry>): void {
  if (removed !== undefined) names(removed.folder).delete(removed.name);
  if (added !== undefined) names(added.folder).set(added.name, added.entry);
}

const isSame = (one: Place | undefined, other: Place | undefined): boolean =>
  one !== undefined && one.folder === other?.folder && one.name === other.name;

/** These, and all that is below them now or was when it was synced. */
function entriesIn(from: Iterable<Entry>): Set<Entry> {
  const found = new Set(from);
  // A set goes on with what is added to it meanwhile.
  for (const each of found)
    if (each.kind === 'folder') for (const below of [...each.names.values(), ...each.synced.values()]) found.add(below);
  return found;
}

const foldersAround = (file: File, root: Folder): Entry[] =>
  [...entriesIn([root])].filter((each) => each.kind === 'folder' && entriesIn([each]).has(file));

function twinOf(entry: Entry, twins: Map<Entry, Entry>): Entry {
  const known = twins.get(entry);
  if (known !== undefined) return known;
  if (entry.kind === 'file') {
    const twin: File = { ...entry, contents: [...entry.contents], isLocked: false };
    twins.set(entry, twin);
    return twin;
  }
  const twin = newFolder(entry.mtimeMs);
  twins.set(entry, twin);
  for (const [name, each] of entry.names) twin.names.set(name, twinOf(each, twins));
  for (const [name, each] of entry.synced) twin.synced.set(name, twinOf(each, twins));
  return twin;
}

/** What may be in a file after a power cut: from what was synced to what is there. */
function contentsOf({ contents }: File): Buffer[] {
  const [synced, first, before, now] = [contents[0]!, contents[1]!, contents.at(-2)!, contents.at(-1)!];
  const zeros = Buffer.concat([synced], Math.max(synced.length, now.length));
  const variants = [synced, zeros.subarray(0, now.length), torn(before, now), withoutFirst(synced, first, now), now];
  return variants.filter((each, index) => variants.findIndex((other) => other.equals(each)) === index);
}

/** With the first half of what the last piece has changed. */
function torn(before: Buffer, now: Buffer): Buffer {
  const [from, to] = changedRange(before, now);
  const middle = (from + to) >> 1;
  return Buffer.concat([now.subarray(0, middle), before.subarray(middle, now.length)]);
}

/** Without what the first piece has changed. */
function withoutFirst(synced: Buffer, first: Buffer, now: Buffer): Buffer {
  const [from, to] = changedRange(synced, first);
  const without = Buffer.from(now);
  Buffer.concat([synced], Math.max(synced.length, to)).copy(without, from, from, to);
  return without;
}

function changedRange(one: Buffer, other: Buffer): [from: number, to: number] {
  const length = Math.max(one.length, other.length);
  let [from, to] = [0, length];
  while (from < to && one[from] === other[from]) from++;
  while (from < to && one[to - 1] === other[to - 1]) to--;
  return [from, to];
}

const digests = new WeakMap<Buffer, string>();
/** Bytes on a disk never change, so each is digested once. */
function digestOf(bytes: Buffer): string {
  const digest = digests.get(bytes) ?? hash('sha1', bytes);
  digests.set(bytes, digest);
  return digest;
}

/** All ways to take one of each, if they are at most so many; otherwise the extremes and, by chance, some that are one step from them and some others. */
function* choices(sizes: readonly number[], max: number, random: Random): Generator<number[]> {
  const all = sizes.reduce((product, size) => product * size, 1);
  if (all <= max) {
    for (let number = 0; number < all; number++) {
      let rest = number;
      yield sizes.map((size) => {
        const digit = rest % size;
        rest = Math.floor(rest / size);
        return digit;
      });
    }
    return;
  }
  const extremes = [sizes.map(() => 0), sizes.map((size) => size - 1)];
  yield* extremes;
  for (let left = max - extremes.length; left > 0; left--) {
    const index = random.integer(0, sizes.length - 1);
    const any = (size: number): number => random.integer(0, size - 1);
    yield left % 2 === 0 ? sizes.map(any) : random.pick(extremes).with(index, any(sizes[index]!));
  }
}
