/**
 * The thread that writes files (restore.ts). One after the other, with the calls that wait: a thread of its own may, and they
 * take half the time of those that do not. What is refused of one entry costs that entry; a disk that is full or broken ends all.
 */
import {
  chmodSync,
  closeSync,
  constants,
  ftruncateSync,
  futimesSync,
  lstatSync,
  lutimesSync,
  fchmodSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { getSystemErrorMap } from 'node:util';
import { parentPort, workerData } from 'node:worker_threads';
import { release } from '@lab/process/release';
import { parentOf } from '../domain/paths.ts';
import { modeBits, placeOf } from './places.ts';

/** One thing to do; a file comes in pieces, in order. */
export type Piece =
  | { what: 'folder'; path: string }
  | FilePiece
  | { what: 'link'; path: string; target: string; mtimeMs: number }
  | { what: 'seal'; path: string; mode: number; mtimeMs: number }
  /** What there is of the file cannot be completed. */
  | { what: 'drop'; path: string };

interface FilePiece {
  what: 'file';
  path: string;
  mode: number;
  mtimeMs: number;
  size: number;
  at: number;
  bytes: Uint8Array;
  last: boolean;
  /** A part of it is there, which must be what it begins with. */
  isThere: boolean;
}

/** What could not be written, and why. */
export interface Unwritten {
  path: string;
  reason: string;
}

/** What becomes of a batch of pieces. */
export interface BatchResult {
  unwritten: Unwritten[];
  /** Nothing more can be written at all. */
  broken?: string;
}

const root = workerData as string;
const newFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const thereFlags = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
/** Zeros of at least this length are left out: the file system makes a hole. */
const holeBytesMin = 64 * 1024;
const zeros = Buffer.alloc(4 * 1024 * 1024);
const brokenCodes = new Set(['ENOSPC', 'EDQUOT', 'EIO', 'EROFS']);

/** Seconds, to the microsecond; Node takes a negative number for now, but not a date. */
const timeOf = (mtimeMs: number): number | Date => (mtimeMs < 0 ? new Date(mtimeMs) : mtimeMs / 1000);

let open: { path: string; descriptor: number; isThere: boolean } | undefined;
/** Of these nothing more is written, nor of what is in them. */
const refused = new Set<string>();

const at = (path: string): string | Buffer => placeOf(root, path);

/** In the way is something that is not ours to change. */
class OccupiedError extends Error {}

function write(piece: FilePiece): void {
  const { bytes, isThere, path, at: from } = piece;
  if (open?.path !== path) open = { path, isThere, descriptor: openSync(at(path), isThere ? thereFlags : newFlags, 0o600) };
  const { descriptor } = open;
  if (isThere) checkThere(descriptor, piece);
  const isHole = bytes.length >= holeBytesMin && zeros.compare(bytes, 0, bytes.length, 0, bytes.length) === 0;
  for (let done = 0; done < bytes.length && !isHole;)
    done += writeSync(descriptor, bytes, done, bytes.length - done, from + done);
  if (!piece.last) return;
  if (isHole) ftruncateSync(descriptor, piece.size);
  fchmodSync(descriptor, piece.mode & modeBits);
  futimesSync(descriptor, timeOf(piece.mtimeMs), timeOf(piece.mtimeMs));
  closeSync(descriptor);
  open = undefined;
}

/** What a killed restore leaves of a file is its beginning; anything else is somebody's, and stays. */
function checkThere(descriptor: number, { at: from, bytes }: FilePiece): void {
  const stats = fstatSync(descriptor);
  if (!stats.isFile() || stats.nlink > 1) throw new OccupiedError();
  const there = Buffer.alloc(Math.max(0, Math.min(bytes.length, stats.size - from)));
  readSync(descriptor, there, 0, there.length, from);
  if (there.compare(bytes, 0, there.length) !== 0) throw new OccupiedError();
}

function makeFolder(path: string): void {
  try {
    mkdirSync(at(path), { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    if (!lstatSync(at(path)).isDirectory()) throw new OccupiedError();
    // Sealed by a restore that could not write all.
    chmodSync(at(path), 0o700);
  }
}

function obey(piece: Piece): void {
  if (piece.what === 'file') return write(piece);
  if (piece.what === 'drop') return drop(piece.path);
  if (piece.what === 'folder') return void (piece.path === '' || makeFolder(piece.path));
  if (piece.what === 'link') {
    symlinkSync(placeOf(piece.target, ''), at(piece.path));
    return lutimesSync(at(piece.path), timeOf(piece.mtimeMs), timeOf(piece.mtimeMs));
  }
  chmodSync(at(piece.path), piece.mode & modeBits);
  utimesSync(at(piece.path), timeOf(piece.mtimeMs), timeOf(piece.mtimeMs));
}

/** Closes the file, and removes it if it is of this restore: half of it would pass for all of it. */
function drop(path: string): void {
  if (open?.path !== path) return;
  closeSync(open.descriptor);
  if (!open.isThere) rmSync(at(path), { force: true });
  open = undefined;
}

function reasonOf(error: unknown): string {
  if (error instanceof OccupiedError) return 'something else is there already, and stays';
  const { errno = 0, message } = error as NodeJS.ErrnoException;
  const [code, text] = getSystemErrorMap().get(errno) ?? [];
  return code === undefined ? message : `${text} (${code})`;
}

/** Does what can be done of a batch. */
function obeyAll(pieces: readonly Piece[]): BatchResult {
  const unwritten: Unwritten[] = [];
  for (const piece of pieces) {
    const { path } = piece;
    if (refused.has(path)) continue;
    const parent = parentOf(path);
    if (parent !== undefined && refused.has(parent)) {
      refused.add(path);
      unwritten.push({ path, reason: 'its folder could not be made' });
      continue;
    }
    try {
      obey(piece);
    } catch (error) {
      const { code = '', message } = error as NodeJS.ErrnoException;
      if (brokenCodes.has(code)) return { unwritten, broken: message };
      drop(path);
      refused.add(path);
      unwritten.push({ path, reason: reasonOf(error) });
    }
  }
  return { unwritten };
}

parentPort!.on('message', (pieces: Piece[]) => {
  parentPort!.postMessage(obeyAll(pieces));
  const file = pieces.find((piece) => piece.what === 'file');
  if (file !== undefined) release(file.bytes);
});
