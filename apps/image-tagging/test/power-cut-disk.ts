/** A disk that knows what a power cut would take. */
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemDisk, type Disk } from '@lab/store';

/**
 * What has been changed and not synced: a file's bytes, a folder's names, and a file's or folder's own name. That one GlusterFS keeps when the file,
 * or one in the folder, is synced, and not when the folder around it is; so both are asked for.
 */
export class PowerCutDisk {
  readonly #lost = new Map<string, Set<'its bytes' | 'its names' | 'its own name'>>();
  readonly disk: Disk;

  constructor() {
    const at = (path: unknown): string => String(path);
    const changed: Partial<Disk> = {
      open: async (path, flags, mode) => {
        const handle = await systemDisk.open(path, flags, mode);
        if (/^[wa]/.test(String(flags))) this.#written(at(path));
        return this.#watched(handle, at(path));
      },
      writeFile: async (path, ...rest) => {
        await systemDisk.writeFile(path, ...rest);
        this.#written(at(path));
      },
      rename: async (from, to) => {
        this.requireDurable(at(from), ['its bytes', 'its names']);
        await systemDisk.rename(from, to);
        this.#moved(at(from), at(to));
      },
      link: async (from, to) => {
        // What it names stands beside it.
        this.requireDurable(dirname(at(to)), ['its bytes']);
        await systemDisk.link(from, to);
        this.#named(at(to));
      },
      rm: async (path, options) => {
        await systemDisk.rm(path, options);
        for (const each of this.#below(at(path))) this.#lost.delete(each);
        this.#lose(dirname(at(path)), 'its names');
      },
    };
    const mkdir = async (...args: Parameters<typeof systemDisk.mkdir>): Promise<string | undefined> => {
      const made = await systemDisk.mkdir(...args);
      if (made !== undefined) this.#named(made);
      return made;
    };
    this.disk = { ...systemDisk, ...changed, mkdir: mkdir as Disk['mkdir'] };
  }

  /** Throws where something in a folder, or about it, is not durable. */
  requireDurable(folder: string, kinds = ['its bytes', 'its names', 'its own name']): void {
    for (const path of this.#below(folder)) {
      for (const kind of this.#lost.get(path)!) if (kinds.includes(kind)) throw new Error(`a power cut takes ${path}: ${kind}`);
    }
  }

  #watched(handle: FileHandle, path: string): FileHandle {
    return new Proxy(handle, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        return async (...args: unknown[]) => {
          const result: unknown = await Reflect.apply(value, target, args);
          if (name === 'write' || name === 'writeFile') this.#lose(path, 'its bytes');
          if (name === 'sync' || name === 'datasync') this.#synced(path);
          return result;
        };
      },
    });
  }

  #written(path: string): void {
    this.#lose(path, 'its bytes');
    this.#named(path);
  }

  #named(path: string): void {
    this.#lose(path, 'its own name');
    this.#lose(dirname(path), 'its names');
  }

  #moved(from: string, to: string): void {
    for (const each of this.#below(from)) {
      this.#lost.set(to + each.slice(from.length), this.#lost.get(each)!);
      this.#lost.delete(each);
    }
    this.#lose(dirname(from), 'its names');
    this.#named(to);
  }

  #synced(path: string): void {
    this.#lost.delete(path);
    for (let folder = dirname(path); folder !== dirname(folder); folder = dirname(folder))
      this.#lost.get(folder)?.delete('its own name');
  }

  #lose(path: string, what: 'its bytes' | 'its names' | 'its own name'): void {
    this.#lost.set(path, (this.#lost.get(path) ?? new Set()).add(what));
  }

  #below(folder: string): string[] {
    return [...this.#lost.keys()].filter((path) => path === folder || path.startsWith(`${folder}/`));
  }
}
