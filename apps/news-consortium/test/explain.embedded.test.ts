/**
 * What each statement costs, on a database with 300,000 items in one area and 1,000 areas as on one with a hundredth and a fifth of that: planned and carried out as
 * the roles do it, for a transaction that is rolled back. Numbers of rows and of pages do not depend on how busy the machine is.
 */
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { silentLogger, systemClock } from '@lab/process';
import pg from 'pg';
import { beforeAll, describe, expect, it } from 'vitest';
import { replyBytesMax, offersMax, pageAreasMax, pageItemsMax, unreadCountMax } from '../src/messages.ts';
import { statements as lists } from '../src/store/lists.ts';
import { connectionTo, type Statement } from '../src/store/database.ts';
import { migrate } from '../src/store/migrate.ts';
import { encodeReply } from '../src/wire/encoding.ts';
import { createDatabase } from './consortium-in-process.ts';
import { postgres, postgresForAll, startMs } from './scene.ts';

/** All that there are, by the files that have them. */
const store = join(import.meta.dirname, '../src/store');
const sources = readdirSync(store).filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'));
const found = await Promise.all(
  sources.map(async (file) => {
    const exported = Object.entries((await import(join(store, file))) as Record<string, Record<string, Statement>>);
    return exported.filter(([name]) => /statements$/i.test(name)).map(([, list]) => ({ file, list: Object.values(list) }));
  }),
);
const tables = found.flat();
const statements = tables.flatMap(({ list }) => list);

interface Size {
  /** Of one area; the middle third was deleted. */
  readonly items: number;
  readonly areas: number;
  /** Users, subscribers of that area, sessions, keys. */
  readonly others: number;
}
const sizes: readonly Size[] = [
  { items: 3_000, areas: 200, others: 1_200 },
  { items: 300_000, areas: 1_000, others: 12_000 },
];
const clients: pg.Client[] = [];

// What the statements are asked. Ana has all areas: of the first one she has read here and there, and has as much in hand as one may have. Ben has a bit of it in
// hand, and what he has not been offered is behind the deleted third. Cyd has nothing.
const sessionOf = (user: number): string => `00000000-0000-4000-8000-${String(user).padStart(12, '0')}`;
const [ana, ben, cyd] = [1, 2, 3];
const nodeOf = (node: number): string => `00000000-0000-4000-9000-${String(node).padStart(12, '0')}`;
const nodes = 100;
const first = 'area-00001';
const at = (user: number, ...values: Value[]): Value[] => [sessionOf(user), first, nodeOf(1), ...values];

/** Takes seconds: no statement of the system has a part in it. */
async function fill(client: pg.Client, { items, areas, others }: Size): Promise<void> {
  const third = items / 3;
  for (const text of [
    `INSERT INTO users (name, password, role, key) SELECT 'user-' || n, 'password', 'administrator', 'key' FROM generate_series(1, ${others}) n`,
    `INSERT INTO sessions (id, user_id, expires_at) SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, n, now() + interval '1 day'
       FROM generate_series(1, ${others}) n`,
    `INSERT INTO sessions (id, user_id, expires_at) SELECT gen_random_uuid(), n, now() - interval '2 days' FROM generate_series(1, ${others}) n`,
    `INSERT INTO done (user_id, key, hash, at) SELECT n, 'key', '', now() - interval '2 days' FROM generate_series(1, ${others}) n`,
    `INSERT INTO nodes (id, name, address) SELECT ('00000000-0000-4000-9000-' || lpad(n::text, 12, '0'))::uuid, 'node-' || n,
       repeat('x', 250) || lpad(n::text, 5, '0') || ':65535' FROM generate_series(1, ${nodes}) n`,
    `INSERT INTO areas (name, wanted) SELECT 'area-' || lpad(n::text, 5, '0'), ${nodes} FROM generate_series(1, ${areas}) n`,
    `INSERT INTO areas (name, wanted, removed_at) SELECT 'area-0000', 1, now() FROM generate_series(1, ${others})`,
    `INSERT INTO areas (name, wanted, removed_at) SELECT 'area-' || n % 5, 1, now() FROM generate_series(1, ${others}) n`,
    `UPDATE areas SET last_number = CASE id WHEN 1 THEN ${items} ELSE 150 END WHERE removed_at IS NULL`,
    // A page of areas on all nodes, and the others on one each.
    `INSERT INTO assignments SELECT a.id, n.id FROM areas a, nodes n WHERE a.id <= ${pageAreasMax}`,
    `INSERT INTO assignments SELECT a, ('00000000-0000-4000-9000-' || lpad((a % ${nodes} + 1)::text, 12, '0'))::uuid
       FROM generate_series(${pageAreasMax} + 1, ${areas}) a`,
    `INSERT INTO news (area_id, number, author_id, key, text, hash) SELECT 1, n, n % 1000 + 1, 'first-' || n, 'news', sha256('news') FROM generate_series(1, ${items}) n`,
    `INSERT INTO news (area_id, number, author_id, key, text, hash) SELECT a, n, n % 1000 + 1, a || '-' || n, 'news', sha256('news')
       FROM generate_series(2, ${areas}) a, generate_series(1, 150) n`,
    `INSERT INTO subscriptions (user_id, area_id, offered_through) SELECT ${ana}, a, CASE a WHEN 1 THEN ${third} ELSE 10 END FROM generate_series(1, ${areas}) a`,
    `INSERT INTO subscriptions (user_id, area_id, offered_through) SELECT n, 1, CASE n WHEN ${ben} THEN ${third} ELSE 0 END FROM generate_series(2, ${others}) n`,
    `INSERT INTO offers (user_id, area_id, number, leased_until) SELECT ${ana}, 1, n * ${third / offersMax}, now() + (n % 2 * 2 - 1) * interval '1 hour'
       FROM generate_series(1, ${offersMax}) n`,
    `INSERT INTO offers (user_id, area_id, number, leased_until) SELECT ${ana}, a, n, now() - interval '1 hour' FROM generate_series(2, ${areas}) a, generate_series(1, 10) n`,
    `INSERT INTO offers (user_id, area_id, number, leased_until) SELECT ${ben}, 1, ${third} - n, now() - interval '1 hour' FROM generate_series(0, ${pageItemsMax / 2}) n`,
    // Of what ana has in hand, a tenth, and the middle third.
    `UPDATE news SET text = NULL WHERE area_id = 1 AND (number > ${third} AND number <= 2 * ${third} OR number % ${third / 100} = 0)`,
    `INSERT INTO changes (area_id, change, number, behind) SELECT 1, n, n, ${items} FROM generate_series(1, ${items}) n`,
    `UPDATE areas SET last_change = ${items} WHERE id = 1`,
    'VACUUM ANALYZE',
  ])
    await client.query(text);
}

type Value = string | number | null | undefined | readonly (string | number)[];

interface Case {
  readonly values: readonly (readonly Value[])[];
  /** Done in the same transaction, before. */
  readonly after?: string;
  /** At the most, on the larger database. */
  readonly rows: number;
  readonly buffers: number;
  /** It is about all areas: of those there are five times as many. */
  readonly ofAllAreas?: boolean;
}
const few = { rows: 25, buffers: 150 };
const numbers = Array.from({ length: pageItemsMax }, (_, index) => index + 1);
const third = ({ items }: Size): number => items / 3;

/** By the statements' names. */
const cases = (size: Size): Readonly<Record<string, Case>> => ({
  post: { values: [at(ana, 'new', 'news'), at(ana, `first-${1_000}`, 'news')], ...few },
  'done-with': { values: [[ben, 'first-1', 'news']], ...few },
  edit: { values: [at(ben, 1, 'other news')], ...few },
  delete: { values: [at(ana, 1_000), at(ben, 1)], ...few },
  subscribe: { values: [[sessionOf(ben), 'area-00002', nodeOf(1)]], ...few },
  unsubscribe: { values: [at(ana)], rows: 4 * offersMax, buffers: 1_500 },
  read: {
    values: [at(ana, null, pageItemsMax), at(ana, 2 * third(size) + 1, pageItemsMax)],
    ...{ rows: 2 * pageItemsMax + few.rows, buffers: 1_000 },
  },
  offer: {
    values: [at(ana, pageItemsMax, 10_000), at(ben, pageItemsMax, 10_000), at(cyd, pageItemsMax, 10_000)],
    ...{ rows: 5 * offersMax, buffers: 15_000 },
  },
  mark: {
    values: [
      at(
        ana,
        numbers.map((number) => (number * third(size)) / offersMax),
      ),
      at(cyd, numbers),
    ],
    ...{ rows: 3 * pageItemsMax, buffers: 1_500 },
  },
  areas: {
    values: [undefined, 'area-00050'].map((after) => [sessionOf(ana), after]),
    ...{ rows: 2 * pageAreasMax + few.rows, buffers: 1_000 },
  },
  'my-areas': {
    values: [
      [sessionOf(ana), undefined, unreadCountMax],
      [sessionOf(ana), '50', 0],
      [sessionOf(ben), undefined, unreadCountMax],
    ],
    ...{ rows: 3 * pageAreasMax * unreadCountMax, buffers: 15_000 },
  },
  'nodes-of-area': { values: [[first]], rows: 3 * nodes, buffers: 1_000 },
  enter: { values: [at(ana)], ...few },
  'last-numbers': { values: [[numbers.map((number) => `area-${String(number).padStart(5, '0')}`)]], rows: 200, buffers: 1_000 },
  follow: {
    values: [0, third(size)].map((after) => [first, nodeOf(1), [ana, ben].map(sessionOf), after, third(size) / 2, pageItemsMax]),
    ...{ rows: 5 * pageItemsMax + few.rows, buffers: 2_000 },
  },

  'add-area-alone': { values: [['new']], ...few },
  'add-area': { values: ['new', 'area-0000'].map((name) => [name, 1, name]), ...few },
  'set-area': { values: [[first, 2]], ...few },
  'remove-area': { values: [[first]], ...few },
  'unassign-area': { values: [[1]], rows: 3 * nodes, buffers: 1_000 },
  'count-area': { values: [[1]], rows: 2_000, buffers: 2_500 },
  'clear-area': {
    values: [[]],
    after: 'UPDATE areas SET removed_at = now(), clearing = true WHERE id = 1',
    ...{ rows: 5_000, buffers: 30_000 },
  },
  where: { values: [[first]], rows: 3 * nodes, buffers: 1_000 },
  anywhere: { values: [[]], rows: nodes, buffers: 100 },
  join: { values: [[randomUUID(), 'node', 'new:9000', 'new:9001']], rows: nodes + few.rows, buffers: 150 },
  leave: { values: [[nodeOf(1)]], rows: nodes + few.rows, buffers: 150 },
  status: {
    values: [undefined, 'area-00050'].map((after) => [sessionOf(ana), after]),
    ...{ rows: 3 * nodes * pageAreasMax, buffers: 30_000 },
  },

  register: { values: [['new', 'password', 'user', 'key', 'new']], ...few },
  'old-names': { values: [[]], ...few },
  'find-user': { values: [['user-1']], ...few },
  'lock-tries': { values: [['user-1']], ...few },
  tries: { values: [['user-1', 'source', 'key']], ...few },
  look: { values: [['user-1', 'source', 'key', 1_000]], ...few },
  fail: { values: [['user-1', 'source', 'key']], ...few },
  'open-session': { values: [[randomUUID(), ana, 1_000, 'user-1', 'source', 'key']], ...few },
  'close-session': { values: [[sessionOf(ana)]], ...few },
  'user-of-session': { values: [[sessionOf(ana)]], ...few },
  'set-password': { values: [[ana, 'password', 'new', sessionOf(ana), 'user-1', 'source']], ...few },
  'set-role': { values: [['user-2', 'user']], ...few },
  'signing-key': { values: [[]], ...few },
  'prune-accounts': { values: [[]], rows: 10_000, buffers: 10_000 },

  'begin-once': { values: [[sessionOf(ana), 'new', '\\x00']], ...few },
  'known-once': { values: [[ana, 'key', '\\x00']], ...few },
  'end-once': { values: [[ana, 'key', '{}']], ...few },

  take: { values: [[1]], ...few },
  taken: { values: [['agent']], ...few },
  'seen-beat': { values: [[]], ...few },
  evict: { values: [[2, 0]], ...few },
  beat: { values: [[]], rows: nodes + few.rows, buffers: 100 },
  situation: { values: [[]], rows: 15_000, buffers: 1_000, ofAllAreas: true },
  'remove-nodes': { values: [[[nodeOf(1)]]], rows: 1_000, buffers: 1_000, ofAllAreas: true },
  'drop-assignments': { values: [[numbers, numbers.map(() => nodeOf(1))]], rows: 300, buffers: 1_000 },
  'add-assignments': { values: [[numbers, numbers.map(() => nodeOf(1))]], rows: 500, buffers: 2_000 },
});

interface Cost {
  /** Found or thrown away by scans, or touched by triggers: whichever is more. */
  readonly rows: number;
  /** Pages of 8 KiB, wherever they were. */
  readonly buffers: number;
}

interface Plan {
  readonly 'Node Type': string;
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly 'Shared Hit Blocks': number;
  readonly 'Shared Read Blocks': number;
  readonly 'Rows Removed by Filter'?: number;
  readonly 'Rows Removed by Index Recheck'?: number;
  readonly Plans?: readonly Plan[];
}

/** The statement as a connection of the roles carries it out: prepared, and planned without its values. */
async function costOf(client: pg.Client, { name, text }: Statement, values: readonly Value[], after = ''): Promise<Cost> {
  const literal = (value: Value): string =>
    value === undefined || value === null
      ? 'NULL'
      : client.escapeLiteral(Array.isArray(value) ? `{${value.join()}}` : String(value));
  await client.query(`BEGIN; ${after}`);
  try {
    await client.query(`PREPARE ${client.escapeIdentifier(name)} AS ${text}`);
    const before = await touched(client);
    const given = values.length === 0 ? '' : `(${values.map(literal).join()})`;
    const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: Plan }] }>(
      `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE ${client.escapeIdentifier(name)}${given}`,
    );
    const { Plan: plan } = rows[0]!['QUERY PLAN'][0];
    return { rows: Math.max(scanned(plan), (await touched(client)) - before), buffers: buffers(plan) };
  } finally {
    await client.query(`ROLLBACK; DEALLOCATE ALL`);
  }
}

async function touched(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ sum: number }>(
    `SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) + n_tup_ins + n_tup_upd + n_tup_del)::float8 AS sum FROM pg_stat_xact_user_tables`,
  );
  return rows[0]!.sum;
}

const all = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(all)];
const scanned = (plan: Plan): number =>
  all(plan)
    .filter((each) => /Scan$/.test(each['Node Type']) && !/^(CTE|Function|Subquery|Values|Result)/.test(each['Node Type']))
    .reduce((sum, each) => {
      const passedOver = (each['Rows Removed by Filter'] ?? 0) + (each['Rows Removed by Index Recheck'] ?? 0);
      return sum + (each['Actual Rows'] + passedOver) * each['Actual Loops'];
    }, 0);
/** Of the whole, and once more of what it changes, for that may be done when the whole is over. */
const buffers = (plan: Plan): number =>
  [plan, ...all(plan).filter((each) => each['Node Type'] === 'ModifyTable')].reduce(
    (sum, each) => sum + each['Shared Hit Blocks'] + each['Shared Read Blocks'],
    0,
  );

postgresForAll();
beforeAll(async () => {
  for (const size of sizes) {
    const url = await createDatabase(postgres);
    await migrate({ url, clock: systemClock, log: silentLogger });
    const client = new pg.Client(connectionTo(url, 'test'));
    await client.connect();
    client.on('error', () => undefined);
    clients.push(client);
    await fill(client, size);
  }
  return () => Promise.all(clients.map((client) => client.end()));
}, startMs);

/** What they write as they go belongs to a migration. */
const migrating = ['migrate.ts', 'old-names.ts'];

it('knows all statements: each stands in a list, under a name of its own', () => {
  expect(tables.length).toBeGreaterThan(3);
  expect(new Set(statements.map(({ name }) => name)).size).toBe(statements.length);
  for (const file of sources) {
    const source = readFileSync(join(store, file), 'utf8');
    expect([file, source.match(/satisfies Record<string, Statement>/g)?.length ?? 0]).toEqual([
      file,
      tables.filter((each) => each.file === file).length,
    ]);
    const written = [...source.matchAll(/query(?:<[^(]*>)?\(\s*['"`](\w+)/g)].map(([, word]) => word!);
    const planless = ['BEGIN', 'COMMIT', 'ROLLBACK', 'LISTEN', 'SHOW'];
    if (!migrating.includes(file)) expect([file, written.filter((word) => !planless.includes(word))]).toEqual([file, []]);
  }
});

describe('what it costs, and that it does not grow with all that there is:', () => {
  it.each(statements.map(({ name, text }) => [name, text] as const))('%s', async (name, text) => {
    const variants = cases(sizes[0]!)[name]?.values.length ?? 0;
    expect(variants, 'cases of this statement').toBeGreaterThan(0);
    for (let variant = 0; variant < variants; variant++) {
      const [small, large] = await Promise.all(
        clients.map((client, index) => {
          const { values, after } = cases(sizes[index]!)[name]!;
          return costOf(client, { name, text }, values[variant]!, after);
        }),
      );
      const { rows, buffers, ofAllAreas = false } = cases(sizes[1]!)[name]!;
      if (process.env['TELL'])
        console.log(`${name} ${variant}: ${small!.rows} -> ${large!.rows} rows, ${small!.buffers} -> ${large!.buffers} pages`);
      const factor = ofAllAreas ? sizes[1]!.areas / sizes[0]!.areas : 1;
      expect(large!.rows).toBeLessThanOrEqual(Math.min(rows, factor * (1.5 * small!.rows + 10)));
      expect(large!.buffers).toBeLessThanOrEqual(Math.min(buffers, factor * (2 * small!.buffers + 50)));
    }
  });
});

it('a page of the status fits into a frame, where every area is on as many nodes as there may be, with the longest addresses', async () => {
  const { rows } = await clients[1]!.query<{ decides: string; nodes: never[]; areas: { area: string; nodes: string[] }[] }>(
    lists.status.text,
    [sessionOf(ana), null],
  );
  const page = rows[0]!;
  expect(page.areas).toHaveLength(pageAreasMax);
  expect(page.areas[0]!.nodes).toHaveLength(nodes);
  expect(encodeReply(page).length).toBeLessThan(replyBytesMax);
});
