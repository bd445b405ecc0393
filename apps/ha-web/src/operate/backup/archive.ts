/** What a backup machine keeps: dumps, each with its place in the history, and the logs of changes since. Files only. */
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ExitError, pathError, type Logger } from '@lab/process';
import { z } from 'zod';
import { History, sequenceOf, type Run } from '../../database/domain/history.ts';
import { transactionsOf } from './binary-log.ts';

/** Beside a dump. Whoever finds it knows that the dump is whole. */
const manifest = z.object({
  /** The folder's, too: a time, as 2026-01-31T02-00-00Z; with -2 behind it for the second of a second. */
  name: z.string(),
  /** By this machine's clock, at once after the moment that the dump shows. */
  takenAt: z.iso.datetime(),
  /** Address of the database. */
  source: z.string(),
  /** Its last transaction, as 0-1-17. */
  position: z.string(),
  bytes: z.number(),
  sha256: z.string(),
});
export type Manifest = Readonly<z.infer<typeof manifest>>;

export class Archive {
  readonly #dumps: string;
  readonly #logs: string;
  readonly #log: Logger;
  /** What was read of each log, and how long it was. Only what has grown is read again. */
  readonly #known = new Map<string, { readonly bytes: number; readonly runs: readonly Run[] }>();

  /** `log` gets the names of dumps that are not whole. */
  constructor(folder: string, log: Logger) {
    this.#dumps = join(folder, 'dumps');
    this.#logs = join(folder, 'changes');
    this.#log = log;
  }

  /** One that is there: a mistyped folder is not an empty archive. */
  static async existing(folder: string, log: Logger): Promise<Archive> {
    await readdir(folder).catch((error: unknown) => {
      throw pathError(error, 'the folder of the backups cannot be read: ');
    });
    return new Archive(folder, log);
  }

  /** Removes what a crash left of dumps. Of a dump that another process makes just now, too: that one then fails. */
  async clean(): Promise<void> {
    for (const name of await namesIn(this.#dumps)) if (isPart(name)) await rm(join(this.#dumps, name), { recursive: true });
  }

  /** Whole ones, oldest first. */
  async list(): Promise<Manifest[]> {
    const names = (await namesIn(this.#dumps)).filter((name) => !isPart(name));
    return (await Promise.all(names.map((name) => this.#manifestOf(name)))).filter((found) => found !== undefined);
  }

  async #manifestOf(name: string): Promise<Manifest | undefined> {
    try {
      return manifest.parse(JSON.parse(await readFile(join(this.#dumps, name, manifestFile), 'utf8')));
    } catch (error) {
      this.#log.warn({ err: error, dump: name }, 'a dump is not whole, and is left out');
      return undefined;
    }
  }

  fileOf({ name }: Pick<Manifest, 'name'>): string {
    return join(this.#dumps, name, dumpFile);
  }

  /** Makes a dump by `write`, which gets the file's name; it appears whole or not at all. Where one of that name is, or is being made, it has a number behind. */
  async add(
    wanted: string,
    write: (file: string) => Promise<Pick<Manifest, 'takenAt' | 'source' | 'position'>>,
  ): Promise<Manifest> {
    const name = await this.#reserve(wanted);
    const part = join(this.#dumps, partOf(name));
    try {
      const file = join(part, dumpFile);
      const made = await write(file);
      const whole = { name, ...made, bytes: (await stat(file)).size, sha256: await hashOf(file) };
      await writeFile(join(part, manifestFile), `${JSON.stringify(whole, null, 2)}\n`, { flush: true });
      await rename(part, join(this.#dumps, name));
      return whole;
    } catch (error) {
      await rm(part, { recursive: true, force: true });
      throw error;
    }
  }

  /** Two may begin in one second: the machine's own, and an operator's. */
  async #reserve(wanted: string): Promise<string> {
    await mkdir(this.#dumps, { recursive: true });
    for (let number = 1; ; number++) {
      const name = number === 1 ? wanted : `${wanted}-${number}`;
      const part = join(this.#dumps, partOf(name));
      try {
        await mkdir(part);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue;
        throw error;
      }
      if (!existsSync(join(this.#dumps, name))) return name;
      await rmdir(part);
    }
  }

  /** Throws where a dump is not as it was made. */
  async check({ name, sha256 }: Manifest): Promise<void> {
    if ((await hashOf(this.fileOf({ name }))) !== sha256) throw new ExitError(`the dump ${name} is damaged`);
  }

  /** A new folder for the logs that a connection fetches. Folders are numbered: a clock may go back, their order must not. */
  async beginChanges(name: string): Promise<string> {
    const number = Number.parseInt((await namesIn(this.#logs)).at(-1) ?? '0') + 1;
    const folder = join(this.#logs, `${String(number).padStart(8, '0')}-${name}`);
    await mkdir(folder);
    return folder;
  }

  /** Logs of changes by the connection that fetched them, oldest first. */
  async changes(): Promise<string[][]> {
    const folders = (await namesIn(this.#logs)).map((folder) => join(this.#logs, folder));
    return Promise.all(folders.map(async (folder) => (await namesIn(folder)).map((file) => join(folder, file))));
  }

  /** All that the changes tell. */
  async history(): Promise<History> {
    const history = new History();
    for (const logs of await this.changes()) {
      const runs: Run[] = [];
      for (const log of logs) runs.push(...(await this.#runsOf(log)));
      history.add(runs);
    }
    return history;
  }

  async #runsOf(log: string): Promise<readonly Run[]> {
    const bytes = (await stat(log)).size;
    const known = this.#known.get(log);
    if (known?.bytes === bytes) return known.runs;
    const runs = await runsOf(log);
    this.#known.set(log, { bytes, runs });
    return runs;
  }

  /** Removes all but the newest dumps, and the logs of which the oldest that stays has everything. */
  async retain(count: number): Promise<void> {
    const dumps = await this.list();
    for (const { name } of dumps.slice(0, -count)) await this.#discard(name);
    const oldest = dumps.slice(-count)[0];
    if (oldest === undefined) return;
    const connections = await this.changes();
    // The newest log of the newest connection is being written, or may be.
    const written = connections.at(-1)?.at(-1);
    for (const log of connections.flat()) {
      const last = (await this.#runsOf(log)).at(-1)?.last ?? 0;
      if (log === written || last > sequenceOf(oldest.position)) continue;
      await rm(log);
      this.#known.delete(log);
    }
    // A folder that is not empty stays. Of the newest connection the first log may just be coming.
    for (const folder of (await namesIn(this.#logs)).slice(0, -1)) await rmdir(join(this.#logs, folder)).catch(() => undefined);
  }

  /** Named as what is not whole first: a crash on the way leaves nothing that looks like a dump. */
  async #discard(name: string): Promise<void> {
    const part = join(this.#dumps, partOf(name));
    await rename(join(this.#dumps, name), part);
    await rm(part, { recursive: true });
  }
}

const dumpFile = 'dump.sql.gz';
const manifestFile = 'manifest.json';
const partOf = (name: string): string => `${name}.part`;
const isPart = (name: string): boolean => name.endsWith('.part');

/** In order; none where there is no such folder yet, which is made. */
async function namesIn(folder: string): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  return (await readdir(folder)).sort();
}

async function runsOf(log: string): Promise<Run[]> {
  const runs: Run[] = [];
  for await (const transactions of transactionsOf(log)) {
    for (const { server, sequence } of transactions) {
      const run = runs.at(-1);
      if (run?.server === server && run.last + 1 === sequence) runs[runs.length - 1] = { ...run, last: sequence };
      else runs.push({ server, first: sequence, last: sequence, log });
    }
  }
  return runs;
}

async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}
