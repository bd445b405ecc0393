import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canServe, reconcile, type Change, type HeldServer, type ListedServer } from './reconcile.ts';

const held = (number: number, fields: Partial<HeldServer> = {}): HeldServer => ({
  ...{ backend: 'api', name: `web-${number}.${number}`, address: `10.0.0.${number}`, port: 8081 },
  ...{ state: 'up', draining: false, requests: 0 },
  ...fields,
});
const listed = (number: number, fields: Partial<ListedServer> = {}): ListedServer => ({
  ...{ name: `web-${number}`, sequence: number, address: `10.0.0.${number}`, port: 8081 },
  ...fields,
});
const changes = (servers: readonly HeldServer[], list?: readonly ListedServer[], downMs = 60_000): string[] =>
  reconcile(servers, new Map(list === undefined ? [] : [['api', list]]), () => downMs).map(words);
const words = (change: Change): string =>
  [change.kind, change.name, ...(change.kind === 'disable' && change.endRequests ? ['and its requests'] : [])].join(' ');

describe('reconcile', () => {
  it('adds and enables what is listed, once for each address', () => {
    expect(changes([held(1)], [listed(1), listed(2), listed(2, { sequence: 7 })])).toEqual(['add web-2.7', 'enable web-2.7']);
  });

  it('takes one that is announced again at the same address for the same', () => {
    expect(changes([held(1), held(2, { state: 'down' })], [listed(1, { sequence: 8 }), listed(2, { sequence: 9 })])).toEqual([]);
  });

  it('changes nothing in a back end whose list is not known', () => {
    expect(changes([held(1, { state: 'down' }), held(2, { state: 'maintenance' })])).toEqual([]);
  });

  it('keeps all that pass their checks when the list is suddenly empty', () => {
    expect(changes([held(1), held(2), held(3, { state: 'down' })], [])).toEqual(['disable web-3.3']);
  });

  it('keeps what is listed though it fails its checks', () => {
    expect(changes([held(1, { state: 'down' })], [listed(1)])).toEqual([]);
  });

  it('enables what is listed and was left in maintenance', () => {
    expect(changes([held(1, { state: 'maintenance' })], [listed(1)])).toEqual(['enable web-1.1']);
  });

  it('removes from maintenance what is not listed, when it has no request anymore', () => {
    expect(changes([held(1, { state: 'maintenance' })], [])).toEqual(['remove web-1.1']);
    expect(changes([held(1, { state: 'maintenance', requests: 1 })], [], 0)).toEqual([]);
  });

  it('lets a dead server have its requests for 2.5 s and a draining one for 10 s', () => {
    const dead = held(1, { state: 'down', requests: 2 });
    expect(changes([dead], [], 2_499)).toEqual([]);
    expect(changes([dead], [], 2_500)).toEqual(['disable web-1.1 and its requests']);
    expect(changes([{ ...dead, draining: true }], [], 9_999)).toEqual([]);
    expect(changes([{ ...dead, draining: true }], [], 10_000)).toEqual(['disable web-1.1 and its requests']);
  });

  it('applied again and again ends with the listed and those that pass, whatever there was', () => {
    const numbers = fc.uniqueArray(fc.integer({ min: 1, max: 9 }));
    const states = fc.constantFrom('up' as const, 'down' as const, 'maintenance' as const);
    const servers = numbers.chain((chosen) =>
      fc.tuple(...chosen.map((number) => states.map((state) => held(number, { state, requests: number % 2 })))),
    );
    fc.assert(
      fc.property(servers, numbers, (before, list) => {
        let now: readonly HeldServer[] = before;
        for (let round = 0; round < 3; round++)
          now = applied(
            now,
            reconcile(now, new Map([['api', list.map((each) => listed(each))]]), () => 60_000),
          );
        const expected = new Set([...list, ...before.filter(({ state }) => state === 'up').map(numberOf)]);
        expect(new Set(now.map(numberOf))).toEqual(expected);
        expect(now.filter(({ state }) => state === 'maintenance')).toEqual([]);
        expect(now).toHaveLength(expected.size);
      }),
    );
  });
});

const numberOf = ({ address }: HeldServer): number => Number(address.split('.').at(-1));

/** HAProxy, as far as reconciliation knows it: it refuses to remove a server outside of maintenance, or one with requests. */
function applied(servers: readonly HeldServer[], list: readonly Change[]): readonly HeldServer[] {
  const byName = new Map(servers.map((server) => [server.name, server]));
  for (const change of list) {
    const server = byName.get(change.name);
    if (change.kind === 'add') byName.set(change.name, { ...held(1), ...change, state: 'maintenance' });
    else if (server === undefined) throw new Error(`no such server: ${change.name}`);
    else if (change.kind === 'enable') byName.set(change.name, { ...server, state: 'up' });
    else if (change.kind === 'disable')
      byName.set(change.name, { ...server, state: 'maintenance', requests: change.endRequests ? 0 : server.requests });
    else if (server.state !== 'maintenance' || server.requests > 0) throw new Error(`cannot be removed: ${change.name}`);
    else byName.delete(change.name);
  }
  return [...byName.values()];
}

describe('canServe', () => {
  it('takes a server that passes its checks in every back end', () => {
    const web = held(2, { backend: 'web' });
    expect(canServe([held(1), web], ['api', 'web'])).toBe(true);
    expect(canServe([held(1, { state: 'down' }), web], ['api', 'web'])).toBe(false);
    expect(canServe([], ['api', 'web'])).toBe(false);
  });
});
