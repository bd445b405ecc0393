/** The databases as the backup's account sees them. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { Transform, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { ExitError, type Clock } from '@lab/process';
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
import { environmentWith } from '../database/command.ts';
import { dumpDatabase } from '../database/dump.ts';
import { sequenceOf } from '../domain/database-history.ts';
import type { Archive, Manifest } from './archive.ts';

export interface SourceOptions {
  readonly databases: readonly string[];
  readonly backupPassword: string;
  readonly databaseName: string;
}

const connectMs = 2_000;

interface State {
  readonly address: string;
  readonly readOnly: boolean;
  /** Receives and applies what the primary has: otherwise its end may be of no history. */
  readonly replicates: boolean;
  readonly position: string;
}

async function stateOf(address: string, password: string): Promise<State> {
  let connection: Connection | undefined;
  try {
    connection = await createConnection({ host: address, user: 'backup', password, connectTimeout: connectMs });
    const [[row]] = await connection.query<RowDataPacket[]>({
      sql: 'SELECT @@read_only AS readOnly, @@gtid_current_pos AS position',
      timeout: connectMs,
    });
    const [[slave]] = await connection.query<RowDataPacket[]>({ sql: 'SHOW SLAVE STATUS', timeout: connectMs });
    const replicates = slave?.['Slave_IO_Running'] === 'Yes' && slave['Slave_SQL_Running'] === 'Yes';
    return { address, readOnly: row?.['readOnly'] === 1, replicates, position: String(row?.['position']) };
  } finally {
    connection?.destroy();
  }
}

/** How those are that answer, and why the others do not. */
async function statesOf({ databases, backupPassword }: SourceOptions): Promise<{ states: State[]; problems: string[] }> {
  const asked = await Promise.allSettled(databases.map((address) => stateOf(address, backupPassword)));
  const problems = asked.flatMap((answer, index) =>
    answer.status === 'rejected' ? [`${databases[index]}: ${(answer.reason as Error).message}`] : [],
  );
  return { states: asked.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : [])), problems };
}

/** The address of the database that clients write to; undefined while there is none. */
export async function primaryOf(options: SourceOptions): Promise<string | undefined> {
  return (await statesOf(options)).states.find(({ readOnly }) => !readOnly)?.address;
}

/** Dumps a replica, so that the primary does not feel it; where none is fit for it, the primary. Rejects where no database is. */
export async function dump(
  archive: Archive,
  options: SourceOptions & { readonly clock: Clock },
  nowMs: number,
): Promise<Manifest> {
  const { states, problems } = await statesOf(options);
  states.sort((a, b) => Number(b.readOnly) - Number(a.readOnly));
  const newest = Math.max(0, ...states.map(({ position }) => sequenceOf(position)));
  const takenAt = new Date(nowMs).toISOString();
  for (const state of states) {
    // A database that is being made new is no source.
    if (state.readOnly && (!state.replicates || newest - sequenceOf(state.position) > behindMax))
      problems.push(`${state.address} is behind`);
    else {
      try {
        return await archive.add(takenAt.replace(/\.\d+/, '').replaceAll(':', '-'), async (file) => ({
          takenAt,
          source: state.address,
          position: await dumpOne(state, file, options),
        }));
      } catch (error) {
        problems.push((error as Error).message);
      }
    }
  }
  throw new ExitError(`there is no new dump: ${problems.join('; ')}`);
}

/** Transactions; a replica that applies is within a moment. */
const behindMax = 10_000;

/** Resolves with its place in the history. */
async function dumpOne(
  { address, position }: State,
  file: string,
  options: SourceOptions & { readonly clock: Clock },
): Promise<string> {
  const { backupPassword: password, databaseName, clock } = options;
  const dump = dumpDatabase({ host: address, user: 'backup', password, databaseName, position: 'comment', clock });
  const head = new Head();
  await Promise.all([
    pipeline(dump.output, head, createGzip({ level: 3 }), createWriteStream(file, { flush: true })),
    dump.whole,
  ]);
  const dumped = /SET GLOBAL gtid_slave_pos='([^']*)'/.exec(head.text)?.[1];
  // What was just filled from another database has no log of its own yet, and does not know its place by it.
  if (dumped === undefined || sequenceOf(dumped) < sequenceOf(position))
    throw new Error(`${address} does not know its place in the history`);
  return dumped;
}

/** Lets everything pass, and remembers the beginning. */
class Head extends Transform {
  text = '';
  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: (error: null, chunk: Buffer) => void): void {
    if (this.text.length < headChars) this.text += chunk.toString('latin1');
    done(null, chunk);
  }
}
/** The position stands within the first 50 lines. */
const headChars = 16_384;

const loginOf = (address: string): string[] => [`--host=${address}`, '--user=backup'];

/**
 * Fetches the changes of a database as they are made, from the log on that holds the given transaction, into files of the folder, which is made when the
 * database answers. The program that is given back ends with the connection.
 */
export async function fetchChanges(
  address: string,
  after: number,
  makeFolder: () => Promise<string>,
  { backupPassword }: SourceOptions,
): Promise<ChildProcess> {
  const first = await firstLog(address, after, backupPassword);
  const folder = await makeFolder();
  const how = ['--read-from-remote-server', '--raw', '--stop-never', `--result-file=${folder}/`];
  return spawn('mariadb-binlog', [...loginOf(address), ...how, first], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: environmentWith(backupPassword),
  });
}

/** What a primary had logged last when it was lost may not be of the history: commits that waited, one of each connection at the most. The next primary's log is right. */
const waitingMax = 1_000;

/** The last log that begins before what may not be of the history; otherwise the first that there is. */
async function firstLog(address: string, after: number, password: string): Promise<string> {
  const connection = await createConnection({ host: address, user: 'backup', password, connectTimeout: connectMs });
  connection.on('error', () => undefined);
  try {
    const [logs] = await connection.query<RowDataPacket[]>('SHOW BINARY LOGS');
    const names = logs.map((row) => String(row['Log_name']));
    for (const name of names.toReversed()) {
      const [[row]] = await connection.query<RowDataPacket[]>('SELECT BINLOG_GTID_POS(?, 4) AS position', [name]);
      if (sequenceOf(String(row?.['position'] ?? '')) <= after - waitingMax) return name;
    }
    if (names[0] === undefined) throw new Error(`${address} keeps no log of changes`);
    return names[0];
  } finally {
    connection.destroy();
  }
}

/** The sequence number of the first transaction in a log, Infinity where there is none. */
export async function firstIn(log: string): Promise<number> {
  const child = spawn('mariadb-binlog', [log], { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    for await (const sequence of sequencesOf(child)) return sequence;
    return Infinity;
  } finally {
    child.kill();
  }
}

/** The sequence number of the last transaction in a log, 0 where there is none. The end of one that is being written may be cut. */
export async function lastIn(log: string): Promise<number> {
  const child = spawn('mariadb-binlog', [log], { stdio: ['ignore', 'pipe', 'ignore'] });
  let last = 0;
  for await (const sequence of sequencesOf(child)) last = sequence;
  return last;
}

async function* sequencesOf({ stdout }: { readonly stdout: Readable }): AsyncGenerator<number> {
  for await (const line of createInterface({ input: stdout })) {
    const sequence = line.startsWith('#') ? /\bGTID 0-\d+-(\d+)/.exec(line)?.[1] : undefined;
    if (sequence !== undefined) yield Number(sequence);
  }
}
