import { makeMemoryRegistry } from '@lab/discovery';
import { silentLogger, type Logger } from '@lab/process';
import { FakeClock } from '@lab/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Change, HeldServer } from '../domain/reconcile.ts';
import { HaproxyError } from '../haproxy.ts';
import { LbSync } from './lb-sync.ts';

/** HAProxy's memory, and what can happen to it. */
class FakeHaproxy {
  answers = true;
  refuses: readonly string[] = [];
  #servers = new Map<string, HeldServer>();

  async servers(): Promise<HeldServer[]> {
    if (!this.answers) throw new HaproxyError('hangs', { answered: false });
    return [...this.#servers.values()];
  }

  async apply(change: Change): Promise<void> {
    if (!this.answers) throw new HaproxyError('hangs', { answered: false });
    if (this.refuses.includes(change.name))
      throw new HaproxyError(`no ${change.kind} ${change.backend}/${change.name}`, { answered: true });
    const key = `${change.backend}/${change.name}`;
    const server = this.#servers.get(key);
    if (change.kind === 'remove') this.#servers.delete(key);
    else if (change.kind === 'add') this.#servers.set(key, { ...change, state: 'maintenance', draining: false, requests: 0 });
    else this.#servers.set(key, { ...server!, state: change.kind === 'enable' ? 'up' : 'maintenance' });
  }

  restart(): void {
    this.#servers.clear();
  }

  fail(key: string): void {
    this.#servers.set(key, { ...this.#servers.get(key)!, state: 'down' });
  }

  get names(): string[] {
    return [...this.#servers].filter(([, { state }]) => state === 'up').map(([key]) => key);
  }
}

const clock = new FakeClock();
const registry = makeMemoryRegistry({ clock, sessionTimeoutMs: 2_000 });
const web = registry.connect();
const services = ['api', 'web'];
let haproxy: FakeHaproxy;
let told: boolean[];
let warned: string[];
let role: LbSync;
let own: ReturnType<typeof registry.connect>;

const look = (): Promise<void> => clock.advanceAsync(1_000);
const announce = async (name: string) => {
  const endpoint = { name, address: `10.0.0.${name.at(-1)}`, port: 8080 };
  const announcements = await Promise.all(services.map((service) => web.announce(service, endpoint)));
  return { withdraw: () => Promise.all(announcements.map((each) => each.withdraw())) };
};

beforeEach(async () => {
  haproxy = new FakeHaproxy();
  told = [];
  warned = [];
  const warn = (fields: { err?: Error }, words: string): void => void warned.push(`${words} ${fields.err?.message}`);
  const log = Object.assign(Object.create(silentLogger) as Logger, { warn });
  own = registry.connect();
  const tell = async (canServe: boolean): Promise<void> => void told.push(canServe);
  role = new LbSync({ connect: async () => own, haproxy, services, tell, clock, log });
  await role.start();
});
afterEach(async () => {
  await role.stop();
});

describe('lb-sync', () => {
  it('gives HAProxy each server that is announced, and takes out one that has left and fails its checks', async () => {
    const [one, two] = [await announce('web-1'), await announce('web-2')];
    await look();
    expect(haproxy.names).toHaveLength(4);
    await two.withdraw();
    await look();
    expect(haproxy.names).toHaveLength(4);
    haproxy.names.filter((name) => name.includes('web-2')).forEach((name) => haproxy.fail(name));
    await look();
    expect(haproxy.names.map((name) => name.split('.')[0])).toEqual(['api/web-1', 'web/web-1']);
    await one.withdraw();
  });

  it('restores what a restarted HAProxy has forgotten, without contact to the registry too', async () => {
    const one = await announce('web-1');
    await look();
    registry.cut(own);
    haproxy.restart();
    await clock.advanceAsync(10_000);
    expect(haproxy.names).toHaveLength(2);
    registry.heal(own);
    await one.withdraw();
  });

  it('tells whether HAProxy answers and has servers for everything', async () => {
    await look();
    expect(told.at(-1)).toBe(false);
    const one = await announce('web-1');
    await look();
    expect(told.at(-1)).toBe(true);
    haproxy.answers = false;
    await look();
    expect(told.at(-1)).toBe(false);
    haproxy.answers = true;
    await one.withdraw();
  });

  it('goes on with other servers when HAProxy refuses some, and complains once of each', async () => {
    const announced = [await announce('web-1'), await announce('web-2'), await announce('web-3')];
    const instances = await web.list('api');
    const refused = instances.filter(({ endpoint }) => endpoint['name'] !== 'web-2');
    haproxy.refuses = refused.map(({ endpoint, sequence }) => `${String(endpoint['name'])}.${sequence}`);
    for (let looks = 0; looks < 5; looks++) await look();
    expect(haproxy.names.some((name) => name.startsWith('web/web-2'))).toBe(true);
    const all = haproxy.refuses.flatMap((name) =>
      services.flatMap((service) => [`add ${service}/${name}`, `enable ${service}/${name}`]),
    );
    expect(warned.toSorted()).toEqual(all.map((change) => `not changed no ${change}`).toSorted());
    await Promise.all(announced.map((each) => each.withdraw()));
  });

  it.each([
    { name: 'evil', address: '10.0.0.1 weight 256;' },
    { name: 'evil', address: '10.0.0.256' },
    { name: 'evil', address: '10.0.0.010' },
    { name: 'evil weight 256', address: '10.0.0.1' },
    { name: 'n'.repeat(65), address: '10.0.0.1' },
  ])('takes nothing from an announcement that has no usable name or address: $name $address', async (endpoint) => {
    const bad = await web.announce('api', { ...endpoint, port: 80 });
    await look();
    expect(haproxy.names).toEqual([]);
    await bad.withdraw();
  });

  it('takes a machine whose name has dots', async () => {
    const one = await announce('web.lisbon-1');
    await look();
    expect(haproxy.names.map((name) => name.replace(/\.\d+$/, ''))).toEqual(['api/web.lisbon-1', 'web/web.lisbon-1']);
    await one.withdraw();
  });
});
