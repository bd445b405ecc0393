/**
 * Writes a version into a folder: a new one, an empty one, or that of a restore of this version that was broken off, which goes
 * on from what is there and as it should be. Nothing that is there is ever replaced or followed. Folders get their modes and
 * times when nothing more comes into them.
 */
import { constants, type Stats } from 'node:fs';
import { chmod, lstat, mkdir, open, readdir, readlink, rmdir, stat } from 'node:fs/promises';
import { ExitError, exitCodes } from '@lab/process/exit-codes';
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
import { Target, type Unwritten } from './target.ts';

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
  /** What would be wanted too, and is not, for its content is damaged. */
  isLeftOut: (index: number) => boolean;
  /** Gets what will be written, in order. */
  download: (needs: Iterable<Chunk>) => Pick<Download, 'take'>;
  progress: (bytes: number) => void;
  /** What a path that is a single file is called in the folder. */
  name: string;
  /** Damage costs the file that has it, and no other. */
  partial: boolean;
}

/** What was not restored, and why; and the damage that came to light, by hashes where it has one. */
export interface Restored {
  unwritten: Unwritten[];
  damage: { hash: string | undefined }[];
}

/** Of a file that damage costs. */
export const damagedReason = 'its content is damaged in the store';

/** Into a folder that is made where it is missing. What has been written when this rejects stays. */
export async function restoreTo(folder: string, restoring: Restoring): Promise<Restored> {
  await makeFolder(placeOf(folder, ''));
  const there = await lookThrough(folder, numbered(restoring));
  const target = new Target(folder);
  const restored: Restored = { unwritten: target.unwritten, damage: [] };
  const content = restoring.download(lacking(restoring, there));
  /** Folders that are gone through: each is sealed when all in it is written. */
  const within: FolderEntry[] = [];
  const leave = (path?: string): void => {
    for (let last = within.at(-1); last !== undefined && !isIn(path, last.path); last = within.at(-1)) target.seal(within.pop()!);
  };
  try {
    for (const [entry, index] of numbered(restoring)) {
      leave(entry.path);
      const isWanted = restoring.isWanted(entry, index);
      if (there.unreadable.has(index)) {
        if (isWanted || restoring.isLeftOut(index)) target.refuse(entry.path, there.unreadable.get(index));
      } else if (entry.type === 'folder') {
        if (isWanted) target.folder(entry.path);
        if (isWanted || there.opened.has(entry.path)) within.push(entry);
      } else if (entry.type === 'file' && restoring.isLeftOut(index)) leaveOut(target, entry, there.kept[index]!);
      else if (!isWanted) continue;
      else if (entry.type === 'file') await writeFile(target, entry, there.kept[index]!, content, restoring, restored);
      else if (there.kept[index] === 0) target.link(entry);
    }
    leave();
    return restored;
  } finally {
    target.close();
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
function* lacking(restoring: Restoring, { kept, unreadable }: There): Generator<Chunk> {
  for (const [entry, index] of numbered(restoring))
    if (entry.type === 'file' && restoring.isWanted(entry, index) && !unreadable.has(index))
      yield* chunksOf(entry).slice(Math.max(0, kept[index]! - 1));
}

/** What is in the folder already, as it should be. */
interface There {
  /** Of each entry, by its number: 0 where it is not there; else one more than the chunks of it that are, from its beginning. */
  kept: Uint32Array;
  /** Folders that were closed to their owner, and are open now. */
  opened: ReadonlyMap<string, FolderEntry>;
  /** Of entries that are there and cannot be looked at, by their numbers: why. */
  unreadable: ReadonlyMap<number, unknown>;
}

/** Everything that is there is of the version, and nothing of it is changed by going on; or it is refused before anything is done. */
async function lookThrough(folder: string, entries: Iterator<[Entry, number]>): Promise<There> {
  const kept = new Uint32Array(entriesMax);
  const opened = new Map<string, FolderEntry>();
  const unreadable = new Map<number, unknown>();
  let next = entries.next();
  /** The folder is gone through in the order of the manifest. */
  const find = (path: string): [Entry | undefined, number] => {
    while (next.done !== true && comparePaths(next.value[0].path, path) < 0) next = entries.next();
    return next.done !== true && next.value[0].path === path ? next.value : [undefined, 0];
  };
  const close = ({ path, mode }: FolderEntry): Promise<void> => chmod(placeOf(folder, path), mode & modeBits);
  const look = async (below: string, [itself]: [Entry | undefined, number]): Promise<void> => {
    const place = placeOf(folder, below);
    if (itself?.type === 'folder' && (await openSealed(place, itself))) opened.set(below, itself);
    const names = (await readdir(place, { encoding: 'buffer' })).map(nameFromBytes).sort();
    for (const name of names) {
      const path = below === '' ? name : `${below}/${name}`;
      const [entry, index] = find(path);
      try {
        const stats = await lstat(placeOf(folder, path));
        if (entry?.type === 'folder' && stats.isDirectory()) await look(path, [entry, index]);
        else kept[index] = 1 + ((await keptOf(placeOf(folder, path), entry, stats)) ?? occupied(folder, path));
      } catch (error) {
        if (entry === undefined || (error as NodeJS.ErrnoException).syscall === undefined) throw error;
        unreadable.set(index, error);
        if (entry.type === 'folder' && opened.delete(path)) await close(entry);
      }
    }
  };
  try {
    await look('', find(''));
    return { kept, opened, unreadable };
  } catch (error) {
    for (const each of [...opened.values()].reverse()) await close(each);
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

/** A part of it would pass for all of it; what is whole stays. */
function leaveOut(target: Target, file: FileEntry, kept: number): void {
  const chunks = chunksOf(file);
  if (kept > chunks.length) target.seal(file);
  else if (kept > 0)
    target.discard(
      file.path,
      chunks.slice(0, kept - 1).reduce((sum, [, bytes]) => sum + bytes, 0),
    );
}

async function writeFile(
  target: Target,
  file: FileEntry,
  kept: number,
  content: Pick<Download, 'take'>,
  { progress, partial }: Restoring,
  { unwritten, damage }: Restored,
): Promise<void> {
  const { path, size } = file;
  const chunks = chunksOf(file).slice(Math.max(0, kept - 1));
  const isThere = kept > 0;
  let at = size - chunks.reduce((sum, [, bytes]) => sum + bytes, 0);
  progress(at);
  if (isThere && chunks.length === 0) return target.seal(file);
  if (size === 0) return target.write(file, { at, bytes: new Uint8Array(), isThere });
  let damaged: DamagedError | undefined;
  for (const chunk of chunks) {
    try {
      const bytes = await content.take(chunk);
      if (damaged === undefined) target.write(file, { at, bytes, isThere });
    } catch (error) {
      if (!partial || !(error instanceof DamagedError)) throw error;
      if (damaged === undefined) target.discard(path, at);
      damaged ??= error;
    }
    at += chunk[1];
    progress(chunk[1]);
  }
  if (damaged === undefined) return;
  if (unwritten.at(-1)?.path !== path) unwritten.push({ path, reason: damagedReason });
  damage.push({ hash: damaged.hash });
}
