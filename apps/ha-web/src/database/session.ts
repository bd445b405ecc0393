/** One connection to a MariaDB, for those who look after databases. An answer that is late ends it. */
import { inTime, type Clock } from '@lab/process';
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';

/** By the socket of this machine as its root, or over the network. */
export type Login = { socketPath: string; user: 'root' } | { host: string; user: string; password: string };

/** Statements take milliseconds; longer, and the server hangs. Less than the lease. */
const statementMs = 3_000;

export class Session implements Disposable {
  /** Rejects when the connection has ended. */
  readonly ended: Promise<never>;
  readonly #connection: Connection;
  readonly #clock: Clock;

  private constructor(connection: Connection, clock: Clock) {
    this.#connection = connection;
    this.#clock = clock;
    const end = Promise.withResolvers<never>();
    this.ended = end.promise;
    this.ended.catch(() => undefined);
    connection.on('error', (error: Error) => end.reject(new Error(`lost the server: ${error.message}`, { cause: error })));
    connection.on('end', () => end.reject(new Error('lost the server')));
  }

  static async connect(login: Login, clock: Clock): Promise<Session> {
    return new Session(await createConnection({ ...login, connectTimeout: statementMs, supportBigNumbers: true }), clock);
  }

  /** Without a limit (`Infinity`) where it waits for the replica, or for as long as its tables are large. */
  async rows<Row>(statement: string, timeoutMs = statementMs): Promise<Row[]> {
    const asked = this.#connection.query<RowDataPacket[]>(statement);
    const [rows] = timeoutMs === Infinity ? await asked : await this.#inTime(asked, statement, timeoutMs);
    return rows as Row[];
  }

  /** The same for a statement that gives no rows. */
  async run(statement: string, timeoutMs?: number): Promise<void> {
    await this.rows(statement, timeoutMs);
  }

  #inTime<T>(asked: Promise<T>, statement: string, timeoutMs: number): Promise<T> {
    return inTime(this.#clock, timeoutMs, asked, () => {
      this.close();
      return new Error(`no answer within ${timeoutMs} ms to ${statement.slice(0, 60)}`);
    });
  }

  close(): void {
    this.#connection.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
