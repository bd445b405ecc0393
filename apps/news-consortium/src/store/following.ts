/** What is new in areas, for those who watch: what was posted and what was changed, in the order in which it was done. */
import type { Change, Item, Position } from '../messages.ts';
import type { Database, Deadline, Statement } from './database.ts';
import { itemColumns, itemJson } from './news.ts';

export const statements = {
  // Of posts and of changes: each only grows.
  lastNumbers: {
    name: 'last-numbers',
    text: `SELECT name, (last_number + last_change)::float8 AS "lastNumber" FROM areas WHERE name = ANY ($1) AND removed_at IS NULL`,
  },
  // For all who watch an area from the same position on: what is new once, and who of them may still have it. An item is told of as it is now.
  follow: {
    name: 'follow',
    text: `SELECT EXISTS (SELECT FROM assignments x WHERE x.area_id = a.id AND x.node_id = $2) AS served,
        (SELECT coalesce(json_agg(s.id), '[]') FROM sessions s WHERE s.id = ANY ($3::uuid[]) AND s.closed_at IS NULL AND s.expires_at > now()
          AND (SELECT true FROM subscriptions f WHERE f.area_id = a.id AND f.user_id = s.user_id)) AS allowed,
        (SELECT coalesce(json_agg(item ORDER BY behind, change), '[]') FROM (
          (SELECT n.number AS behind, 0 AS change, ${itemColumns} FROM news n JOIN users u ON u.id = n.author_id
          WHERE n.area_id = a.id AND n.number > $4 AND n.text IS NOT NULL ORDER BY n.number LIMIT $6)
          UNION ALL (SELECT c.behind, c.change, (
            SELECT CASE WHEN n.text IS NULL THEN json_build_object('number', n.number, 'deleted', true, 'change', c.change)
              ELSE ${itemJson("'change', c.change")} END
            FROM news n JOIN users u ON u.id = n.author_id WHERE n.area_id = c.area_id AND n.number = c.number) AS item
          FROM changes c WHERE c.area_id = a.id AND c.change > $5 ORDER BY c.change LIMIT $6)
          ORDER BY behind, change LIMIT $6) page) AS items
      FROM areas a WHERE a.name = $1 AND a.removed_at IS NULL`,
  },
} satisfies Record<string, Statement>;

/** What `follow` found of an area. */
export interface Followed {
  readonly served: boolean;
  /** Of the sessions asked for, those that are open and whose users are subscribed. */
  readonly allowed: readonly string[];
  readonly items: readonly (Item | Change)[];
}

export class Following {
  readonly #database: Database;
  readonly #node: string;

  /** `node` is the id under which the node is registered. */
  constructor(database: Database, node: string) {
    this.#database = database;
    this.#node = node;
  }

  /** Of those areas that are there, how much was posted and changed. */
  async lastNumbers(areas: readonly string[], deadline: Deadline): Promise<ReadonlyMap<string, number>> {
    type Row = { name: string; lastNumber: number };
    const rows = await this.#database.run<Row>(statements.lastNumbers, [areas], deadline);
    return new Map(rows.map(({ name, lastNumber }) => [name, lastNumber]));
  }

  /** Up to `limit` items and changes behind a position; undefined where the area is gone. */
  async follow(
    area: string,
    sessions: readonly string[],
    page: Position & { limit: number },
    deadline: Deadline,
  ): Promise<Followed | undefined> {
    const [row] = await this.#database.run<Followed>(
      statements.follow,
      [area, this.#node, sessions, page.after, page.change, page.limit],
      deadline,
    );
    return row;
  }
}
