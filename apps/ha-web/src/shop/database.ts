/**
 * MariaDB behind a floating address, as a program sees it that must outlive the server that answers there.
 *
 * Work is tried again, from its start and on a connection that is known to be good, until its deadline: a server that dies, a new primary that is still
 * read-only and a deadlock all pass. Work must therefore bear being done twice: a COMMIT whose answer is lost may have happened.
 *
 * Nothing here ends a statement on the server (no KILL, no `max_statement_time`): a commit that waits for the replica would be let go with an OK that
 * nobody may give. A connection that waits so keeps its place in the pool, also when whoever asked has long had his refusal: that bounds how many can
 * wait, and reads, which have places of their own, go on beside them.
 *
 * What a hanging connection means is asked on another: each half second a lookout speaks to the same address. While it is answered, the others may wait;
 * when it is not, or its own connection breaks, the server has gone or the address has moved, and all connections are dropped.
 *
 * An old primary that was paused still holds the address, and answers reads from the past, for the moment until it is fenced. So the epoch in its data is a
 * fencing token: once a later one was seen here, a new connection to an older one is refused.
 */
import { connect, type Socket } from 'node:net';
import { inTime, retry, type Clock, type Logger } from '@lab/process';
import { keepLooking } from '../looking.ts';
import { createConnection, type Connection, type ResultSetHeader, type RowDataPacket } from 'mysql2/promise';

export type Value = string | number | null | Date | Buffer | readonly (string | number)[];

/** Statements of one piece of work, on one connection. Values stand where `?` is; a list of them for `IN (?)`. */
export interface Sql {
  rows<Row>(text: string, values?: readonly Value[]): Promise<Row[]>;
  /** How many rows it changed (of an upsert: 1 for a new row, 2 for one that was there), and the id that was made or named. */
  change(text: string, values?: readonly Value[]): Promise<{ changed: number; id: number }>;
}

export interface Database {
  /** For statements that change nothing; each sees what was committed before it. */
  read<T>(work: (sql: Sql) => Promise<T>): Promise<T>;
  /** One transaction: all of it is committed when this resolves, or none of it when the work throws. Rejects as `read` does, and may have been done then. */
  write<T>(work: (sql: Sql) => Promise<T>): Promise<T>;
}

/** The work was not done by its deadline, or nobody knows whether it was. */
export class DatabaseUnavailableError extends Error {
  override readonly name = 'DatabaseUnavailableError';
}

export interface MariadbOptions {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
  clock: Clock;
  log: Logger;
  /** Told of each try that failed in a way that passes. */
  onRetry: (error: unknown) => void;
}

/** The longest that a request may take. Longer than a new primary needs after one was killed, 5 s; shorter than HAProxy's `timeout server`, 10 s. */
export const requestMsMax = 8_000;
/** For reads and for writes: with the lookout a web server has 21. Those of twenty servers, 420, stay below `max-connections` of mariadb.cnf. */
const connectionsPerKind = 10;
/** At 2 ms each, whoever is behind more waits half a second; in a failover memory must have an end. */
const waitingMax = 250;
/** Often enough for a try or two within each second of a failover, and no burden for a server that is just starting. */
const pauseMs = 100;
const lookoutMs = 500;
/** On a local network an answer takes 1 ms and a lost packet is repeated after 200; a busy machine has stood still for half a second. */
const answerMs = 1_000;

/** The server is not the primary anymore, and does not know it yet. */
class StalePrimaryError extends Error {
  override readonly name = 'StalePrimaryError';
}

/** Errors that say "not now": too many connections, shutting down, lock wait timeout, deadlock, read-only (three ways), connection killed. */
const passing: ReadonlySet<number> = new Set([1040, 1053, 1205, 1213, 1290, 1792, 1836, 1927]);

function passes(error: unknown): error is Error {
  const { fatal, code, errno } = error as { fatal?: boolean; code?: string; errno?: number };
  return (
    error instanceof StalePrimaryError || fatal === true || code?.startsWith('PROTOCOL_') === true || passing.has(errno ?? 0)
  );
}

export class Mariadb {
  readonly #options: MariadbOptions;
  readonly #reads = new Places(connectionsPerKind);
  readonly #writes = new Places(connectionsPerKind);
  readonly #sessions = new Set<Session>();
  /** The latest that any connection has seen. */
  #epoch = 0;
  #lookout: Session | undefined;
  #isClosed = false;
  #stopLooking: () => unknown = () => undefined;

  constructor(options: MariadbOptions) {
    this.#options = options;
  }

  /** From now on it looks out; connections for work are made when they are needed. */
  open(): void {
    void this.#look();
    this.#stopLooking = keepLooking(this.#options.clock, lookoutMs, () => this.#look());
  }

  /** Drops all connections: what is under way fails. */
  close(): void {
    this.#isClosed = true;
    this.#stopLooking();
    for (const session of this.#sessions) session.drop(new Error('the database client was closed'));
  }

  /**
   * The database for one request, whose time begins now and is over after `requestMs` for all that it reads and writes; at most `requestMsMax`.
   * `onServer` gets the name of each MariaDB that a try is made on.
   */
  for(requestMs: number, onServer: (server: string) => void): Database {
    const endMs = this.#options.clock.nowMs() + requestMs;
    return {
      read: (work) => this.#until(endMs, this.#reads, (session) => (onServer(session.server), work(session))),
      write: (work) => this.#until(endMs, this.#writes, (session) => (onServer(session.server), session.transaction(work))),
    };
  }

  /** The answer, or the error at the deadline; the try that is under way then goes on alone, until the server or the lookout ends it. */
  #until<T>(endMs: number, places: Places, work: (session: Session) => Promise<T>): Promise<T> {
    const { clock } = this.#options;
    const late = (): Error => new DatabaseUnavailableError('the database did not answer in time');
    return inTime(clock, Math.max(0, endMs - clock.nowMs()), this.#tryOn(endMs, places, work), late);
  }

  async #tryOn<T>(endMs: number, places: Places, work: (session: Session) => Promise<T>): Promise<T> {
    const { clock, onRetry } = this.#options;
    const attempt = (): Promise<T> =>
      places.use(async (idle) => {
        if (clock.nowMs() > endMs) throw new DatabaseUnavailableError('the database is too busy');
        return this.#with(idle, work);
      });
    try {
      const withinMs = endMs - clock.nowMs();
      return await retry(attempt, { clock, withinMs, pauseMs, worthwhile: passes, onRetry });
    } catch (error) {
      if (passes(error)) throw new DatabaseUnavailableError(error.message, { cause: error });
      throw error;
    }
  }

  /** Works on a kept connection or a new one. It is kept unless the error says something of the server rather than of the work. */
  async #with<T>(idle: Session[], work: (session: Session) => Promise<T>): Promise<T> {
    let session = idle.pop();
    while (session?.isLost === true) session = idle.pop();
    session ??= await this.#connect();
    try {
      const result = await work(session);
      idle.push(session);
      return result;
    } catch (error) {
      if (passes(error)) session.drop(error);
      else idle.push(session);
      throw error;
    }
  }

  async #connect(): Promise<Session> {
    const session = await Session.connect(this.#options, (socket) => this.#endAfter(socket, 'no connection within 1 s'));
    if (session.epoch < this.#epoch) {
      const stale = new StalePrimaryError(`${session.server} is of epoch ${session.epoch}, the last one was ${this.#epoch}`);
      session.drop(stale);
      throw stale;
    }
    this.#epoch = session.epoch;
    if (this.#isClosed) session.drop(new Error('the database client was closed'));
    this.#sessions.add(session);
    session.onLost(() => this.#sessions.delete(session));
    return session;
  }

  /** One connection that is asked all the time vouches for those that are silent. */
  async #look(): Promise<void> {
    try {
      if (this.#lookout?.isLost !== false) {
        // A new one says nothing of those that are older: they may lead to where the address was before.
        const older = [...this.#sessions];
        this.#lookout = await this.#connect();
        this.#drop(older, new Error('the address may have moved'));
      }
      const answered = this.#endAfter(this.#lookout.socket, 'no answer within 1 s');
      await this.#lookout.ping().finally(answered);
    } catch (error) {
      // A server that refuses by a number is there.
      if (((error as { errno?: number }).errno ?? 0) <= 0) this.#drop([...this.#sessions], error as Error);
    }
  }

  /** Breaks the connection unless the returned function is called in time. */
  #endAfter(socket: Socket, reason: string): () => void {
    return this.#options.clock.after(answerMs, () => void socket.destroy(new Error(reason)));
  }

  #drop(sessions: readonly Session[], reason: Error): void {
    if (sessions.length > 0)
      this.#options.log.warn({ reason: reason.message, connections: sessions.length }, 'dropping connections');
    for (const session of sessions) session.drop(reason);
  }
}

/** So many pieces of work at a time, first come, first served, and the connections that wait between them. */
class Places {
  readonly #idle: Session[] = [];
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(places: number) {
    this.#free = places;
  }

  async use<T>(work: (idle: Session[]) => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else if (this.#waiting.length >= waitingMax) throw new DatabaseUnavailableError('the database is too busy');
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work(this.#idle);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}

/** One connection. */
class Session implements Sql {
  readonly socket: Socket;
  /** What the MariaDB calls its machine. */
  readonly server: string;
  /** Of the primary that its data know of last. */
  readonly epoch: number;
  readonly #connection: Connection;

  private constructor(connection: Connection, socket: Socket, { server, epoch }: { server: string; epoch: number }) {
    this.#connection = connection;
    this.socket = socket;
    this.server = server;
    this.epoch = epoch;
  }

  static async connect(options: MariadbOptions, limit: (socket: Socket) => () => void): Promise<Session> {
    const { host, port, user, password, database } = options;
    const socket = connect({ host, port, noDelay: true });
    const connected = limit(socket);
    try {
      const connection = await createConnection({
        stream: () => socket,
        user,
        password,
        database,
        timezone: 'Z',
        stringifyObjects: true,
      });
      // Whoever uses a connection that breaks sees it; without a listener the process would end.
      connection.on('error', () => undefined);
      // Nobody waits for the answer after that; what has the lock may itself wait for the replica.
      await connection.query(`SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = ${requestMsMax / 1000}`);
      await connection.query('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');
      const [[row]] = await connection.query<RowDataPacket[]>(
        'SELECT @@hostname AS server, (SELECT COALESCE(MAX(epoch), 0) FROM ha.epochs) AS epoch',
      );
      return new Session(connection, socket, { server: String(row?.['server']), epoch: Number(row?.['epoch']) });
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      connected();
    }
  }

  get isLost(): boolean {
    return this.socket.destroyed;
  }

  onLost(listener: () => void): void {
    this.socket.once('close', listener);
  }

  /** What is under way on it fails with the reason. */
  drop(reason: Error): void {
    this.socket.destroy(reason);
  }

  async ping(): Promise<void> {
    await this.#connection.ping();
  }

  async rows<Row>(text: string, values: readonly Value[] = []): Promise<Row[]> {
    const [rows] = await this.#connection.query<RowDataPacket[]>(text, [...values]);
    return rows as Row[];
  }

  async change(text: string, values: readonly Value[] = []): Promise<{ changed: number; id: number }> {
    const [{ affectedRows, insertId }] = await this.#connection.query<ResultSetHeader>(text, [...values]);
    return { changed: affectedRows, id: insertId };
  }

  async transaction<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    await this.#connection.query('START TRANSACTION');
    try {
      const result = await work(this);
      await this.#connection.query('COMMIT');
      return result;
    } catch (error) {
      // A connection that is dropped takes its transaction with it.
      if (!passes(error)) await this.#connection.query('ROLLBACK');
      throw error;
    }
  }
}
