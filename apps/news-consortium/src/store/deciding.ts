/**
 * Deciding who serves what. Whoever holds the advisory lock may, and writes on the connection that holds it and on no other: when another agent takes the
 * lock, that connection has ended, and with it every way to write. So the lock needs no token that others would have to check.
 *
 * PostgreSQL gives the lock free when its holder's connection ends. A holder that hangs keeps its connection: its beat stands still, and whoever sees
 * that ends the connection for it.
 */
import type pg from 'pg';
import type { Assignment, Area } from '../domain/assignment.ts';
import { connectAlone, type Statement } from './database.ts';

/** The advisory lock; the number means nothing. */
const lock = 710_002;

/** A connection that takes longer than this for one of these small statements is of no use to a holder. */
const answerMs = 1_000;

export const statements = {
  take: { name: 'take', text: `SELECT pg_try_advisory_lock($1) AS taken` },
  taken: { name: 'taken', text: `UPDATE deciding SET agent = $1, epoch = epoch + 1, beat = beat + 1` },
  seenBeat: { name: 'seen-beat', text: `SELECT beat FROM deciding` },
  evict: {
    name: 'evict',
    text: `SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database b ON b.oid = l.database, deciding d
       WHERE l.locktype = 'advisory' AND l.classid = 0 AND l.objid = $1 AND l.objsubid = 1 AND l.granted AND b.datname = current_database() AND d.beat = $2`,
  },
  beat: {
    name: 'beat',
    text: `UPDATE deciding SET beat = beat + 1
       RETURNING (SELECT coalesce(json_agg(json_build_object('id', id, 'name', name, 'address', address,
         'healthAddress', coalesce(health_address, address))), '[]') FROM nodes) AS nodes`,
  },
  // All areas and assignments, for a plan is made of all of them.
  situation: {
    name: 'situation',
    text: `SELECT
      (SELECT coalesce(json_agg(json_build_object('id', id::text, 'wanted', wanted)), '[]') FROM areas WHERE removed_at IS NULL) AS areas,
      (SELECT coalesce(json_agg(id), '[]') FROM nodes WHERE NOT leaving) AS nodes,
      (SELECT coalesce(json_agg(id), '[]') FROM nodes WHERE leaving) AS leaving,
      (SELECT coalesce(json_agg(json_build_object('area', area_id::text, 'node', node_id)), '[]') FROM assignments) AS assignments`,
  },
  removeNodes: { name: 'remove-nodes', text: `DELETE FROM nodes WHERE id = ANY ($1::uuid[])` },
  drop: {
    name: 'drop-assignments',
    text: `DELETE FROM assignments x USING unnest($1::bigint[], $2::uuid[]) AS d (area_id, node_id) WHERE x.area_id = d.area_id AND x.node_id = d.node_id`,
  },
  add: {
    name: 'add-assignments',
    text: `INSERT INTO assignments (area_id, node_id) SELECT area_id, node_id FROM unnest($1::bigint[], $2::uuid[]) AS n (area_id, node_id)
         WHERE EXISTS (SELECT FROM areas a WHERE a.id = area_id AND a.removed_at IS NULL) AND EXISTS (SELECT FROM nodes WHERE id = node_id)
         ON CONFLICT DO NOTHING`,
  },
} satisfies Record<string, Statement>;

export interface KnownNode {
  readonly id: string;
  readonly name: string;
  readonly address: string;
  /** Where it is asked whether it is well. */
  readonly healthAddress: string;
}

/** What a plan is made of. Ids of areas are bigints, as text. */
export interface Situation {
  readonly areas: readonly Area[];
  /** Those that stay. */
  readonly nodes: readonly string[];
  readonly leaving: readonly string[];
  readonly assignments: readonly Assignment[];
}

export interface Change {
  readonly removedNodes: readonly string[];
  readonly added: readonly Assignment[];
  readonly dropped: readonly Assignment[];
}

/** What a deciding agent sees of a connection. */
export type DecidingPort = Pick<Deciding, keyof Deciding>;

export class Deciding {
  readonly #client: pg.Client;

  private constructor(client: pg.Client) {
    this.#client = client;
  }

  static async connect(url: string, agent: string): Promise<Deciding> {
    return new Deciding(await connectAlone(url, `news-consortium ${agent}`, answerMs));
  }

  /** Whether the lock is this connection's now. */
  async take(agent: string): Promise<boolean> {
    const { rows } = await this.#run<{ taken: boolean }>(statements.take, [lock]);
    if (rows[0]?.taken !== true) return false;
    await this.#run(statements.taken, [agent]);
    return true;
  }

  /** What changes as long as the holder is alive. */
  async seenBeat(): Promise<string> {
    const { rows } = await this.#run<{ beat: string }>(statements.seenBeat);
    return rows[0]?.beat ?? '';
  }

  /** Ends the holder's connection, if the beat is still that one. */
  async evict(beat: string): Promise<boolean> {
    const { rowCount } = await this.#run(statements.evict, [lock, beat]);
    return (rowCount ?? 0) > 0;
  }

  /** A sign of life, and who is to be looked after. Like all that follows it is for the holder of the lock. */
  async beat(): Promise<KnownNode[]> {
    const { rows } = await this.#run<{ nodes: KnownNode[] }>(statements.beat);
    return rows[0]?.nodes ?? [];
  }

  async situation(): Promise<Situation> {
    const { rows } = await this.#run<Situation>(statements.situation);
    return rows[0]!;
  }

  /** All of it or nothing. What it names and is gone meanwhile is passed over. */
  async apply({ removedNodes, added, dropped }: Change): Promise<void> {
    const columns = (pairs: readonly Assignment[]): [string[], string[]] => [
      pairs.map(({ area }) => area),
      pairs.map(({ node }) => node),
    ];
    await this.#client.query('BEGIN');
    try {
      await this.#run(statements.removeNodes, [removedNodes]);
      await this.#run(statements.drop, columns(dropped));
      await this.#run(statements.add, columns(added));
      await this.#client.query('COMMIT');
    } catch (error) {
      // Nothing is known of this connection any more: without it the lock is free, and whoever is next begins afresh.
      await this.close();
      throw error;
    }
  }

  #run<Row extends pg.QueryResultRow>(statement: Statement, values: readonly unknown[] = []): Promise<pg.QueryResult<Row>> {
    return this.#client.query<Row>({ ...statement, values: [...values] });
  }

  async close(): Promise<void> {
    await this.#client.end().catch(() => undefined);
  }
}
