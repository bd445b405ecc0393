/** The agent: whom clients ask first, and nodes register with. Any number of them, all alike; what they know is in the database. */
import type { Clock, Logger } from '@lab/process';
import type { Passwords } from '@lab/process/passwords';
import type { Replies, Request, Session } from '../messages.ts';
import { Refusal } from '../wire/refusal.ts';
import type { Call, Service } from '../wire/serving.ts';
import type { Accounts } from '../store/accounts.ts';
import type { AreaChange, Areas } from '../store/areas.ts';
import type { Tokens } from '../wire/tokens.ts';

export interface AgentParts {
  readonly accounts: Accounts;
  readonly areas: Areas;
  readonly tokens: Tokens;
  readonly passwords: Passwords;
  /** For registrations, apart: however many there are, they do not keep users from logging in. */
  readonly newPasswords: Pick<Passwords, 'hash'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly newId: () => string;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  /** How long a session is good for. */
  readonly sessionMs: number;
  readonly joinAddress: (host: string, port: number) => string;
  readonly askHealth: (address: string, timeoutMs: number) => Promise<Replies['health']>;
}

/** A node that joins has nothing else to do. */
const healthTimeoutMs = 500;

type Handlers = { [K in Request['kind']]?: (call: Call<Request<K>>) => Promise<Replies[K]> };

export class Agent implements Service {
  readonly #parts: AgentParts;
  readonly #handlers: Handlers = {
    register: (call) => this.#register(call),
    login: (call) => this.#login(call),
    logout: async ({ request, deadline }) => {
      await this.#parts.accounts.closeSession(this.#session(request), deadline);
      return {};
    },
    where: (call) => this.#where(call),
    addArea: async ({ request, deadline }) => {
      await this.#parts.areas.add(this.#change(request), request.nodes, deadline);
      return { area: request.area, nodes: request.nodes };
    },
    setArea: async ({ request, deadline }) => {
      await this.#parts.areas.set(this.#change(request), request.nodes, deadline);
      return { area: request.area, nodes: request.nodes };
    },
    removeArea: async ({ request, deadline }) => {
      return { area: request.area, ...(await this.#parts.areas.remove(this.#change(request), deadline)) };
    },
    promote: async ({ request, deadline }) => {
      await this.#parts.accounts.promote(this.#session(request), request.name, deadline);
      return { name: request.name };
    },
    status: ({ deadline }) => this.#parts.areas.status(deadline),
    join: (call) => this.#join(call),
    leave: async ({ request, deadline }) => {
      await this.#parts.areas.leave(this.#parts.tokens.check('node', request.token), deadline);
      return {};
    },
  };

  constructor(parts: AgentParts) {
    this.#parts = parts;
  }

  answer(call: Call): Promise<object> {
    const handler = this.#handlers[call.request.kind] as ((call: Call) => Promise<object>) | undefined;
    if (handler === undefined) throw new Refusal('malformed', `${call.request.kind} is for a node, and this is an agent`);
    return handler(call);
  }

  #session({ token }: { token: string }): string {
    return this.#parts.tokens.check('session', token);
  }

  #isOver(deadline: number): boolean {
    return this.#parts.clock.nowMs() > deadline;
  }

  #change({ token, area, key }: { token: string; area: string; key: string }): AreaChange {
    return { session: this.#session({ token }), area, key };
  }

  async #register({ request, deadline }: Call<Request<'register'>>): Promise<Replies['register']> {
    const { name, key } = request;
    const password = await this.#parts.newPasswords.hash(request.password, () => this.#isOver(deadline));
    await this.#parts.accounts.register({ name, password, role: 'user', key }, deadline);
    return { name };
  }

  /** An unknown name and a wrong password get the same answer, after the same time. */
  async #login({ request, deadline }: Call<Request<'login'>>): Promise<Session> {
    const { accounts, passwords, tokens, newId, nowMs, sessionMs } = this.#parts;
    const { name, password } = request;
    await accounts.countAttempt(name, deadline);
    const user = await accounts.find(name, deadline);
    if (!(await passwords.matches(password, user?.password, () => this.#isOver(deadline))) || user === undefined)
      throw new Refusal('wrong-password', `no user has the name ${name} and this password`);
    const id = newId();
    const expiresMs = nowMs() + sessionMs;
    await accounts.openSession({ id, user, name, lifetimeMs: sessionMs }, deadline);
    const token = tokens.sign({ kind: 'session', id, expiresMs });
    return { token, name, role: user.role, expiresAt: new Date(expiresMs).toISOString() };
  }

  async #where({ request, deadline }: Call<Request<'where'>>): Promise<Replies['where']> {
    const nodes = await this.#parts.areas.where(request.area, deadline);
    if (nodes.length === 0)
      throw new Refusal('unavailable', request.area === undefined ? 'there is no node' : `no node serves ${request.area} yet`);
    return { nodes };
  }

  async #join({ request, deadline, peer }: Call<Request<'join'>>): Promise<Replies['join']> {
    const { token, id, name, host, port } = request;
    if (this.#parts.tokens.check('node', token) !== id) throw new Refusal('unauthenticated', 'the token is of another node');
    const address = this.#parts.joinAddress(host ?? peer, port);
    await this.#checkReachable(id, address);
    await this.#parts.areas.join({ id, name, address }, deadline);
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
