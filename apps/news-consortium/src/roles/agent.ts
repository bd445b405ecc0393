/** The agent: whom clients ask first, and nodes register with. Any number of them, all alike; what they know is in the database. */
import type { Logger } from '@lab/process';
import type { Replies } from '../messages.ts';
import { answerer, type Call } from '../wire/calls.ts';
import { Refusal } from '../wire/refusal.ts';
import type { Service } from '../wire/serving.ts';
import type { Accounts } from '../store/accounts.ts';
import type { Areas } from '../store/areas.ts';
import type { Lists } from '../store/lists.ts';
import type { Tokens } from '../wire/tokens.ts';
import type { Logins } from './logins.ts';

export interface AgentParts {
  readonly accounts: Accounts;
  readonly logins: Logins;
  readonly areas: Areas;
  readonly lists: Lists;
  readonly tokens: Tokens;
  readonly log: Logger;
  readonly joinAddress: (host: string, port: number) => string;
  /** At the door for agents. */
  readonly askHealth: (address: string, timeoutMs: number) => Promise<Replies['health']>;
  /** The same where clients are taken. */
  readonly askNode: AgentParts['askHealth'];
}

/** A node that joins has nothing else to do. */
const healthTimeoutMs = 500;

export class Agent implements Service {
  readonly #parts: AgentParts;
  readonly answer: Service['answer'];

  constructor(parts: AgentParts) {
    this.#parts = parts;
    const { accounts, logins, areas, lists, tokens } = parts;
    this.answer = answerer('agent', tokens, {
      register: (call) => logins.register(call),
      login: (call) => logins.login(call),
      logout: async ({ asker, deadline }) => {
        await accounts.closeSession(asker, deadline);
        return {};
      },
      changePassword: (call) => logins.changePassword(call),
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

  async #where({ request, deadline }: Call<'where'>): Promise<Replies['where']> {
    const nodes = await this.#parts.areas.where(request.area, deadline);
    if (nodes.length === 0)
      throw new Refusal('unavailable', request.area === undefined ? 'there is no node' : `no node serves ${request.area} yet`);
    return { nodes };
  }

  async #join({ request, asker, deadline, peer }: Call<'join'>): Promise<Replies['join']> {
    const { id, name, host, port, healthPort = port } = request;
    if (asker !== id) throw new Refusal('unauthenticated', 'the token is of another node');
    const { joinAddress, askHealth, askNode } = this.#parts;
    const [address, healthAddress] = [joinAddress(host ?? peer, port), joinAddress(host ?? peer, healthPort)];
    await checkReachable(id, address, askNode);
    if (healthAddress !== address) await checkReachable(id, healthAddress, askHealth);
    await this.#parts.areas.join({ id, name, address, healthAddress }, deadline);
    this.#parts.log.info({ node: name, address }, 'a node joined');
    return { address };
  }
}

/** A node that speaks but cannot be reached would come and go for ever, and its areas with it. */
async function checkReachable(id: string, address: string, askHealth: AgentParts['askHealth']): Promise<void> {
  let found: string;
  try {
    found = (await askHealth(address, healthTimeoutMs)).id;
  } catch (cause) {
    throw new Refusal('unavailable', `no node answers at ${address}: --host says where it can be reached`, {}, { cause });
  }
  if (found !== id) throw new Refusal('unavailable', `another node answers at ${address}`);
}
