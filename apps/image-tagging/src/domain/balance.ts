/** Which server a client is sent to. */
import type { ServerEntry } from './catalog.ts';

/** A client that was sent to a server counts as one of its clients for so long, whether it has come or not. */
const handoutMs = 10_000;

/**
 * The registry's choice: the server with the fewest clients, those that it was just given included; otherwise a burst would all go to the one that had the fewest when it began.
 * Clients that have come count twice for a while, at every server alike.
 */
export class Balancer {
  #handouts: { readonly id: string; readonly atMs: number }[] = [];

  /** Among servers with an address; those to avoid only if there is no other. `undefined`: there is none. */
  choose(servers: readonly ServerEntry[], avoid: ReadonlySet<string>, nowMs: number): string | undefined {
    this.#handouts = this.#handouts.filter(({ atMs }) => nowMs - atMs < handoutMs);
    const reachable = servers.filter(({ address }) => address !== undefined);
    const wanted = reachable.filter(({ address }) => !avoid.has(address!));
    const candidates = wanted.length > 0 ? wanted : reachable;
    const load = new Map(candidates.map(({ id, activeClients }) => [id, activeClients]));
    for (const { id } of this.#handouts) if (load.has(id)) load.set(id, load.get(id)! + 1);
    const [first, ...others] = candidates;
    if (first === undefined) return undefined;
    const chosen = others.reduce((least, server) => (load.get(server.id)! < load.get(least.id)! ? server : least), first);
    this.#handouts.push({ id: chosen.id, atMs: nowMs });
    return chosen.address;
  }
}
