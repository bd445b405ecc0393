/**
 * Writes a version into a folder: a new one, an empty one, or that of a restore of this version that was broken off, which goes
 * on from what is there and as it should be. Nothing that is there is ever replaced or followed. Files are written by a thread of
 * their own: making twenty thousand of them takes as long as all the rest. Links come after all files, and folders get their
 * modes and times when nothing more comes into them.
 */
import { constants, type Stats } from 'node:fs';
import { chmod, lstat, mkdir, open, readdir, readlink, rmdir, stat } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import { ExitError, exitCodes } from '@lab/process';
import { hashOf } from '@lab/store/bundle';
import { DamagedError, type Download } from './download.ts';
import { nameFromBytes, printable } from '../domain/file-names.ts';
import { chunksOf, type Chunk, type Entry, type FileEntry, type FolderEntry } from '../domain/manifest.ts';
import { modeBits, placeOf } from './places.ts';
import type { BatchResult, Piece, Unwritten } from './restore-thread.ts';

/** Pieces travel to the thread in batches, of which few are under way. */
const batchBytes = 2 * 1024 * 1024;
const batchPieces = 256;
const batchesMax = 6;

/** That it is a folder, or can be made: before anything is asked of the server, and nothing is left of it. */
export async function checkFolder(folder: string): Promise<void> {
  const place = placeOf(folder, '');
  if (await makeFolder(place)) await rmdir(place);
  else if (!(await stat(place)).isDirectory()) await readdir(place);
}

/** Whether it was not there. */
async function makeFolder(place: string | Buffer): Promise<boolean> {
  try {
    await mkdir(place);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  }
}

export interface Restoring {
  /** What is wanted of the version. */
  entries: readonly Entry[];
  /** All that is in the version: what is there may be of another restore of it. */
  all: readonly Entry[];
  /** The content of these entries, in their order. */
  download: (entries: readonly Entry[]) => Download;
  progress: (bytes: number) => void;
  /** What a path that is a single file is called in the folder. */
  name: string;
  /** Damage costs the file that has it, and no other. */
  partial: boolean;
}

/** What was not restored, and why; and the damage that came to light. */
export interface Restored {
  unwritten: Unwritten[];
  damage: DamagedError[];
}

/** Into a folder that is made where it is missing. What has been written when this rejects stays. */
export async function restoreTo(folder: string, restoring: Restoring): Promise<Restored> {
  const { all, entries, name, download, progress } = restoring;
  const isSingle = all[0]?.path === '' && all[0].type !== 'folder';
  const placed = (each: readonly Entry[]): Entry[] => (isSingle ? each.map((entry) => ({ ...entry, path: name })) : [...each]);
  await makeFolder(placeOf(folder, ''));
  const { kept, opened } = await lookThrough(folder, placed(all));
  const files = placed(entries).map((entry) => (entry.type === 'file' ? remaining(entry, kept.get(entry.path)) : entry));
  for (const file of files) if ('from' in file) progress(file.from);
  const thread = new Thread(folder);
  const restored: Restored = { unwritten: thread.unwritten, damage: [] };
  try {
    const content = download(files);
    for (const entry of files) {
      if (entry.type === 'folder') await thread.do({ what: 'folder', path: entry.path });
      else if ('from' in entry) await writeFile(thread, entry, content, restoring, restored);
    }
    for (const entry of files)
      if (entry.type === 'link' && !kept.has(entry.path))
        await thread.do({ what: 'link', path: entry.path, target: entry.target, mtimeMs: entry.mtimeMs });
    const unsealed = new Set<Entry>([...entries, ...opened]);
    for (const entry of all.toReversed())
      if (entry.type === 'folder' && unsealed.has(entry))
        await thread.do({ what: 'seal', path: entry.path, mode: entry.mode, mtimeMs: entry.mtimeMs });
    await thread.end();
    return restored;
  } catch (error) {
    // What has come is kept.
    await thread.end().catch(() => undefined);
    throw error;
  } finally {
    await thread.terminate();
  }
}

/** What is in the folder of a file or a link already, as it should be. */
interface Kept {
  /** Of a file: so many chunks from its beginning. */
  chunks: number;
  isWhole: boolean;
}

/** What has still to be written of a file: its last chunks, from a place on. */
interface Remaining extends FileEntry {
  chunks: Chunk[];
  from: number;
  isThere: boolean;
  isWhole: boolean;
}

function remaining(file: FileEntry, kept: Kept | undefined): Remaining {
  const all = chunksOf(file);
  const chunks = all.slice(kept?.chunks ?? 0);
  const from = file.size - chunks.reduce((sum, [, bytes]) => sum + bytes, 0);
  return { ...file, chunks, from, isThere: kept !== undefined, isWhole: kept?.isWhole === true };
}

/** Everything that is there is of the version, and nothing of it is changed by going on; or it is refused before anything is done. */
async function lookThrough(
  folder: string,
  entries: readonly Entry[],
): Promise<{ kept: Map<string, Kept>; opened: FolderEntry[] }> {
  const known = new Map(entries.map((entry) => [entry.path, entry]));
  const kept = new Map<string, Kept>();
  const opened: FolderEntry[] = [];
  const folders = [''];
  try {
    for (let below = folders.pop(); below !== undefined; below = folders.pop()) {
      const itself = known.get(below);
      if (itself?.type === 'folder' && (await openSealed(placeOf(folder, below), itself))) opened.push(itself);
      for (const name of await readdir(placeOf(folder, below), { encoding: 'buffer' })) {
        const path = [below, nameFromBytes(name)].filter((part) => part !== '').join('/');
        const entry = known.get(path);
        const stats = await lstat(placeOf(folder, path));
        if (entry?.type === 'folder' && stats.isDirectory()) folders.push(path);
        else kept.set(path, (await keptOf(placeOf(folder, path), entry, stats)) ?? occupied(folder, path));
      }
    }
    return { kept, opened };
  } catch (error) {
    for (const { path, mode } of opened.reverse()) await chmod(placeOf(folder, path), mode & modeBits);
    throw error;
  }
}

/** Whoever is not root cannot look into a folder that a restore has closed to its owner, as it was; whether it is open now. */
async function openSealed(place: string | Buffer, { mode }: FolderEntry): Promise<boolean> {
  const isSealed = (mode & 0o700) !== 0o700 && ((await stat(place)).mode & modeBits) === (mode & modeBits);
  if (isSealed) await chmod(place, 0o700);
  return isSealed;
}

function occupied(folder: string, path: string): never {
  const text = `${folder} has "${printable(path)}", which is not as it is in this version, and stays`;
  throw new ExitError(
    `${text}: give a new or an empty folder, or that of a restore of this version that was broken off`,
    exitCodes.usage,
  );
}

/** `undefined` where it is nothing that a restore leaves. */
async function keptOf(place: string | Buffer, entry: Entry | undefined, stats: Stats): Promise<Kept | undefined> {
  if (entry?.type === 'link') {
    const isSame = stats.isSymbolicLink() && nameFromBytes(await readlink(place, 'buffer')) === entry.target;
    return isSame ? { chunks: 0, isWhole: true } : undefined;
  }
  if (entry?.type !== 'file' || !stats.isFile() || stats.size > entry.size) return undefined;
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await open(place, flags).catch((error: NodeJS.ErrnoException) => {
    // It has its mode and time only when it is whole.
    if (error.code === 'EACCES' && isSealed(entry, stats)) return undefined;
    throw error;
  });
  if (file === undefined) return { chunks: chunksOf(entry).length, isWhole: true };
  try {
    let [chunks, end] = [0, 0];
    for (const [hash, bytes] of chunksOf(entry)) {
      // A part of a chunk is looked at when the chunk has come.
      if (end + bytes > stats.size) break;
      const buffer = Buffer.alloc(bytes);
      const { bytesRead } = await file.read(buffer, 0, bytes, end);
      if (bytesRead < bytes || hashOf(buffer) !== hash) return undefined;
      end += bytes;
      chunks++;
    }
    return { chunks, isWhole: end === entry.size };
  } finally {
    await file.close();
  }
}

const isSealed = ({ size, mode, mtimeMs }: FileEntry, stats: Stats): boolean =>
  stats.size === size && (stats.mode & modeBits) === (mode & modeBits) && Math.abs(stats.mtimeMs - mtimeMs) < 1;

async function writeFile(
  thread: Thread,
  { path, mode, mtimeMs, size, chunks, from, isThere, isWhole }: Remaining,
  content: Download,
  { progress, partial }: Restoring,
  { unwritten, damage }: Restored,
): Promise<void> {
  if (isWhole) return thread.do({ what: 'seal', path, mode, mtimeMs });
  const piece = { what: 'file', path, mode, mtimeMs, size, isThere } as const;
  if (size === 0) return thread.do({ ...piece, at: 0, bytes: new Uint8Array(), last: true });
  let at = from;
  let damaged: DamagedError | undefined;
  for (const [index, [, chunkBytes]] of chunks.entries()) {
    try {
      // A copy of its own, to be handed over: the blob is a view of a bundle.
      const bytes = new Uint8Array(await content.next());
      if (damaged === undefined) await thread.do({ ...piece, at, bytes, last: index === chunks.length - 1 });
    } catch (error) {
      if (!partial || !(error instanceof DamagedError)) throw error;
      if (damaged === undefined) await thread.do({ what: 'drop', path });
      damaged ??= error;
    }
    at += chunkBytes;
    progress(chunkBytes);
  }
  if (damaged === undefined) return;
  unwritten.push({ path, reason: 'its content is damaged in the store' });
  damage.push(damaged);
}

class Thread {
  readonly #worker: Worker;
  readonly #failed = Promise.withResolvers<never>();
  #batch: Piece[] = [];
  #batchBytes = 0;
  #underWay = 0;
  #done = Promise.withResolvers<void>();
  /** What the file system here refused, up to now. */
  readonly unwritten: Unwritten[] = [];

  constructor(folder: string) {
    this.#worker = new Worker(new URL('restore-thread.ts', import.meta.url), { workerData: folder });
    this.#failed.promise.catch(() => undefined);
    this.#worker.on('error', (error) => this.#failed.reject(error));
    this.#worker.on('exit', (code) => this.#failed.reject(new Error(`the thread that writes ended with ${code}`)));
    this.#worker.on('message', ({ unwritten, broken }: BatchResult) => {
      this.unwritten.push(...unwritten);
      if (broken !== undefined) return this.#failed.reject(new ExitError(broken));
      this.#underWay--;
      this.#done.resolve();
      this.#done = Promise.withResolvers();
    });
  }

  async do(piece: Piece): Promise<void> {
    this.#batch.push(piece);
    if (piece.what === 'file') this.#batchBytes += piece.bytes.length;
    if (this.#batchBytes >= batchBytes || this.#batch.length >= batchPieces) await this.#send();
  }

  /** Resolves when everything is written. */
  async end(): Promise<void> {
    await this.#send();
    while (this.#underWay > 0) await this.#oneDone();
  }

  /** What it has in hand is written, or not; once more does nothing. */
  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  async #send(): Promise<void> {
    while (this.#underWay >= batchesMax) await this.#oneDone();
    const transfer = this.#batch.flatMap((piece) => (piece.what === 'file' ? [piece.bytes.buffer as ArrayBuffer] : []));
    this.#worker.postMessage(this.#batch, transfer);
    this.#underWay++;
    this.#batch = [];
    this.#batchBytes = 0;
  }

  #oneDone(): Promise<void> {
    return Promise.race([this.#done.promise, this.#failed.promise]);
  }
}
