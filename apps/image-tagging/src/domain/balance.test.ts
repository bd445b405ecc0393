import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Balancer } from './balance.ts';
import type { ServerEntry } from './catalog.ts';

const server = (id: string, activeClients = 0, address: string | undefined = `${id}:9001`): ServerEntry => ({
  ...{ id, name: `svc-${id}`, address, activeClients },
});
const none = new Set<string>();

/** How many of the clients each address got. */
function counts(addresses: readonly (string | undefined)[]): Map<string | undefined, number> {
  return new Map([...Map.groupBy(addresses, (address) => address)].map(([address, group]) => [address, group.length]));
}

describe('a balancer', () => {
  it('chooses the server with the fewest clients, the oldest among equals', () => {
    expect(new Balancer().choose([server('a', 2), server('b', 1), server('c', 1)], none, 0)).toBe('b:9001');
  });

  it('chooses none where there is none, or none has told its address', () => {
    expect(new Balancer().choose([], none, 0)).toBeUndefined();
    expect(new Balancer().choose([{ ...server('a'), address: undefined }], none, 0)).toBeUndefined();
  });

  it('spreads 30 clients of one second over 3 servers, though none of them has come yet', () => {
    const balancer = new Balancer();
    const servers = ['a', 'b', 'c'].map((id) => server(id));
    const chosen = Array.from({ length: 30 }, (_, client) => balancer.choose(servers, none, client * 33));
    expect([...counts(chosen).values()]).toEqual([10, 10, 10]);
  });

  it('gives all the same, whenever clients come, are counted and go within a burst', () => {
    const clients = fc.array(
      fc.record({ afterMs: fc.nat(33), countedMs: fc.nat(2_000), lastsMs: fc.integer({ min: 2_000, max: 9_000 }) }),
      {
        minLength: 30,
        maxLength: 30,
      },
    );
    fc.assert(
      fc.property(clients, (burst) => {
        const balancer = new Balancer();
        const visits: { address: string; fromMs: number; toMs: number }[] = [];
        let nowMs = 0;
        for (const { afterMs, countedMs, lastsMs } of burst) {
          nowMs += afterMs;
          const active = (address: string) =>
            visits.filter((visit) => visit.address === address && visit.fromMs <= nowMs && nowMs < visit.toMs).length;
          const address = balancer.choose(
            ['a', 'b', 'c'].map((id) => server(id, active(`${id}:9001`))),
            none,
            nowMs,
          )!;
          visits.push({ address, fromMs: nowMs + countedMs, toMs: nowMs + lastsMs });
        }
        expect([...counts(visits.map(({ address }) => address)).values()]).toEqual([10, 10, 10]);
      }),
    );
  });

  it('forgets after 10 s whom it has sent where', () => {
    const balancer = new Balancer();
    const servers = [server('a'), server('b', 1)];
    expect([0, 1, 2].map((nowMs) => balancer.choose(servers, none, nowMs))).toEqual(['a:9001', 'a:9001', 'b:9001']);
    expect(balancer.choose(servers, none, 10_002)).toBe('a:9001');
  });

  it('avoids what a client could not reach, but where there is no other', () => {
    const servers = [server('a'), server('b', 100)];
    expect(new Balancer().choose(servers, new Set(['a:9001']), 0)).toBe('b:9001');
    expect(new Balancer().choose(servers, new Set(['a:9001', 'b:9001']), 0)).toBe('a:9001');
  });

  it('never chooses a server that is not in the list, whatever it has chosen before', () => {
    const lists = fc.array(
      fc.uniqueArray(fc.record({ id: fc.constantFrom('a', 'b', 'c', 'd'), clients: fc.nat(5) }), { selector: ({ id }) => id }),
    );
    fc.assert(
      fc.property(lists, (views) => {
        const balancer = new Balancer();
        for (const view of views) {
          const chosen = balancer.choose(
            view.map(({ id, clients }) => server(id, clients)),
            new Set(['a:9001']),
            0,
          );
          if (view.length === 0) expect(chosen).toBeUndefined();
          else expect(view.map(({ id }) => `${id}:9001`)).toContain(chosen);
        }
      }),
    );
  });
});
