/** A new instance from a dump and the changes since, up to a time. It is made by a server of its own that nobody can reach, which ends when all is there. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createReadStream, existsSync } from 'node:fs';
import { chown, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { ExitError, exitCodes, retry, type Clock } from '@lab/process';
import { ended, inTurn } from '../../database/command.ts';
import { installDatabase, userOfMariadb } from '../../database/mariadbd.ts';
import { Session } from '../../database/session.ts';
import { gtidOf, sequenceOf, type History, type Run } from '../../database/domain/history.ts';
import type { Archive, Manifest } from './archive.ts';
import { transactionsOf } from './binary-log.ts';

export interface RestoreOptions {
  /** Of the new instance; it must not exist. Where the restore fails it is removed. */
  readonly into: string;
  /** Milliseconds since 1970, to the second: MariaDB's log has no finer times. Undefined: all changes. */
  readonly toMs: number | undefined;
  readonly databaseName: string;
  readonly clock: Clock;
}

export interface Restored {
  readonly dump: Manifest;
  /** Sequence number of the last transaction. */
  readonly last: number;
  /** MariaDB's checksums of the tables, by name. */
  readonly checksums: Readonly<Record<string, string>>;
}

/** A server with an empty folder starts within seconds. */
const startMs = 60_000;

export async function restore(archive: Archive, options: RestoreOptions): Promise<Restored> {
  if (existsSync(options.into)) throw new ExitError(`${options.into} exists: a restore makes a new folder`, exitCodes.usage);
  const history = await archive.history();
  const dump = await newestBefore(archive, history, options.toMs ?? Infinity);
  const untilSeconds = Math.floor((options.toMs ?? Infinity) / 1_000);
  const { parts, last } = await partsBehind(history, sequenceOf(dump.position), untilSeconds);
  await archive.check(dump);
  try {
    return { dump, last, checksums: await build(archive.fileOf(dump), parts, options) };
  } catch (error) {
    await rm(options.into, { recursive: true, force: true });
    throw error;
  }
}

/** When the newest transaction that is known of began, in milliseconds since 1970; undefined where the logs hold none. */
export async function newestChangeMs(history: History): Promise<number | undefined> {
  const run = history.behind(0).at(-1);
  if (run === undefined) return undefined;
  let newest: number | undefined;
  for await (const transactions of transactionsOf(run.log))
    for (const { sequence, seconds } of transactions) if (sequence <= run.last) newest = seconds * 1_000;
  return newest;
}

/** The newest that shows a moment not later than the time, and stands in the history: one of a primary of the past may not. */
async function newestBefore(archive: Archive, history: History, timeMs: number): Promise<Manifest> {
  const dumps = await archive.list();
  const found = dumps.findLast(
    ({ takenAt, position }) => Date.parse(takenAt) <= timeMs && !history.contradicts(gtidOf(position)),
  );
  if (found !== undefined) return found;
  const oldest = dumps[0] === undefined ? 'there is none' : `the oldest is of ${dumps[0].takenAt}`;
  const time = timeMs === Infinity ? 'now' : new Date(timeMs).toISOString();
  throw new ExitError(`no dump was made before ${time}: ${oldest}, as "backup list" shows`);
}

/** Whole transactions that follow each other in a log. */
export interface LogPart {
  readonly log: string;
  /** Offsets, of the first byte and behind the last. */
  readonly begin: number;
  readonly end: number;
}

/**
 * All behind a transaction, up to the first that was begun later than the time: those behind it may have earlier times, as they waited for a lock or another
 * machine's clock is behind, but are made with what it left. Rejects where something between is missing.
 */
export async function partsBehind(
  history: History,
  after: number,
  untilSeconds: number,
): Promise<{ parts: LogPart[]; last: number }> {
  const parts: LogPart[] = [];
  let last = after;
  for (const run of history.behind(after)) {
    if (run.first !== last + 1) throw new ExitError(`the changes ${last + 1} to ${run.first - 1} are missing`);
    const found = await partOf(run, untilSeconds);
    if (found.part !== undefined) parts.push(found.part);
    last = found.last;
    if (last < run.last) break;
  }
  return { parts, last };
}

async function partOf({ log, first, last }: Run, untilSeconds: number): Promise<{ part: LogPart | undefined; last: number }> {
  let part: LogPart | undefined;
  let found = first - 1;
  for await (const transactions of transactionsOf(log)) {
    for (const { sequence, seconds, begin, end } of transactions) {
      if (sequence < first) continue;
      if (sequence > last || seconds > untilSeconds) return { part, last: found };
      part = { log, begin: part?.begin ?? begin, end };
      found = sequence;
    }
  }
  return { part, last: found };
}

/** Resolves with the checksums of the tables. */
async function build(dumpFile: string, parts: readonly LogPart[], options: RestoreOptions): Promise<Record<string, string>> {
  await using instance = await Instance.start(options);
  await instance.feed(createReadStream(dumpFile), createGunzip());
  for (const part of parts) await instance.repeat(part);
  // Awaited here, for the instance ends with this function.
  return await instance.checksums(options.databaseName);
}

class Instance implements AsyncDisposable {
  readonly #server: ChildProcess;
  readonly #ended: Promise<void>;
  readonly #runFolder: string;
  #session: Session | undefined;

  private constructor(into: string, runFolder: string) {
    const options = [`--datadir=${into}`, '--skip-networking', `--pid-file=${join(runFolder, 'pid')}`];
    // What is not on the disk when the machine fails is restored again.
    const fast = ['--innodb-flush-log-at-trx-commit=2', '--character-set-server=utf8mb4'];
    this.#runFolder = runFolder;
    this.#server = spawn('mariadbd', ['--no-defaults', '--user=mysql', `--socket=${this.#socketPath}`, ...options, ...fast], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#ended = ended(this.#server, 'mariadbd');
    this.#ended.catch(() => undefined);
  }

  static async start({ into, clock }: RestoreOptions): Promise<Instance> {
    const [uid, gid] = await userOfMariadb();
    await mkdir(into, { recursive: true });
    await chown(into, uid, gid);
    await installDatabase(into, '--no-defaults');
    const runFolder = await mkdtemp(join(tmpdir(), 'restore-'));
    await chown(runFolder, uid, gid);
    const instance = new Instance(into, runFolder);
    try {
      await instance.#connect(clock);
      return instance;
    } catch (error) {
      await instance[Symbol.asyncDispose]();
      throw error;
    }
  }

  get #socketPath(): string {
    return join(this.#runFolder, 'socket');
  }

  async #connect(clock: Clock): Promise<void> {
    const end = this.#ended.then(() => Promise.reject(new Error('mariadbd has ended')));
    const connect = (): Promise<Session> => Session.connect({ socketPath: this.#socketPath, user: 'root' }, clock);
    this.#session = await Promise.race([retry(connect, { clock, withinMs: startMs, pauseMs: 200 }), end]);
  }

  /** Carries out statements: the last stream's, which gets what the ones before it give. */
  async feed(...statements: readonly [Readable, ...NodeJS.ReadWriteStream[]]): Promise<void> {
    const client = spawn('mariadb', [`--socket=${this.#socketPath}`, '--binary-mode'], { stdio: ['pipe', 'ignore', 'pipe'] });
    await inTurn([ended(client, 'mariadb'), pipeline([...statements, client.stdin])]);
  }

  /** Carries out transactions of a log once more. */
  async repeat({ log, begin, end }: LogPart): Promise<void> {
    const how = ['--verify-binlog-checksum', '--skip-annotate-row-events', `--start-position=${begin}`, `--stop-position=${end}`];
    const child = spawn('mariadb-binlog', [...how, log], { stdio: ['ignore', 'pipe', 'pipe'] });
    await inTurn([this.feed(child.stdout), ended(child, 'mariadb-binlog')]);
  }

  async checksums(databaseName: string): Promise<Record<string, string>> {
    const session = this.#session!;
    const tables = await session.rows<{ name: string }>(
      `SELECT table_name AS name FROM information_schema.tables WHERE table_schema = '${databaseName}' AND table_type = 'BASE TABLE' ORDER BY 1`,
    );
    const sums: Record<string, string> = {};
    for (const { name } of tables) {
      const [row] = await session.rows<{ Checksum: number }>(
        `CHECKSUM TABLE ${databaseName}.\`${name.replaceAll('`', '``')}\``,
        Infinity,
      );
      sums[name] = String(row?.Checksum);
    }
    return sums;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#session?.close();
    this.#server.kill('SIGTERM');
    await this.#ended.catch(() => undefined);
    await rm(this.#runFolder, { recursive: true, force: true });
  }
}
