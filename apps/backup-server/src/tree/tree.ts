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
  type Stats,
} from 'node:fs';
import { createHash } from 'node:crypto';
import { hashOf, type Blob } from '@lab/store/bundle';
import { cutAt, fileChunks } from '@lab/store/chunker';
import { excluding } from '../domain/exclude.ts';
import { bytesFromName, isText, nameFromBytes } from '../domain/file-names.ts';
import { entriesMax, sorted, type Chunk, type FileEntry, type FolderEntry, type LinkEntry } from '../domain/manifest.ts';
import { FileCache, stampOf, type Known } from './file-cache.ts';

/**
 * A file as the survey found it; `known` says its content without reading it, if it cannot have changed since it was read last.
 */
export interface SurveyedFile extends Omit<FileEntry, 'sha256' | 'chunks'> {
  known: Known | undefined;
}
export type Surveyed = FolderEntry | LinkEntry | SurveyedFile;

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

export interface Survey {
  /** Sorted by path; the first is the registered path itself, ``. */
  items: Surveyed[];
  notes: TreeNote[];
}

/** There is no such path, or it may not be served. */
export class PathError extends Error {
  override readonly name = 'PathError';
}

export type Progress = (files: number, bytes: number) => void;

/** The walk gives others a turn after so many entries: about 5 ms. */
const entriesPerTurn = 500;
const readsMax = 3;

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

  /** What is below a path now. Nothing is read but folders. */
  async survey(path: string, progress: Progress, { exclude = [], oneFileSystem = true }: Scope = {}): Promise<Survey> {
    this.#checkPath(path);
    const device = oneFileSystem ? lstatSync(this.#fsPath(path, '')).dev : undefined;
    const walk: Walk = { registered: path, device, items: [], notes: [], files: 0, bytes: 0 };
    const isExcluded = excluding(exclude);
    const known = this.#cache.of(path);
    this.#visit(walk, '', known);
    const folders = walk.items[0]?.type === 'folder' ? [''] : [];
    let nextTurn = entriesPerTurn;
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      for (const name of this.#namesIn(walk, folder)) {
        const below = folder === '' ? name : `${folder}/${name}`;
        const entry = isExcluded(below) ? undefined : this.#visit(walk, below, known);
        if (entry?.type === 'folder') folders.push(entry.path);
        if (walk.items.length < nextTurn) continue;
        if (walk.items.length > entriesMax)
          throw new PathError(`"${path}" has more than ${entriesMax} entries: register parts of it`);
        nextTurn = walk.items.length + entriesPerTurn;
        progress(walk.files, walk.bytes);
        await turn();
      }
    }
    return { items: sorted(walk.items), notes: walk.notes };
  }

  /**
   * Reads a file; `take` gets its chunks, of this try or of one before that turned out to be of a file that changed. Resolves
   * with the entry, or with why there is none.
   */
  async read(
    registered: string,
    file: SurveyedFile,
    take: (blob: Blob) => Promise<void>,
  ): Promise<{ entry?: FileEntry; note?: string }> {
    for (let reads = 1; ; reads++) {
      const path = this.#fsPath(registered, file.path);
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
        const { entry, changed } = await this.#readOpen(registered, file, descriptor, taking);
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

  /** Keeps what is known over a restart, and forgets files that the survey has not found. */
  saveCache(registered: string, survey: Survey): Promise<void> {
    return this.#cache.save(registered, survey.items);
  }

  async #readOpen(
    registered: string,
    file: SurveyedFile,
    descriptor: number,
    take: (blob: Blob) => Promise<void>,
  ): Promise<{ entry: FileEntry; changed: boolean }> {
    const openedMs = Date.now();
    const before = fstatSync(descriptor);
    if (!before.isFile()) throw new PathError('it is no file any more');
    const chunks: Chunk[] = [];
    const whole = before.size > fileChunks.min ? createHash('sha256') : undefined;
    let size = 0;
    for await (const bytes of chunksOfFile(descriptor, before.size)) {
      const hash = hashOf(bytes);
      whole?.update(bytes);
      chunks.push([hash, bytes.length]);
      size += bytes.length;
      await take({ hash, bytes });
    }
    const sha256 = whole?.digest('hex') ?? chunks[0]?.[0] ?? hashOf(Buffer.alloc(0));
    const known: Known =
      chunks.length > 1 || (chunks[0] !== undefined && chunks[0][0] !== sha256) ? { sha256, chunks } : { sha256 };
    const after = fstatSync(descriptor);
    const changed = size !== before.size || !sameStamp(before, after);
    if (!changed) this.#cache.learn(registered, file.path, before, openedMs, known);
    const entry: FileEntry = { type: 'file', path: file.path, mode: after.mode & 0o7777, mtimeMs: after.mtimeMs, size, ...known };
    return { entry, changed };
  }

  /** Every part of the path is a folder, and no link; the last may be a file. */
  #checkPath(path: string): void {
    if (path === '.') return;
    const parts = path.split('/');
    if (path.startsWith('/') || parts.some((part) => part === '' || part === '.' || part === '..') || path.includes('\0'))
      throw new PathError(`"${path}" is not a path below the root`);
    parts.forEach((_, index) => {
      const part = parts.slice(0, index + 1).join('/');
      let stats: Stats;
      try {
        stats = lstatSync(this.#fsPath(part, ''));
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

  #visit(walk: Walk, path: string, known: ReadonlyMap<string, Known & { stamp: readonly number[] }>): Surveyed | undefined {
    const at = this.#fsPath(walk.registered, path);
    try {
      const stats = lstatSync(at);
      const entry = this.#entryOf(path, at, stats, known);
      if (entry === undefined) {
        walk.notes.push({ path, note: `${kindOf(stats)} is not backed up` });
        return undefined;
      }
      walk.items.push(entry);
      if (entry.type === 'folder' && stats.dev !== (walk.device ?? stats.dev)) {
        walk.notes.push({ path, note: 'another file system is mounted here; what is in it is not backed up' });
        return undefined;
      }
      if (entry.type === 'file') {
        walk.files++;
        walk.bytes += entry.size;
      }
      return entry;
    } catch (error) {
      // Whoever removes a file while the folder is listed was quicker: it is not there.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT') walk.notes.push({ path, note: reasonOf(error as NodeJS.ErrnoException) });
      return undefined;
    }
  }

  #entryOf(
    path: string,
    at: string | Buffer,
    stats: Stats,
    known: ReadonlyMap<string, Known & { stamp: readonly number[] }>,
  ): Surveyed | undefined {
    const { mtimeMs, size } = stats;
    const mode = stats.mode & 0o7777;
    if (stats.isDirectory()) return { type: 'folder', path, mode, mtimeMs };
    if (stats.isSymbolicLink()) return { type: 'link', path, target: nameFromBytes(readlinkSync(at, 'buffer')), mtimeMs };
    if (!stats.isFile()) return undefined;
    const learnt = known.get(path);
    const fresh = learnt !== undefined && stampOf(stats).every((value, index) => value === learnt.stamp[index]);
    return { type: 'file', path, mode, mtimeMs, size, known: fresh ? learnt : undefined };
  }

  /** Names in a folder that is still where it was: one that was exchanged for a link meanwhile has none. */
  #namesIn(walk: Walk, folder: string): string[] {
    const at = this.#fsPath(walk.registered, folder);
    try {
      const names = readdirSync(at, 'utf8');
      const whole = names.some((name) => name.includes('\ufffd')) ? readdirSync(at, 'buffer').map(nameFromBytes) : names;
      if (!Buffer.from(at).equals(realpathSync.native(at, 'buffer'))) throw new PathError('it became a link while it was listed');
      return whole;
    } catch (error) {
      walk.notes.push({ path: folder, note: `${reasonOf(error as NodeJS.ErrnoException)}; what is in it is not backed up` });
      return [];
    }
  }

  /** What was opened is where we think it is: a folder on the way may have been exchanged for a link since the survey. */
  #checkInside(descriptor: number, path: string | Buffer): void {
    const link = `/proc/self/fd/${descriptor}`;
    const actual = hasProc ? readlinkSync(link, 'buffer') : realpathSync.native(path, 'buffer');
    if (!actual.equals(Buffer.from(path))) throw new PathError('it is not where it was: a folder above it became a link');
  }

  #fsPath(registered: string, path: string): string | Buffer {
    const below = [registered === '.' ? '' : registered, path].filter((part) => part !== '').join('/');
    const full = below === '' ? this.#root : `${this.#root === '/' ? '' : this.#root}/${below}`;
    return isText(full) ? full : Buffer.from(bytesFromName(full));
  }
}

interface Walk extends Survey {
  registered: string;
  /** What is on another is left out, if there is one. */
  device: Stats['dev'] | undefined;
  files: number;
  bytes: number;
}

const hasProc = existsSync('/proc/self/fd');

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const sameStamp = (a: Stats, b: Stats): boolean => stampOf(a).every((value, index) => value === stampOf(b)[index]);

/** The content up to the size that the file had when it was opened; less where it shrinks. */
async function* chunksOfFile(descriptor: number, size: number): AsyncGenerator<Buffer> {
  let held: Buffer = Buffer.alloc(0);
  let read = 0;
  while (read < size || held.length > 0) {
    if (read < size && held.length < fileChunks.max) {
      const window = Buffer.allocUnsafe(Math.min(fileChunks.max, held.length + size - read));
      held.copy(window);
      const count = readSync(descriptor, window, held.length, window.length - held.length, read);
      if (count === 0) size = read;
      held = window.subarray(0, held.length + count);
      read += count;
      if (read < size && held.length < fileChunks.max) continue;
    }
    const length = size <= fileChunks.min ? held.length : cutAt(held, fileChunks);
    if (length > 0) yield held.subarray(0, length);
    held = held.subarray(length);
    // Large files are read a piece a turn.
    if (size > fileChunks.max) await turn();
  }
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return 'vanished before it was read';
  if (error.code === 'EACCES' || error.code === 'EPERM') return 'may not be read by the node';
  if (error.code === 'ELOOP') return 'became a link before it was read';
  return `cannot be read: ${error.message}`;
}

function kindOf(stats: Stats): string {
  if (stats.isSocket()) return 'a socket';
  return stats.isFIFO() ? 'a named pipe' : 'a device';
}
