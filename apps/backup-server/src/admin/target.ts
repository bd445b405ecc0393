/**
 * The folder that a restore writes into, with calls that wait: they take half the time of those that do not. What is refused of
 * one entry costs that entry; a disk that is full or broken ends all.
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
import { ExitError } from '@lab/process/exit-codes';
import type { FileEntry, FolderEntry, LinkEntry } from '../domain/manifest.ts';
import { parentOf } from '../domain/paths.ts';
import { modeBits, placeOf } from './places.ts';

/** What could not be written, and why. */
export interface Unwritten {
  path: string;
  reason: string;
}

const newFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const thereFlags = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
/** Zeros of at least this length are left out: the file system makes a hole. */
const holeBytesMin = 64 * 1024;
const zeros = Buffer.alloc(4 * 1024 * 1024);
const brokenCodes = new Set(['ENOSPC', 'EDQUOT', 'EIO', 'EROFS']);

/** Seconds, to the microsecond; Node takes a negative number for now, but not a date. */
const timeOf = (mtimeMs: number): number | Date => (mtimeMs < 0 ? new Date(mtimeMs) : mtimeMs / 1000);

/** In the way is something that is not ours to change. */
class OccupiedError extends Error {}

/** Each call does what can be done, and notes what cannot; a disk that takes nothing more is an `ExitError`. */
export class Target {
  readonly #root: string;
  #open: { path: string; descriptor: number; isThere: boolean } | undefined;
  /** Of these nothing more is written, nor of what is in them. */
  readonly #refused = new Set<string>();
  readonly unwritten: Unwritten[] = [];

  constructor(root: string) {
    this.#root = root;
  }

  /** A piece of a file, of which those before it are written; `isThere`: a part of it is, which must be what it begins with. */
  write(file: FileEntry, { at, bytes, isThere }: { at: number; bytes: Uint8Array; isThere: boolean }): void {
    this.#try(file.path, () => {
      const { path } = file;
      if (this.#open?.path !== path)
        this.#open = { path, isThere, descriptor: openSync(this.#at(path), isThere ? thereFlags : newFlags, 0o600) };
      const { descriptor } = this.#open;
      if (isThere) checkThere(descriptor, at, bytes);
      const isHole = bytes.length >= holeBytesMin && zeros.compare(bytes, 0, bytes.length, 0, bytes.length) === 0;
      for (let done = 0; done < bytes.length && !isHole;)
        done += writeSync(descriptor, bytes, done, bytes.length - done, at + done);
      if (at + bytes.length < file.size) return;
      if (isHole) ftruncateSync(descriptor, file.size);
      fchmodSync(descriptor, file.mode & modeBits);
      futimesSync(descriptor, timeOf(file.mtimeMs), timeOf(file.mtimeMs));
      this.close();
    });
  }

  folder(path: string): void {
    if (path !== '') this.#try(path, () => makeFolder(this.#at(path)));
  }

  link({ path, target, mtimeMs }: LinkEntry): void {
    this.#try(path, () => {
      symlinkSync(placeOf(target, ''), this.#at(path));
      lutimesSync(this.#at(path), timeOf(mtimeMs), timeOf(mtimeMs));
    });
  }

  /** Nothing is done of it, nor of what is in it. */
  refuse(path: string, error: unknown): void {
    this.#refuse(path, reasonOf(error));
  }

  /** Gives what is there its mode and time. */
  seal({ path, mode, mtimeMs }: FileEntry | FolderEntry): void {
    this.#try(path, () => {
      chmodSync(this.#at(path), mode & modeBits);
      utimesSync(this.#at(path), timeOf(mtimeMs), timeOf(mtimeMs));
    });
  }

  /**
   * Removes what there is of a file that cannot be completed: a part of it would pass for all of it. So many bytes of it are known
   * to be its beginning; where there are more, they may be somebody's, and all stays.
   */
  discard(path: string, known: number): void {
    this.#try(path, () => {
      if (this.#open?.path === path) this.close();
      const stats = lstatSync(this.#at(path), { throwIfNoEntry: false });
      if (stats === undefined) return;
      if (!stats.isFile() || stats.nlink > 1 || stats.size > known) throw new OccupiedError();
      rmSync(this.#at(path));
    });
  }

  /** What there is of a file stays. */
  close(): void {
    if (this.#open !== undefined) closeSync(this.#open.descriptor);
    this.#open = undefined;
  }

  /** Of a file that is refused nothing stays that is of this try. */
  #drop(path: string): void {
    if (this.#open?.path !== path) return;
    const { isThere } = this.#open;
    this.close();
    if (!isThere) rmSync(this.#at(path), { force: true });
  }

  #at(path: string): string | Buffer {
    return placeOf(this.#root, path);
  }

  #try(path: string, work: () => void): void {
    if (this.#refused.has(path)) return;
    const parent = parentOf(path);
    if (parent !== undefined && this.#refused.has(parent)) return this.#refuse(path, 'its folder could not be made');
    try {
      work();
    } catch (error) {
      const { code = '', message, syscall } = error as NodeJS.ErrnoException;
      // A bad block is one file's.
      if (brokenCodes.has(code) && syscall !== 'read') throw new ExitError(message);
      this.#drop(path);
      this.#refuse(path, reasonOf(error));
    }
  }

  #refuse(path: string, reason: string): void {
    this.#refused.add(path);
    this.unwritten.push({ path, reason });
  }
}

/** What a killed restore leaves of a file is its beginning; anything else is somebody's, and stays. */
function checkThere(descriptor: number, at: number, bytes: Uint8Array): void {
  const stats = fstatSync(descriptor);
  if (!stats.isFile() || stats.nlink > 1) throw new OccupiedError();
  const there = Buffer.alloc(Math.max(0, Math.min(bytes.length, stats.size - at)));
  readSync(descriptor, there, 0, there.length, at);
  if (there.compare(bytes, 0, there.length) !== 0) throw new OccupiedError();
}

function makeFolder(place: string | Buffer): void {
  try {
    mkdirSync(place, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    if (!lstatSync(place).isDirectory()) throw new OccupiedError();
    // Sealed by a restore that could not write all.
    chmodSync(place, 0o700);
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof OccupiedError) return 'something else is there already, and stays';
  const { errno = 0, message } = error as NodeJS.ErrnoException;
  const [code, text] = getSystemErrorMap().get(errno) ?? [];
  return code === undefined ? message : `${text} (${code})`;
}
