/**
 * One connection to one ZooKeeper server, with promises and deadlines.
 *
 * A client of node-zookeeper-client is used for one connection only, and thrown away with it. When it reconnects by itself it goes on with half a packet of the old connection, sends
 * what was given up long ago, and waits for ever for a server that takes connections and says nothing. What is needed of its insides for that stands in `ClientInternals`.
 */
import { CreateMode, createClient, Exception, type Client, type Stat } from 'node-zookeeper-client';
import type { Socket } from 'node:net';
import { answerMs, beatMs } from '../timing.ts';

/** The connection is gone: what was asked may have happened. */
export class ConnectionLostError extends Error {}

/** The servers have ended the session, and all that belonged to it is gone. */
export class SessionExpiredError extends Error {}

/** What it takes to go on with a session on another connection. */
export interface Ticket {
  id: Buffer;
  password: Buffer;
}

export interface ConnectionOptions {
  server: string;
  sessionTimeoutMs: number;
  /** Left out: a new session begins. */
  ticket: Ticket | undefined;
  /** The last change of the data that was seen. A server that has not seen it refuses the connection, so what is read never goes back. */
  zxid: Buffer;
  /**
   * Called with the time (`performance.now()`) at which something was sent that a majority of the servers has agreed to since, and the session's timeout. Other answers
   * do not count: a server that is cut off from the others goes on giving them for a while, when those have long given the session up.
   */
  onHeard: (sentMs: number, sessionTimeoutMs: number) => void;
}

interface ConnectionManager {
  zxid: Buffer;
  socket: Socket | undefined;
  connectTimeoutHandler: NodeJS.Timeout | null;
  connect(): void;
  onSocketData(data: Buffer): void;
  onSocketError(error: Error): void;
}

type ClientInternals = Client & { connectionManager: ConnectionManager };

interface TransactionResult {
  stat?: Stat;
}

type Callback<Result> = (error: Error | Exception | null, result: Result) => void;

export class Connection {
  readonly server: string;
  /** Resolves when it is lost, with the reason. */
  readonly lost: Promise<Error>;
  readonly #client: ClientInternals;
  readonly #onHeard: ConnectionOptions['onHeard'];
  readonly #lost = Promise.withResolvers<Error>();
  readonly #unanswered = new Set<(error: Error | Exception) => void>();
  #reason: Error | undefined;
  #beat: NodeJS.Timeout | undefined;

  private constructor({ server, sessionTimeoutMs, ticket, zxid, onHeard }: ConnectionOptions) {
    this.server = server;
    this.lost = this.#lost.promise;
    this.#onHeard = onHeard;
    const options = { sessionTimeout: sessionTimeoutMs, sessionId: ticket?.id, sessionPassword: ticket?.password };
    this.#client = createClient(server, options) as ClientInternals;
    this.#client.connectionManager.zxid = zxid;
  }

  /** Resolves when the session is on this connection. Rejects with `SessionExpiredError` when it is over, and with `ConnectionLostError` otherwise. */
  static async open(options: ConnectionOptions): Promise<Connection> {
    const connection = new Connection(options);
    const sentMs = performance.now();
    await connection.#open(options.sessionTimeoutMs);
    // To make a session takes a majority, to go on with one does not.
    if (options.ticket === undefined) connection.#heard(sentMs);
    else void connection.#giveSign();
    return connection;
  }

  async #open(sessionTimeoutMs: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timeoutMs = answerMs(sessionTimeoutMs);
    const timer = setTimeout(() => this.destroy(`no session within ${timeoutMs} ms`), timeoutMs);
    this.#client.once('connected', resolve);
    this.#client.once('expired', () => {
      reject(new SessionExpiredError('the servers have ended the session'));
      this.destroy('the session is over');
    });
    void this.lost.then(reject);
    this.#connectOnce();
    try {
      await promise;
    } finally {
      clearTimeout(timer);
    }
    this.#beat = setInterval(() => void this.#giveSign(), beatMs(this.sessionTimeoutMs));
  }

  /** What the servers have agreed to, of what was asked for. */
  get sessionTimeoutMs(): number {
    return this.#client.getSessionTimeout();
  }

  get ticket(): Ticket {
    return { id: this.#client.getSessionId(), password: this.#client.getSessionPassword() };
  }

  get zxid(): Buffer {
    return this.#client.connectionManager.zxid;
  }

  /** Sees to it that all that any client was told before is seen by what is read from now on. */
  async sync(): Promise<void> {
    const sentMs = performance.now();
    // The client has no sync; a transaction that changes nothing goes the way of every change, through a majority and back to this server.
    const check = (done: Callback<unknown>): void => this.#client.transaction().check('/').commit(done);
    await this.#request('a sync', check);
    this.#heard(sentMs);
  }

  /** The names below a node; `undefined` when there is no such node. The watcher is called once, when they have changed. */
  children(path: string, watcher?: () => void): Promise<string[] | undefined> {
    return this.#unless([Exception.NO_NODE], `children of ${path}`, (done: Callback<string[]>) =>
      watcher ? this.#client.getChildren(path, watcher, done) : this.#client.getChildren(path, done),
    );
  }

  /** What a node holds; `undefined` when there is no such node. The watcher is called once, when it has changed; without a node never. */
  async data(path: string, watcher?: () => void): Promise<{ data: Buffer; version: number } | undefined> {
    return this.#unless([Exception.NO_NODE], `data of ${path}`, (done: Callback<{ data: Buffer; version: number }>) => {
      const both = (error: Error | Exception | null, data: Buffer, stat: Stat): void =>
        error ? done(error, { data, version: 0 }) : done(null, { data, version: stat.version });
      if (watcher) this.#client.getData(path, watcher, both);
      else this.#client.getData(path, both);
    });
  }

  /** The watcher is called once, when that has changed, or the node's data. */
  async exists(path: string, watcher: () => void): Promise<boolean> {
    const stat = await this.#request(`whether ${path} exists`, (done: Callback<Stat | null>) =>
      this.#client.exists(path, watcher, done),
    );
    return stat !== null;
  }

  /** Makes a node, and those above it where they are missing; resolves with its path, or with `undefined` when it exists. */
  async create(path: string, data: Buffer, mode: number = CreateMode.PERSISTENT): Promise<string | undefined> {
    const attempt = (): Promise<string | undefined> =>
      this.#unless([Exception.NODE_EXISTS], `to create ${path}`, (done: Callback<string>) =>
        this.#client.create(path, data, mode, done),
      );
    try {
      return await attempt();
    } catch (error) {
      if (!hasCode(error, Exception.NO_NODE)) throw error;
      await this.create(path.slice(0, path.lastIndexOf('/')), Buffer.alloc(0));
      return attempt();
    }
  }

  /** Resolves with the new version, or with `undefined` when the node is not at this version, or not there. */
  async set(path: string, data: Buffer, version: number): Promise<number | undefined> {
    const set = (done: Callback<Stat>): void => this.#client.setData(path, data, version, done);
    const stat = await this.#unless([Exception.BAD_VERSION, Exception.NO_NODE], `to set ${path}`, set);
    return stat?.version;
  }

  /** A node that is gone is no error. */
  async remove(path: string): Promise<void> {
    await this.#unless([Exception.NO_NODE], `to remove ${path}`, (done: Callback<undefined>) =>
      this.#client.remove(path, (error) => done(error, undefined)),
    );
  }

  /** Sets a node whatever its version if another is there, in one step; resolves with the new version, or with `undefined` if it is not. */
  async setWhile(existing: string, path: string, data: Buffer): Promise<number | undefined> {
    // The client sends version 0 as "any", so a condition on a version would not always be one.
    const commit = (done: Callback<unknown>): void => this.#client.transaction().check(existing).setData(path, data).commit(done);
    const results = await this.#unless([Exception.NO_NODE], `to set ${path} while ${existing} exists`, commit);
    return (results as readonly TransactionResult[] | undefined)?.[1]?.stat?.version;
  }

  /** Ends the session, and with it the connection; resolves when both are over, or when the server has not answered in time. */
  async close(): Promise<void> {
    if (this.#reason) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, answerMs(this.sessionTimeoutMs));
    this.#client.once('disconnected', resolve);
    void this.lost.then(() => resolve());
    this.#client.close();
    await promise;
    clearTimeout(timer);
    this.destroy('closed');
  }

  /** Drops the connection; the session lives on. */
  destroy(why: string): void {
    if (this.#reason) return;
    this.#reason = new ConnectionLostError(`${this.server}: ${why}`);
    clearInterval(this.#beat);
    clearTimeout(this.#client.connectionManager.connectTimeoutHandler ?? undefined);
    this.#client.connectionManager.socket?.destroy();
    this.#lost.resolve(this.#reason);
    for (const fail of this.#unanswered) fail(this.#reason);
  }

  #connectOnce(): void {
    const manager = this.#client.connectionManager;
    const onSocketData = manager.onSocketData.bind(manager);
    const onSocketError = manager.onSocketError.bind(manager);
    let why = 'the connection was closed';
    manager.onSocketError = (error) => {
      why = error.message;
      onSocketError(error);
    };
    // It throws at error codes that it does not know, and would end the process.
    manager.onSocketData = (data) => {
      try {
        onSocketData(data);
      } catch (error) {
        this.destroy(`what the server sent is not understood: ${String(error)}`);
      }
    };
    this.#client.connect();
    // Called again when the connection was lost.
    manager.connect = () => this.destroy(why);
  }

  #heard(sentMs: number): void {
    this.#onHeard(sentMs, this.sessionTimeoutMs);
  }

  async #giveSign(): Promise<void> {
    // A failure is known to all by `lost`.
    await this.sync().catch(() => undefined);
  }

  /** As `#request`, but these errors are an answer: `undefined`. */
  async #unless<Result>(
    codes: readonly number[],
    what: string,
    send: (done: Callback<Result>) => void,
  ): Promise<Result | undefined> {
    try {
      return await this.#request(what, send);
    } catch (error) {
      if (codes.some((code) => hasCode(error, code))) return undefined;
      throw error;
    }
  }

  #request<Result>(what: string, send: (done: Callback<Result>) => void): Promise<Result> {
    if (this.#reason) return Promise.reject(this.#reason);
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    const timeoutMs = answerMs(this.sessionTimeoutMs);
    const timer = setTimeout(() => this.destroy(`no answer for ${timeoutMs} ms: ${what}`), timeoutMs);
    const fail = (error: Error | Exception): void => {
      clearTimeout(timer);
      this.#unanswered.delete(fail);
      reject(error);
    };
    this.#unanswered.add(fail);
    send((error, result) => {
      // The end of the connection follows, and says why.
      if (hasCode(error, Exception.CONNECTION_LOSS)) return;
      if (hasCode(error, Exception.SESSION_EXPIRED)) return this.destroy('the session is over');
      if (error) return fail(error);
      clearTimeout(timer);
      this.#unanswered.delete(fail);
      resolve(result);
    });
    return promise;
  }
}

const hasCode = (error: unknown, code: number): boolean => error instanceof Exception && error.getCode() === code;
