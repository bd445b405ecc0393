/**
 * What a node knows of files that it has read: size, times and inode, and the content's hashes. A file with the same stamp has
 * the same content, if the stamp can have changed since: an edit within the clock's granularity of the last one leaves the
 * times as they are. So what was changed less than 2 s before it was read (a FAT file system counts in twos) is not learnt, and
 * read again next time: git's "racily clean" entries. The inode's own time, which no program can set, is among them.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Stats } from 'node:fs';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { hashOf } from '@lab/store/bundle';
import type { Chunk } from '../domain/manifest.ts';

export interface Known {
  sha256: string;
  chunks?: Chunk[];
}

type Learnt = Known & { stamp: readonly number[] };

const granularityMs = 2_000;

export const stampOf = ({ size, mtimeMs, ctimeMs, ino, dev }: Stats): readonly number[] => [size, mtimeMs, ctimeMs, ino, dev];

export class FileCache {
  readonly #directory: string | undefined;
  readonly #root: string;
  readonly #paths = new Map<string, Map<string, Learnt>>();
  readonly #changed = new Set<string>();

  /** Without a directory nothing is kept over a restart. */
  constructor(directory: string | undefined, root: string) {
    this.#directory = directory;
    this.#root = root;
    if (directory !== undefined) mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /** What is known below a registered path. */
  of(registered: string): ReadonlyMap<string, Learnt> {
    return this.#mapOf(registered);
  }

  learn(registered: string, path: string, stats: Stats, openedMs: number, known: Known): void {
    if (stats.ctimeMs > openedMs - granularityMs) return;
    this.#mapOf(registered).set(path, { ...known, stamp: stampOf(stats) });
    this.#changed.add(registered);
  }

  /** Writes what was learnt, if anything was; drops what is not among the items any more. */
  async save(registered: string, items: readonly { path: string }[]): Promise<void> {
    const map = this.#mapOf(registered);
    if (map.size > items.length || this.#changed.has(registered)) {
      const there = new Set(items.map(({ path }) => path));
      for (const path of map.keys()) if (!there.has(path) && map.delete(path)) this.#changed.add(registered);
    }
    if (this.#directory === undefined || !this.#changed.delete(registered)) return;
    const text = zstdCompressSync(JSON.stringify([...map]));
    const file = this.#fileOf(registered);
    await mkdir(this.#directory, { recursive: true });
    await writeFile(`${file}.new`, Buffer.concat([Buffer.from(hashOf(text), 'hex'), text]));
    await rename(`${file}.new`, file);
  }

  #mapOf(registered: string): Map<string, Learnt> {
    let map = this.#paths.get(registered);
    if (map === undefined) this.#paths.set(registered, (map = this.#load(registered)));
    return map;
  }

  /** What cannot be read whole is as good as nothing: the files are read again. */
  #load(registered: string): Map<string, Learnt> {
    try {
      const bytes = this.#directory === undefined ? undefined : readFileSync(this.#fileOf(registered));
      const text = bytes?.subarray(32);
      if (text === undefined || hashOf(text) !== bytes!.toString('hex', 0, 32)) return new Map();
      return new Map(JSON.parse(zstdDecompressSync(text).toString()) as [string, Learnt][]);
    } catch {
      return new Map();
    }
  }

  #fileOf(registered: string): string {
    return join(this.#directory!, hashOf(Buffer.from(JSON.stringify([this.#root, registered]))).slice(0, 32));
  }
}
