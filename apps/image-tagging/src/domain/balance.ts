/** Which server a client is sent to. */
import type { ServerEntry } from './catalog.ts';

/** A client that was sent to a server has come, and is among those that the server counts, after so long at the latest. */
const handoutMs = 10_000;

/**
 * The registry's choice: the server with the fewest clients, those that it was just given included; otherwise a burst would all go to the one that had the fewest when it began.
 * Whom a server counts is not known, so a client on its way could be counted twice, or by no one. What a server counted before the oldest of them was sent, and all of them, is at least what it has.
 */
export class Balancer {
  #handouts: { readonly id: string; readonly atMs: number; readonly clientsBefore: number }[] = [];

  /** Among servers with an address; those to avoid only if there is no other. `undefined`: there is none. */
  choose(servers: readonly ServerEntry[], avoid: ReadonlySet<string>, nowMs: number): string | undefined {
    this.#handouts = this.#handouts.filter(({ atMs }) => nowMs - atMs < handoutMs);
    const reachable = servers.filter(({ address }) => address !== undefined);
    const wanted = reachable.filter(({ address }) => !avoid.has(address!));
    const candidates = wanted.length > 0 ? wanted : reachable;
    const handouts = Map.groupBy(this.#handouts, ({ id }) => id);
    const load = ({ id, activeClients }: ServerEntry): number => {
      const sent = handouts.get(id) ?? [];
      return Math.max(activeClients, (sent[0]?.clientsBefore ?? 0) + sent.length);
    };
    const [first, ...others] = candidates;
    if (first === undefined) return undefined;
    const chosen = others.reduce((least, server) => (load(server) < load(least) ? server : least), first);
    this.#handouts.push({ id: chosen.id, atMs: nowMs, clientsBefore: chosen.activeClients });
    return chosen.address;
  }
}
