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
import {
  chunksOf,
  comparePaths,
  entriesMax,
  type Chunk,
  type Entry,
  type FileEntry,
  type FolderEntry,
} from '../domain/manifest.ts';
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
  /** All that is in the version, in order: what is there may be of another restore of it. */
  all: Iterable<Entry>;
  /** What is wanted of it, by its place in it. */
  isWanted: (entry: Entry, index: number) => boolean;
  /** Gets what will be written, in order. */
  download: (needs: Iterable<Chunk>) => Pick<Download, 'take'>;
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
  await makeFolder(placeOf(folder, ''));
  const there = await lookThrough(folder, numbered(restoring));
  const thread = new Thread(folder);
  const restored: Restored = { unwritten: thread.unwritten, damage: [] };
  try {
    const content = restoring.download(lacking(restoring, there));
    /** Folders that are gone through: each is sealed when all in it is written. */
    const within: FolderEntry[] = [];
    const leave = async (path?: string): Promise<void> => {
      for (let last = within.at(-1); last !== undefined && !isIn(path, last.path); last = within.at(-1))
        await thread.do({ what: 'seal', ...within.pop()! });
    };
    for (const [entry, index] of numbered(restoring)) {
      await leave(entry.path);
      const isWanted = restoring.isWanted(entry, index);
      if (entry.type === 'folder') {
        if (isWanted) await thread.do({ what: 'folder', path: entry.path });
        if (isWanted || there.opened.has(entry.path)) within.push(entry);
      } else if (!isWanted) continue;
      else if (entry.type === 'file') await writeFile(thread, entry, there.kept[index]!, content, restoring, restored);
      else if (there.kept[index] === 0) await thread.do({ what: 'link', ...entry });
    }
    await leave();
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

const isIn = (path: string | undefined, folder: string): boolean =>
  path !== undefined && (folder === '' || path.startsWith(`${folder}/`));

/** All entries by their places here, and their numbers in the version. */
function* numbered({ all, name }: Restoring): Generator<[Entry, number]> {
  let index = 0;
  for (const entry of all) yield [entry.path === '' && entry.type !== 'folder' ? { ...entry, path: name } : entry, index++];
}

/** What has still to come. */
function* lacking(restoring: Restoring, { kept }: There): Generator<Chunk> {
  for (const [entry, index] of numbered(restoring))
    if (entry.type === 'file' && restoring.isWanted(entry, index)) yield* chunksOf(entry).slice(Math.max(0, kept[index]! - 1));
}

/** What is in the folder already, as it should be. */
interface There {
  /** Of each entry, by its number: 0 where it is not there; else one more than the chunks of it that are, from its beginning. */
  kept: Uint32Array;
  /** Folders that were closed to their owner, and are open now. */
  opened: ReadonlyMap<string, FolderEntry>;
}

/** Everything that is there is of the version, and nothing of it is changed by going on; or it is refused before anything is done. */
async function lookThrough(folder: string, entries: Iterator<[Entry, number]>): Promise<There> {
  const kept = new Uint32Array(entriesMax);
  const opened = new Map<string, FolderEntry>();
  let next = entries.next();
  /** The folder is gone through in the order of the manifest. */
  const find = (path: string): [Entry | undefined, number] => {
    while (next.done !== true && comparePaths(next.value[0].path, path) < 0) next = entries.next();
    return next.done !== true && next.value[0].path === path ? next.value : [undefined, 0];
  };
  const look = async (below: string, [itself]: [Entry | undefined, number]): Promise<void> => {
    const place = placeOf(folder, below);
    if (itself?.type === 'folder' && (await openSealed(place, itself))) opened.set(below, itself);
    const names = (await readdir(place, { encoding: 'buffer' })).map(nameFromBytes).sort();
    for (const name of names) {
      const path = below === '' ? name : `${below}/${name}`;
      const [entry, index] = find(path);
      const stats = await lstat(placeOf(folder, path));
      if (entry?.type === 'folder' && stats.isDirectory()) await look(path, [entry, index]);
      else kept[index] = 1 + ((await keptOf(placeOf(folder, path), entry, stats)) ?? occupied(folder, path));
    }
  };
  try {
    await look('', find(''));
    return { kept, opened };
  } catch (error) {
    for (const { path, mode } of [...opened.values()].reverse()) await chmod(placeOf(folder, path), mode & modeBits);
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

/** So many chunks of it from its beginning; `undefined` where it is nothing that a restore leaves. */
async function keptOf(place: string | Buffer, entry: Entry | undefined, stats: Stats): Promise<number | undefined> {
  if (entry?.type === 'link')
    return stats.isSymbolicLink() && nameFromBytes(await readlink(place, 'buffer')) === entry.target ? 0 : undefined;
  if (entry?.type !== 'file' || !stats.isFile() || stats.size > entry.size) return undefined;
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await open(place, flags).catch((error: NodeJS.ErrnoException) => {
    // It has its mode and time only when it is whole.
    if (error.code === 'EACCES' && isSealed(entry, stats)) return undefined;
    throw error;
  });
  if (file === undefined) return chunksOf(entry).length;
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
    return chunks;
  } finally {
    await file.close();
  }
}

const isSealed = ({ size, mode, mtimeMs }: FileEntry, stats: Stats): boolean =>
  stats.size === size && (stats.mode & modeBits) === (mode & modeBits) && Math.abs(stats.mtimeMs - mtimeMs) < 1;

async function writeFile(
  thread: Thread,
  file: FileEntry,
  kept: number,
  content: Pick<Download, 'take'>,
  { progress, partial }: Restoring,
  { unwritten, damage }: Restored,
): Promise<void> {
  const { path, mode, mtimeMs, size } = file;
  const chunks = chunksOf(file).slice(Math.max(0, kept - 1));
  const isThere = kept > 0;
  let at = size - chunks.reduce((sum, [, bytes]) => sum + bytes, 0);
  progress(at);
  if (isThere && chunks.length === 0) return thread.do({ what: 'seal', path, mode, mtimeMs });
  const piece = { what: 'file', path, mode, mtimeMs, size, isThere } as const;
  if (size === 0) return thread.do({ ...piece, at: 0, bytes: new Uint8Array(), last: true });
  let damaged: DamagedError | undefined;
  for (const [index, chunk] of chunks.entries()) {
    try {
      const bytes = await content.take(chunk);
      if (damaged === undefined) await thread.do({ ...piece, at, bytes, last: index === chunks.length - 1 });
    } catch (error) {
      if (!partial || !(error instanceof DamagedError)) throw error;
      if (damaged === undefined) await thread.do({ what: 'drop', path });
      damaged ??= error;
    }
    at += chunk[1];
    progress(chunk[1]);
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
    // Copies, since blobs may be needed again; in one piece, for each that is handed over costs more than a small file.
    const content = new Uint8Array(this.#batchBytes);
    let end = 0;
    for (const piece of this.#batch) {
      if (piece.what !== 'file') continue;
      content.set(piece.bytes, end);
      piece.bytes = content.subarray(end, (end += piece.bytes.length));
    }
    this.#worker.postMessage(this.#batch, [content.buffer]);
    this.#underWay++;
    this.#batch = [];
    this.#batchBytes = 0;
  }

  #oneDone(): Promise<void> {
    return Promise.race([this.#done.promise, this.#failed.promise]);
  }
}
