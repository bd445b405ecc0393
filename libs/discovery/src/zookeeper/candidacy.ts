/** One wait to lead, and the leadership that may follow it: ZooKeeper's recipe for leader election, in which each waits for the one before it only. */
import type { Leadership } from '../port.ts';
import type { Connection } from './connection.ts';
import { numbered, OwnNode, type NumberedName } from './own-node.ts';
import type { Session } from './session.ts';

export class Candidacy {
  readonly #session: Session;
  readonly #path: string;
  readonly #name: string;
  readonly #node: OwnNode;
  readonly #lost = Promise.withResolvers<void>();
  #isLeading = false;

  /** `path` is the role's node: its children are the candidates, its content names the leader, its version is the epoch. */
  constructor(session: Session, path: string, name: string) {
    this.#session = session;
    this.#path = path;
    this.#name = name;
    this.#node = new OwnNode(session, path, name);
  }

  /** Resolves when it leads; rejects when the session is closed, or with the reason of the signal. */
  async win(signal: AbortSignal | undefined): Promise<Leadership> {
    signal?.throwIfAborted();
    const { promise: aborted, resolve: abort } = Promise.withResolvers<undefined>();
    const onAbort = (): void => abort(undefined);
    signal?.addEventListener('abort', onAbort);
    try {
      for (;;) {
        const step = this.#session.run(`to lead ${this.#path}`, (connection) => this.#step(connection, aborted), Infinity);
        const leadership = await Promise.race([step, aborted]);
        if (signal?.aborted) break;
        if (leadership) return leadership;
      }
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
    await this.#giveUp();
    throw signal.reason;
  }

  /** The session may be over, and with it the leadership. */
  fence(): void {
    if (this.#isLeading) void this.#giveUp();
  }

  /** Takes a place in the line, and leads if it is the first; otherwise resolves when that may have changed. */
  async #step(connection: Connection, aborted: Promise<undefined>): Promise<Leadership | undefined> {
    const own = await this.#node.place(connection);
    if (own === undefined) return undefined;
    const candidates = numbered((await connection.children(this.#path)) ?? []);
    const index = candidates.findIndex(({ name }) => name === own.name);
    if (index === 0) return this.#lead(connection, own);
    const before = candidates[index - 1];
    if (before === undefined) return this.#node.forget();
    const { promise: changed, resolve } = Promise.withResolvers<void>();
    const isThere = await connection.exists(`${this.#path}/${before.name}`, resolve);
    if (isThere) await Promise.race([changed, connection.lost, aborted]);
    return undefined;
  }

  async #lead(connection: Connection, own: NumberedName): Promise<Leadership | undefined> {
    if (!this.#session.isTrusted) await connection.sync();
    const epoch = await connection.setWhile(`${this.#path}/${own.name}`, this.#path, Buffer.from(this.#name));
    if (epoch === undefined) return this.#node.forget();
    // The answer came so late that this may be over already, and nobody would be told.
    if (!this.#session.isTrusted || this.#node.isGiven) return undefined;
    this.#isLeading = true;
    return { epoch, lost: this.#lost.promise, resign: () => this.#giveUp() };
  }

  async #giveUp(): Promise<void> {
    this.#isLeading = false;
    this.#lost.resolve();
    await this.#node.remove();
  }
}
