/** The agent: whom clients ask first, and nodes register with. Any number of them, all alike; what they know is in the database. */
import type { Clock, Logger } from '@lab/process';
import type { Passwords } from '@lab/process/passwords';
import type { Replies, Session } from '../messages.ts';
import { answerer, type Call } from '../wire/calls.ts';
import { Refusal } from '../wire/refusal.ts';
import type { Service } from '../wire/serving.ts';
import { wrongPassword, type Accounts } from '../store/accounts.ts';
import type { Areas } from '../store/areas.ts';
import type { Lists } from '../store/lists.ts';
import { keyTaken } from '../store/once.ts';
import type { Tokens } from '../wire/tokens.ts';

export interface AgentParts {
  readonly accounts: Accounts;
  readonly areas: Areas;
  readonly lists: Lists;
  readonly tokens: Tokens;
  readonly passwords: Passwords;
  /** For registrations, apart: however many there are, they do not keep users from logging in. */
  readonly newPasswords: Pick<Passwords, 'hash'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly newId: () => string;
  /** How long a session is good for. */
  readonly sessionMs: number;
  readonly joinAddress: (host: string, port: number) => string;
  readonly askHealth: (address: string, timeoutMs: number) => Promise<Replies['health']>;
}

/** A node that joins has nothing else to do. */
const healthTimeoutMs = 500;

export class Agent implements Service {
  readonly #parts: AgentParts;
  readonly answer: Service['answer'];

  constructor(parts: AgentParts) {
    this.#parts = parts;
    const { accounts, areas, lists, tokens } = parts;
    this.answer = answerer('agent', tokens, {
      register: (call) => this.#register(call),
      login: (call) => this.#login(call),
      logout: async ({ asker, deadline }) => {
        await accounts.closeSession(asker, deadline);
        return {};
      },
      changePassword: (call) => this.#changePassword(call),
      where: (call) => this.#where(call),
      addArea: (call) => areas.add(call),
      setArea: (call) => areas.set(call),
      removeArea: (call) => areas.remove(call),
      promote: (call) => accounts.promote(call),
      demote: (call) => accounts.demote(call),
      status: (call) => lists.status(call),
      join: (call) => this.#join(call),
      leave: async ({ asker, deadline }) => {
        await areas.leave(asker, deadline);
        return {};
      },
    });
  }

  #isOver(deadline: number): boolean {
    return this.#parts.clock.nowMs() > deadline;
  }

  async #register({ request, deadline }: Call<'register'>): Promise<Replies['register']> {
    const { accounts, passwords, newPasswords } = this.#parts;
    const { name, key } = request;
    const isAbandoned = (): boolean => this.#isOver(deadline);
    const password = await newPasswords.hash(request.password, isAbandoned);
    const before = await accounts.register({ name, password, role: 'user', key }, deadline);
    if (before !== undefined && !(await passwords.matches(request.password, before.password, isAbandoned))) throw keyTaken(key);
    return { name };
  }

  /** An unknown name and a wrong password get the same answer, after the same time. */
  async #login({ request, deadline, peer }: Call<'login'>): Promise<Session> {
    const { accounts, passwords, tokens, newId, clock, sessionMs } = this.#parts;
    const { name, password, key } = request;
    const login = { name, source: peer, key };
    await accounts.lookAt(login, Math.max(0, deadline - clock.nowMs()), deadline);
    const user = await accounts.find(name, deadline);
    if (!(await passwords.matches(password, user?.password, () => this.#isOver(deadline))) || user === undefined) {
      await accounts.fail(login, deadline);
      throw wrongPassword(name);
    }
    const opened = await accounts.openSession({ id: newId(), user, lifetimeMs: sessionMs }, login, deadline);
    const token = tokens.sign({ kind: 'session', ...opened });
    return { token, name, role: user.role, expiresAt: new Date(opened.expiresMs).toISOString() };
  }

  /** Who has found a session open does not have the password: wrong ones are counted as those of logins. */
  async #changePassword({ request, asker, deadline, peer }: Call<'changePassword'>): Promise<Replies['changePassword']> {
    const { accounts, passwords, newPasswords, clock } = this.#parts;
    const { password, newPassword, key } = request;
    const isAbandoned = (): boolean => this.#isOver(deadline);
    const user = await accounts.ofSession(asker, deadline);
    const login = { name: user.name, source: peer, key };
    await accounts.lookAt(login, Math.max(0, deadline - clock.nowMs()), deadline);
    if (await passwords.matches(password, user.password, isAbandoned)) {
      const hash = await newPasswords.hash(newPassword, isAbandoned);
      await accounts.setPassword({ user, hash, session: asker }, login, deadline);
    } else if (!(await passwords.matches(newPassword, user.password, isAbandoned))) {
      await accounts.fail(login, deadline);
      throw wrongPassword(user.name);
    }
    // It has the new one: this was done, and the answer was lost.
    return {};
  }

  async #where({ request, deadline }: Call<'where'>): Promise<Replies['where']> {
    const nodes = await this.#parts.areas.where(request.area, deadline);
    if (nodes.length === 0)
      throw new Refusal('unavailable', request.area === undefined ? 'there is no node' : `no node serves ${request.area} yet`);
    return { nodes };
  }

  async #join({ request, asker, deadline, peer }: Call<'join'>): Promise<Replies['join']> {
    const { id, name, host, port, healthPort = port } = request;
    if (asker !== id) throw new Refusal('unauthenticated', 'the token is of another node');
    const { joinAddress } = this.#parts;
    const [address, healthAddress] = [joinAddress(host ?? peer, port), joinAddress(host ?? peer, healthPort)];
    await this.#checkReachable(id, address);
    if (healthAddress !== address) await this.#checkReachable(id, healthAddress);
    await this.#parts.areas.join({ id, name, address, healthAddress }, deadline);
    this.#parts.log.info({ node: name, address }, 'a node joined');
    return { address };
  }

  /** A node that speaks but cannot be reached would come and go for ever, and its areas with it. */
  async #checkReachable(id: string, address: string): Promise<void> {
    let found: string;
    try {
      found = (await this.#parts.askHealth(address, healthTimeoutMs)).id;
    } catch (cause) {
      throw new Refusal('unavailable', `no node answers at ${address}: --host says where it can be reached`, {}, { cause });
    }
    if (found !== id) throw new Refusal('unavailable', `another node answers at ${address}`);
  }
}
