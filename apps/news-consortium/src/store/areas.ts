/** Areas, as administrators and everybody else see them, and nodes as agents register them. Who serves what is decided elsewhere (deciding.ts). */
import pg from 'pg';
import { skeleton } from '../domain/confusables.ts';
import type { Status, UserRole } from '../messages.ts';
import { Refusal } from '../wire/refusal.ts';
import { checkAdministrator, looksTaken } from './accounts.ts';
import { triedAgainIfDone, type Database, type Deadline, type Statement } from './database.ts';

/** $1 session, $2 area, $3 key. What changes an area does so where the key is new, and notes it in the same transaction. */
const admin = `admin AS (
  SELECT u.id, u.role, NOT EXISTS (SELECT FROM done d WHERE d.user_id = u.id AND d.key = $3) AS fresh
  FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1 AND s.closed_at IS NULL AND s.expires_at > now())`;
const may = `admin.role = 'administrator' AND admin.fresh`;
const noted = `noted AS (INSERT INTO done (user_id, key) SELECT admin.id, $3 FROM admin, made)`;
const outcome = `(SELECT role FROM admin) AS role, (SELECT fresh FROM admin) AS fresh, (SELECT id FROM made) AS id`;

const statements = {
  // A removed area that comes back goes on counting where it was.
  add: {
    name: 'add-area',
    text: `WITH ${admin}, made AS (
        INSERT INTO areas AS a (name, wanted, skeleton) SELECT $2, $4::integer, $5 FROM admin WHERE ${may}
        ON CONFLICT (name) DO UPDATE SET wanted = excluded.wanted, removed_at = NULL WHERE a.removed_at IS NOT NULL
        RETURNING id), ${noted}
      SELECT ${outcome}`,
  },
  set: {
    name: 'set-area',
    text: `WITH ${admin}, made AS (
        UPDATE areas SET wanted = $4::integer FROM admin WHERE name = $2 AND removed_at IS NULL AND ${may} RETURNING areas.id), ${noted}
      SELECT ${outcome}`,
  },
  remove: {
    name: 'remove-area',
    text: `WITH ${admin}, made AS (
        UPDATE areas SET removed_at = now() FROM admin WHERE name = $2 AND removed_at IS NULL AND ${may} RETURNING areas.id), ${noted}
      SELECT ${outcome}`,
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

interface Outcome {
  role: UserRole | null;
  fresh: boolean | null;
  /** Of the area that was changed. */
  id: string | null;
}

/** What an administrator does to an area; the key is the request's. */
export interface AreaChange {
  readonly session: string;
  readonly area: string;
  readonly key: string;
}

export class Areas {
  readonly #database: Database;
  constructor(database: Database) {
    this.#database = database;
  }

  async add({ session, area, key }: AreaChange, nodes: number, deadline: Deadline): Promise<void> {
    const values = [session, area, key, nodes, skeleton(area)];
    const made = await this.#once(() => this.#database.run<Outcome>(statements.add, values, deadline)).catch((error: unknown) => {
      throw looksLikeAnother(error) ? looksTaken(area) : error;
    });
    if (made === 'nothing') throw new Refusal('exists', `there is an area ${area} already; how many nodes serve it can be set`);
  }

  async set({ session, area, key }: AreaChange, nodes: number, deadline: Deadline): Promise<void> {
    const made = await this.#once(() => this.#database.run<Outcome>(statements.set, [session, area, key, nodes], deadline));
    if (made === 'nothing') throw unknownArea(area);
  }

  /** Its news and its subscriptions go with it, at once and for good; the answer says how many that were. */
  async remove({ session, area, key }: AreaChange, deadline: Deadline): Promise<{ news: number; subscriptions: number }> {
    let gone = { news: 0, subscriptions: 0 };
    const remove = (): Promise<Outcome[]> =>
      this.#database.transaction(deadline, async (client) => {
        const { rows } = await client.query<Outcome>({ ...statements.remove, values: [session, area, key] });
        const id = rows[0]?.id ?? null;
        if (id === null) return rows;
        // Statements of their own: they see what was posted and subscribed until the first one had the area's row.
        await client.query('DELETE FROM assignments WHERE area_id = $1', [id]);
        const subscriptions = await client.query('DELETE FROM subscriptions WHERE area_id = $1', [id]);
        const news = await client.query('UPDATE news SET text = NULL WHERE area_id = $1 AND text IS NOT NULL', [id]);
        gone = { news: news.rowCount ?? 0, subscriptions: subscriptions.rowCount ?? 0 };
        return rows;
      });
    if ((await this.#once(remove)) === 'nothing') throw unknownArea(area);
    return gone;
  }

  /** Whether the change was made now or by an earlier try, or there was nothing to change. */
  async #once(change: () => Promise<Outcome[]>): Promise<'done' | 'nothing'> {
    const [row] = await triedAgainIfDone(change);
    checkAdministrator(row?.role);
    return row?.fresh === false || row?.id !== null ? 'done' : 'nothing';
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
