/** The promises one by one while nodes and agents come, go and hang: in one process, and in processes of their own where one has to stand still. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { FramingError } from '@lab/protocol';
import { eventually, freePort } from '@lab/testing';
import { startProcess, type RunningProcess } from '@lab/testing/processes';
import { afterEach, describe, expect, it } from 'vitest';
import type { Consortium } from '../src/client/consortium.ts';
import { ask, connectTo, type Ask } from '../src/wire/asking.ts';
import { statements } from '../src/store/following.ts';
import { decodeReply, decodeWatchFrame, encodeRequest } from '../src/wire/encoding.ts';
import { nodesMax, pageItemsMax, type Kind, type Replies } from '../src/messages.ts';
import { recordAssignments, trespasses } from './assignment-log.ts';
import { Watch } from './recording-client.ts';
import { slowCommits } from './slow-commits.ts';
import {
  addArea,
  client,
  login,
  member,
  newKey,
  oneSystemForEach,
  post,
  postgres,
  postgresForAll,
  refusal,
  root,
  read,
  servedBy,
  status,
  system,
  textsOf,
  timeoutMs,
  unread,
} from './scene.ts';

postgresForAll();

describe('while nodes come and go', () => {
  oneSystemForEach();

  describe('assignments', () => {
    const areas = Array.from({ length: 7 }, (_, index) => `area-${index}`);
    const assigned = async (): Promise<Map<string, string>> =>
      new Map((await status()).areas.map(({ area, nodes }) => [area, nodes.join()]));
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
      expect((await status()).areas).toMatchObject([{ wanted: nodesMax }]);
      await client.ask('setArea', { token: root, area: 'sports', nodes: 1, key: randomUUID() });
      await eventually(async () => (await servedBy('sports')).length === 1);
    });

    it('stay where they are when a node joins or leaves, but for the share of that node', async () => {
      for (const area of areas) await client.ask('addArea', { token: root, area, nodes: 1, key: area });
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
        await misled.ask('post', { token, area: 'sports', key: newKey(), text: 'followed' });
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
      await eventually(async () => (await client.ask('where', { area: 'sports' })).nodes.length === 2);
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
      await by.ask('removeArea', body);
      await by.ask('addArea', { ...body, nodes: 1, key: newKey() });
      system.heal(hung!);
      await ask(address, 'status', { token: root }, { timeoutMs });
      expect((await status()).areas).toMatchObject([{ area: 'sports' }]);
    });
  });

  it('posts of different areas do not wait for each other, however long a commit takes', async () => {
    const areas = Array.from({ length: 16 }, (_, index) => `area-${index}`);
    for (const area of areas) await addArea(area);
    const token = await member('ana', ...areas);
    const nodes = new Map((await status()).areas.map(({ area, nodes: [node] }) => [area, node!]));
    /** So many times each of sixteen clients posts. */
    const took = async (times: number, areaOf: (lane: number) => string): Promise<number> => {
      const startMs = performance.now();
      const work = async (area: string): Promise<void> => {
        for (let time = 1; time <= times; time++)
          await ask(nodes.get(area)!, 'post', { token, area, text: 'late', key: newKey() }, { timeoutMs });
      };
      await Promise.all(areas.map((_, lane) => work(areaOf(lane))));
      return performance.now() - startMs;
    };
    // All connections are there then.
    await took(1, (lane) => areas[lane]!);
    await slowCommits(system.databaseUrl, 100);
    try {
      const [inOne, inSixteen] = [await took(1, () => areas[0]!), await took(2, (lane) => areas[lane]!)];
      // 16 commits, one after the other, and twice 16 at a time.
      expect(inSixteen).toBeLessThan(inOne);
    } finally {
      await slowCommits(system.databaseUrl, 0);
    }
  });

  it('an edit that was acknowledged is not lost, and is done once, though its answer was lost and nodes and PostgreSQL die', async () => {
    await addArea('sports', 2);
    const token = await member('ana', 'sports');
    const number = await post(token, 'sports', 'one');
    const edit = (by: Consortium, text: string) => by.ask('edit', { token, area: 'sports', number, text, key: newKey() });
    let lost = false;
    const losing = async (...[address, kind, body, options]: Parameters<Ask>): Promise<Replies[Kind]> => {
      const answer = await ask(address, kind, body, options);
      if (kind !== 'edit' || lost) return answer;
      lost = true;
      await edit(client, 'three');
      await system.kill(system.nodes.find((each) => system.addressOf(each) === address)!);
      throw new FramingError('the connection broke', false);
    };
    expect(await edit(system.client({ ask: losing as Ask }), 'two')).toEqual({ area: 'sports', number });
    await postgres.kill();
    await postgres.restart();
    expect([lost, await read(token, 'sports')]).toEqual([true, ['three']]);
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

    it('hears of each edit and deletion, in order, whatever connections break and nodes go', async () => {
      await addArea('sports', 2);
      const token = await member('ana', 'sports');
      const numbers = [await post(token, 'sports', 'one'), await post(token, 'sports', 'two')];
      await client.ask('edit', { token, area: 'sports', number: numbers[0]!, text: 'unheard', key: newKey() });
      const watch = new Watch({ user: 'ana', token, consortium: system.client() }, 'sports');
      await watch.begun();
      const heard: string[] = [];
      const editAndHear = async (text: string): Promise<void> => {
        heard.push(text);
        await client.ask('edit', { token, area: 'sports', number: numbers[0]!, text, key: newKey() });
        await eventually(() => watch.changes.length === heard.length, { intervalMs: 1 });
      };
      await editAndHear('at once');
      const nodes = await servedBy('sports');
      const served = system.nodes.filter((each) => nodes.includes(system.addressOf(each)));
      await Promise.all(served.map((name) => system.kill(name)));
      await editAndHear('elsewhere');
      for (const name of system.nodes) await system.kill(name);
      await system.startNode('node-1');
      await editAndHear('after the restart of its node');
      await postgres.restart();
      heard.push('deleted');
      for (let time = 0; time < 2; time++) await client.ask('delete', { token, area: 'sports', number: numbers[1]! });
      await editAndHear('after the deletion');
      await watch.stop();
      expect(watch.changes.map((change) => ('deleted' in change ? 'deleted' : change.text))).toEqual(heard);
      expect(watch.changes.map(({ change }) => change)).toEqual([2, 3, 4, 5, 6]);
      expect(watch.items).toEqual([]);
    });

    it('is told of what was posted and changed in the order in which it was done, page by page', async () => {
      await addArea('sports', 1);
      const token = await member('ana', 'sports');
      const edit = (number: number, text: string) => client.ask('edit', { token, area: 'sports', number, text, key: newKey() });
      const first = await post(token, 'sports', 'first');
      const done: string[] = [];
      for (let round = 0; round <= pageItemsMax / 2; round++) {
        const number = await post(token, 'sports', 'posted');
        await edit(first, 'edited');
        done.push(`${number}`, `${first} edited`);
      }
      // What a node asks for ten times a second counts both.
      const [asked] = await system.query<{ lastNumber: number }>(statements.lastNumbers.text, [['sports']]);
      expect(asked?.lastNumber).toBe(first + done.length);
      const socket = await connectTo((await servedBy('sports'))[0]!);
      const request = encodeRequest('watch', timeoutMs, { token, area: 'sports', after: first, change: 0 });
      expect(decodeReply('watch', await socket.request(request, { timeoutMs }))).toEqual({ after: first, change: 0 });
      const told: string[] = [];
      for await (const frame of socket) {
        const message = decodeWatchFrame(frame);
        if ('news' in message)
          for (const each of message.news) told.push('change' in each ? `${each.number} edited` : `${each.number}`);
        if (told.length >= done.length) break;
      }
      socket.destroy();
      expect(told).toEqual(done);
    });

    it('ends with its session and with its subscription, and has nothing that is posted after', async () => {
      await addArea('sports');
      const [ana, bo] = [await member('ana', 'sports'), await member('bo', 'sports')];
      const second = await login('bo');
      const closed = new Watch({ user: 'bo', token: second, consortium: system.client() }, 'sports');
      const unsubscribed = new Watch({ user: 'bo', token: bo, consortium: system.client() }, 'sports');
      await Promise.all([closed.begun(), unsubscribed.begun()]);
      await client.ask('logout', { token: second });
      await post(ana, 'sports', 'one');
      await eventually(() => closed.refusal !== undefined && unsubscribed.items.length === 1);
      expect(closed.refusal).toEqual(refusal('unauthenticated'));
      await client.ask('unsubscribe', { token: bo, area: 'sports', key: randomUUID() });
      await post(ana, 'sports', 'two');
      await eventually(() => unsubscribed.refusal !== undefined);
      expect(unsubscribed.refusal).toEqual(refusal('not-subscribed'));
      expect([closed.items.length, unsubscribed.items.length]).toEqual([0, 1]);
    });
  });

  describe('the agent that decides', () => {
    const main = join(import.meta.dirname, '..', 'src', 'main.ts');
    let stranger: RunningProcess | undefined;
    afterEach(() => stranger?.kill());

    /** In a process of its own; resolves when it decides. */
    async function decidingProcess(): Promise<RunningProcess> {
      const settings = { name: 'stranger', listen: `127.0.0.1:${await freePort()}`, 'database-url': system.databaseUrl };
      const flags = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
      stranger = startProcess([main, 'agent', '--log-level=error', ...flags]);
      await eventually(async () => (await connectionsOf('stranger')) > 0, { timeoutMs: 60_000 });
      for (const name of system.agents) await system.kill(name);
      await eventually(async () => (await system.decider()) === 'stranger');
      await Promise.all(['agent-1', 'agent-2'].map((name) => system.startAgent(name)));
      return stranger;
    }
    const connectionsOf = async (name: string): Promise<number> =>
      (
        await system.query('SELECT FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()', [
          `news-consortium ${name}`,
        ])
      ).length;

    it('or serves says that it is not well while it is cut off, and well again afterwards', async () => {
      for (const name of ['agent-1', 'node-1']) {
        expect(system.isHealthy(name)).toBe(true);
        system.cut(name);
        await eventually(() => !system.isHealthy(name));
        system.heal(name);
        await eventually(() => system.isHealthy(name));
      }
    });

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
      child.signal('SIGSTOP');
      await addArea('sports');
      const decider = await system.decider();
      expect(['agent-1', 'agent-2']).toContain(decider);
      expect(await connectionsOf('stranger')).toBe(0);
      child.signal('SIGCONT');
      await eventually(async () => (await connectionsOf('stranger')) > 0);
      await addArea('chess');
      await system.kill('node-1');
      await eventually(async () => (await status()).nodes.length === 2);
      expect(await system.decider()).toBe(decider);
      expect(await trespasses(system.databaseUrl)).toBe(0);
    });
  });
});
