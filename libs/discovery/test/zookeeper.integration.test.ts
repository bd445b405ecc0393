import { eventually, startTcpProxy, type TcpProxy } from '@lab/testing';
import { startZookeeper, startZookeeperEnsemble, type ZookeeperEnsemble, type ZookeeperServer } from '@lab/testing/containers';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { discoveryContract, type Fixture } from '../src/contract.ts';
import { connectZookeeper, UnavailableError, type Discovery, type ZookeeperOptions } from '../src/index.ts';

/** Six ticks of the servers are 1.2 s. */
const sessionTimeoutMs = 1_500;
/** The servers have taken 10 s to find a new leader. */
const patience = { timeoutMs: 120_000 };

/** A client whose cables to all servers can be cut. */
interface Client {
  discovery: Discovery;
  proxies: readonly TcpProxy[];
  told: string[];
}

async function connectVia(servers: readonly ZookeeperServer[], options: Partial<ZookeeperOptions> = {}): Promise<Client> {
  const proxies = await Promise.all(servers.map(({ port }) => startTcpProxy({ target: { host: '127.0.0.1', port } })));
  const told: string[] = [];
  const tell = (fields: object, message: string): void => void told.push(`${message} ${JSON.stringify(fields)}`);
  const discovery = await connectZookeeper({
    servers: proxies.map(({ host, port }) => `${host}:${port}`).join(','),
    sessionTimeoutMs,
    log: { info: tell, warn: tell, error: tell },
    ...options,
  });
  return { discovery, proxies, told };
}

const cut = ({ proxies }: Client): void => proxies.forEach((proxy) => proxy.cut());
const heal = ({ proxies }: Client): void => proxies.forEach((proxy) => proxy.heal());
const release = async ({ proxies }: Client): Promise<void> =>
  void (await Promise.all(proxies.map((proxy) => proxy[Symbol.asyncDispose]())));

async function makeFixture(servers: readonly ZookeeperServer[]): Promise<Fixture> {
  const clients = new Map<Discovery, Client>();
  return {
    async connect() {
      const client = await connectVia(servers);
      clients.set(client.discovery, client);
      return client.discovery;
    },
    cut: (discovery) => cut(clients.get(discovery)!),
    heal: (discovery) => heal(clients.get(discovery)!),
    async crash(discovery) {
      await release(clients.get(discovery)!);
      clients.delete(discovery);
      // The dead process' memory of it, cleared up beside the test: the servers never hear of it.
      void discovery.close();
    },
    async stop() {
      await Promise.all([...clients.values()].map(release));
    },
  };
}

describe('a zookeeper of one server', () => {
  let server: ZookeeperServer;
  const open: Client[] = [];
  beforeAll(async () => void (server = await startZookeeper()));
  afterEach(() => closeAll(open));
  afterAll(() => server[Symbol.asyncDispose]());

  discoveryContract('zookeeper', () => makeFixture([server]));

  const connect = async (options: Partial<ZookeeperOptions> = {}): Promise<Client> => {
    const client = await connectVia([server], options);
    open.push(client);
    return client;
  };

  test('a restart of the server ends no session', async () => {
    const [a, b] = [await connect(), await connect()];
    let renewals = 0;
    const announcement = await a.discovery.announce('restart', { id: 'a' }, { onRenewed: () => renewals++ });
    await server.kill();
    const listed = b.discovery.list('restart').catch((error: unknown) => error);
    await server.start();
    const found = await eventually(() => b.discovery.list('restart'), patience);
    expect(found.map(({ sequence }) => sequence)).toEqual([announcement.sequence]);
    expect(renewals).toBe(0);
    await listed;
  });

  test('what has another root sees nothing of the others', async () => {
    const [a, b] = [await connect(), await connect({ root: '/other/one' })];
    await a.discovery.announce('rooted', { id: 'a' });
    await b.discovery.announce('rooted', { id: 'b' });
    expect((await b.discovery.list('rooted')).map(({ endpoint }) => endpoint)).toEqual([{ id: 'b' }]);
  });

  test('a reset in the middle of announcing leaves exactly one', async () => {
    const [a, b] = [await connect(), await connect()];
    for (let round = 0; round < 20; round++) {
      const service = `reset-${round}-${crypto.randomUUID()}`;
      const announced = a.discovery.announce(service, { round });
      a.proxies[0]!.delayBy(round % 4);
      await b.discovery.list(service);
      a.proxies[0]!.reset();
      const { sequence } = await announced;
      expect((await b.discovery.list(service)).map((instance) => instance.sequence)).toEqual([sequence]);
    }
  });

  test('a reset in the middle of writing neither repeats a write nor denies it', async () => {
    const a = await connect();
    const record = a.discovery.record(`reset-${crypto.randomUUID()}`);
    let version: number | undefined;
    for (let round = 0; round < 40; round++) {
      const written = record.write(`${round}`, version);
      a.proxies[0]!.delayBy(round % 4);
      if (round % 2 === 0) await eventually(() => a.proxies[0]!.connections > 0);
      a.proxies[0]!.reset();
      expect(await written).toBe(round);
      version = round;
    }
    expect(await record.read()).toEqual({ text: '39', version: 39 });
  });
});

describe('a zookeeper of three servers', () => {
  let ensemble: ZookeeperEnsemble;
  const open: Client[] = [];
  beforeAll(async () => void (ensemble = await startZookeeperEnsemble()));
  afterEach(() => closeAll(open));
  afterAll(() => ensemble[Symbol.asyncDispose]());

  const connect = async (): Promise<Client> => {
    const client = await connectVia(ensemble.servers);
    open.push(client);
    return client;
  };
  /** The server that a client is connected to. */
  const serverOf = ({ proxies }: Client): ZookeeperServer =>
    ensemble.servers[proxies.findIndex((proxy) => proxy.connections > 0)]!;
  const allServe = (): Promise<boolean> =>
    eventually(async () => (await Promise.all(ensemble.servers.map((server) => server.mode()))).every(Boolean), patience);

  discoveryContract('zookeeper, an ensemble', () => makeFixture(ensemble.servers));

  test('the death of the leading server ends no session, and work goes on', async () => {
    const clients = await Promise.all([connect(), connect(), connect()]);
    const service = `failover-${crypto.randomUUID()}`;
    let renewals = 0;
    for (const [id, { discovery }] of clients.entries())
      await discovery.announce(service, { id }, { onRenewed: () => renewals++ });
    const record = clients[0].discovery.record(service);
    let version = await record.write('0', undefined);
    let [isOver, writes] = [false, 0];
    const writing = (async () => {
      while (!isOver) {
        const state = await record.read().catch(() => undefined);
        if (state) version = (await record.write(String(writes), state.version).catch(() => undefined)) ?? version;
        writes++;
      }
    })();
    await eventually(() => writes > 5);
    const leader = (await eventually(() => ensemble.leader(), patience))!;
    await leader.kill();
    const before = writes;
    await eventually(() => ensemble.leader(), patience);
    await eventually(() => writes > before + 5, patience);
    isOver = true;
    await writing;
    expect((await clients[2].discovery.list(service)).map(({ endpoint }) => endpoint['id'])).toEqual([0, 1, 2]);
    expect(renewals).toBe(0);
    await leader.start();
    await allServe();
  });

  for (const [fault, repair] of [
    ['pause', 'unpause'],
    ['partition', 'heal'],
  ] as const) {
    test(`a client of a following server that suffers a ${fault} moves to another within its session`, async () => {
      const [a, b] = [await connect(), await connect()];
      const [service, role] = [`${fault}-${crypto.randomUUID()}`, `${fault}-${crypto.randomUUID()}`];
      let renewals = 0;
      await eventually(() => ensemble.leader(), patience);
      await eventually(
        async () => (await serverOf(a).mode()) === 'follower' || (a.proxies.forEach((proxy) => proxy.reset()), false),
      );
      await a.discovery.announce(service, { id: 'a' }, { onRenewed: () => renewals++ });
      const leadership = await a.discovery.elect(role, 'a');
      let isLost = false;
      void leadership.lost.then(() => (isLost = true));
      const failed = serverOf(a);
      await failed[fault]();
      await eventually(
        () => a.proxies.some((proxy, index) => proxy.connections > 0 && ensemble.servers[index] !== failed),
        patience,
      );
      await a.discovery.announce(service, { id: 'a again' });
      await failed[repair]();
      await allServe();
      expect((await b.discovery.list(service)).map(({ endpoint }) => endpoint['id'])).toEqual(['a', 'a again']);
      expect([renewals, isLost]).toEqual([0, false]);
    });
  }

  test('a leading server that hangs is replaced, and no session ends', async () => {
    const [a, b] = [await connect(), await connect()];
    const name = `hang-${crypto.randomUUID()}`;
    let renewals = 0;
    await a.discovery.announce(name, { id: 'a' }, { onRenewed: () => renewals++ });
    await b.discovery.announce(name, { id: 'b' }, { onRenewed: () => renewals++ });
    const failed = (await eventually(() => ensemble.leader(), patience))!;
    await failed.pause();
    await eventually(() => a.discovery.announce(name, { id: 'a again' }), patience);
    const found = await b.discovery.list(name);
    expect(found.slice(0, 2).map(({ endpoint }) => endpoint['id'])).toEqual(['a', 'b']);
    expect(renewals).toBe(0);
    await failed.unpause();
    await allServe();
  });

  test('a quorum that is lost and comes back ends leaderships, but no session', async () => {
    const [a, b] = [await connect(), await connect()];
    const name = `quorum-${crypto.randomUUID()}`;
    let renewals = 0;
    await a.discovery.announce(name, { id: 'a' }, { onRenewed: () => renewals++ });
    const first = await a.discovery.elect(name, 'a');
    const next = b.discovery.elect(name, 'b');
    const dead = ensemble.servers.slice(1);
    await Promise.all(dead.map((server) => server.kill()));
    await first.lost;
    await expect(a.discovery.list(name)).rejects.toThrow(UnavailableError);
    await Promise.all(dead.map((server) => server.start()));
    expect((await next).epoch).toBeGreaterThan(first.epoch);
    const found = await eventually(() => b.discovery.list(name), patience);
    expect(found.map(({ endpoint }) => endpoint['id'])).toEqual(['a']);
    expect(renewals).toBe(0);
  });
});

async function closeAll(clients: Client[]): Promise<void> {
  for (const client of clients.splice(0)) {
    heal(client);
    await client.discovery.close();
    await release(client);
  }
}
