/** Lists of areas: page by page, so that what one costs does not grow with how many there are. A page goes on behind what the one before it said is next. */
import { pageAreasMax, type Replies, type Status } from '../messages.ts';
import type { Call } from '../wire/calls.ts';
import { sessionOver } from './accounts.ts';
import type { Database, Statement } from './database.ts';

const openSession = `WITH session AS (SELECT user_id FROM sessions WHERE id = $1 AND closed_at IS NULL AND expires_at > now())`;

export const statements = {
  areas: {
    name: 'areas',
    text: `${openSession}
      SELECT s.user_id AS "userId", (SELECT coalesce(json_agg(json_build_object('area', p.name, 'subscribed', p.subscribed) ORDER BY p.name), '[]') FROM (
          SELECT a.name, (SELECT count(*) FROM subscriptions f WHERE f.user_id = s.user_id AND f.area_id = a.id) > 0 AS subscribed
          FROM areas a WHERE a.removed_at IS NULL AND a.name > coalesce($2, '') ORDER BY a.name LIMIT ${pageAreasMax}) p) AS areas
      FROM session s`,
  },
  // By ids, for those are what subscriptions are found by. $3: where counting stops.
  myAreas: {
    name: 'my-areas',
    text: `${openSession}
      SELECT s.user_id AS "userId", page.areas, CASE WHEN page.size = ${pageAreasMax} THEN page.last::text END AS next FROM session s, LATERAL (
        SELECT count(*) AS size, max(p.area_id) AS last,
          coalesce(json_agg(json_build_object('area', p.name, 'since', coalesce(hand.first - 1, p.offered_through), 'unread', unread.count)), '[]') AS areas
        FROM (
          SELECT f.area_id, f.offered_through, a.name FROM subscriptions f JOIN areas a ON a.id = f.area_id AND a.removed_at IS NULL
          WHERE f.user_id = s.user_id AND f.area_id > coalesce($2::bigint, 0) ORDER BY f.area_id LIMIT ${pageAreasMax}) p,
        LATERAL (SELECT min(o.number) AS first FROM offers o WHERE o.user_id = s.user_id AND o.area_id = p.area_id) hand,
        LATERAL (SELECT count(*) FROM (
          (SELECT FROM offers o WHERE o.user_id = s.user_id AND o.area_id = p.area_id AND (
            SELECT true FROM news n WHERE n.area_id = o.area_id AND n.number = o.number AND n.text IS NOT NULL) LIMIT $3)
          UNION ALL (SELECT FROM news n WHERE n.area_id = p.area_id AND n.number > p.offered_through AND n.text IS NOT NULL LIMIT $3)
          LIMIT $3) counted) unread) page`,
  },
  status: {
    name: 'status',
    text: `${openSession}
      SELECT s.user_id AS "userId",
      (SELECT nullif(agent, '') FROM deciding) AS decides,
      (SELECT coalesce(json_agg(json_build_object('name', n.name, 'address', n.address, 'leaving', n.leaving) ORDER BY n.name, n.address), '[]') FROM nodes n) AS nodes,
      (SELECT coalesce(json_agg(json_build_object('area', p.name, 'wanted', p.wanted, 'nodes',
        (SELECT coalesce(json_agg(n.address ORDER BY n.address), '[]') FROM assignments x JOIN nodes n ON n.id = x.node_id WHERE x.area_id = p.id))
        ORDER BY p.name), '[]') FROM (
          SELECT a.id, a.name, a.wanted FROM areas a WHERE a.removed_at IS NULL AND a.name > coalesce($2, '') ORDER BY a.name LIMIT ${pageAreasMax}) p) AS areas
      FROM session s`,
  },
} satisfies Record<string, Statement>;

export class Lists {
  readonly #database: Database;
  constructor(database: Database) {
    this.#database = database;
  }

  /** A page of all areas, those behind `after`. */
  async areas({ request, asker, deadline }: Call<'areas'>): Promise<Replies['areas']> {
    const values = [asker, request.after ?? null];
    const [row] = await this.#database.run<Pick<Replies['areas'], 'areas'>>(statements.areas, values, deadline);
    if (row === undefined) throw sessionOver();
    return pageByName(row.areas);
  }

  /** A page of the user's areas, those behind `after`. Counts what is unread up to `countMax` in each. */
  async myAreas({ request, asker, deadline }: Call<'myAreas'>): Promise<Replies['myAreas']> {
    type Row = Pick<Replies['myAreas'], 'areas'> & { next: string | null };
    const values = [asker, request.after ?? null, request.countMax];
    const [row] = await this.#database.run<Row>(statements.myAreas, values, deadline);
    if (row === undefined) throw sessionOver();
    return { areas: row.areas, ...(row.next !== null && { next: row.next }) };
  }

  /** All nodes, and a page of the areas: those behind `after`. */
  async status({ request, asker, deadline }: Call<'status'>): Promise<Replies['status']> {
    type Row = { decides: string | null } & Pick<Status, 'nodes' | 'areas'>;
    const [row] = await this.#database.run<Row>(statements.status, [asker, request.after ?? null], deadline);
    if (row === undefined) throw sessionOver();
    return { decides: row.decides ?? undefined, nodes: row.nodes, ...pageByName(row.areas) };
  }
}

/** A page of areas in the order of their names; where it is full there may be another one behind it. */
function pageByName<A extends { readonly area: string }>(areas: readonly A[]): { areas: readonly A[]; next?: string } {
  const last = areas.length < pageAreasMax ? undefined : areas.at(-1);
  return { areas, ...(last !== undefined && { next: last.area }) };
}
