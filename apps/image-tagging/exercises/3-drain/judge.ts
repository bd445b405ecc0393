import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeMemoryGroups } from '@lab/group';
import { makeMemoryServer } from '@lab/middleware';
import { silentLogger, systemClock } from '@lab/process';
import { eventually } from '@lab/testing';
import { expect, it } from 'vitest';
import { Balancer } from '../../src/domain/balance.ts';
import { Catalog, type CatalogEvent, type ServerEntry } from '../../src/domain/catalog.ts';
import { GroupCatalog } from '../../src/group-catalog.ts';
import { decodeEvent, encodeEvent } from '../../src/messages.ts';
import { Presence } from '../../src/roles/presence.ts';
import { RegistryRole } from '../../src/roles/registry.ts';
import { ServerRole } from '../../src/roles/server.ts';
import { PictureStore } from '../../src/store/picture-store.ts';
import { defaultNames, topologyOf } from '../../src/topology.ts';

const draining = { type: 'server-draining' } as unknown as CatalogEvent;
const [a, b, c] = ['a', 'b', 'c'].map((id) => ({ id, name: `svc-${id}` })) as [ServerEntry, ServerEntry, ServerEntry];

/** Three servers, of which these drain. */
function catalogOf(...drain: readonly ServerEntry[]): Catalog {
  const catalog = new Catalog();
  for (const each of [a, b, c]) catalog.apply({ type: 'server-started', address: `${each.id}:1` }, each);
  for (const each of drain) catalog.apply(draining, each);
  return catalog;
}
const chosen = (catalog: Catalog, ...avoid: string[]): string | undefined =>
  new Balancer().choose(catalog.servers(), new Set(avoid), 0);

it('the event is one of the protocol', () => {
  expect(decodeEvent(encodeEvent(draining))).toEqual(draining);
});

it('one that drains gets nobody, however little it has to do', () => {
  const catalog = catalogOf(a);
  for (const each of [b, c]) catalog.apply({ type: 'clients-counted', count: 5 }, each);
  catalog.apply({ type: 'clients-counted', count: 0 }, a);
  expect(chosen(catalog)).toBe('b:1');
});

it('but where there is no other: and rather than one that the client could not reach', () => {
  expect(chosen(catalogOf(a, b, c))).toBe('a:1');
  expect(chosen(catalogOf(c), 'a:1', 'b:1')).toBe('c:1');
  expect(chosen(catalogOf(a), 'a:1', 'b:1', 'c:1')).toBe('b:1');
});

it('newcomers know it, and who takes the name later does not drain', () => {
  const newcomer = new Catalog();
  newcomer.restore(JSON.parse(JSON.stringify(catalogOf(a).snapshot())) as ReturnType<Catalog['snapshot']>);
  expect(chosen(newcomer)).toBe('b:1');
  newcomer.viewChanged([b, c]);
  const again = { ...a, id: 'a-again' };
  newcomer.apply({ type: 'server-started', address: 'a:1' }, again);
  for (const each of [b, c]) newcomer.apply({ type: 'clients-counted', count: 5 }, each);
  expect(chosen(newcomer)).toBe('a:1');
});

it('a server that comes back to the group under another id tells it again', async () => {
  const told: string[] = [];
  const tell = async (event: CatalogEvent): Promise<undefined> => void told.push(event.type);
  const parts = { members: { tell } as unknown as GroupCatalog, clock: systemClock, log: silentLogger, address: () => 'a:1' };
  const presence = new Presence(parts) as Presence & { drain(): Promise<void> };
  const drains = (): number => told.filter((type) => type === 'server-draining').length;
  presence.isIn('a');
  await eventually(() => told.includes('clients-counted'));
  expect(drains()).toBe(0);
  await presence.drain();
  expect(drains()).toBe(1);
  presence.isIn('a-again');
  await eventually(() => drains() === 2);
  presence.stop();
});

it('in a group: the registry sends nobody there anymore', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'exercise-'));
  const groups = makeMemoryGroups({ clock: systemClock, newToken: () => crypto.randomUUID() });
  const member = (memberName: string): GroupCatalog =>
    new GroupCatalog({
      ...{ group: groups.connect(), groupName: 'images', memberName, clock: systemClock },
      newId: () => crypto.randomUUID(),
    });
  const broker = makeMemoryServer().connect();
  await broker.declare(topologyOf(defaultNames));
  const servers = await Promise.all(
    ['svc-1', 'svc-2'].map(async (name) => {
      const role = new ServerRole({
        ...{
          clock: systemClock,
          nowMs: () => 5,
          log: silentLogger,
          broker,
          names: defaultNames,
          limitBytes: 1e6,
          limitPixels: 1e6,
        },
        ...{ members: member(name), store: await PictureStore.open(folder), address: () => name, idOf: (key: string) => key },
      });
      return role as ServerRole & { drain(): Promise<void> };
    }),
  );
  const registry = new RegistryRole({ members: member('registry'), clock: systemClock });
  const roles = [registry, ...servers];
  try {
    for (const role of roles) await role.start();
    await eventually(() => registry.listServers().filter(({ server }) => server.address !== undefined).length === 2);
    await servers[0]!.drain();
    await eventually(() => [1, 2, 3, 4].every(() => registry.findServer([]) === 'svc-2'));
    expect(registry.findServer(['svc-2'])).toBe('svc-1');
  } finally {
    for (const role of roles) await role.stop();
    await rm(folder, { recursive: true, force: true });
  }
});
