/** The databases as the backup's account sees them. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { ExitError, type Clock } from '@lab/process';
import { environmentWith } from '../../database/command.ts';
import { dumpDatabase } from '../../database/dump.ts';
import { Session } from '../../database/session.ts';
import { gtidOf, sequenceOf, type Gtid, type History } from '../../database/domain/history.ts';
import type { Archive, Manifest } from './archive.ts';

export interface SourceOptions {
  readonly databases: readonly string[];
  readonly backupPassword: string;
  readonly databaseName: string;
  readonly clock: Clock;
}

const connectTo = (host: string, { backupPassword: password, clock }: SourceOptions): Promise<Session> =>
  Session.connect({ host, user: 'backup', password }, clock);

/** How far a log of changes goes. Names of logs are in their order. */
export interface LogPlace {
  readonly log: string;
  readonly bytes: number;
}

interface State {
  readonly address: string;
  readonly readOnly: boolean;
  /** Receives and applies what the primary has: otherwise its end may be of no history. */
  readonly replicates: boolean;
  readonly position: string;
  /** The end of its log. */
  readonly place: LogPlace;
}

async function stateOf(address: string, options: SourceOptions): Promise<State> {
  using session = await connectTo(address, options);
  const [variables] = await session.rows<{ readOnly: number; position: string }>(
    'SELECT @@read_only AS readOnly, @@gtid_current_pos AS position',
  );
  const [slave] = await session.rows<Record<'Slave_IO_Running' | 'Slave_SQL_Running', string>>('SHOW SLAVE STATUS');
  const [place] = await session.rows<{ File: string; Position: number }>('SHOW MASTER STATUS');
  return {
    address,
    readOnly: variables!.readOnly === 1,
    replicates: slave?.Slave_IO_Running === 'Yes' && slave.Slave_SQL_Running === 'Yes',
    position: variables!.position,
    place: { log: String(place?.File), bytes: Number(place?.Position) },
  };
}

/** How those are that answer, and why the others do not. */
async function statesOf(options: SourceOptions): Promise<{ states: State[]; problems: string[] }> {
  const { databases } = options;
  const asked = await Promise.allSettled(databases.map((address) => stateOf(address, options)));
  const problems = asked.flatMap((answer, index) =>
    answer.status === 'rejected' ? [`${databases[index]}: ${(answer.reason as Error).message}`] : [],
  );
  return { states: asked.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : [])), problems };
}

/** The database that clients write to; undefined while there is none. */
export async function primaryOf(options: SourceOptions): Promise<Pick<State, 'address' | 'place'> | undefined> {
  return (await statesOf(options)).states.find(({ readOnly }) => !readOnly);
}

/** Milliseconds since 1970. */
type NowMs = { readonly nowMs: () => number };

/** Dumps a replica, so that the primary does not feel it; where none is fit for it, the primary. Rejects where no database is. */
export async function dump(archive: Archive, options: SourceOptions & NowMs): Promise<Manifest> {
  const { states, problems } = await statesOf(options);
  states.sort((a, b) => Number(b.readOnly) - Number(a.readOnly));
  const newest = Math.max(0, ...states.map(({ position }) => sequenceOf(position)));
  for (const state of states) {
    // A database that is being made new is no source.
    if (state.readOnly && (!state.replicates || newest - sequenceOf(state.position) > behindMax))
      problems.push(`${state.address} is behind`);
    else {
      try {
        const name = new Date(options.nowMs()).toISOString().replace(/\.\d+/, '').replaceAll(':', '-');
        return await archive.add(name, (file) => dumpOne(state, file, options));
      } catch (error) {
        problems.push((error as Error).message);
      }
    }
  }
  throw new ExitError(`there is no new dump: ${problems.join('; ')}`);
}

/** Transactions; a replica that applies is within a moment. */
const behindMax = 10_000;

async function dumpOne(
  { address, position }: State,
  file: string,
  { backupPassword: password, databaseName, clock, nowMs }: SourceOptions & NowMs,
): Promise<Pick<Manifest, 'takenAt' | 'source' | 'position'>> {
  const dump = dumpDatabase({ host: address, user: 'backup', password, databaseName, position: 'comment', clock });
  const facts = new DumpFacts(nowMs);
  await Promise.all([
    pipeline(dump.output, facts, createGzip({ level: 3 }), createWriteStream(file, { flush: true })),
    dump.whole,
  ]);
  // What was just filled from another database has no log of its own yet, and does not know its place by it.
  if (facts.position === undefined || sequenceOf(facts.position) < sequenceOf(position))
    throw new Error(`${address} does not know its place in the history`);
  return { takenAt: new Date(facts.takenMs!).toISOString(), source: address, position: facts.position };
}

/** Lets a dump pass, and remembers what it says of itself. */
export class DumpFacts extends Transform {
  /** When its first bytes came. By then the program has the moment that it shows: before, it waits for that with all that it prints. */
  takenMs: number | undefined;
  /** Its last transaction. Some versions say it at the beginning, others at the end. */
  position: string | undefined;
  readonly #nowMs: () => number;
  #end = '';

  constructor(nowMs: () => number) {
    super();
    this.#nowMs = nowMs;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: (error: null, chunk: Buffer) => void): void {
    this.takenMs ??= this.#nowMs();
    const text = this.#end + chunk.toString('latin1');
    this.position = positionLine.exec(text)?.[1] ?? this.position;
    this.#end = text.slice(-positionChars);
    done(null, chunk);
  }
}

/** Text of a client's never begins a line of a dump: in it a line feed stands as \n. */
const positionLine = /\n-- SET GLOBAL gtid_slave_pos='([^']*)'/;
/** The line is shorter, with a position of one domain. */
const positionChars = 200;

/** Where the changes of a database are to be fetched from. */
export interface FirstLog {
  readonly name: string;
  /** Whether the history holds its first transaction, so that the log continues what is known. */
  readonly joins: boolean;
  /** Sequence number of the transaction before its first. */
  readonly after: number;
}

/**
 * The newest of its logs that begins with what the history holds: a later one might leave something out, or continue what a former primary had logged last and
 * that is of no history. Where there is none, the oldest.
 */
export async function firstLog(address: string, history: History, options: SourceOptions): Promise<FirstLog> {
  using session = await connectTo(address, options);
  const logs = await session.rows<{ Log_name: string }>('SHOW BINARY LOGS');
  let oldest: FirstLog | undefined;
  for (const { Log_name: name } of logs.toReversed()) {
    const { first, after } = await beginningOf(name, session);
    oldest = { name, joins: first !== undefined && history.has(first), after };
    if (oldest.joins) return oldest;
  }
  if (oldest === undefined) throw new Error(`${address} keeps no log of changes`);
  return oldest;
}

/** Before its first transaction stand the file's format, what is before it, and which logs a crash would need. */
const headEvents = 50;

async function beginningOf(log: string, session: Session): Promise<{ first: Gtid | undefined; after: number }> {
  const events = await session.rows<Record<'Event_type' | 'Info', string>>(`SHOW BINLOG EVENTS IN '${log}' LIMIT ${headEvents}`);
  const gtidsOf = (type: string): Gtid[] => {
    const event = events.find(({ Event_type }) => Event_type === type);
    return ((event?.Info ?? '').match(/\b0-\d+-\d+/g) ?? []).map(gtidOf);
  };
  const [first] = gtidsOf('Gtid');
  // Of each server that has written, its last transaction.
  const before = gtidsOf('Gtid_list').map(({ sequence }) => sequence);
  return { first, after: first === undefined ? Math.max(0, ...before) : first.sequence - 1 };
}

/** Fetches the changes of a database as they are made, from a log on, into files of the folder. The program ends with the connection. */
export function fetchChanges(address: string, log: string, folder: string, { backupPassword }: SourceOptions): ChildProcess {
  const how = ['--read-from-remote-server', '--raw', '--stop-never', `--result-file=${folder}/`];
  return spawn('mariadb-binlog', [`--host=${address}`, '--user=backup', ...how, log], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: environmentWith(backupPassword),
  });
}
