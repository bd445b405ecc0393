/**
 * What a node knows of files that it has read: size, times and inode, and the content's hashes. A file with the same stamp has
 * the same content, if the stamp can have changed since: an edit within the clock's granularity of the last one leaves the
 * times as they are. So what was changed less than 2 s before it was read (a FAT file system counts in twos) is not learnt, and
 * read again next time: git's "racily clean" entries. The inode's own time, which no program can set, is among them; the device's number
 * is not, for many file systems have another after each mount.
 *
 * It is a cache: whatever goes wrong with it costs reading.
 */
import { randomInt } from 'node:crypto';
import { mkdirSync, rmSync, type BigIntStats } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import { hashOf } from '@lab/store/bundle';
import { bytesFromName } from '../domain/file-names.ts';
import type { Chunk } from '../domain/manifest.ts';

export interface Known {
  sha256: string;
  chunks?: Chunk[];
}

const granularityNs = 2_000_000_000n;

export const stampOf = ({ size, mtimeNs, ctimeNs, ino }: BigIntStats): string => `${size} ${mtimeNs} ${ctimeNs} ${ino}`;

export class FileCache {
  readonly #directory: string;
  readonly #root: string;

  constructor(directory: string, root: string) {
    this.#directory = directory;
    this.#root = root;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /** What is known below a registered path, for one backup; nothing where its file is damaged, or cannot be written. */
  open(registered: string): KnownFiles {
    const file = join(this.#directory, `${hashOf(Buffer.from(JSON.stringify([this.#root, registered]))).slice(0, 32)}.db`);
    try {
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
      return new KnownFiles(file);
    } catch {
      remove(file);
    }
    try {
      return new KnownFiles(file);
    } catch {
      return new KnownFiles(undefined);
    }
  }
}

function remove(database: string): void {
  for (const end of ['', '-wal', '-shm']) {
    try {
      rmSync(`${database}${end}`, { force: true });
    } catch {
      // A folder that cannot be written: it is of no use.
    }
  }
}

/** So many are learnt in one transaction: a crash costs the last ones. */
const learntMax = 10_000;
const cacheKib = 8 * 1024;

interface Row {
  stamp: string;
  content: string;
  crc: number;
}

/** One at a time learns; of two at once the second learns nothing. */
export class KnownFiles implements Disposable {
  readonly #file: string | undefined;
  readonly #database: DatabaseSync;
  readonly #get: StatementSync;
  readonly #put: StatementSync;
  readonly #touch: StatementSync;
  /** Rows of files that are there have the number of the backup that saw them last: any that no other has. */
  readonly #run = randomInt(2 ** 47);
  #learnt = 0;
  #isLearning = false;
  #canLearn: boolean;
  #isDamaged = false;

  constructor(file: string | undefined) {
    this.#file = file;
    this.#canLearn = file !== undefined;
    this.#database = new DatabaseSync(file ?? ':memory:', { timeout: 0 });
    try {
      // After a power cut the last transactions may be gone, and no page is half written.
      this.#database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -${cacheKib};
        CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, stamp TEXT, content TEXT, crc INTEGER, run INTEGER) WITHOUT ROWID`);
      this.#get = this.#database.prepare('SELECT stamp, content, crc FROM files WHERE path = ?');
      this.#put = this.#database.prepare('INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)');
      this.#touch = this.#database.prepare('UPDATE files SET run = ? WHERE path = ?');
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  /** The content of a file, if it cannot have changed since it was read. */
  of(path: string, stats: BigIntStats): Known | undefined {
    try {
      const row = this.#get.get(bytesFromName(path)) as Row | undefined;
      if (row === undefined || row.stamp !== stampOf(stats) || row.crc !== crcOf(row)) return undefined;
      return JSON.parse(row.content) as Known;
    } catch {
      this.#isDamaged = true;
      return undefined;
    }
  }

  /** A file was read, after it had been opened at `openedMs`. */
  learn(path: string, stats: BigIntStats, openedMs: number, known: Known): void {
    if (stats.ctimeNs > BigInt(openedMs) * 1_000_000n - granularityNs) return;
    const row = { stamp: stampOf(stats), content: JSON.stringify(known) };
    this.#write(() => this.#put.run(bytesFromName(path), row.stamp, row.content, crcOf(row), this.#run));
  }

  /** It is there, as it was. */
  touch(path: string): void {
    this.#write(() => this.#touch.run(this.#run, bytesFromName(path)));
  }

  /** All that is there was learnt or touched: the rest is forgotten. */
  forgetOthers(): void {
    this.#write(() => this.#database.prepare('DELETE FROM files WHERE run <> ?').run(this.#run));
  }

  #write(write: () => void): void {
    if (!this.#canLearn) return;
    try {
      if (!this.#isLearning) this.#database.exec('BEGIN IMMEDIATE');
      this.#isLearning = true;
      write();
      if (++this.#learnt % learntMax === 0) this.#commit();
    } catch {
      this.#canLearn = false;
    }
  }

  #commit(): void {
    this.#isLearning = false;
    this.#database.exec('COMMIT');
  }

  [Symbol.dispose](): void {
    try {
      if (this.#isLearning) this.#commit();
    } catch {
      // On a full disk nothing was learnt.
    } finally {
      this.#database.close();
      if (this.#isDamaged) remove(this.#file!);
    }
  }
}

const crcOf = ({ stamp, content }: Pick<Row, 'stamp' | 'content'>): number => crc32(`${stamp} ${content}`);
