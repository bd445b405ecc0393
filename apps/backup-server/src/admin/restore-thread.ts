/** The thread that writes files (restore.ts). One after the other, with the calls that wait: a thread of its own may. */
import {
  chmodSync,
  closeSync,
  constants,
  ftruncateSync,
  futimesSync,
  lutimesSync,
  fchmodSync,
  mkdirSync,
  openSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { bytesFromName, isText } from '../domain/file-names.ts';

/** One thing to do; a file comes in pieces, in order. */
export type Piece =
  | { what: 'folder'; path: string }
  | { what: 'file'; path: string; mode: number; mtimeMs: number; size: number; at: number; bytes: Uint8Array; last: boolean }
  | { what: 'link'; path: string; target: string; mtimeMs: number }
  | { what: 'seal'; path: string; mode: number; mtimeMs: number };

const root = workerData as string;
/** A program that runs as its file's owner is not made from a backup: that needs a decision. */
const modeBits = 0o1777;
const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
/** Zeros of at least this length are left out: the file system makes a hole. */
const holeBytesMin = 64 * 1024;
const zeros = Buffer.alloc(4 * 1024 * 1024);

/** Seconds, to the microsecond; Node takes a negative number for now, but not a date. */
const timeOf = (mtimeMs: number): number | Date => (mtimeMs < 0 ? new Date(mtimeMs) : mtimeMs / 1000);

let open: { path: string; descriptor: number } | undefined;

const bytesOf = (name: string): string | Buffer => (isText(name) ? name : Buffer.from(bytesFromName(name)));
const placeOf = (path: string): string | Buffer => bytesOf(path === '' ? root : `${root}/${path}`);

function write(piece: Extract<Piece, { what: 'file' }>): void {
  if (open?.path !== piece.path) open = { path: piece.path, descriptor: openSync(placeOf(piece.path), flags, 0o600) };
  const { descriptor } = open;
  const { bytes } = piece;
  const isHole = bytes.length >= holeBytesMin && zeros.compare(bytes, 0, bytes.length, 0, bytes.length) === 0;
  for (let at = 0; at < bytes.length && !isHole;) at += writeSync(descriptor, bytes, at, bytes.length - at, piece.at + at);
  if (!piece.last) return;
  if (isHole) ftruncateSync(descriptor, piece.size);
  fchmodSync(descriptor, piece.mode & modeBits);
  futimesSync(descriptor, timeOf(piece.mtimeMs), timeOf(piece.mtimeMs));
  closeSync(descriptor);
  open = undefined;
}

function obey(piece: Piece): void {
  if (piece.what === 'file') return write(piece);
  if (piece.what === 'link') {
    symlinkSync(bytesOf(piece.target), placeOf(piece.path));
    return lutimesSync(placeOf(piece.path), timeOf(piece.mtimeMs), timeOf(piece.mtimeMs));
  }
  if (piece.what === 'folder') return void (piece.path === '' || mkdirSync(placeOf(piece.path), { mode: 0o700 }));
  chmodSync(placeOf(piece.path), piece.mode & modeBits);
  utimesSync(placeOf(piece.path), timeOf(piece.mtimeMs), timeOf(piece.mtimeMs));
}

parentPort!.on('message', (pieces: Piece[] | 'end') => {
  if (pieces === 'end') return parentPort!.close();
  try {
    for (const piece of pieces) obey(piece);
    parentPort!.postMessage({});
  } catch (error) {
    parentPort!.postMessage({ failed: (error as Error).message });
  }
});
