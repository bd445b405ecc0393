/** The promises one by one while nothing fails, on a real PostgreSQL: agents, nodes and clients in one process. */
import { randomUUID } from 'node:crypto';
import { silentLogger, systemClock } from '@lab/process';
import { FramingError } from '@lab/protocol';
import { eventually } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { Deciding } from '../src/store/deciding.ts';
import { migrate } from '../src/store/migrate.ts';
import { ask } from '../src/wire/asking.ts';
import { query } from './assignment-log.ts';
import { administrator, createDatabase } from './consortium-in-process.ts';
import { decidingContract } from './deciding-contract.ts';
import { Watch } from './recording-client.ts';
import {
  addArea,
  client,
  member,
  newKey,
  oneSystemForAll,
  password,
  post,
  postgres,
  postgresForAll,
  read,
  refusal,
  root,
  servedBy,
  status,
  system,
  timeoutMs,
  unread,
} from './scene.ts';

postgresForAll();

describe('while nothing fails', () => {
  // Longer than a test stands still on a busy machine.
  oneSystemForAll({ leaseMs: 2_000 });

  describe('agents', () => {
    it('are all alike: each does everything that agents do', async () => {
      for (const name of system.agents) {
        const agent = system.clientOf(name);
        const { token } = await agent.ask('login', { ...administrator, key: newKey() });
        expect(await agent.ask('addArea', { token, area: name, nodes: 1, key: newKey() })).toEqual({ area: name, nodes: 1 });
        expect(await agent.ask('setArea', { token, area: name, nodes: 2, key: randomUUID() })).toEqual({
          area: name,
          nodes: 2,
        });
        await agent.ask('register', { name: `user-${name}`, password, key: newKey() });
        await agent.ask('promote', { token, name: `user-${name}`, key: newKey() });
        expect(await agent.ask('login', { name: `user-${name}`, password, key: newKey() })).toMatchObject({
          role: 'administrator',
        });
        await eventually(async () => (await agent.ask('where', { area: name })).nodes.length === 2);
        expect((await agent.ask('where', {})).nodes).toHaveLength(system.nodes.length);
        expect((await agent.ask('status', { token })).areas).toContainEqual(expect.objectContaining({ area: name, wanted: 2 }));
        const removal = { token, area: name, key: newKey() };
        expect(await agent.ask('removeArea', removal)).toEqual({ area: name, news: 0, subscriptions: 0 });
        await agent.ask('removeArea', removal);
        await agent.ask('logout', { token });
        await expect(agent.ask('setArea', { token, area: name, nodes: 1, key: randomUUID() })).rejects.toEqual(
          refusal('unauthenticated'),
        );
        await expect(agent.ask('status', { token })).rejects.toEqual(refusal('unauthenticated'));
      }
    });

    it('let administrators alone change areas', async () => {
      await addArea('sports');
      const token = await member('ana');
      for (const [kind, body] of [
        ['addArea', { token, area: 'chess', nodes: 1, key: newKey() }],
        ['setArea', { token, area: 'sports', nodes: 2, key: randomUUID() }],
        ['removeArea', { token, area: 'sports', key: newKey() }],
        ['promote', { token, name: 'ana', key: newKey() }],
      ] as const)
        await expect(client.ask(kind, body as never)).rejects.toEqual(refusal('forbidden'));
      expect((await status()).areas).toMatchObject([{ area: 'sports', wanted: 1 }]);
    });

    it('end a session for every node from the moment that they say so', async () => {
      await addArea('sports', system.nodes.length);
      const token = await member('ana', 'sports');
      await eventually(async () => (await servedBy('sports')).length === system.nodes.length);
      await system.clientOf('agent-2').ask('logout', { token });
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

    it('that is sent again takes no number', async () => {
      await addArea('sports');
      const token = await member('ana', 'sports');
      const first = await post(token, 'sports', 'goal', 'again');
      expect(await post(token, 'sports', 'goal', 'again')).toBe(first);
      expect(await post(token, 'sports', 'another goal')).toBe(first + 1);
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
      await client.ask('delete', { token, area: 'sports', number });
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

  describe('an edit', () => {
    const edit = (token: string, number: number, text: string, key = newKey()) =>
      client.ask('edit', { token, area: 'sports', number, text, key });

    it("is the author's, and everybody reads its text, and that it was edited", async () => {
      await addArea('sports');
      const [ana, bo] = [await member('ana', 'sports'), await member('bo', 'sports')];
      const number = await post(ana, 'sports', 'gaol');
      await expect(edit(bo, number, 'no goal')).rejects.toEqual(refusal('forbidden'));
      await client.ask('unsubscribe', { token: ana, area: 'sports', key: newKey() });
      expect(await edit(ana, number, 'goal')).toEqual({ area: 'sports', number });
      const { items } = await client.ask('read', { token: bo, area: 'sports', limit: 1 });
      expect(items).toEqual([{ ...items[0]!, number, text: 'goal', editedAt: expect.any(String) as string }]);
      expect(Date.parse(items[0]!.editedAt!)).toBeGreaterThan(Date.parse(items[0]!.postedAt));
    });

    it('is done once: sent again, even late, it does not undo the next one', async () => {
      await addArea('sports', 2);
      const token = await member('ana', 'sports');
      const number = await post(token, 'sports', 'one', 'posted');
      await Promise.all(Array.from({ length: 8 }, () => edit(token, number, 'two', 'to-two')));
      await edit(token, number, 'three');
      expect(await edit(token, number, 'two', 'to-two')).toEqual({ area: 'sports', number });
      await expect(edit(token, number, 'four', 'to-two')).rejects.toEqual(refusal('conflict'));
      await expect(edit(token, number, 'one', 'posted')).rejects.toEqual(refusal('conflict'));
      // The post, too, is known when it is sent again.
      expect(await post(token, 'sports', 'one', 'posted')).toBe(number);
      expect(await read(token, 'sports')).toEqual(['three']);
    });

    it('of what was deleted, or never was, is refused', async () => {
      await addArea('sports');
      const token = await member('ana', 'sports');
      const number = await post(token, 'sports', 'goal');
      await client.ask('delete', { token, area: 'sports', number });
      for (const none of [number, number + 1])
        await expect(edit(token, none, 'no goal')).rejects.toEqual(refusal('unknown-item'));
      expect(await read(token, 'sports')).toEqual([]);
    });

    it('reaches who has the item unread or in hand, and is not offered to who has read it', async () => {
      await addArea('sports');
      const [ana, bo, cyd] = [await member('ana', 'sports'), await member('bo', 'sports'), await member('cyd', 'sports')];
      const number = await post(ana, 'sports', 'gaol');
      for (const token of [ana, bo]) expect(await unread(token, 'sports')).toEqual(['gaol']);
      await client.ask('mark', { token: ana, area: 'sports', numbers: [number] });
      await edit(ana, number, 'goal');
      expect(await unread(cyd, 'sports')).toEqual(['goal']);
      await eventually(async () => (await unread(bo, 'sports'))[0] === 'goal');
      expect(await unread(ana, 'sports')).toEqual([]);
      expect((await client.ask('myAreas', { token: ana })).areas).toMatchObject([{ unread: 0 }]);
    });
  });

  describe('a deletion', () => {
    it("is the author's, and takes the item from everyone: read, unread and held", async () => {
      await addArea('sports');
      const [ana, bo, cyd] = [await member('ana', 'sports'), await member('bo', 'sports'), await member('cyd', 'sports')];
      const number = await post(ana, 'sports', 'goal');
      expect(await unread(bo, 'sports')).toEqual(['goal']);
      await expect(client.ask('delete', { token: bo, area: 'sports', number })).rejects.toEqual(refusal('forbidden'));
      await client.ask('delete', { token: ana, area: 'sports', number });
      await client.ask('delete', { token: ana, area: 'sports', number });
      await expect(client.ask('delete', { token: bo, area: 'sports', number })).rejects.toEqual(refusal('unknown-item'));
      for (const token of [ana, bo, cyd]) {
        expect(await read(token, 'sports')).toEqual([]);
        expect(await client.ask('unread', { token, area: 'sports', limit: 10 })).toMatchObject({ items: [], held: 0 });
        expect((await client.ask('myAreas', { token })).areas).toMatchObject([{ area: 'sports', unread: 0 }]);
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
      await client.ask('mark', { token, area: 'sports', numbers: [numbers[0]!] });
      const again = await eventually(async () => {
        const { items } = await client.ask('unread', { token, area: 'sports', limit: 10 });
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
      const count = async (): Promise<number> => (await client.ask('myAreas', { token })).areas[0]!.unread;
      const mark = (...marked: number[]) => client.ask('mark', { token, area: 'sports', numbers: marked });
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
      expect((await client.ask('myAreas', { token: bo })).areas).toMatchObject([{ unread: 1 }]);
      await client.ask('unsubscribe', { token: bo, area: 'sports', key: randomUUID() });
      await expect(unread(bo, 'sports')).rejects.toEqual(refusal('not-subscribed'));
      await post(ana, 'sports', 'between');
      await client.ask('subscribe', { token: bo, area: 'sports', key: randomUUID() });
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
      await client.ask('edit', { token: ana, area: 'sports', number: last - 1, text: 'One', key: newKey() });
      const position = async () => ask((await servedBy('sports'))[0]!, 'watch', { token: ana, area: 'sports' }, { timeoutMs });
      const before = await position();
      const removal = await client.ask('removeArea', { token: root, area: 'sports', key: newKey() });
      expect(removal).toEqual({ area: 'sports', news: 2, subscriptions: 2 });
      await eventually(() => watch.refusal !== undefined);
      expect(watch.refusal).toEqual(refusal('unknown-area'));
      await expect(post(ana, 'sports', 'three')).rejects.toEqual(refusal('unknown-area'));
      await expect(client.ask('subscribe', { token: ana, area: 'sports', key: randomUUID() })).rejects.toEqual(
        refusal('unknown-area'),
      );
      expect((await client.ask('myAreas', { token: ana })).areas).toEqual([]);

      await client.ask('addArea', { token: root, area: 'sports', nodes: 1, key: newKey() });
      await expect(post(ana, 'sports', 'three')).rejects.toEqual(refusal('not-subscribed'));
      await client.ask('subscribe', { token: ana, area: 'sports', key: randomUUID() });
      expect(await read(ana, 'sports')).toEqual([]);
      expect(await position()).toEqual(before);
      expect(await post(ana, 'sports', 'three')).toBe(last + 1);
      expect(await unread(ana, 'sports')).toEqual(['three']);
    });

    it('is removed while everybody posts, and no post is acknowledged that the removal does not count', async () => {
      await addArea('sports', 3);
      const token = await member('ana', 'sports');
      let [acknowledged, unsure] = [0, 0];
      const onTrouble = (error: Error): void => void (unsure += error instanceof FramingError && !error.definite ? 1 : 0);
      const writing = system.client({ onTrouble });
      const posting = Array.from({ length: 8 }, async (_, writer) => {
        for (;;) {
          await writing.ask('post', { token, area: 'sports', text: 'goal', key: `writer-${writer}-${newKey()}` });
          acknowledged++;
        }
      });
      const ended = Promise.allSettled(posting);
      await eventually(() => acknowledged > 20, { intervalMs: 1 });
      const { news } = await client.ask('removeArea', { token: root, area: 'sports', key: newKey() });
      for (const { status, ...rest } of await ended)
        expect([status, rest]).toEqual(['rejected', { reason: refusal('unknown-area') }]);
      // What a try has posted that brought no answer in time is counted, and may be unacknowledged.
      expect(news).toBeGreaterThanOrEqual(acknowledged);
      expect(news).toBeLessThanOrEqual(acknowledged + unsure);
    });
  });
});

decidingContract('PostgreSQL', async () => {
  const url = await createDatabase(postgres);
  await migrate({ url, clock: systemClock, log: silentLogger });
  return {
    connect: () => Deciding.connect(url, 'contract'),
    addArea: async (name) => void (await query(url, 'INSERT INTO areas (name, wanted) VALUES ($1, 2)', [name])),
    removeArea: async (name) => {
      await query(url, 'DELETE FROM assignments WHERE area_id = (SELECT id FROM areas WHERE name = $1)', [name]);
      await query(url, 'UPDATE areas SET removed_at = now() WHERE name = $1', [name]);
    },
    addNode: async (id, address) =>
      void (await query(url, 'INSERT INTO nodes (id, name, address) VALUES ($1, $2, $2)', [id, address])),
  };
});
