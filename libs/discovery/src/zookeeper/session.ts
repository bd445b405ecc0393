/** One session after another, each over as many connections as it takes. */
import { setTimeout as wait } from 'node:timers/promises';
import { UnavailableError } from '../port.ts';
import { callMs, fenceMs } from '../timing.ts';
import { Connection, ConnectionLostError, SessionExpiredError, type Ticket } from './connection.ts';
import type { NormalOptions } from './options.ts';

/** Between two rounds over all servers: less than it takes them to find a new leader, and too long to keep them busy. */
const roundPauseMs = 100;

export interface SessionListener {
  /** There is a connection, again or for the first time, of this session or of a new one: what was watched must be read again. */
  onContact(connection: Connection): void;
  /** The session may be over: what depends on it alone must end now. */
  onFence(): void;
}

export class Session {
  readonly #options: NormalOptions;
  readonly #listener: SessionListener;
  readonly #closed = new AbortController();
  #next: number;
  #up = quietly(Promise.withResolvers<Connection>());
  #connection: Connection | undefined;
  #ticket: Ticket | undefined;
  #zxid: Buffer = Buffer.alloc(8);
  #sessionTimeoutMs: number;
  #number = 0;
  #lastError: unknown;
  /** In a row: attempts, and connections that brought nothing. */
  #failures = 0;
  /** What the log was told last, so that it is not told ten times a second. */
  #told: string | undefined;
  #trustedUntilMs = 0;
  #fence: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: NormalOptions, listener: SessionListener) {
    this.#options = options;
    this.#listener = listener;
    this.#sessionTimeoutMs = options.sessionTimeoutMs;
    this.#next = Math.floor(options.random() * options.servers.length);
  }

  /** Resolves when there is a session; rejects with `UnavailableError` when there is none in time. */
  async start(): Promise<void> {
    this.#running = this.#run();
    await this.#contact('the first session', performance.now() + this.#options.connectTimeoutMs, this.#options.connectTimeoutMs);
  }

  /** Which session it is, 1, 2, 3 ...: what belongs to a lower one is gone. */
  get number(): number {
    return this.#number;
  }

  /** The timeout that the servers have agreed to. */
  get sessionTimeoutMs(): number {
    return this.#sessionTimeoutMs;
  }

  /** The connection that there is now, if there is one. */
  get connection(): Connection | undefined {
    return this.#connection;
  }

  /** Whether the servers cannot have ended the session yet, by this process' clock. `onFence` is called when that ends. */
  get isTrusted(): boolean {
    return performance.now() < this.#trustedUntilMs;
  }

  get closed(): boolean {
    return this.#closed.signal.aborted;
  }

  /**
   * Does something on the present connection; when that is lost on the way, does it again on the next one: it must bear that. After `limitMs` an `UnavailableError`. What was
   * begun is never left running.
   */
  async run<Result>(
    what: string,
    work: (connection: Connection) => Promise<Result>,
    limitMs = callMs(this.#sessionTimeoutMs),
  ): Promise<Result> {
    const untilMs = performance.now() + limitMs;
    for (;;) {
      const connection = await this.#contact(what, untilMs, limitMs);
      try {
        return await work(connection);
      } catch (error) {
        if (!(error instanceof ConnectionLostError)) throw error;
        this.#lastError = error;
        // The next contact is another one.
        await connection.lost;
      }
    }
  }

  /** The error of whatever is asked of a closed session. */
  refusal(what: string): UnavailableError {
    return new UnavailableError(`${what}: the connection to ZooKeeper at ${this.#options.servers.join(',')} is closed`);
  }

  /** Ends the session at its server, if one is reached before the session would end by itself. */
  close(): Promise<void> {
    return (this.#closing ??= this.#end());
  }

  async #end(): Promise<void> {
    clearTimeout(this.#fence);
    this.#closed.abort();
    this.#up.reject(this.refusal('waiting for contact'));
    await this.#connection?.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { servers, log } = this.#options;
    while (!this.closed) {
      const reason = await this.#connectOnce().catch((error: unknown) => String(error));
      if (this.closed || ++this.#failures % servers.length !== 0) continue;
      if (reason !== this.#told) log.warn({ session: this.#number, reason }, `waiting for ZooKeeper at ${servers.join(',')}`);
      this.#told = reason;
      await wait(roundPauseMs, undefined, { signal: this.#closed.signal }).catch(() => undefined);
    }
  }

  /** Connects; resolves with the reason when the connection is lost. */
  async #connectOnce(): Promise<string> {
    const connection = await this.#open();
    if (this.closed) {
      await connection.close();
      return 'closed';
    }
    this.#connection = connection;
    this.#up.resolve(connection);
    this.#ticket = connection.ticket;
    this.#sessionTimeoutMs = connection.sessionTimeoutMs;
    this.#told = undefined;
    this.#options.log.info({ session: this.#number }, `connected to ZooKeeper at ${connection.server}`);
    this.#listener.onContact(connection);
    this.#lastError = await connection.lost;
    this.#connection = undefined;
    this.#zxid = connection.zxid;
    if (!this.closed) this.#up = quietly(Promise.withResolvers());
    return String(this.#lastError);
  }

  async #open(): Promise<Connection> {
    const { servers, sessionTimeoutMs } = this.#options;
    const server = servers[this.#next++ % servers.length]!;
    const isNew = this.#ticket === undefined;
    try {
      const connection = await Connection.open({
        server,
        sessionTimeoutMs,
        ticket: this.#ticket,
        zxid: this.#zxid,
        onHeard: (sentMs, timeoutMs) => this.#trust(sentMs + fenceMs(timeoutMs)),
      });
      if (isNew) this.#number++;
      return connection;
    } catch (error) {
      this.#lastError = error;
      if (error instanceof SessionExpiredError) this.#expire();
      throw error;
    }
  }

  #expire(): void {
    this.#options.log.warn(
      { session: this.#number },
      'the session has expired: all that it announced is gone, a new one follows',
    );
    this.#ticket = undefined;
    this.#trustedUntilMs = 0;
    this.#listener.onFence();
  }

  #trust(untilMs: number): void {
    this.#failures = 0;
    this.#trustedUntilMs = Math.max(this.#trustedUntilMs, untilMs);
    this.#fence ??= setTimeout(() => this.#checkTrust(), Math.max(0, this.#trustedUntilMs - performance.now()));
  }

  #checkTrust(): void {
    this.#fence = undefined;
    const leftMs = this.#trustedUntilMs - performance.now();
    if (leftMs <= 0) this.#listener.onFence();
    else if (!this.closed) this.#fence = setTimeout(() => this.#checkTrust(), leftMs);
  }

  /** A connection, waited for until then. */
  async #contact(what: string, untilMs: number, limitMs: number): Promise<Connection> {
    if (this.closed) throw this.refusal(what);
    if (performance.now() > untilMs) throw this.#unreachable(what, limitMs);
    if (this.#connection) return this.#connection;
    const { promise: late, reject } = Promise.withResolvers<never>();
    const leftMs = Math.max(0, untilMs - performance.now());
    const timer = limitMs === Infinity ? undefined : setTimeout(() => reject(this.#unreachable(what, limitMs)), leftMs);
    try {
      return await Promise.race([this.#up.promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #unreachable(what: string, limitMs: number): UnavailableError {
    const error = this.#lastError;
    const why = error instanceof Error ? error.message : 'no answer';
    return new UnavailableError(
      `${what}: no ZooKeeper at ${this.#options.servers.join(',')} for ${Math.round(limitMs)} ms: ${why}`,
      {
        cause: error,
      },
    );
  }
}

/** Whoever does not wait for it does not want to die of it. */
function quietly<Value>(deferred: PromiseWithResolvers<Value>): PromiseWithResolvers<Value> {
  deferred.promise.catch(() => undefined);
  return deferred;
}
