/**
 * PostgreSQL with deadlines. A statement that is not done in time gives up its connection, for nobody knows what state that is in; whoever asked learns that
 * it is indefinite. Statements are prepared once for each connection.
 */
import { ExitError, exitCodes, inTime, type Clock, type Logger } from '@lab/process';
import pg from 'pg';

/** A statement under a name, which must not be given to two texts. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

/** The database did not do it, or nobody knows: it does not answer, restarts, or is too busy. */
export class DatabaseUnavailableError extends Error {
  override readonly name = 'DatabaseUnavailableError';
  readonly exitCode = exitCodes.unavailable;
}

export interface DatabaseOptions {
  /** `postgres://user:password@host:port[,host:port...]/database`: the one of them that takes writes. */
  readonly url: string;
  /** Connections at the most; statements wait for one. */
  readonly connections: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** When a request must be answered, on the clock. */
export type Deadline = number;

/** To begin a process and to check a password takes a database 10 ms, and on a very busy machine a second or two. */
const connectMs = 3_000;
/** Longer, and the server ends the statement: whoever asked has gone. */
const statementTimeoutMs = 10_000;
/**
 * A prepared statement is planned once for a connection. By itself PostgreSQL would plan those with a LIMIT anew each time, which takes longer than to carry
 * them out: not knowing the limit it expects a tenth of all rows. Every statement here finds its rows by an index.
 */
const planOnce = '-c plan_cache_mode=force_generic_plan';
/** How to reach the database. The URL says all of it: the PG* variables of whoever started this process say nothing. */
export const connectionTo = (url: string, name: string) => ({
  ...({ connectionString: url, ssl: false, sslnegotiation: 'postgres', client_encoding: 'UTF8' } as const),
  ...{ options: planOnce, keepAlive: true, application_name: name.slice(0, 63) },
});

/** The URL with that password for its user. Throws where it names none: the password would be nobody's. */
export function withPassword(url: string, password: string | undefined): string {
  if (password === undefined) return url;
  const [whole, user] = /^(\w+:\/\/[^:@/]+)(?::[^@/]*)?@/.exec(url) ?? [];
  if (whole === undefined) throw new ExitError('DATABASE_PASSWORD is given, and DATABASE_URL names no user', exitCodes.usage);
  return `${user}:${encodeURIComponent(password)}@${url.slice(whole.length)}`;
}

/** A URL for each host that one names; of a primary and its standbys, each may be the primary. Undefined where it is none. */
export function placesOf(url: string): string[] | undefined {
  const [, before = '', hosts = '', after = ''] = /^(postgres(?:ql)?:\/\/(?:[^@/]*@)?)([^@/]+)(\/.*)?$/.exec(url) ?? [];
  const places = hosts.split(',').map((host) => `${before}${host}${after}`);
  return hosts !== '' && places.every((place) => URL.canParse(place)) ? places : undefined;
}

/** A standby refuses writes, and what it reads may be old. As libpq's `target_session_attrs=read-write` finds out. */
async function checkPrimary(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ transaction_read_only: string }>('SHOW transaction_read_only');
  if (rows[0]?.transaction_read_only !== 'off') throw new DatabaseUnavailableError('this database takes no writes: a standby?');
}

/**
 * A connection of its own to the primary, for what goes on as long as it lasts; each of its answers takes at most `answerMs`. Rejects as `run` does, with
 * what was wrong with the last host.
 */
export async function connectAlone(url: string, name: string, answerMs: number): Promise<pg.Client> {
  let failure: unknown;
  for (const place of placesOf(url) ?? [url]) {
    const client = new pg.Client({ ...connectionTo(place, name), connectionTimeoutMillis: connectMs, query_timeout: answerMs });
    // Whoever uses it sees that it broke.
    client.on('error', () => undefined);
    try {
      await client.connect();
      await checkPrimary(client);
      return client;
    } catch (cause) {
      void client.end().catch(() => undefined);
      failure = unavailable(cause) ?? cause;
    }
  }
  throw failure;
}

/** More would wait longer than anybody does. */
const waitingMax = 1_000;

export class Database {
  readonly #pool: pg.Pool;
  readonly #clock: Clock;
  /** The primary was at the first of these. */
  readonly #places: string[];
  /** Connections to a primary. */
  readonly #checked = new WeakSet<pg.PoolClient>();

  constructor({ url, connections, clock, log }: DatabaseOptions) {
    this.#clock = clock;
    const places = placesOf(url) ?? [url];
    this.#places = places;
    this.#pool = new pg.Pool({
      Client: class extends pg.Client {
        readonly place = places[0];
        constructor(options?: pg.ClientConfig) {
          super({ ...options, ...connectionTo(places[0]!, 'news-consortium') });
        }
      },
      max: connections,
      connectionTimeoutMillis: connectMs,
      statement_timeout: statementTimeoutMs,
      idle_in_transaction_session_timeout: statementTimeoutMs,
    });
    // Whoever uses a connection that breaks sees it; without listeners the process would end.
    this.#pool.on('error', (error) => log.debug({ err: error }, 'lost an idle connection to the database'));
    this.#pool.on('connect', (client) => void client.on('error', () => undefined));
  }

  /** Runs one statement. Rejects with `DatabaseUnavailableError` where it is not done by the deadline or the database is not there. */
  async run<Row extends pg.QueryResultRow>(statement: Statement, values: readonly unknown[], deadline: Deadline): Promise<Row[]> {
    return this.#withClient(deadline, async (client) => {
      const { rows } = await client.query<Row>({ ...statement, values: [...values] });
      return rows;
    });
  }

  /** Runs several statements as one transaction, all or none. */
  async transaction<T>(deadline: Deadline, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    return this.#withClient(deadline, async (client) => {
      await client.query('BEGIN');
      try {
        const result = await work(client);
        await client.query('COMMIT');
        return result;
      } catch (error) {
        await client.query('ROLLBACK');
        throw error;
      }
    });
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }

  async #withClient<T>(deadline: Deadline, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    if (this.#pool.waitingCount >= waitingMax) throw new DatabaseUnavailableError('too many requests wait for the database');
    let client: pg.PoolClient | undefined;
    let late = false;
    const working = async (): Promise<T> => {
      const acquired = await this.#connect();
      if (late) {
        acquired.release();
        throw new DatabaseUnavailableError('no connection to the database in time');
      }
      client = acquired;
      let isPrimary = true;
      try {
        return await work(client);
      } catch (error) {
        isPrimary = !isReadOnly(error);
        throw error;
      } finally {
        if (!late) client.release(!isPrimary);
      }
    };
    try {
      return await inTime(this.#clock, Math.max(0, deadline - this.#clock.nowMs()), working(), () => {
        late = true;
        // Nobody knows what state it is in: it is closed.
        client?.release(true);
        return new DatabaseUnavailableError('the database did not answer in time');
      });
    } catch (error) {
      throw unavailable(error) ?? error;
    }
  }

  /** Whatever goes wrong before there is a connection, nothing was done. */
  async #connect(): Promise<pg.PoolClient> {
    for (let tries = 1; ; tries++) {
      const [place] = this.#places;
      try {
        return await this.#connectToPrimary();
      } catch (cause) {
        // Of many who find that out, the first one turns to the next host.
        if (this.#places[0] === place) this.#places.push(this.#places.shift()!);
        if (tries === this.#places.length)
          throw new DatabaseUnavailableError(`no connection to the database: ${messageOf(cause)}`, { cause });
      }
    }
  }

  async #connectToPrimary(): Promise<pg.PoolClient> {
    const client = (await this.#pool.connect()) as pg.PoolClient & { place?: string };
    // The primary of before may have slept, and not know yet that it is none: it would answer with what was.
    if (client.place !== this.#places[0]) {
      client.release(true);
      return this.#connectToPrimary();
    }
    if (this.#checked.has(client)) return client;
    try {
      await checkPrimary(client);
    } catch (error) {
      client.release(true);
      throw error;
    }
    this.#checked.add(client);
    return client;
  }
}

/**
 * Classes of SQLSTATE that another try may not meet (appendix A of PostgreSQL's manual): lost connection, transaction rolled back for another's sake, too few
 * resources, lock not available, operator's intervention (a restart, among others), system error.
 */
const passingClasses = new Set(['08', '40', '53', '55', '57', '58']);

/** The error as one to be tried again; undefined where it is not of that kind. */
export function unavailable(error: unknown): DatabaseUnavailableError | undefined {
  if (error instanceof DatabaseUnavailableError) return error;
  const code = (error as { code?: unknown } | null)?.code;
  const sqlState = error instanceof pg.DatabaseError;
  // An error without an SQLSTATE comes from the socket or from pg's own handling of it.
  const passing = sqlState
    ? typeof code === 'string' && (passingClasses.has(code.slice(0, 2)) || isReadOnly(error))
    : error instanceof Error && isOfConnection(error);
  return passing
    ? new DatabaseUnavailableError(`the database is not available: ${messageOf(error)}`, { cause: error })
    : undefined;
}

/** It is no primary any more; another one is, or will be. */
const isReadOnly = (error: unknown): boolean => error instanceof pg.DatabaseError && error.code === '25006';

const isOfConnection = (error: Error & { syscall?: unknown }): boolean =>
  error.syscall !== undefined ||
  /^Connection terminated|^timeout exceeded|connection (is )?(closed|lost|error)|not queryable/i.test(error.message);

/** In words, also where `pg` has a code only. */
export const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message || String((error as { code?: unknown }).code) : String(error);
