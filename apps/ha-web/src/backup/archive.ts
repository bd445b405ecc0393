/** What a backup machine keeps: dumps, each with its place in the history, and the logs of changes since. Files only. */
import { createReadStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ExitError } from '@lab/process';

/** Beside a dump. Whoever finds it knows that the dump is whole. */
export interface Manifest {
  /** Its name, too: a time, as 2026-01-31T02-00-00Z. */
  readonly name: string;
  readonly takenAt: string;
  /** Address of the database. */
  readonly source: string;
  /** Its last transaction, as 0-1-17. */
  readonly position: string;
  readonly bytes: number;
  readonly sha256: string;
}

export class Archive {
  readonly #dumps: string;
  readonly #logs: string;

  constructor(folder: string) {
    this.#dumps = join(folder, 'dumps');
    this.#logs = join(folder, 'changes');
  }

  /** Whole ones, oldest first. */
  async list(): Promise<Manifest[]> {
    await mkdir(this.#dumps, { recursive: true });
    const names = (await readdir(this.#dumps)).filter((name) => !name.endsWith('.part')).sort();
    return Promise.all(
      names.map(async (name) => JSON.parse(await readFile(join(this.#dumps, name, 'manifest.json'), 'utf8')) as Manifest),
    );
  }

  fileOf({ name }: Pick<Manifest, 'name'>): string {
    return join(this.#dumps, name, dumpFile);
  }

  /** Makes a dump by `write`, which gets the file's name; it appears whole or not at all. */
  async add(
    name: string,
    write: (file: string) => Promise<Pick<Manifest, 'takenAt' | 'source' | 'position'>>,
  ): Promise<Manifest> {
    const part = join(this.#dumps, `${name}.part`);
    await rm(part, { recursive: true, force: true });
    await mkdir(part, { recursive: true });
    const file = join(part, dumpFile);
    const made = await write(file);
    const manifest = { name, ...made, bytes: (await stat(file)).size, sha256: await hashOf(file) };
    await writeFile(join(part, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`, { flush: true });
    await rename(part, join(this.#dumps, name));
    return manifest;
  }

  /** Throws where a dump is not as it was made. */
  async check(manifest: Manifest): Promise<void> {
    if ((await hashOf(this.fileOf(manifest))) !== manifest.sha256) throw new ExitError(`the dump ${manifest.name} is damaged`);
  }

  /** A new folder for logs of changes; the names of such folders are in the order of time. */
  async beginChanges(name: string): Promise<string> {
    const folder = join(this.#logs, name);
    await mkdir(folder, { recursive: true });
    return folder;
  }

  /** Logs of changes by the connection that fetched them, oldest first. Where two hold the same transaction the later one is right. */
  async changes(): Promise<string[][]> {
    await mkdir(this.#logs, { recursive: true });
    const folders = (await readdir(this.#logs)).sort().map((folder) => join(this.#logs, folder));
    return Promise.all(folders.map(async (folder) => (await readdir(folder)).sort().map((file) => join(folder, file))));
  }

  /** Removes all but the newest dumps, and the changes that are older than the oldest that stays. */
  async retain(count: number): Promise<void> {
    const dumps = await this.list();
    for (const { name } of dumps.slice(0, -count)) await rm(join(this.#dumps, name), { recursive: true });
    const oldest = dumps.slice(-count)[0];
    if (oldest === undefined) return;
    for (const file of (await this.changes()).flat()) {
      // Written last before the dump began; an hour for a machine whose clock is not right.
      if ((await stat(file)).mtimeMs < Date.parse(oldest.takenAt) - 3_600_000) await rm(file);
    }
    // Of the newest connection the first file may just be coming.
    const folders = (await readdir(this.#logs)).sort().slice(0, -1);
    // A folder that is not empty stays.
    for (const folder of folders) await rmdir(join(this.#logs, folder)).catch(() => undefined);
  }
}

const dumpFile = 'dump.sql.gz';

async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}
