/** The entry point: sends each client to a server. */
import type { Clock, Role } from '@lab/process';
import { Balancer } from '../domain/balance.ts';
import type { ServerEntry } from '../domain/catalog.ts';
import type { GroupCatalog } from '../group-catalog.ts';
import { Refusal } from '../refusal.ts';

export interface RegistryParts {
  readonly members: GroupCatalog;
  readonly clock: Clock;
}

export class RegistryRole implements Role {
  readonly #parts: RegistryParts;
  readonly #balancer = new Balancer();

  constructor(parts: RegistryParts) {
    this.#parts = parts;
  }

  start(): Promise<void> {
    return this.#parts.members.start();
  }

  get failed(): Promise<never> {
    return this.#parts.members.failed;
  }

  stop(): Promise<void> {
    return this.#parts.members.stop();
  }

  /** The address of the server with the least to do, one of those that the client could not reach only where there is no other. */
  findServer(avoid: readonly string[]): string {
    const { members, clock } = this.#parts;
    const address = this.#balancer.choose(members.catalog.servers(), new Set(avoid), clock.nowMs());
    if (address === undefined) throw new Refusal('unavailable', 'no server is in the group: start one, or wait for it');
    return address;
  }

  listServers(): { server: ServerEntry; leader: boolean }[] {
    const { catalog, leaderId } = this.#parts.members;
    return catalog.servers().map((server) => ({ server, leader: server.id === leaderId }));
  }
}
