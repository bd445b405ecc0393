/** One ephemeral, numbered node of ours: at most one, whatever becomes of answers. */
import { randomUUID } from 'node:crypto';
import { CreateMode } from 'node-zookeeper-client';
import { UnavailableError } from '../port.ts';
import type { Connection } from './connection.ts';
import type { Session } from './session.ts';

/** A node of this kind, as its name says: `<nonce>-<sequence>`. */
export interface NumberedName {
  readonly name: string;
  readonly nonce: string;
  readonly sequence: number;
}

/** ZooKeeper writes a sequence with 10 digits; behind 2,147,483,647 it goes on with negative ones, which are no sequences here. */
const numberedPattern = /^([0-9a-f]{32})-(\d{10})$/;

/**
 * Those of the names that are of this kind, by their sequence. Where there are two of one nonce the later one is left out: it was made by a request that was given up, and that arrived
 * all the same.
 */
export function numbered(names: readonly string[]): NumberedName[] {
  const seen = new Set<string>();
  return names
    .flatMap((name) => {
      const [, nonce, digits] = numberedPattern.exec(name) ?? [];
      return nonce === undefined ? [] : [{ name, nonce, sequence: Number(digits) }];
    })
    .sort((a, b) => a.sequence - b.sequence)
    .filter(({ nonce }) => !seen.has(nonce) && seen.add(nonce));
}

export class OwnNode {
  readonly #session: Session;
  readonly #parent: string;
  readonly #data: Buffer;
  /** In the node's name, so that it is found again when the answer to its creation was lost (what Curator calls protection). */
  #nonce = '';
  #sessionNumber = 0;
  #place: NumberedName | undefined;
  #given = false;
  /** Placing and removing never overlap. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(session: Session, parent: string, data: string) {
    this.#session = session;
    this.#parent = parent;
    this.#data = Buffer.from(data);
  }

  /** Sees to it that it is there in the present session; `undefined` when it was given up. */
  place(connection: Connection): Promise<NumberedName | undefined> {
    return this.#inTurn(async () => {
      if (this.#given) return undefined;
      if (this.#sessionNumber !== this.#session.number) this.forget();
      if (this.#place) return this.#place;
      const [made] = this.#nonce === '' ? [] : await this.#find(connection);
      this.#nonce ||= randomUUID().replaceAll('-', '');
      return (this.#place = this.#parse(made ?? (await this.#create(connection))));
    });
  }

  /** Gives it up for good. Resolves when it is gone, or after the session's timeout; if it is not gone by then, that is seen to at the next contact. */
  async remove(): Promise<void> {
    this.#given = true;
    const what = `to remove a node of ${this.#parent}`;
    const removed = this.#session.run(what, (connection) => this.#remove(connection), Infinity);
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, this.#session.sessionTimeoutMs);
    // What ends the attempts is the end of the session, and with that the node goes too.
    await Promise.race([removed.catch(() => undefined), late]);
    clearTimeout(timer);
  }

  #remove(connection: Connection): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#nonce === '' || this.#sessionNumber !== this.#session.number) return;
      for (const name of await this.#find(connection)) await connection.remove(`${this.#parent}/${name}`);
    });
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }

  get isGiven(): boolean {
    return this.#given;
  }

  /** It is known to be gone: the next `place` makes another one. */
  forget(): undefined {
    this.#sessionNumber = this.#session.number;
    this.#nonce = '';
    this.#place = undefined;
  }

  /** The names of what was made under the present nonce, oldest first. */
  async #find(connection: Connection): Promise<string[]> {
    await connection.sync();
    const names = (await connection.children(this.#parent)) ?? [];
    return names.filter((name) => name.startsWith(this.#nonce)).sort();
  }

  async #create(connection: Connection): Promise<string> {
    const path = await connection.create(`${this.#parent}/${this.#nonce}-`, this.#data, CreateMode.EPHEMERAL_SEQUENTIAL);
    return path?.slice(this.#parent.length + 1) ?? '';
  }

  #parse(name: string): NumberedName {
    const [place] = numbered([name]);
    if (place === undefined) throw new UnavailableError(`${this.#parent} has no numbers left: ZooKeeper gave "${name}"`);
    return place;
  }
}
