/** Areas, as administrators and everybody else see them, and nodes as agents register them. Who serves what is decided elsewhere (deciding.ts). */
import pg from 'pg';
import { skeleton } from '../domain/confusables.ts';
import { removedCountMax, type Removed, type Replies } from '../messages.ts';
import type { Call } from '../wire/calls.ts';
import { Refusal } from '../wire/refusal.ts';
import { looksTaken } from './accounts.ts';
import type { Database, Deadline, Statement } from './database.ts';
import type { KnownNode } from './deciding.ts';
import { once } from './once.ts';

/** The advisory lock of whoever adds an area, beside a hash of its name; the number means nothing. */
const addingLock = 710_004;
/** Of a removed area so many numbers and changes, and subscriptions, each with up to 1,000 offers, are cleared at a time: that takes some milliseconds. */
const [clearedNumbers, clearedChanges, clearedSubscriptions] = [1_000, 300, 20];

export const statements = {
  // In the transaction before an area is added: nobody else adds one of this name meanwhile, so that the next statement sees all that there have been.
  addAlone: { name: 'add-area-alone', text: `SELECT FROM pg_advisory_xact_lock(${addingLock}, hashtext($1))` },
  // A removed area that comes back is another one, which goes on counting where that was.
  add: {
    name: 'add-area',
    text: `WITH before AS (
        SELECT id, last_number, last_change, removed_at, skeleton FROM areas WHERE name = $1 ORDER BY id DESC LIMIT 1 FOR NO KEY UPDATE),
      freed AS (
        UPDATE areas a SET skeleton = NULL FROM before b WHERE a.id = b.id AND b.removed_at IS NOT NULL RETURNING b.last_number, b.last_change, b.skeleton)
      INSERT INTO areas (name, wanted, last_number, last_change, cleared_through, skeleton)
      SELECT $1, $2::integer, coalesce(f.last_number, 0), coalesce(f.last_change, 0), coalesce(f.last_number, 0), CASE WHEN b.id IS NULL THEN $3 ELSE f.skeleton END
      FROM (VALUES (1)) AS one LEFT JOIN before b ON true LEFT JOIN freed f ON true WHERE b.id IS NULL OR b.removed_at IS NOT NULL RETURNING id`,
  },
  set: {
    name: 'set-area',
    text: `UPDATE areas SET wanted = $2::integer WHERE name = $1 AND removed_at IS NULL RETURNING id`,
  },
  remove: {
    name: 'remove-area',
    text: `UPDATE areas SET removed_at = now(), clearing = true WHERE name = $1 AND removed_at IS NULL RETURNING id`,
  },
  unassign: { name: 'unassign-area', text: `DELETE FROM assignments WHERE area_id = $1` },
  counted: {
    name: 'count-area',
    text: `SELECT
      (SELECT count(*) FROM (SELECT FROM news WHERE area_id = $1 AND text IS NOT NULL LIMIT ${removedCountMax}) n)::integer AS news,
      (SELECT count(*) FROM (SELECT FROM subscriptions WHERE area_id = $1 LIMIT ${removedCountMax}) f)::integer AS subscriptions`,
  },
  // A piece of what a removed area leaves. Nobody posts or subscribes to it any more; where another agent is at it, there is nothing to do.
  clear: {
    name: 'clear-area',
    text: `WITH area AS (SELECT id, last_number, cleared_through FROM areas WHERE clearing ORDER BY id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED),
      ended AS (
        DELETE FROM subscriptions WHERE area_id = (SELECT id FROM area) AND user_id = ANY (ARRAY(
          SELECT user_id FROM subscriptions WHERE area_id = (SELECT id FROM area) LIMIT ${clearedSubscriptions}))),
      forgotten AS (
        DELETE FROM changes WHERE area_id = (SELECT id FROM area) AND change = ANY (ARRAY(
          SELECT change FROM changes WHERE area_id = (SELECT id FROM area) ORDER BY change LIMIT ${clearedChanges}))),
      emptied AS (
        UPDATE news n SET text = NULL FROM area a
        WHERE n.area_id = a.id AND n.number > a.cleared_through AND n.number <= a.cleared_through + ${clearedNumbers} AND n.text IS NOT NULL),
      moved AS (
        UPDATE areas SET cleared_through = area.cleared_through + ${clearedNumbers},
          clearing = area.cleared_through + ${clearedNumbers} < area.last_number OR (SELECT true FROM subscriptions f WHERE f.area_id = area.id LIMIT 1) IS NOT NULL
            OR (SELECT true FROM changes c WHERE c.area_id = area.id LIMIT 1) IS NOT NULL
        FROM area WHERE areas.id = area.id)
      SELECT EXISTS (SELECT FROM area) AS worked`,
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
      INSERT INTO nodes (id, name, address, health_address) SELECT $1::uuid, $2, $3, $4 FROM (SELECT count(*) FROM before) AS first
      ON CONFLICT (id) DO UPDATE SET address = excluded.address, health_address = excluded.health_address`,
  },
  leave: { name: 'leave', text: `UPDATE nodes SET leaving = true WHERE id = $1` },
} satisfies Record<string, Statement>;

export class Areas {
  readonly #database: Database;
  constructor(database: Database) {
    this.#database = database;
  }

  async add(call: Call<'addArea'>): Promise<Replies['addArea']> {
    const { area, nodes } = call.request;
    return once(this.#database, call, async (client) => {
      await client.query({ ...statements.addAlone, values: [area] });
      const { rows } = await client.query({ ...statements.add, values: [area, nodes, skeleton(area)] });
      if (rows.length === 0) throw new Refusal('exists', `there is an area ${area} already; how many nodes serve it can be set`);
      return { area, nodes };
    }).catch((error: unknown) => {
      throw looksLikeAnother(error) ? looksTaken(area) : error;
    });
  }

  async set(call: Call<'setArea'>): Promise<Replies['setArea']> {
    const { area, nodes } = call.request;
    return once(this.#database, call, async (client) => {
      const { rows } = await client.query({ ...statements.set, values: [area, nodes] });
      if (rows.length === 0) throw unknownArea(area);
      return { area, nodes };
    });
  }

  /**
   * Its news and its subscriptions go with it, at once and for good; the answer says how many that were, counted up to `removedCountMax`. Nobody finds them any
   * more, also when there is an area of this name again; `clear` deletes them.
   */
  async remove(call: Call<'removeArea'>): Promise<Replies['removeArea']> {
    const { area } = call.request;
    return once(this.#database, call, async (client) => {
      const { rows } = await client.query<{ id: string }>({ ...statements.remove, values: [area] });
      if (rows[0] === undefined) throw unknownArea(area);
      const { id } = rows[0];
      // Statements of their own: they see what was posted and subscribed until the first one had the area's row.
      await client.query({ ...statements.unassign, values: [id] });
      const counted = await client.query<Removed>({ ...statements.counted, values: [id] });
      return { area, ...counted.rows[0]! };
    });
  }

  /** Deletes a piece of what removed areas have left; resolves with false when nothing is left. */
  async clear(deadline: Deadline): Promise<boolean> {
    const [row] = await this.#database.run<{ worked: boolean }>(statements.clear, [], deadline);
    return row?.worked ?? false;
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

  async join({ id, name, address, healthAddress }: KnownNode, deadline: Deadline): Promise<void> {
    await this.#database.run(statements.join, [id, name, address, healthAddress], deadline);
  }

  /** The node's areas go to others; when they have, it is gone from the list. */
  async leave(node: string, deadline: Deadline): Promise<void> {
    await this.#database.run(statements.leave, [node], deadline);
  }
}

export const unknownArea = (name: string): Refusal => new Refusal('unknown-area', `there is no area ${name}`);

const looksLikeAnother = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && error.code === '23505' && error.constraint === 'areas_skeleton_key';
