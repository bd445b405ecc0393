/** Areas, as administrators and everybody else see them. */
import type { Status, UserRole } from '../messages.ts';
import { Refusal } from '../refusal.ts';
import { checkAdministrator } from './accounts.ts';
import type { Database, Deadline, Statement } from './database.ts';

const admin = `admin AS (
  SELECT u.role FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1 AND s.closed_at IS NULL AND s.expires_at > now())`;

const statements = {
  // A removed area that comes back goes on counting where it was.
  add: {
    name: 'add-area',
    text: `WITH ${admin}, made AS (
        INSERT INTO areas AS a (name, wanted, key) SELECT $2, $3::integer, $4 FROM admin WHERE role = 'administrator'
        ON CONFLICT (name) DO UPDATE SET wanted = excluded.wanted, key = excluded.key, removed_at = NULL WHERE a.removed_at IS NOT NULL
        RETURNING id)
      SELECT (SELECT role FROM admin) AS role, EXISTS (SELECT FROM made) AS done`,
  },
  lastKey: { name: 'last-key-of-area', text: `SELECT key FROM areas WHERE name = $1 AND (removed_at IS NULL) = $2` },
  set: {
    name: 'set-area',
    text: `WITH ${admin}, made AS (
        UPDATE areas SET wanted = $3::integer FROM admin WHERE name = $2 AND removed_at IS NULL AND admin.role = 'administrator' RETURNING areas.id)
      SELECT (SELECT role FROM admin) AS role, EXISTS (SELECT FROM made) AS done`,
  },
  remove: {
    name: 'remove-area',
    text: `WITH ${admin}, removed AS (
        UPDATE areas SET removed_at = now(), key = $3 FROM admin
        WHERE name = $2 AND removed_at IS NULL AND admin.role = 'administrator' RETURNING areas.id)
      SELECT (SELECT role FROM admin) AS role, (SELECT id FROM removed) AS id, pg_notify('news', $2)::text`,
  },
  where: {
    name: 'where',
    text: `SELECT a.id, n.address FROM areas a LEFT JOIN assignments x ON x.area_id = a.id LEFT JOIN nodes n ON n.id = x.node_id
      WHERE a.name = $1 AND a.removed_at IS NULL ORDER BY random()`,
  },
  anywhere: { name: 'anywhere', text: `SELECT address FROM nodes WHERE NOT leaving ORDER BY random()` },
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

type Done = { role: UserRole | null; done: boolean };

export class Areas {
  readonly #database: Database;
  constructor(database: Database) {
    this.#database = database;
  }

  async add(session: string, area: { name: string; nodes: number; key: string }, deadline: Deadline): Promise<void> {
    const { name, nodes, key } = area;
    const [row] = await this.#database.run<Done>(statements.add, [session, name, nodes, key], deadline);
    checkAdministrator(row?.role);
    if (row?.done !== true && !(await this.#wasLast(name, key, { there: true }, deadline)))
      throw new Refusal('exists', `there is an area ${name} already; how many nodes serve it can be set`);
  }

  async set(session: string, name: string, nodes: number, deadline: Deadline): Promise<void> {
    const [row] = await this.#database.run<Done>(statements.set, [session, name, nodes], deadline);
    checkAdministrator(row?.role);
    if (row?.done !== true) throw unknownArea(name);
  }

  /** Its news and its subscriptions go with it, at once and for good; the answer says how many that were. */
  async remove(session: string, name: string, key: string, deadline: Deadline): Promise<{ news: number; subscriptions: number }> {
    const removed = await this.#database.transaction(deadline, async (client) => {
      type Row = { role: UserRole | null; id: string | null };
      const { rows } = await client.query<Row>({ ...statements.remove, values: [session, name, key] });
      checkAdministrator(rows[0]?.role);
      const id = rows[0]?.id;
      if (id === null || id === undefined) return undefined;
      // Statements of their own: they see what was posted and subscribed until the first one had the area's row.
      await client.query('DELETE FROM assignments WHERE area_id = $1', [id]);
      const subscriptions = await client.query('DELETE FROM subscriptions WHERE area_id = $1', [id]);
      const news = await client.query('UPDATE news SET text = NULL WHERE area_id = $1 AND text IS NOT NULL', [id]);
      return { news: news.rowCount ?? 0, subscriptions: subscriptions.rowCount ?? 0 };
    });
    if (removed !== undefined) return removed;
    if (await this.#wasLast(name, key, { there: false }, deadline)) return { news: 0, subscriptions: 0 };
    throw unknownArea(name);
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

  async status(deadline: Deadline): Promise<Status> {
    type Row = { decides: string | null } & Pick<Status, 'nodes' | 'areas'>;
    const [row] = await this.#database.run<Row>(statements.status, [], deadline);
    return { decides: row?.decides ?? undefined, nodes: row?.nodes ?? [], areas: row?.areas ?? [] };
  }

  /** Whether the request that is repeated here was the last that changed the area. */
  async #wasLast(name: string, key: string, { there }: { there: boolean }, deadline: Deadline): Promise<boolean> {
    const [row] = await this.#database.run<{ key: string }>(statements.lastKey, [name, there], deadline);
    return row?.key === key;
  }
}

export const unknownArea = (name: string): Refusal => new Refusal('unknown-area', `there is no area ${name}`);
