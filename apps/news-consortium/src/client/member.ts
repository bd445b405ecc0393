/** A user's side of the system: every operation, with the session that is kept between commands. */
import { pageItemsMax, type Item, type Replies, type Session, type Status } from '../messages.ts';
import { Refusal } from '../refusal.ts';
import type { Consortium } from './consortium.ts';
import type { Kept, SessionFile } from './session-file.ts';

export interface MemberParts {
  readonly consortium: Consortium;
  readonly sessionFile: SessionFile;
  /** Kept with the session, so that later commands find them. */
  readonly agents: readonly string[];
  /** A random UUID, the key of what must not be done twice. */
  readonly newId: () => string;
}

export type UnreadPage = Replies['unread'];

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

  register(name: string, password: string): Promise<{ name: string }> {
    return this.consortium.agent('register', { name, password, key: this.#parts.newId() });
  }

  async login(name: string, password: string): Promise<Session> {
    const session = await this.consortium.agent('login', { name, password });
    this.#kept = { ...session, agents: [...this.#parts.agents] };
    await this.#parts.sessionFile.save(this.#kept);
    return session;
  }

  /** The session is closed everywhere before it is forgotten here. Says whether it was over already. */
  async logout(): Promise<{ wasOver: boolean }> {
    const wasOver = await this.consortium.agent('logout', { token: this.kept.token }).then(
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
    await this.#parts.sessionFile.remove();
    this.#kept = undefined;
  }

  areas(): Promise<Replies['areas']> {
    return this.consortium.node(undefined, 'areas', { token: this.kept.token });
  }

  myAreas(): Promise<Replies['myAreas']> {
    return this.consortium.node(undefined, 'myAreas', { token: this.kept.token });
  }

  subscribe(area: string): Promise<Replies['subscribe']> {
    return this.consortium.node(area, 'subscribe', { token: this.kept.token, area, key: this.#parts.newId() });
  }

  unsubscribe(area: string): Promise<Replies['unsubscribe']> {
    return this.consortium.node(area, 'unsubscribe', { token: this.kept.token, area, key: this.#parts.newId() });
  }

  post(area: string, text: string, key = this.#parts.newId()): Promise<Replies['post']> {
    return this.consortium.node(area, 'post', { token: this.kept.token, area, text, key });
  }

  delete(area: string, number: number): Promise<Replies['delete']> {
    return this.consortium.node(area, 'delete', { token: this.kept.token, area, number });
  }

  /** The newest items, all of them without a number, oldest first. */
  async read(area: string, last = Infinity): Promise<Item[]> {
    const pages: (readonly Item[])[] = [];
    let [count, before] = [0, undefined as number | undefined];
    while (count < last) {
      const limit = Math.min(pageItemsMax, last - count);
      const { items } = await this.consortium.node(area, 'read', { token: this.kept.token, area, before, limit });
      pages.unshift(items);
      count += items.length;
      before = items[0]?.number;
      if (items.length < limit) break;
    }
    return pages.flat();
  }

  /** The oldest unread items; they are held for whoever asked, and offered again later unless they are marked. */
  unread(area: string): Promise<UnreadPage> {
    return this.consortium.node(area, 'unread', { token: this.kept.token, area, limit: pageItemsMax });
  }

  /** Marks items as read: call it AFTER they were shown. */
  async mark(area: string, items: readonly Item[]): Promise<void> {
    for (let at = 0; at < items.length; at += pageItemsMax) {
      const numbers = items.slice(at, at + pageItemsMax).map(({ number }) => number);
      await this.consortium.node(area, 'mark', { token: this.kept.token, area, numbers });
    }
  }

  // For administrators.

  addArea(area: string, nodes: number): Promise<Replies['addArea']> {
    return this.consortium.agent('addArea', { token: this.kept.token, area, nodes, key: this.#parts.newId() });
  }

  setArea(area: string, nodes: number): Promise<Replies['setArea']> {
    return this.consortium.agent('setArea', { token: this.kept.token, area, nodes, key: this.#parts.newId() });
  }

  removeArea(area: string): Promise<Replies['removeArea']> {
    return this.consortium.agent('removeArea', { token: this.kept.token, area, key: this.#parts.newId() });
  }

  promote(name: string): Promise<Replies['promote']> {
    return this.consortium.agent('promote', { token: this.kept.token, name });
  }

  status(): Promise<Status> {
    return this.consortium.agent('status', {});
  }
}

export const isSessionOver = (error: unknown): boolean => error instanceof Refusal && error.code === 'unauthenticated';
