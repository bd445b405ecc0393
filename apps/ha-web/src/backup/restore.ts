/** A new instance from a dump and the changes since, up to a time. It is made by a server of its own that nobody can reach, which ends when all is there. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createReadStream, existsSync } from 'node:fs';
import { chown, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { ExitError, type Clock } from '@lab/process';
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
import { ended, run } from '../database/command.ts';
import { userOfMariadb } from '../database/mariadbd.ts';
import { ReplayFilter, sequenceOf } from '../domain/database-history.ts';
import type { Archive, Manifest } from './archive.ts';
import { firstIn } from './source.ts';

export interface RestoreOptions {
  /** Of the new instance; it must not exist. */
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

const installMs = 120_000;
/** A server with an empty folder starts within seconds. */
const startMs = 60_000;

export async function restore(archive: Archive, options: RestoreOptions): Promise<Restored> {
  const dump = await newestBefore(archive, options.toMs ?? Infinity);
  await archive.check(dump);
  if (existsSync(options.into)) throw new ExitError(`${options.into} exists: a restore makes a new folder`);
  await using instance = await Instance.start(options);
  await instance.feed(createReadStream(archive.fileOf(dump)).pipe(createGunzip()));
  const replay = new ReplayFilter({
    after: sequenceOf(dump.position),
    untilSeconds: Math.floor((options.toMs ?? Infinity) / 1_000),
  });
  await instance.feed(Readable.from(wanted(await archive.changes(), replay)));
  return { dump, last: replay.last, checksums: await instance.checksums(options.databaseName) };
}

async function newestBefore(archive: Archive, timeMs: number): Promise<Manifest> {
  const dumps = await archive.list();
  const found = dumps.filter(({ takenAt }) => Date.parse(takenAt) <= timeMs).at(-1);
  if (found === undefined)
    throw new ExitError(`no dump was made before ${timeMs === Infinity ? 'now' : new Date(timeMs).toISOString()}`);
  return found;
}

/** Statements that repeat the changes, a transaction at a time. Times in what `mariadb-binlog` prints are of the zone it runs in. */
async function* wanted(connections: readonly (readonly string[])[], replay: ReplayFilter): AsyncGenerator<string> {
  const begins = await Promise.all(connections.map(async ([first]) => (first === undefined ? Infinity : firstIn(first))));
  for (const [index, logs] of connections.entries()) {
    replay.endBefore(Math.min(Infinity, ...begins.slice(index + 1)));
    for (const log of logs) yield* wantedOf(log, replay);
  }
}

async function* wantedOf(log: string, replay: ReplayFilter): AsyncGenerator<string> {
  const child = spawn('mariadb-binlog', [log], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: '/usr/bin:/bin', TZ: 'UTC' },
  });
  const whole = ended(child, 'mariadb-binlog').then(
    () => true,
    () => false,
  );
  let lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    if (replay.begins(line)) {
      yield textOf(lines);
      lines = [];
    }
    if (replay.passes(line)) lines.push(line);
  }
  // The end of a log may be cut off, where the connection broke; the next log has all of that transaction.
  if ((await whole) || lines.some((line) => line.startsWith('COMMIT'))) yield textOf(lines);
  else if (lines.some((line) => replay.begins(line))) replay.takeBack();
  yield 'DELIMITER ;\n';
}

const textOf = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');

class Instance implements AsyncDisposable {
  readonly #server: ChildProcess;
  readonly #ended: Promise<void>;
  readonly #runFolder: string;
  readonly #connection: Connection;

  private constructor(server: ChildProcess, end: Promise<void>, runFolder: string, connection: Connection) {
    [this.#server, this.#ended, this.#runFolder, this.#connection] = [server, end, runFolder, connection];
  }

  static async start({ into, clock }: RestoreOptions): Promise<Instance> {
    const runFolder = await mkdtemp(join(tmpdir(), 'restore-'));
    const [uid, gid] = await userOfMariadb();
    await mkdir(into, { recursive: true });
    for (const folder of [runFolder, into]) await chown(folder, uid, gid);
    await run(
      'mariadb-install-db',
      ['--no-defaults', '--user=mysql', `--datadir=${into}`, '--skip-test-db', '--auth-root-authentication-method=socket'],
      installMs,
    );
    const socketPath = join(runFolder, 'socket');
    const options = [
      '--no-defaults',
      '--user=mysql',
      `--datadir=${into}`,
      '--skip-networking',
      `--socket=${socketPath}`,
      `--pid-file=${join(runFolder, 'pid')}`,
    ];
    // What is not on the disk when the machine fails is restored again.
    const server = spawn('mariadbd', [...options, '--innodb-flush-log-at-trx-commit=2', '--character-set-server=utf8mb4'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const end = ended(server, 'mariadbd');
    end.catch(() => undefined);
    return new Instance(
      server,
      end,
      runFolder,
      await Promise.race([connectPatiently(socketPath, clock), end.then(() => Promise.reject(new Error('mariadbd has ended')))]),
    );
  }

  /** Carries out statements. */
  async feed(statements: Readable): Promise<void> {
    const client = spawn('mariadb', [`--socket=${join(this.#runFolder, 'socket')}`, '--binary-mode'], {
      stdio: ['pipe', 'ignore', 'pipe'],
    });
    await Promise.all([pipeline(statements, client.stdin), ended(client, 'mariadb')]);
  }

  async checksums(databaseName: string): Promise<Record<string, string>> {
    const [tables] = await this.#connection.query<RowDataPacket[]>(
      "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = ? AND table_type = 'BASE TABLE' ORDER BY 1",
      [databaseName],
    );
    const sums: Record<string, string> = {};
    for (const { name } of tables as { name: string }[]) {
      const [[row]] = await this.#connection.query<RowDataPacket[]>('CHECKSUM TABLE ??.??', [databaseName, name]);
      sums[name] = String(row?.['Checksum']);
    }
    return sums;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection.destroy();
    this.#server.kill('SIGTERM');
    await this.#ended.catch(() => undefined);
    await rm(this.#runFolder, { recursive: true, force: true });
  }
}

async function connectPatiently(socketPath: string, clock: Clock): Promise<Connection> {
  const deadlineMs = clock.nowMs() + startMs;
  for (;;) {
    try {
      return await createConnection({ socketPath, user: 'root' });
    } catch (error) {
      if (clock.nowMs() > deadlineMs) throw error;
      await new Promise<void>((resolve) => void clock.after(100, resolve));
    }
  }
}
