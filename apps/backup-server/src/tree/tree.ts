/**
 * The files below a node's root: what is there, and its content, without ever leaving the root. Links are never followed. Each
 * file is opened once and read from one descriptor, and what is sent is what was hashed. A file that changes meanwhile is read
 * again, and after three times taken as it came, with a note.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  realpathSync,
  type BigIntStats,
} from 'node:fs';
import { createHash } from 'node:crypto';
import { getSystemErrorMap } from 'node:util';
import { hashOf, type Blob } from '@lab/store/bundle';
import { cutAt, fileChunks } from '@lab/store/chunker';
import { excluding } from '../domain/exclude.ts';
import { bytesFromName, isText, nameFromBytes } from '../domain/file-names.ts';
import type { Chunk, FileEntry, FolderEntry, LinkEntry } from '../domain/manifest.ts';
import { stampOf, type FileCache, type Known, type KnownFiles } from './file-cache.ts';

/**
 * A file as the walk found it; `known` says its content without reading it, if it cannot have changed since it was read last.
 */
export interface FoundFile extends Omit<FileEntry, 'sha256' | 'chunks'> {
  known: Known | undefined;
}
export type Found = FolderEntry | LinkEntry | FoundFile;

export interface TreeNote {
  path: string;
  note: string;
}

/** What of a path is wanted. */
export interface Scope {
  /** Patterns of what is not (exclude.ts). */
  exclude?: readonly string[] | undefined;
  /** Default: nothing that is mounted below the path. */
  oneFileSystem?: boolean | undefined;
}

/** What is below a path, for one backup. */
export interface Walk extends Disposable {
  /**
   * All that is there now, in the order of a manifest; the first is the registered path itself, ``. Nothing is read but folders. Each
   * iteration looks again. A `PathError` where there is nothing that can be backed up.
   */
  [Symbol.iterator](): Iterator<Found>;
  /** What the last iteration met and could not take, the first of them, and how many more. */
  readonly notes: Notes;
  /**
   * Reads a file; `take` gets its chunks, of this try or of one before that turned out to be of a file that changed. Resolves
   * with the entry, or with why there is none.
   */
  read(file: FoundFile, take: (blob: Blob) => Promise<void>): Promise<{ entry?: FileEntry; note?: string }>;
  /** A file was taken as it is known. */
  seen(file: FoundFile): void;
  /** A `PathError` where the manifest would have more entries, or more bytes, by the names and sizes that are there; nothing is read. */
  checkSize(entriesMax: number, bytesMax: number): Promise<void>;
  /** All that is there was read or seen: what is known of others can go. */
  forgetOthers(): void;
}

/** There is no such path, or it may not be served. */
export class PathError extends Error {
  override readonly name = 'PathError';
}

/** Notes that a version keeps; the rest is a number. */
const notesMax = 100;

export class Notes {
  readonly list: TreeNote[] = [];
  leftOut = 0;

  add(path: string, note: string): void {
    if (this.list.length < notesMax) this.list.push({ path, note });
    else this.leftOut++;
  }
}

const readsMax = 3;
/** Of a file that says its size is 0: it may never end. */
const sizelessBytesMax = 64 * 1024 * 1024;
/** Of a line of a manifest, without its path. */
const entryBytesMin = 60;
/** Of what a line has for each chunk. */
const chunkBytesMin = 75;

export class Tree {
  readonly #root: string;
  readonly #cache: FileCache;

  /** The root must be a folder. */
  constructor(root: string, cache: FileCache) {
    try {
      this.#root = realpathSync.native(root);
      if (!lstatSync(this.#root).isDirectory()) throw new Error('it is no folder');
    } catch (error) {
      throw new PathError(`the root ${root} cannot be served: ${(error as Error).message}`);
    }
    this.#cache = cache;
  }

  open(registered: string, scope: Scope = {}): Walk {
    return new TreeWalk(this.#root, registered, scope, this.#cache.open(registered));
  }
}

class TreeWalk implements Walk {
  readonly #root: string;
  readonly #registered: string;
  readonly #isExcluded: (path: string) => boolean;
  readonly #oneFileSystem: boolean;
  readonly #known: KnownFiles;
  notes = new Notes();

  constructor(root: string, registered: string, { exclude = [], oneFileSystem = true }: Scope, known: KnownFiles) {
    this.#root = root;
    this.#registered = registered;
    this.#isExcluded = excluding(exclude);
    this.#oneFileSystem = oneFileSystem;
    this.#known = known;
  }

  *[Symbol.iterator](): Generator<Found> {
    this.#checkPath();
    this.notes = new Notes();
    const top = this.#visit('');
    // Nothing found and nothing there are two things: an empty version would let the whole ones go.
    if (top === undefined)
      throw new PathError(`"${this.#registered}" cannot be looked at: ${this.notes.list[0]?.note ?? 'it vanished'}`);
    yield top.found;
    // Of each folder on the way down, what is left in it.
    const folders = top.found.type === 'folder' ? [this.#in('')] : [];
    for (let folder = folders.at(-1); folder !== undefined; folder = folders.at(-1)) {
      const { value: path } = folder.next();
      if (path === undefined) folders.pop();
      const visited = path === undefined || this.#isExcluded(path) ? undefined : this.#visit(path);
      if (visited === undefined) continue;
      const { found, device } = visited;
      yield found;
      if (found.type !== 'folder') continue;
      if (!this.#oneFileSystem || device === top.device) folders.push(this.#in(found.path));
      else this.notes.add(found.path, 'another file system is mounted here; what is in it is not backed up');
    }
  }

  async read(file: FoundFile, take: (blob: Blob) => Promise<void>): Promise<{ entry?: FileEntry; note?: string }> {
    for (let reads = 1; ; reads++) {
      const path = this.#fsPath(file.path);
      let descriptor: number;
      try {
        descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      } catch (error) {
        return { note: reasonOf(error as NodeJS.ErrnoException) };
      }
      let isTaking = false;
      const taking = async (blob: Blob): Promise<void> => {
        isTaking = true;
        await take(blob);
        isTaking = false;
      };
      try {
        this.#checkInside(descriptor, path);
        const { entry, changed } = await this.#readOpen(file, descriptor, taking);
        if (!changed) return { entry };
        if (reads === readsMax)
          return { entry, note: 'changed while it was read, each of three times; this is how it was read last' };
      } catch (error) {
        if (!isTaking && (error instanceof PathError || 'code' in (error as Error)))
          return { note: reasonOf(error as NodeJS.ErrnoException) };
        throw error;
      } finally {
        closeSync(descriptor);
      }
    }
  }

  async checkSize(entriesMax: number, bytesMax: number): Promise<void> {
    let [entries, bytes] = [1, entryBytesMin];
    const folders = [''];
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      for (const { name, isFolder } of this.#entriesIn(folder)) {
        const path = folder === '' ? name : `${folder}/${name}`;
        if (this.#isExcluded(path)) continue;
        if (isFolder) folders.push(path);
        entries++;
        bytes += entryBytesMin + path.length + (isFolder ? 0 : this.#chunksOf(path) * chunkBytesMin);
      }
      if (entries > entriesMax)
        throw new PathError(`"${this.#registered}" has more than ${entriesMax} entries: register parts of it`);
      if (bytes > bytesMax)
        throw new PathError(`the manifest of "${this.#registered}" would have more than ${bytesMax} bytes: register parts of it`);
      await turn();
    }
  }

  /** In how many chunks a file is, about: those of holes are as long as can be. */
  #chunksOf(path: string): number {
    try {
      const { size, blocks } = lstatSync(this.#fsPath(path));
      const held = Math.min(size, blocks * 512);
      return size <= fileChunks.max ? 0 : held / fileChunks.average + (size - held) / fileChunks.max;
    } catch {
      // Whatever it is, the walk will say it.
      return 0;
    }
  }

  seen({ path }: FoundFile): void {
    this.#known.touch(path);
  }

  forgetOthers(): void {
    this.#known.forgetOthers();
  }

  [Symbol.dispose](): void {
    this.#known[Symbol.dispose]();
  }

  async #readOpen(
    file: FoundFile,
    descriptor: number,
    take: (blob: Blob) => Promise<void>,
  ): Promise<{ entry: FileEntry; changed: boolean }> {
    const openedMs = Date.now();
    const before = fstatSync(descriptor, { bigint: true });
    if (!before.isFile()) throw new PathError('it is no file any more');
    const chunks: Chunk[] = [];
    const stated = Number(before.size);
    // procfs and some of FUSE do not say what a file has.
    const isSizeless = stated === 0 && readSync(descriptor, Buffer.alloc(1), 0, 1, 0) > 0;
    const expected = isSizeless ? sizelessBytesMax : stated;
    const whole = expected > fileChunks.min ? createHash('sha256') : undefined;
    let size = 0;
    for await (const bytes of chunksOfFile(descriptor, expected)) {
      const hash = hashOf(bytes);
      whole?.update(bytes);
      chunks.push([hash, bytes.length]);
      size += bytes.length;
      await take({ hash, bytes });
    }
    const sha256 = whole?.digest('hex') ?? chunks[0]?.[0] ?? hashOf(Buffer.alloc(0));
    const known: Known =
      chunks.length > 1 || (chunks[0] !== undefined && chunks[0][0] !== sha256) ? { sha256, chunks } : { sha256 };
    const after = fstatSync(descriptor, { bigint: true });
    if (isSizeless && size === expected) throw new PathError(`it says no size, and has more than ${expected} bytes`);
    const changed = !isSizeless && (size !== expected || stampOf(before) !== stampOf(after));
    if (!changed && !isSizeless) this.#known.learn(file.path, before, openedMs, known);
    return { entry: { type: 'file', path: file.path, mode: modeOf(after), mtimeMs: mtimeMsOf(after), size, ...known }, changed };
  }

  /** Every part of the path is a folder, and no link; the last may be a file. */
  #checkPath(): void {
    const path = this.#registered;
    if (path === '.') return;
    const parts = path.split('/');
    if (path.startsWith('/') || parts.some((part) => part === '' || part === '.' || part === '..') || path.includes('\0'))
      throw new PathError(`"${path}" is not a path below the root`);
    parts.forEach((_, index) => {
      const part = parts.slice(0, index + 1).join('/');
      let stats: BigIntStats;
      try {
        stats = lstatSync(fsPath(this.#root, part), { bigint: true });
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        const reason = code === 'ENOENT' ? "is not there, below the node's root" : reasonOf(error as NodeJS.ErrnoException);
        throw new PathError(`"${part}" ${reason}`);
      }
      if (stats.isSymbolicLink())
        throw new PathError(`"${part}" is a symbolic link: register the path that it points to, if that is below the root`);
      if (!stats.isDirectory() && !(stats.isFile() && index === parts.length - 1))
        throw new PathError(`"${part}" is neither a file nor a folder`);
    });
  }

  #visit(path: string): { found: Found; device: bigint } | undefined {
    const at = this.#fsPath(path);
    try {
      const stats = lstatSync(at, { bigint: true });
      const found = this.#foundAs(path, at, stats);
      if (found !== undefined) return { found, device: stats.dev };
      this.notes.add(path, `${kindOf(stats)} is not backed up`);
      return undefined;
    } catch (error) {
      // Whoever removes a file while the folder is listed was quicker: it is not there.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT') this.notes.add(path, reasonOf(error as NodeJS.ErrnoException));
      return undefined;
    }
  }

  #foundAs(path: string, at: string | Buffer, stats: BigIntStats): Found | undefined {
    const [mode, mtimeMs] = [modeOf(stats), mtimeMsOf(stats)];
    if (stats.isDirectory()) return { type: 'folder', path, mode, mtimeMs };
    if (stats.isSymbolicLink()) return { type: 'link', path, target: nameFromBytes(readlinkSync(at, 'buffer')), mtimeMs };
    if (!stats.isFile()) return undefined;
    return { type: 'file', path, mode, mtimeMs, size: Number(stats.size), known: this.#known.of(path, stats) };
  }

  *#in(folder: string): Generator<string, undefined> {
    for (const name of this.#namesIn(folder)) yield folder === '' ? name : `${folder}/${name}`;
  }

  /** Names in a folder that is still where it was, sorted: one that was exchanged for a link meanwhile has none. */
  #namesIn(folder: string): string[] {
    const at = this.#fsPath(folder);
    try {
      const names = readdirSync(at, 'utf8');
      const whole = names.some((name) => name.includes('\ufffd')) ? readdirSync(at, 'buffer').map(nameFromBytes) : names;
      if (!Buffer.from(at).equals(realpathSync.native(at, 'buffer'))) throw new PathError('it became a link while it was listed');
      return whole.sort();
    } catch (error) {
      const reason = reasonOf(error as NodeJS.ErrnoException);
      if (folder === '') throw new PathError(`"${this.#registered}" ${reason}`);
      this.notes.add(folder, `${reason}; what is in it is not backed up`);
      return [];
    }
  }

  /** Without a look at any of them: nothing of a folder that cannot be listed, or that is not to be gone into. */
  #entriesIn(folder: string): { name: string; isFolder: boolean }[] {
    try {
      const at = this.#fsPath(folder);
      const device = (path: string | Buffer): number => lstatSync(path).dev;
      if (this.#oneFileSystem && device(at) !== device(this.#fsPath(''))) return [];
      return readdirSync(at, { withFileTypes: true }).map((each) => ({ name: each.name, isFolder: each.isDirectory() }));
    } catch {
      return [];
    }
  }

  /** What was opened is where we think it is: a folder on the way may have been exchanged for a link since it was listed. */
  #checkInside(descriptor: number, path: string | Buffer): void {
    const link = `/proc/self/fd/${descriptor}`;
    const actual = hasProc ? readlinkSync(link, 'buffer') : realpathSync.native(path, 'buffer');
    if (!actual.equals(Buffer.from(path))) throw new PathError('it is not where it was: a folder above it became a link');
  }

  #fsPath(path: string): string | Buffer {
    return fsPath(this.#root, [this.#registered === '.' ? '' : this.#registered, path].filter((part) => part !== '').join('/'));
  }
}

function fsPath(root: string, below: string): string | Buffer {
  const full = below === '' ? root : `${root === '/' ? '' : root}/${below}`;
  return isText(full) ? full : Buffer.from(bytesFromName(full));
}

const modeOf = ({ mode }: BigIntStats): number => Number(mode) & 0o7777;
const mtimeMsOf = ({ mtimeNs }: BigIntStats): number => Number(mtimeNs) / 1e6;

const hasProc = existsSync('/proc/self/fd');

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The content up to the size that the file had when it was opened; less where it shrinks. */
async function* chunksOfFile(descriptor: number, size: number): AsyncGenerator<Buffer> {
  if (size <= fileChunks.min) {
    const bytes = Buffer.allocUnsafe(size);
    const read = readWhole(descriptor, bytes, 0, 0);
    if (read > 0) yield bytes.subarray(0, read);
    return;
  }
  // One window for all: a chunk is copied out, for it is held until it is sent.
  const window = Buffer.allocUnsafe(fileChunks.max);
  let [held, at] = [0, 0];
  do {
    const read = readWhole(descriptor, window.subarray(0, held + Math.min(window.length - held, size - at)), held, at);
    if (read < window.length - held) size = at + read;
    held += read;
    at += read;
    const length = cutAt(window.subarray(0, held), fileChunks);
    if (length > 0) yield Buffer.from(window.subarray(0, length));
    window.copyWithin(0, length, held);
    held -= length;
    // A piece a turn.
    await turn();
  } while (held > 0 || at < size);
}

/** Fills `bytes` from an offset in it with what stands at `position`; how much there was. */
function readWhole(descriptor: number, bytes: Buffer, offset: number, position: number): number {
  let read = 0;
  while (offset + read < bytes.length) {
    const count = readSync(descriptor, bytes, offset + read, bytes.length - offset - read, position + read);
    if (count === 0) break;
    read += count;
  }
  return read;
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return 'vanished before it was read';
  if (error.code === 'EACCES' || error.code === 'EPERM') return 'may not be read by the node';
  if (error.code === 'ELOOP') return 'became a link before it was read';
  // Not its message: where the root is concerns nobody elsewhere.
  const [code, text] = getSystemErrorMap().get(error.errno ?? 0) ?? [];
  return `cannot be read: ${code === undefined ? error.message : `${text} (${code})`}`;
}

function kindOf(stats: BigIntStats): string {
  if (stats.isSocket()) return 'a socket';
  return stats.isFIFO() ? 'a named pipe' : 'a device';
}
