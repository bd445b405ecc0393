/** The promises one by one, on a real PostgreSQL: agents, nodes and clients in one process, and in processes of their own where one has to stand still. */
import { randomUUID } from 'node:crypto';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { eventually } from '@lab/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ask } from '../src/asking.ts';
import type { Consortium } from '../src/client/consortium.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@lab/testing/embedded-postgres';
import { nodesMax, type Item } from '../src/messages.ts';
import { administrator, ConsortiumInProcess } from './consortium-in-process.ts';
import { recordAssignments, trespasses } from './assignment-log.ts';
import { Watch } from './recording-client.ts';

const password = 'correct horse';
const timeoutMs = 5_000;
let postgres: EmbeddedPostgres;
let system: ConsortiumInProcess;
let client: Consortium;
let root: string;

beforeAll(async () => {
  postgres = await startEmbeddedPostgres();
});
afterAll(() => postgres.stop());

async function start(): Promise<void> {
  system = await ConsortiumInProcess.start(postgres);
  client = system.client();
  root = (await client.agent('login', administrator)).token;
}
const stop = (): Promise<void> => system[Symbol.asyncDispose]();

/** For tests that leave agents and nodes as they are. */
function oneSystemForAll(): void {
  beforeAll(start);
  afterEach(async () => {
    for (const { area } of (await system.status()).areas) await client.agent('removeArea', { token: root, area, key: newKey() });
  });
  afterAll(stop);
}

function oneSystemForEach(): void {
  beforeEach(start);
  afterEach(stop);
}

const login = async (name: string, by = client): Promise<string> => (await by.agent('login', { name, password })).token;

/** A new user, subscribed to the areas; resolves with the session's token. */
async function member(name: string, ...areas: string[]): Promise<string> {
  await client.agent('register', { name, password, key: name });
  const token = await login(name);
  for (const area of areas) await client.node(area, 'subscribe', { token, area, key: randomUUID() });
  return token;
}

async function addArea(area: string, nodes = 1): Promise<void> {
  await client.agent('addArea', { token: root, area, nodes, key: randomUUID() });
  await eventually(async () => (await servedBy(area)).length > 0, { intervalMs: 5 });
}

let keys = 0;
const newKey = (): string => `key-${++keys}`;
const post = async (token: string, area: string, text: string, key = newKey()): Promise<number> =>
  (await client.node(area, 'post', { token, area, text, key })).number;
const read = async (token: string, area: string): Promise<string[]> =>
  textsOf((await client.node(area, 'read', { token, area, limit: 100 })).items);
const unread = async (token: string, area: string): Promise<string[]> =>
  textsOf((await client.node(area, 'unread', { token, area, limit: 100 })).items);
const textsOf = (items: readonly Item[]): string[] => items.map(({ text }) => text);
/** Addresses of the nodes of an area. */
const servedBy = async (area: string): Promise<readonly string[]> =>
  (await system.status()).areas.find((each) => each.area === area)?.nodes ?? [];
const refusal = (code: string): unknown => expect.objectContaining({ name: 'Refusal', code });

describe('while nothing fails', () => {
  oneSystemForAll();

  describe('agents', () => {
    it('are all alike: each does everything that agents do', async () => {
      for (const name of system.agents) {
        const agent = system.clientOf(name);
        const { token } = await agent.agent('login', administrator);
        expect(await agent.agent('addArea', { token, area: name, nodes: 1, key: newKey() })).toEqual({ area: name, nodes: 1 });
        expect(await agent.agent('setArea', { token, area: name, nodes: 2, key: randomUUID() })).toEqual({
          area: name,
          nodes: 2,
        });
        await agent.agent('register', { name: `user-${name}`, password, key: newKey() });
        await agent.agent('promote', { token, name: `user-${name}` });
        expect(await agent.agent('login', { name: `user-${name}`, password })).toMatchObject({ role: 'administrator' });
        await eventually(async () => (await agent.agent('where', { area: name })).nodes.length === 2);
        expect((await agent.agent('where', {})).nodes).toHaveLength(system.nodes.length);
        expect((await agent.agent('status', {})).areas).toContainEqual(expect.objectContaining({ area: name, wanted: 2 }));
        const removal = { token, area: name, key: newKey() };
        expect(await agent.agent('removeArea', removal)).toEqual({ area: name, news: 0, subscriptions: 0 });
        await agent.agent('removeArea', removal);
        await agent.agent('logout', { token });
        await expect(agent.agent('setArea', { token, area: name, nodes: 1, key: randomUUID() })).rejects.toEqual(
          refusal('unauthenticated'),
        );
      }
    });

    it('let administrators alone change areas', async () => {
      await addArea('sports');
      const token = await member('ana');
      for (const [kind, body] of [
        ['addArea', { token, area: 'chess', nodes: 1, key: newKey() }],
        ['setArea', { token, area: 'sports', nodes: 2, key: randomUUID() }],
        ['removeArea', { token, area: 'sports', key: newKey() }],
        ['promote', { token, name: 'ana' }],
      ] as const)
        await expect(client.agent(kind, body as never)).rejects.toEqual(refusal('forbidden'));
      expect((await system.status()).areas).toMatchObject([{ area: 'sports', wanted: 1 }]);
    });

    it('end a session for every node from the moment that they say so', async () => {
      await addArea('sports', system.nodes.length);
      const token = await member('ana', 'sports');
      await eventually(async () => (await servedBy('sports')).length === system.nodes.length);
      await system.clientOf('agent-2').agent('logout', { token });
      for (const address of system.nodes.map((name) => system.addressOf(name))) {
        const read = ask(address, 'read', { token, area: 'sports', limit: 1 }, { timeoutMs });
        await expect(read).rejects.toEqual(refusal('unauthenticated'));
        await expect(ask(address, 'myAreas', { token }, { timeoutMs })).rejects.toEqual(refusal('unauthenticated'));
      }
    });
  });

  describe('a post', () => {
    it('that is sent again appears once, and keeps its number', async () => {
      await addArea('sports');
      const token = await member('ana', 'sports');
      const key = newKey();
      const numbers = await Promise.all(Array.from({ length: 8 }, () => post(token, 'sports', 'goal', key)));
      expect(new Set(numbers).size).toBe(1);
      expect(await read(token, 'sports')).toEqual(['goal']);
    });

    it('with the key of another one is refused', async () => {
      await addArea('sports');
      await addArea('chess');
      const token = await member('ana', 'sports', 'chess');
      await post(token, 'sports', 'goal', 'one-key');
      await expect(post(token, 'sports', 'no goal', 'one-key')).rejects.toEqual(refusal('conflict'));
      await expect(post(token, 'chess', 'goal', 'one-key')).rejects.toEqual(refusal('conflict'));
      const bo = await member('bo', 'sports');
      expect(await post(bo, 'sports', 'goal', 'one-key')).toBeGreaterThan(1);
    });

    it('that was deleted does not come back when it is sent again', async () => {
      await addArea('sports');
      const token = await member('ana', 'sports');
      const number = await post(token, 'sports', 'goal', 'late');
      await client.node('sports', 'delete', { token, area: 'sports', number });
      expect(await post(token, 'sports', 'goal', 'late')).toBe(number);
      expect(await read(token, 'sports')).toEqual([]);
    });

    it('needs a subscription, and so does reading', async () => {
      await addArea('sports');
      const token = await member('ana');
      await expect(post(token, 'sports', 'goal')).rejects.toEqual(refusal('not-subscribed'));
      await expect(read(token, 'sports')).rejects.toEqual(refusal('not-subscribed'));
      await expect(unread(token, 'sports')).rejects.toEqual(refusal('not-subscribed'));
      const watch = new Watch({ user: 'ana', token, consortium: client }, 'sports');
      await watch.begun();
      expect(watch.refusal).toEqual(refusal('not-subscribed'));
    });
  });

  describe('a deletion', () => {
    it("is the author's, and takes the item from everyone: read, unread and held", async () => {
      await addArea('sports');
      const [ana, bo, cyd] = [await member('ana', 'sports'), await member('bo', 'sports'), await member('cyd', 'sports')];
      const number = await post(ana, 'sports', 'goal');
      expect(await unread(bo, 'sports')).toEqual(['goal']);
      await expect(client.node('sports', 'delete', { token: bo, area: 'sports', number })).rejects.toEqual(refusal('forbidden'));
      await client.node('sports', 'delete', { token: ana, area: 'sports', number });
      await client.node('sports', 'delete', { token: ana, area: 'sports', number });
      await expect(client.node('sports', 'delete', { token: bo, area: 'sports', number })).rejects.toEqual(
        refusal('unknown-item'),
      );
      for (const token of [ana, bo, cyd]) {
        expect(await read(token, 'sports')).toEqual([]);
        expect(await client.node('sports', 'unread', { token, area: 'sports', limit: 10 })).toMatchObject({ items: [], held: 0 });
        expect((await client.node(undefined, 'myAreas', { token })).areas).toMatchObject([{ area: 'sports', unread: 0 }]);
      }
    });
  });

  describe('what is unread', () => {
    it('is held for one reader of a user, and offered again, with the same number, when it was not marked', async () => {
      await addArea('sports', 2);
      const token = await member('ana', 'sports');
      const numbers = [await post(token, 'sports', 'one'), await post(token, 'sports', 'two')];
      const readers = await Promise.all(Array.from({ length: 6 }, () => unread(token, 'sports')));
      expect(readers.flat().toSorted()).toEqual(['one', 'two']);
      await client.node('sports', 'mark', { token, area: 'sports', numbers: [numbers[0]!] });
      const again = await eventually(async () => {
        const { items } = await client.node('sports', 'unread', { token, area: 'sports', limit: 10 });
        return items.length > 0 && items;
      });
      expect(again).toMatchObject([{ number: numbers[1], text: 'two' }]);
    });

    it('is marked when the client says so, whatever the order, and counted until then', async () => {
      await addArea('sports');
      const token = await member('ana', 'sports');
      const numbers = [
        await post(token, 'sports', 'one'),
        await post(token, 'sports', 'two'),
        await post(token, 'sports', 'three'),
      ];
      const count = async (): Promise<number> => (await client.node(undefined, 'myAreas', { token })).areas[0]!.unread;
      const mark = (...marked: number[]) => client.node('sports', 'mark', { token, area: 'sports', numbers: marked });
      expect(await mark(...numbers)).toEqual({ marked: 0 });
      await unread(token, 'sports');
      expect(await count()).toBe(3);
      await mark(numbers[2]!);
      expect(await count()).toBe(2);
      await mark(numbers[0]!, numbers[1]!);
      expect(await count()).toBe(0);
      await post(token, 'sports', 'four');
      expect(await unread(token, 'sports')).toEqual(['four']);
    });

    it('begins with the subscription, and is forgotten with it', async () => {
      await addArea('sports');
      const ana = await member('ana', 'sports');
      await post(ana, 'sports', 'before');
      const bo = await member('bo', 'sports');
      await post(ana, 'sports', 'while');
      expect((await client.node(undefined, 'myAreas', { token: bo })).areas).toMatchObject([{ unread: 1 }]);
      await client.node('sports', 'unsubscribe', { token: bo, area: 'sports', key: randomUUID() });
      await expect(unread(bo, 'sports')).rejects.toEqual(refusal('not-subscribed'));
      await post(ana, 'sports', 'between');
      await client.node('sports', 'subscribe', { token: bo, area: 'sports', key: randomUUID() });
      await post(ana, 'sports', 'after');
      expect(await unread(bo, 'sports')).toEqual(['after']);
      expect(await read(bo, 'sports')).toEqual(['before', 'while', 'between', 'after']);
      expect(await unread(ana, 'sports')).toEqual(['before', 'while', 'between', 'after']);
    });
  });

  describe('an area', () => {
    it('that is removed takes its news, subscriptions and watches with it; added again it is empty, and its numbers go on', async () => {
      await addArea('sports');
      const [ana, bo] = [await member('ana', 'sports'), await member('bo', 'sports')];
      await post(ana, 'sports', 'one', 'first');
      const last = await post(bo, 'sports', 'two');
      const watch = new Watch({ user: 'bo', token: bo, consortium: system.client() }, 'sports');
      await watch.begun();
      const removal = await client.agent('removeArea', { token: root, area: 'sports', key: newKey() });
      expect(removal).toEqual({ area: 'sports', news: 2, subscriptions: 2 });
      await eventually(() => watch.refusal !== undefined);
      expect(watch.refusal).toEqual(refusal('unknown-area'));
      await expect(post(ana, 'sports', 'three')).rejects.toEqual(refusal('unknown-area'));
      await expect(client.node('sports', 'subscribe', { token: ana, area: 'sports', key: randomUUID() })).rejects.toEqual(
        refusal('unknown-area'),
      );
      expect((await client.node(undefined, 'myAreas', { token: ana })).areas).toEqual([]);

      await client.agent('addArea', { token: root, area: 'sports', nodes: 1, key: newKey() });
      await expect(post(ana, 'sports', 'three')).rejects.toEqual(refusal('not-subscribed'));
      await client.node('sports', 'subscribe', { token: ana, area: 'sports', key: randomUUID() });
      expect(await read(ana, 'sports')).toEqual([]);
      expect(await post(ana, 'sports', 'three')).toBe(last + 1);
      expect(await unread(ana, 'sports')).toEqual(['three']);
    });

    it('is removed while everybody posts, and no post is acknowledged that the removal does not count', async () => {
      await addArea('sports', 3);
      const token = await member('ana', 'sports');
      let acknowledged = 0;
      const posting = Array.from({ length: 8 }, async (_, writer) => {
        for (;;) {
          await client.node('sports', 'post', { token, area: 'sports', text: 'goal', key: `writer-${writer}-${newKey()}` });
          acknowledged++;
        }
      });
      const ended = Promise.allSettled(posting);
      await eventually(() => acknowledged > 20, { intervalMs: 1 });
      const { news } = await client.agent('removeArea', { token: root, area: 'sports', key: newKey() });
      for (const { status, ...rest } of await ended)
        expect([status, rest]).toEqual(['rejected', { reason: refusal('unknown-area') }]);
      expect(news).toBe(acknowledged);
    });
  });
});

describe('while nodes come and go', () => {
  oneSystemForEach();

  describe('assignments', () => {
    const areas = Array.from({ length: 7 }, (_, index) => `area-${index}`);
    const assigned = async (): Promise<Map<string, string>> =>
      new Map((await system.status()).areas.map(({ area, nodes }) => [area, nodes.join()]));
    const settled = (nodes: number): Promise<Map<string, string>> =>
      eventually(async () => {
        const now = await assigned();
        const serving = new Set(now.values());
        return now.size === areas.length && !serving.has('') && serving.size === nodes && now;
      }) as Promise<Map<string, string>>;
    const moved = (one: Map<string, string>, other: Map<string, string>): number =>
      areas.filter((area) => one.get(area) !== other.get(area)).length;

    it('are as many as there are nodes where an area wants more, and the status says so', async () => {
      await addArea('sports', nodesMax);
      await eventually(async () => (await servedBy('sports')).length === 3);
      await system.startNode('node-4');
      await eventually(async () => (await servedBy('sports')).length === 4);
      expect((await system.status()).areas).toMatchObject([{ wanted: nodesMax }]);
      await client.agent('setArea', { token: root, area: 'sports', nodes: 1, key: randomUUID() });
      await eventually(async () => (await servedBy('sports')).length === 1);
    });

    it('stay where they are when a node joins or leaves, but for the share of that node', async () => {
      for (const area of areas) await client.agent('addArea', { token: root, area, nodes: 1, key: area });
      const three = await settled(3);
      await system.startNode('node-4');
      const four = await settled(4);
      expect(moved(three, four)).toBeLessThanOrEqual(Math.ceil(areas.length / 3));
      await system.stop('node-1');
      const back = await settled(3);
      expect(moved(four, back)).toBeLessThanOrEqual(Math.ceil(areas.length / 4));
      await system.kill('node-2');
      expect(moved(back, await settled(2))).toBeLessThanOrEqual(Math.ceil(areas.length / 3));
    });

    it('are what requests reach: another node refuses, names the right ones, and the client follows', async () => {
      await addArea('sports');
      const token = await member('ana', 'sports');
      const [right] = await servedBy('sports');
      const others = system.nodes.map((name) => system.addressOf(name)).filter((address) => address !== right);
      for (const other of others) {
        const names = { details: { nodes: [right] } };
        const body = { token, area: 'sports', key: newKey(), text: 'stray' };
        await expect(ask(other, 'post', body, { timeoutMs })).rejects.toEqual(
          Object.assign(refusal('not-served') as object, names),
        );
        await expect(ask(other, 'subscribe', { token, area: 'sports', key: randomUUID() }, { timeoutMs })).rejects.toMatchObject({
          code: 'not-served',
          ...names,
        });
        const asked: string[] = [];
        const misled = system.client({
          ask: async (address, kind, request, options) => {
            if (kind === 'where') return { nodes: [other] } as never;
            asked.push(address);
            return ask(address, kind, request, options);
          },
        });
        await misled.node('sports', 'post', { token, area: 'sports', key: newKey(), text: 'followed' });
        expect(asked).toEqual([other, right]);
      }
      expect(await read(token, 'sports')).toEqual(['followed', 'followed']);
    });

    it('leave a node that stops in good order before it goes, so that nobody waits', async () => {
      await addArea('sports');
      const token = await member('ana', 'sports');
      const [address] = await servedBy('sports');
      const name = system.nodes.find((each) => system.addressOf(each) === address)!;
      const stopping = system.stop(name);
      let stopped = false;
      void stopping.then(() => (stopped = true));
      while (!stopped) await post(token, 'sports', 'goal');
      await stopping;
      expect(await servedBy('sports')).not.toContain(address);
    });
  });

  describe('a request that lay in a hung process', () => {
    const early = { timeoutMs: 200 };

    it('of a node changes nothing when it was done elsewhere, and its opposite since', async () => {
      await addArea('sports', 2);
      await addArea('chess', 2);
      const token = await member('ana', 'sports');
      await eventually(async () => (await servedBy('sports')).length === 2);
      const [hung, other] = await servedBy('sports');
      const name = system.nodes.find((each) => system.addressOf(each) === hung)!;
      await eventually(async () => (await client.agent('where', { area: 'sports' })).nodes.length === 2);
      system.pause(name);
      const body = { token, area: 'sports', key: newKey() };
      await expect(ask(hung!, 'unsubscribe', body, early)).rejects.toThrow(/no reply within/);
      await ask(other!, 'unsubscribe', body, { timeoutMs });
      await ask(other!, 'subscribe', { ...body, key: newKey() }, { timeoutMs });
      system.heal(name);
      // Whatever comes behind it has come.
      await eventually(() => ask(hung!, 'health', {}, { timeoutMs }));
      await post(token, 'sports', 'still there');
      expect(await unread(token, 'sports')).toEqual(['still there']);
    });

    it('of an agent removes no area that was added again since', async () => {
      await addArea('sports');
      const body = { token: root, area: 'sports', key: newKey() };
      const [hung, other] = system.agents;
      const address = system.addressOf(hung!);
      system.pause(hung!);
      await expect(ask(address, 'removeArea', body, early)).rejects.toThrow(/no reply within/);
      const by = system.clientOf(other!);
      await by.agent('removeArea', body);
      await by.agent('addArea', { ...body, nodes: 1, key: newKey() });
      system.heal(hung!);
      await ask(address, 'status', {}, { timeoutMs });
      expect((await system.status()).areas).toMatchObject([{ area: 'sports' }]);
    });
  });

  describe('a watch', () => {
    it('has every item at once, in order, whatever connections break and nodes go', async () => {
      await addArea('sports', 2);
      const token = await member('ana', 'sports');
      await post(token, 'sports', 'before');
      const watch = new Watch({ user: 'ana', token, consortium: system.client() }, 'sports');
      await watch.begun();
      const texts: string[] = [];
      const postAndSee = async (text: string): Promise<void> => {
        texts.push(text);
        const number = await post(token, 'sports', text);
        await eventually(() => watch.has(number), { intervalMs: 1 });
      };
      await postAndSee('at once');
      const nodes = await servedBy('sports');
      await Promise.all(nodes.map((address) => system.kill(system.nodes.find((each) => system.addressOf(each) === address)!)));
      await postAndSee('elsewhere');
      await postgres.restart();
      await postAndSee('after the restart');
      await watch.stop();
      expect(textsOf(watch.items)).toEqual(texts);
      expect(watch.connections).toBeGreaterThan(1);
    });

    it('ends with its session and with its subscription, and has nothing that is posted after', async () => {
      await addArea('sports');
      const [ana, bo] = [await member('ana', 'sports'), await member('bo', 'sports')];
      const second = await login('bo');
      const closed = new Watch({ user: 'bo', token: second, consortium: system.client() }, 'sports');
      const unsubscribed = new Watch({ user: 'bo', token: bo, consortium: system.client() }, 'sports');
      await Promise.all([closed.begun(), unsubscribed.begun()]);
      await client.agent('logout', { token: second });
      await post(ana, 'sports', 'one');
      await eventually(() => closed.refusal !== undefined && unsubscribed.items.length === 1);
      expect(closed.refusal).toEqual(refusal('unauthenticated'));
      await client.node('sports', 'unsubscribe', { token: bo, area: 'sports', key: randomUUID() });
      await post(ana, 'sports', 'two');
      await eventually(() => unsubscribed.refusal !== undefined);
      expect(unsubscribed.refusal).toEqual(refusal('not-subscribed'));
      expect([closed.items.length, unsubscribed.items.length]).toEqual([0, 1]);
    });
  });

  describe('the agent that decides', () => {
    const main = join(import.meta.dirname, '..', 'src', 'main.ts');
    const children: ChildProcess[] = [];
    afterEach(() => children.splice(0).forEach((child) => child.kill('SIGKILL')));

    /** In a process of its own; resolves when it decides. */
    async function decidingProcess(): Promise<ChildProcess> {
      const listen = `127.0.0.1:${await freePort()}`;
      const args = [
        'agent',
        '--name',
        'stranger',
        '--listen',
        listen,
        '--database-url',
        system.databaseUrl,
        '--log-level',
        'error',
      ];
      const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'inherit', 'inherit'] });
      children.push(child);
      await eventually(async () => (await connectionsOf('stranger')) > 0, { timeoutMs: 20_000 });
      for (const name of system.agents) await system.kill(name);
      await eventually(async () => (await system.decider()) === 'stranger');
      await Promise.all(['agent-1', 'agent-2'].map((name) => system.startAgent(name)));
      return child;
    }
    const connectionsOf = async (name: string): Promise<number> =>
      (
        await system.query('SELECT FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()', [
          `news-consortium ${name}`,
        ])
      ).length;

    it('and finds all nodes dead lets another look, before anything is taken from them', async () => {
      await addArea('sports', 2);
      const before = await servedBy('sports');
      const first = await eventually(() => system.decider());
      for (const name of system.nodes) system.pause(name);
      await eventually(async () => ![undefined, first].includes(await system.decider()));
      for (const name of system.nodes) system.heal(name);
      const token = await member('ana', 'sports');
      await post(token, 'sports', 'all is as it was');
      expect(await servedBy('sports')).toEqual(before);
    });

    it('and hangs is followed by another; when it goes on it writes nothing, and waits for its turn', async () => {
      await recordAssignments(system.databaseUrl);
      const child = await decidingProcess();
      child.kill('SIGSTOP');
      await addArea('sports');
      const decider = await system.decider();
      expect(['agent-1', 'agent-2']).toContain(decider);
      expect(await connectionsOf('stranger')).toBe(0);
      child.kill('SIGCONT');
      await eventually(async () => (await connectionsOf('stranger')) > 0);
      await addArea('chess');
      await system.kill('node-1');
      await eventually(async () => (await system.status()).nodes.length === 2);
      expect(await system.decider()).toBe(decider);
      expect(await trespasses(system.databaseUrl)).toBe(0);
    });
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
