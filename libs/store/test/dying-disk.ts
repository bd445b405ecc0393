import type { FileHandle } from 'node:fs/promises';
import { systemDisk, type Disk } from '../src/disk.ts';

const changes = new Set(['link', 'mkdir', 'rename', 'rm', 'writeFile', 'write', 'truncate']);

export class KilledError extends Error {
  override readonly name = 'KilledError';
}

/** The disk of a process that is killed between two calls: so many that change something are done, and no other one is. */
export function dyingDisk(calls: number): Disk {
  let left = calls;
  const count = (): void => {
    if (left-- <= 0) throw new KilledError(`killed after ${calls} calls`);
  };
  const guarded = <T extends object>(files: T): T =>
    new Proxy(files, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        return async (...args: unknown[]) => {
          if (changes.has(String(name))) count();
          return (await Reflect.apply(value, target, args)) as unknown;
        };
      },
    });
  const open: Disk['open'] = async (path, flags, mode) => {
    // It makes a file.
    if (String(flags).startsWith('w')) count();
    return guarded<FileHandle>(await systemDisk.open(path, flags, mode));
  };
  return guarded({ ...systemDisk, open });
}
