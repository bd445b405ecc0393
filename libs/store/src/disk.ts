/**
 * The file system as stores need it: Node's own calls, by their names, and a lock. So something can stand in between, and `FakeDisk` in
 * its place. What stores rely on:
 *
 * - `sync` of a file resolves when its bytes are durable; of a folder, when its names are;
 * - `rename` replaces what had the name, and readers see one of the two, whole; `link` never replaces, and rejects with `EEXIST`;
 * - what a process has written is there for others at once, and stays when the process dies;
 * - a file or folder that is open can be used to the end, whatever becomes of its name.
 */
import * as node from 'node:fs/promises';
import { tryLock, type HeldLock } from './lock.ts';

export interface Disk {
  link(from: string, to: string): Promise<void>;
  /** With `recursive`: the outermost folder that it made, `undefined` where all were there. */
  mkdir(path: string, options?: { recursive?: boolean; mode?: number }): Promise<string | undefined>;
  /** A folder only for `r`. */
  open(path: string, flags: 'r' | 'r+' | 'w' | 'wx+'): Promise<DiskFile>;
  readdir(path: string): Promise<string[]>;
  readFile(path: string): Promise<Buffer>;
  rename(from: string, to: string): Promise<void>;
  rm(path: string, options?: { recursive?: boolean; force?: boolean; maxRetries?: number }): Promise<void>;
  rmdir(path: string): Promise<void>;
  stat(path: string): Promise<Stat>;
  writeFile(path: string, bytes: Uint8Array | string): Promise<void>;
  /** Takes the lock if it is free. The file is made when it is missing, unless `existing`: then it is as good as taken. */
  tryLock(path: string, options?: { existing?: boolean }): Promise<HeldLock | undefined>;
}

/** As Node's `FileHandle`: what is given a position leaves the file's own alone. */
export interface DiskFile {
  read(buffer: Buffer, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
  /** May write less than it was asked to. */
  write(bytes: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesWritten: number }>;
  /** The whole content of a file that was just made. */
  writeFile(bytes: Uint8Array | string): Promise<void>;
  truncate(length: number): Promise<void>;
  stat(): Promise<Stat>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface Stat {
  size: number;
  mtimeMs: number;
}

/** A bad sector, a damaged file system, a file that may not be read, or a folder in its place. */
export const unreadableCodes: readonly string[] = ['EIO', 'EBADMSG', 'EUCLEAN', 'EACCES', 'EPERM', 'EISDIR'];

/** The same disk; `onUnreadable` hears of every call that fails for what is there cannot be read. */
export function watched(disk: Disk, onUnreadable: (what: string) => void): Disk {
  const watch = <T extends object>(target: T, place?: string): T =>
    new Proxy(target, {
      get(_, name) {
        const call: unknown = target[name as keyof T];
        if (typeof call !== 'function') return call;
        return async (...args: unknown[]) => {
          try {
            const result: unknown = await call.apply(target, args);
            return name === 'open' ? watch(result as object, String(args[0])) : result;
          } catch (error) {
            const { code = '' } = error as NodeJS.ErrnoException;
            if (unreadableCodes.includes(code)) onUnreadable(`${code}: ${String(name)} ${place ?? String(args[0])}`);
            throw error;
          }
        };
      },
    });
  return watch(disk);
}

/** The same disk to read from: what would change it rejects with `EROFS`, as on a file system that is mounted so. */
export function readOnly(disk: Disk): Disk {
  const refuse = async (path: string): Promise<never> => {
    throw Object.assign(new Error(`EROFS: ${path} was opened to be read only`), { code: 'EROFS', path });
  };
  return {
    readdir: (path) => disk.readdir(path),
    readFile: (path) => disk.readFile(path),
    stat: (path) => disk.stat(path),
    open: (path, flags) => (flags === 'r' ? disk.open(path, flags) : refuse(path)),
    link: (_, to) => refuse(to),
    mkdir: refuse,
    rename: (_, to) => refuse(to),
    rm: refuse,
    rmdir: refuse,
    writeFile: refuse,
    tryLock: refuse,
  };
}

export const systemDisk: Disk = { ...node, tryLock: (path, options) => Promise.resolve().then(() => tryLock(path, options)) };
