/** Much of everything, through agents and nodes: lists come whole though they come in pages, what is in hand has a limit, and an area goes with all that it has. */
import { join } from 'node:path';
import { silentLogger, systemClock } from '@lab/process';
import { eventually } from '@lab/testing';
import pg from 'pg';
import Postgrator from 'postgrator';
import { describe, expect, it } from 'vitest';
import { listAreas, listMyAreas } from '../src/client/lists.ts';
import { offersMax, pageAreasMax, pageItemsMax, removedCountMax, unreadCountMax } from '../src/messages.ts';
import { migrate } from '../src/store/migrate.ts';
import { createDatabase } from './consortium-in-process.ts';
import {
  addArea,
  client,
  member,
  newKey,
  oneSystemForEach,
  post,
  postgres,
  postgresForAll,
  read,
  root,
  status,
  system,
} from './scene.ts';

postgresForAll();
// Longer than a test takes that counts what is in hand.
oneSystemForEach({ leaseMs: 600_000 });

/** Items of an area, as many posts of a user would leave them. */
async function fill(area: string, items: number, author: string): Promise<void> {
  await system.query(
    `WITH area AS (UPDATE areas SET last_number = last_number + $2 WHERE name = $1 AND removed_at IS NULL RETURNING id, last_number)
     INSERT INTO news (area_id, number, author_id, key, text, hash)
     SELECT a.id, a.last_number - $2 + n, u.id, $1 || '-' || n, 'news', sha256('news')
     FROM area a, users u, generate_series(1, $2::bigint) n WHERE u.name = $3`,
    [area, items, author],
  );
}

const count = async (what: string): Promise<number> =>
  (await system.query<{ count: number }>(`SELECT count(*)::integer AS count FROM ${what}`))[0]!.count;

describe('lists', () => {
  it('have all areas, each once, in the order of their names, however many pages they take', async () => {
    const token = await member('ana');
    const names = Array.from({ length: 2 * pageAreasMax + 50 }, (_, index) => `area-${String(index).padStart(3, '0')}`);
    // Made in another order than that of their names; a page ends with the last one.
    await system.query('INSERT INTO areas (name, wanted) SELECT name, 1 FROM unnest($1::text[]) name', [names.toReversed()]);
    await system.query(
      `INSERT INTO subscriptions SELECT u.id, a.id, 0 FROM users u, areas a WHERE u.name = 'ana' AND a.name < 'area-${2 * pageAreasMax}'`,
    );
    const mine = names.slice(0, 2 * pageAreasMax);
    expect((await listAreas(client, token)).map(({ area }) => area)).toEqual(names);
    expect((await listAreas(client, token)).filter(({ subscribed }) => subscribed).map(({ area }) => area)).toEqual(mine);
    expect((await listMyAreas(client, token)).map(({ area }) => area)).toEqual(mine);
    await eventually(async () => (await status()).areas.every(({ nodes }) => nodes.length === 1));
    const { areas, nodes } = await status();
    expect(areas.map(({ area }) => area)).toEqual(names);
    expect(nodes.reduce((sum, { areas }) => sum + areas, 0)).toBe(names.length);
  });

  it('count what is unread up to a limit, or not at all', async () => {
    await addArea('sports');
    const token = await member('ana', 'sports');
    const unread = async (countMax?: number): Promise<number> => (await listMyAreas(client, token, countMax))[0]!.unread;
    await fill('sports', unreadCountMax - 1, 'ana');
    expect(await unread()).toBe(unreadCountMax - 1);
    await post(token, 'sports', 'one');
    await post(token, 'sports', 'two');
    expect([await unread(), await unread(0)]).toEqual([unreadCountMax, 0]);
  });
});

describe('what is unread', () => {
  const page = async (token: string, limit = pageItemsMax): Promise<number[]> =>
    (await client.ask('unread', { token, area: 'sports', limit })).items.map(({ number }) => number);
  const mark = (token: string, numbers: number[]) => client.ask('mark', { token, area: 'sports', numbers });

  it('is offered in order up to what a user may have in hand, and goes on when some of it is marked', async () => {
    await addArea('sports');
    const token = await member('ana', 'sports');
    await fill('sports', offersMax + 50, 'ana');
    const pages: number[][] = [];
    for (let taken = await page(token); taken.length > 0; taken = await page(token)) pages.push(taken);
    expect(pages.flat()).toEqual(Array.from({ length: offersMax }, (_, index) => index + 1));
    expect(await client.ask('unread', { token, area: 'sports', limit: 1 })).toMatchObject({ held: offersMax });
    // Of the middle: what comes before it stays in hand.
    expect(await mark(token, pages[5]!.slice(0, 30))).toEqual({ marked: 30 });
    expect(await page(token)).toEqual(Array.from({ length: 30 }, (_, index) => offersMax + index + 1));
    expect(await listMyAreas(client, token)).toMatchObject([{ since: 0 }]);
    expect(await count('offers')).toBe(offersMax);
  });

  it('goes to one of many readers when leases end', async () => {
    await addArea('sports', 3);
    const token = await member('ana', 'sports');
    await fill('sports', 200, 'ana');
    await Promise.all(Array.from({ length: 8 }, () => page(token, 25)));
    for (let round = 0; round < 20; round++) {
      await system.query(`UPDATE offers SET leased_until = now() - interval '1 s'`);
      const taken = (await Promise.all(Array.from({ length: 8 }, () => page(token, 25)))).flat();
      expect(new Set(taken).size).toBe(taken.length);
    }
  });

  it('is behind many deletions, in hand and ahead, and nothing is kept of what was read', async () => {
    await addArea('sports');
    const token = await member('ana', 'sports');
    await fill('sports', 500, 'ana');
    const inHand = await page(token);
    await system.query('UPDATE news SET text = NULL WHERE number > 20 AND number <= 450');
    expect(await page(token)).toEqual(Array.from({ length: 50 }, (_, index) => 451 + index));
    expect(await listMyAreas(client, token)).toMatchObject([{ unread: 70 }]);
    await mark(token, inHand.slice(0, 20));
    await mark(
      token,
      Array.from({ length: 50 }, (_, index) => 451 + index),
    );
    expect([await page(token), await count('offers')]).toEqual([[], 0]);
    expect(await listMyAreas(client, token)).toMatchObject([{ unread: 0, since: 500 }]);
    expect(await page(token)).toEqual([]);
  });
});

describe('an area of 300,000 items', () => {
  const [items, others] = [300_000, 1_500];

  it('is gone at once, its name is free for another, and what it had is deleted piece by piece, whichever agent dies', async () => {
    await addArea('sports', 2);
    const token = await member('ana', 'sports');
    await fill('sports', items, 'ana');
    await system.query(
      `INSERT INTO users (name, password, key) SELECT 'user-' || n, '', '' FROM generate_series(1, $1::integer) n`,
      [others],
    );
    await system.query(`INSERT INTO subscriptions SELECT u.id, a.id, 0 FROM users u, areas a WHERE u.password = '' `);
    await system.query(
      `INSERT INTO changes (area_id, change, number, behind) SELECT a.id, n, n, $1::integer FROM areas a, generate_series(1, $1::integer) n`,
      // More of them than items take pieces.
      [items / 2],
    );
    const answer = await client.ask('removeArea', { token: root, area: 'sports', key: newKey() });
    expect(answer).toEqual({ area: 'sports', news: removedCountMax, subscriptions: removedCountMax });
    expect(await listMyAreas(client, token)).toEqual([]);

    const texts = (): Promise<number> => count('news WHERE text IS NOT NULL');
    await eventually(async () => (await texts()) < items, { intervalMs: 5 });
    expect(await texts()).toBeGreaterThan(0);
    const decider = (await system.decider())!;
    await system.kill(decider);
    await addArea('sports');
    await client.ask('subscribe', { token, area: 'sports', key: newKey() });
    expect(await read(token, 'sports')).toEqual([]);
    expect(await post(token, 'sports', 'goal')).toBe(items + 1);
    expect(await read(token, 'sports')).toEqual(['goal']);

    await eventually(async () => (await count('areas WHERE clearing')) === 0, { timeoutMs: 100_000 });
    expect([await texts(), await count('subscriptions'), await count('changes')]).toEqual([1, 1, 0]);
    expect((await client.ask('unread', { token, area: 'sports', limit: 10 })).items).toMatchObject([{ text: 'goal' }]);
  });
});

it('a database from before keeps what was read and what was not', async () => {
  const url = await createDatabase(postgres);
  const old = new pg.Client(url);
  await old.connect();
  const migrationPattern = join(import.meta.dirname, '../src/store/migrations/*.sql');
  const execQuery = (text: string): Promise<pg.QueryResult> => old.query(text);
  await new Postgrator({ driver: 'pg', migrationPattern, schemaTable: 'schema_versions', execQuery }).migrate('005');
  await old.query(`
    INSERT INTO users (name, password, key) VALUES ('ana', '', ''), ('bo', '', '');
    INSERT INTO areas (name, wanted, last_number) VALUES ('sports', 1, 6);
    INSERT INTO areas (name, wanted, last_number, removed_at) VALUES ('chess', 1, 9, now());
    INSERT INTO news (area_id, number, author_id, key, text, hash) SELECT 1, n, 1, n, nullif(n, 3), '' FROM generate_series(1, 6) n;
    INSERT INTO subscriptions (user_id, area_id, read_through) VALUES (1, 1, 1), (2, 1, 4);
    INSERT INTO offers (user_id, area_id, number, leased_until, read) SELECT 1, 1, n, now(), n <> 4 FROM unnest('{2, 4, 5}'::int[]) n`);
  await migrate({ url, clock: systemClock, log: silentLogger });
  const { rows: subscriptions } = await old.query('SELECT user_id, offered_through FROM subscriptions ORDER BY user_id');
  expect(subscriptions).toEqual([
    { user_id: '1', offered_through: '5' },
    { user_id: '2', offered_through: '4' },
  ]);
  expect((await old.query('SELECT user_id, number FROM offers')).rows).toEqual([{ user_id: '1', number: '4' }]);
  expect((await old.query('SELECT FROM areas WHERE clearing')).rows).toEqual([]);
  // Nothing was changed before there were changes.
  const unchanged = await old.query(
    'SELECT FROM areas a, news n WHERE a.last_change = 0 AND n.area_id = a.id AND n.edited_at IS NULL',
  );
  expect(unchanged.rows).toHaveLength(6);
  await old.end();
});
