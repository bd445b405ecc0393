/** Areas, as administrators and everybody else see them, and nodes as agents register them. Who serves what is decided elsewhere (deciding.ts). */
import pg from 'pg';
import { skeleton } from '../domain/confusables.ts';
import type { Replies, Status } from '../messages.ts';
import { Refusal } from '../wire/refusal.ts';
import { checkAdministrator, looksTaken } from './accounts.ts';
import type { Database, Deadline, Statement } from './database.ts';
import { once, type Asker, type Keyed } from './once.ts';

const statements = {
  // A removed area that comes back goes on counting where it was.
  add: {
    name: 'add-area',
    text: `INSERT INTO areas AS a (name, wanted, skeleton) VALUES ($1, $2::integer, $3)
      ON CONFLICT (name) DO UPDATE SET wanted = excluded.wanted, removed_at = NULL WHERE a.removed_at IS NOT NULL RETURNING id`,
  },
  set: {
    name: 'set-area',
    text: `UPDATE areas SET wanted = $2::integer WHERE name = $1 AND removed_at IS NULL RETURNING id`,
  },
  remove: {
    name: 'remove-area',
    text: `UPDATE areas SET removed_at = now() WHERE name = $1 AND removed_at IS NULL RETURNING id`,
  },
  where: {
    name: 'where',
    text: `SELECT a.id, n.address FROM areas a LEFT JOIN assignments x ON x.area_id = a.id LEFT JOIN nodes n ON n.id = x.node_id
      WHERE a.name = $1 AND a.removed_at IS NULL ORDER BY random()`,
  },
  anywhere: { name: 'anywhere', text: `SELECT address FROM nodes WHERE NOT leaving ORDER BY random()` },
  // An address serves one node: whatever was there before has ended.
  join: {
    name: 'join',
    text: `WITH before AS (DELETE FROM nodes WHERE address = $3 AND id <> $1::uuid RETURNING 1)
      INSERT INTO nodes (id, name, address) SELECT $1::uuid, $2, $3 FROM (SELECT count(*) FROM before) AS first
      ON CONFLICT (id) DO UPDATE SET address = excluded.address`,
  },
  leave: { name: 'leave', text: `UPDATE nodes SET leaving = true WHERE id = $1` },
  status: {
    name: 'status',
    text: `SELECT
      (SELECT nullif(agent, '') FROM deciding) AS decides,
      (SELECT coalesce(json_agg(json_build_object('name', n.name, 'address', n.address, 'leaving', n.leaving,
        'areas', (SELECT count(*) FROM assignments x WHERE x.node_id = n.id)) ORDER BY n.name, n.address), '[]') FROM nodes n) AS nodes,
      (SELECT coalesce(json_agg(json_build_object('area', a.name, 'wanted', a.wanted, 'nodes',
        (SELECT coalesce(json_agg(n.address ORDER BY n.address), '[]') FROM assignments x JOIN nodes n ON n.id = x.node_id WHERE x.area_id = a.id))
        ORDER BY a.name), '[]') FROM areas a WHERE a.removed_at IS NULL) AS areas`,
  },
} satisfies Record<string, Statement>;

export class Areas {
  readonly #database: Database;
  constructor(database: Database) {
    this.#database = database;
  }

  async add(keyed: Keyed, area: string, nodes: number, deadline: Deadline): Promise<Replies['addArea']> {
    return this.#once(keyed, deadline, async (client) => {
      const { rows } = await client.query({ ...statements.add, values: [area, nodes, skeleton(area)] });
      if (rows.length === 0) throw new Refusal('exists', `there is an area ${area} already; how many nodes serve it can be set`);
      return { area, nodes };
    }).catch((error: unknown) => {
      throw looksLikeAnother(error) ? looksTaken(area) : error;
    });
  }

  async set(keyed: Keyed, area: string, nodes: number, deadline: Deadline): Promise<Replies['setArea']> {
    return this.#once(keyed, deadline, async (client) => {
      const { rows } = await client.query({ ...statements.set, values: [area, nodes] });
      if (rows.length === 0) throw unknownArea(area);
      return { area, nodes };
    });
  }

  /** Its news and its subscriptions go with it, at once and for good; the answer says how many that were. */
  async remove(keyed: Keyed, area: string, deadline: Deadline): Promise<Replies['removeArea']> {
    return this.#once(keyed, deadline, async (client) => {
      const { rows } = await client.query<{ id: string }>({ ...statements.remove, values: [area] });
      if (rows[0] === undefined) throw unknownArea(area);
      const { id } = rows[0];
      // Statements of their own: they see what was posted and subscribed until the first one had the area's row.
      await client.query('DELETE FROM assignments WHERE area_id = $1', [id]);
      const subscriptions = await client.query('DELETE FROM subscriptions WHERE area_id = $1', [id]);
      const news = await client.query('UPDATE news SET text = NULL WHERE area_id = $1 AND text IS NOT NULL', [id]);
      return { area, news: news.rowCount ?? 0, subscriptions: subscriptions.rowCount ?? 0 };
    });
  }

  #once<T extends object>(keyed: Keyed, deadline: Deadline, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const asAdministrator = async (client: pg.PoolClient, { role }: Asker): Promise<T> => {
      checkAdministrator(role);
      return work(client);
    };
    return once(this.#database, keyed, asAdministrator, deadline);
  }

  /** Addresses of the nodes that serve an area, by chance one or another first; without an area, of all. */
  async where(name: string | undefined, deadline: Deadline): Promise<string[]> {
    if (name === undefined) {
      const rows = await this.#database.run<{ address: string }>(statements.anywhere, [], deadline);
      return rows.map(({ address }) => address);
    }
    const rows = await this.#database.run<{ address: string | null }>(statements.where, [name], deadline);
    if (rows.length === 0) throw unknownArea(name);
    return rows.flatMap(({ address }) => (address === null ? [] : [address]));
  }

  async join(node: { id: string; name: string; address: string }, deadline: Deadline): Promise<void> {
    await this.#database.run(statements.join, [node.id, node.name, node.address], deadline);
  }

  /** The node's areas go to others; when they have, it is gone from the list. */
  async leave(node: string, deadline: Deadline): Promise<void> {
    await this.#database.run(statements.leave, [node], deadline);
  }

  async status(deadline: Deadline): Promise<Status> {
    type Row = { decides: string | null } & Pick<Status, 'nodes' | 'areas'>;
    const [row] = await this.#database.run<Row>(statements.status, [], deadline);
    return { decides: row?.decides ?? undefined, nodes: row?.nodes ?? [], areas: row?.areas ?? [] };
  }
}

export const unknownArea = (name: string): Refusal => new Refusal('unknown-area', `there is no area ${name}`);

const looksLikeAnother = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && error.code === '23505' && error.constraint === 'areas_skeleton_key';
