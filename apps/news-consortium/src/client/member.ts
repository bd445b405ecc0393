/** A user's side of the system: every request with the session, which is kept between commands. */
import { operations, pageItemsMax, type Body, type Item, type Kind, type Replies, type Session } from '../messages.ts';
import { Refusal } from '../wire/refusal.ts';
import type { Consortium } from './consortium.ts';
import { listAreas, listMyAreas, wholeStatus, type WholeStatus } from './lists.ts';
import type { Kept, Sessions } from './sessions.ts';

export interface MemberParts {
  readonly consortium: Consortium;
  readonly sessions: Pick<Sessions, 'save' | 'remove'>;
  /** Kept with the session, so that later commands find them. */
  readonly agents: readonly string[];
  /** The certificate that they show; kept, too. */
  readonly ca?: string | undefined;
  /** A random UUID, the key of what must not be done twice. */
  readonly newId: () => string;
}

/** What the member says of a request; the session's token, and a key of its own where none is given, are added. */
type Said<K extends Kind> = Omit<Body<K>, 'token' | 'key'> & { readonly key?: string | undefined };

export class Member {
  readonly consortium: Consortium;
  readonly #parts: MemberParts;
  #kept: Kept | undefined;

  constructor(parts: MemberParts, kept: Kept | undefined) {
    this.consortium = parts.consortium;
    this.#parts = parts;
    this.#kept = kept;
  }

  get isLoggedIn(): boolean {
    return this.#kept !== undefined;
  }

  /** The session; refused where nobody is logged in. */
  get kept(): Kept {
    if (this.#kept === undefined) throw new Refusal('unauthenticated', 'log in first: client login NAME');
    return this.#kept;
  }

  async login(name: string, password: string): Promise<Session> {
    const session = await this.ask('login', { name, password });
    const { agents, ca } = this.#parts;
    this.#kept = { ...session, agents: [...agents], ca };
    await this.#parts.sessions.save(this.#kept);
    return session;
  }

  /** The session is closed everywhere before it is forgotten here. Says whether it was over already. */
  async logout(): Promise<{ wasOver: boolean }> {
    const wasOver = await this.ask('logout', {}).then(
      () => false,
      (error: unknown) => {
        if (isSessionOver(error)) return true;
        throw error;
      },
    );
    await this.forget();
    return { wasOver };
  }

  /** Forgets a session that is over. */
  async forget(): Promise<void> {
    await this.#parts.sessions.remove(this.kept.name);
    this.#kept = undefined;
  }

  /** Asks whoever it is for. However often that takes: what has a key is done once. */
  async ask<K extends Kind>(kind: K, { key = this.#parts.newId(), ...said }: Said<K>): Promise<Replies[K]> {
    const { by, request } = operations[kind];
    const body = { ...(by !== 'anybody' && { token: this.kept.token }), ...('key' in request && { key }), ...said };
    return this.consortium.ask(kind, body as unknown as Body<K>);
  }

  /** All areas. */
  areas(): ReturnType<typeof listAreas> {
    return listAreas(this.consortium, this.kept.token);
  }

  /** Those that the user is subscribed to. */
  myAreas(): ReturnType<typeof listMyAreas> {
    return listMyAreas(this.consortium, this.kept.token);
  }

  status(): Promise<WholeStatus> {
    return wholeStatus(this.consortium, this.kept.token);
  }

  /** The newest items, all of them without a number, oldest first. */
  async read(area: string, last = Infinity): Promise<Item[]> {
    const pages: (readonly Item[])[] = [];
    let [count, before] = [0, undefined as number | undefined];
    while (count < last) {
      const limit = Math.min(pageItemsMax, last - count);
      const { items } = await this.ask('read', { area, before, limit });
      pages.unshift(items);
      count += items.length;
      before = items[0]?.number;
      if (items.length < limit) break;
    }
    return pages.flat();
  }

  /** The oldest unread items; they are held for whoever asked, and offered again later unless they are marked. */
  unread(area: string, limit = pageItemsMax): Promise<Replies['unread']> {
    return this.ask('unread', { area, limit });
  }

  /** Marks items as read: call it AFTER they were shown. */
  async mark(area: string, items: readonly Item[]): Promise<void> {
    for (let at = 0; at < items.length; at += pageItemsMax) {
      const numbers = items.slice(at, at + pageItemsMax).map(({ number }) => number);
      await this.ask('mark', { area, numbers });
    }
  }
}

export const isSessionOver = (error: unknown): boolean => error instanceof Refusal && error.code === 'unauthenticated';
