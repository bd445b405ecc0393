/**
 * Everything that a node does, each in one statement: whether the session is open, the node serves the area and the user is subscribed is read in the same
 * snapshot as what depends on it, so there is no moment between a check and its use, and nothing to keep fresh in a node's memory.
 */
import type pg from 'pg';
import { offersMax, operations, type KindTo, type KindWith, type Position, type Replies } from '../messages.ts';
import type { Call } from '../wire/calls.ts';
import { Refusal } from '../wire/refusal.ts';
import { sessionOver } from './accounts.ts';
import { unknownArea } from './areas.ts';
import { DatabaseUnavailableError, type Database, type Deadline, type Statement } from './database.ts';
import { keyTaken, once } from './once.ts';

/** $1 session, $2 area, $3 node: one row, with what is missing as NULL. Each is looked up by its whole key: in a join PostgreSQL may take a part of it. */
const gate = `gate AS (
  SELECT s.user_id, a.id AS area_id, a.last_number, a.last_change,
    (SELECT true FROM assignments x WHERE x.area_id = a.id AND x.node_id = $3) IS NOT NULL AS served,
    (SELECT true FROM subscriptions f WHERE f.area_id = a.id AND f.user_id = s.user_id) IS NOT NULL AS subscribed
  FROM (VALUES (1)) AS one
  LEFT JOIN sessions s ON s.id = $1 AND s.closed_at IS NULL AND s.expires_at > now()
  LEFT JOIN areas a ON a.name = $2 AND a.removed_at IS NULL)`;

const gateColumns = `g.user_id AS "userId", g.area_id AS "areaId", g.served, g.subscribed`;

/** Of `news n` and `users u`, with more fields where there are. */
export const itemJson = (...more: string[]): string =>
  `json_strip_nulls(json_build_object(${["'number', n.number, 'author', u.name, 'text', n.text, 'postedAt', n.posted_at, 'editedAt', n.edited_at", ...more].join()}))`;
export const itemColumns = `${itemJson()} AS item`;

/** $4 number. The author's change of an item takes its number as a post does, so that whoever watches hears of each, in their order. */
const changing = (set: string): string => `WITH ${gate}, counted AS (
        UPDATE areas a SET last_change = a.last_change + 1 FROM gate g
        WHERE a.id = g.area_id AND a.removed_at IS NULL AND g.served
          AND (SELECT n.text IS NOT NULL FROM news n WHERE n.area_id = g.area_id AND n.number = $4 AND n.author_id = g.user_id)
        RETURNING a.id, a.last_change, a.last_number),
      changed AS (
        UPDATE news n SET ${set} FROM counted c WHERE n.area_id = c.id AND n.number = $4 AND n.text IS NOT NULL RETURNING n.number),
      noted AS (
        INSERT INTO changes (area_id, change, number, behind) SELECT c.id, c.last_change, n.number, c.last_number FROM counted c, changed n)
      SELECT ${gateColumns}, n.author_id = g.user_id AS mine,
        n.text IS NULL OR n.author_id = g.user_id AND NOT EXISTS (SELECT FROM changed) AS gone
      FROM gate g LEFT JOIN news n ON n.area_id = g.area_id AND n.number = $4`;

/** Each under the name by which connections keep it prepared. */
export const newsStatements = {
  // A key that is known takes no number. Two posts with one key at once: one of them finds the key taken when it inserts.
  post: {
    name: 'post',
    text: `WITH ${gate}, numbered AS (
        UPDATE areas a SET last_number = a.last_number + 1 FROM gate g
        WHERE a.id = g.area_id AND a.removed_at IS NULL AND g.served AND g.subscribed
          AND NOT EXISTS (SELECT FROM news WHERE author_id = g.user_id AND key = $4)
          AND NOT EXISTS (SELECT FROM done d WHERE d.user_id = g.user_id AND d.key = $4)
        RETURNING a.id, a.last_number),
      posted AS (
        INSERT INTO news (area_id, number, author_id, key, text, hash)
        SELECT n.id, n.last_number, g.user_id, $4, $5, sha256(convert_to($5, 'UTF8')) FROM numbered n, gate g
        ON CONFLICT (author_id, key) DO NOTHING RETURNING number)
      SELECT ${gateColumns}, p.number::float8 AS number FROM gate g LEFT JOIN posted p ON true`,
  },
  doneWith: {
    name: 'done-with',
    text: `SELECT a.name AS area, n.number::float8 AS number, n.hash = sha256(convert_to($3, 'UTF8')) AS same
        FROM news n JOIN areas a ON a.id = n.area_id WHERE n.author_id = $1 AND n.key = $2
      UNION ALL SELECT NULL, NULL, false FROM done WHERE user_id = $1 AND key = $2`,
  },
  edit: { name: 'edit', text: changing('text = $5, edited_at = clock_timestamp()') },
  delete: { name: 'delete', text: changing('text = NULL') },
  // FOR SHARE: the area is not being removed meanwhile, and the number is that of its last post.
  subscribe: {
    name: 'subscribe',
    text: `WITH ${gate}, area AS (
        SELECT a.id, a.last_number FROM areas a, gate g WHERE a.id = g.area_id AND a.removed_at IS NULL AND g.served FOR SHARE OF a),
      made AS (
        INSERT INTO subscriptions (user_id, area_id, offered_through)
        SELECT g.user_id, a.id, a.last_number FROM area a, gate g WHERE g.user_id IS NOT NULL ON CONFLICT DO NOTHING RETURNING 1)
      SELECT ${gateColumns}, EXISTS (SELECT FROM made) AS changed, EXISTS (SELECT FROM area) AS there FROM gate g`,
  },
  unsubscribe: {
    name: 'unsubscribe',
    text: `WITH ${gate}, ended AS (
        DELETE FROM subscriptions f USING gate g WHERE f.user_id = g.user_id AND f.area_id = g.area_id AND g.served RETURNING 1)
      SELECT ${gateColumns}, EXISTS (SELECT FROM ended) AS changed FROM gate g`,
  },
  read: {
    name: 'read',
    text: `WITH ${gate}
      SELECT ${gateColumns}, (SELECT coalesce(json_agg(item ORDER BY number), '[]') FROM (
        SELECT n.number, ${itemColumns} FROM news n JOIN users u ON u.id = n.author_id
        WHERE n.area_id = g.area_id AND g.served AND g.subscribed AND n.text IS NOT NULL AND n.number < coalesce($4::bigint, 9223372036854775807)
        ORDER BY n.number DESC LIMIT $5) page) AS items
      FROM gate g`,
  },
  // What was offered and not marked, nor held by another reader, comes first, then what was never offered: up to offersMax in hand. Two readers at once: who
  // comes second waits for the subscription, and goes on behind what the first one got; a lease that the first one renewed is found held when it is updated.
  offer: {
    name: 'offer',
    text: `WITH ${gate}, reader AS (
        SELECT f.user_id, f.area_id, f.offered_through FROM subscriptions f, gate g
        WHERE f.user_id = g.user_id AND f.area_id = g.area_id AND g.served FOR UPDATE OF f),
      hand AS (
        SELECT o.number, o.leased_until > now() AS held, o.leased_until,
          (SELECT true FROM news n WHERE n.area_id = o.area_id AND n.number = o.number AND n.text IS NOT NULL) IS NOT NULL AS there
        FROM reader r JOIN offers o ON o.user_id = r.user_id AND o.area_id = r.area_id),
      gone AS (
        DELETE FROM offers o USING hand h, reader r WHERE o.user_id = r.user_id AND o.area_id = r.area_id AND o.number = h.number AND NOT h.there),
      free AS (SELECT number FROM hand WHERE there AND NOT held ORDER BY number LIMIT $4),
      again AS (
        UPDATE offers o SET leased_until = clock_timestamp() + $5 * interval '1 ms' FROM free f, reader r
        WHERE o.user_id = r.user_id AND o.area_id = r.area_id AND o.number = f.number AND o.leased_until <= now() RETURNING o.area_id, o.number),
      fresh AS (
        SELECT r.user_id, r.area_id, n.number FROM reader r, LATERAL (
          SELECT n.number FROM news n WHERE n.area_id = r.area_id AND n.number > r.offered_through AND n.text IS NOT NULL ORDER BY n.number
          LIMIT greatest(0, least($4 - (SELECT count(*) FROM free), ${offersMax} - (SELECT count(*) FROM hand WHERE there)))) n),
      first AS (
        INSERT INTO offers (user_id, area_id, number, leased_until)
        SELECT user_id, area_id, number, clock_timestamp() + $5 * interval '1 ms' FROM fresh RETURNING area_id, number),
      moved AS (
        UPDATE subscriptions f SET offered_through = n.number FROM reader r, (SELECT max(number) AS number FROM fresh) n
        WHERE f.user_id = r.user_id AND f.area_id = r.area_id AND n.number IS NOT NULL)
      SELECT ${gateColumns}, (SELECT count(*) FROM hand WHERE NOT there OR NOT held)::integer + (SELECT count(*) FROM fresh)::integer AS wanted,
        (SELECT coalesce(json_agg(item ORDER BY number), '[]') FROM (
          SELECT o.number, ${itemColumns} FROM (TABLE again UNION ALL TABLE first) o JOIN news n USING (area_id, number) JOIN users u ON u.id = n.author_id)
          page) AS items,
        held.held, held."heldMs"
      FROM gate g, (
        SELECT count(*)::integer AS held, coalesce(extract(epoch FROM min(leased_until) - now()) * 1000, 0)::float8 AS "heldMs"
        FROM hand WHERE there AND held) held`,
  },
  // Only what was offered: a number that is still to come cannot be marked.
  mark: {
    name: 'mark',
    text: `WITH ${gate}, reader AS (
        SELECT f.user_id, f.area_id FROM subscriptions f, gate g
        WHERE f.user_id = g.user_id AND f.area_id = g.area_id AND g.served FOR UPDATE OF f),
      marked AS (
        DELETE FROM offers o USING reader r
        WHERE o.user_id = r.user_id AND o.area_id = r.area_id AND o.number = ANY ($4::bigint[]) RETURNING 1)
      SELECT ${gateColumns}, (SELECT count(*) FROM marked)::integer AS marked FROM gate g`,
  },
  nodesOf: {
    name: 'nodes-of-area',
    text: `SELECT n.address FROM areas a JOIN assignments x ON x.area_id = a.id JOIN nodes n ON n.id = x.node_id
      WHERE a.name = $1 AND a.removed_at IS NULL ORDER BY random()`,
  },
  enter: {
    name: 'enter',
    text: `WITH ${gate} SELECT ${gateColumns}, g.last_number::float8 AS "after", g.last_change::float8 AS "change" FROM gate g`,
  },
} satisfies Record<string, Statement>;

/** What somebody asks of an area. */
type OfArea = Call<(KindTo<'node'> | 'watch') & KindWith<'area'>>;

interface GateRow {
  userId: string | null;
  areaId: string | null;
  served: boolean;
  subscribed: boolean;
}

class NotPassedError extends Error {}

/** What became of an item that its author alone may change. NULL where there is none. */
interface AuthorRow {
  mine: boolean | null;
  gone: boolean | null;
}

export class News {
  readonly #database: Database;
  readonly #node: string;

  /** `node` is the id under which the node is registered. */
  constructor(database: Database, node: string) {
    this.#database = database;
    this.#node = node;
  }

  /**
   * Posts once for each of a user's keys, however often it is called; the repeat gets the first one's number, also when the item was deleted since. Resolves
   * when the item is durable.
   */
  async post(call: Call<'post'>): Promise<Replies['post']> {
    const { area, key, text } = call.request;
    const row = await this.#row<{ number: number | null }>(newsStatements.post, call, [key, text]);
    if (row.number !== null) return { area, number: row.number };
    if (row.userId !== null && row.served) {
      // Before anything else: what was done once stays done, also when the user has unsubscribed since.
      const first = await this.#doneWith(row.userId, call);
      if (first !== undefined) return first;
    }
    await this.#check(row, call);
    throw new DatabaseUnavailableError('the post met a change of its area');
  }

  /** The post that was made with this key. Refused where the key was used for anything else. */
  async #doneWith(user: string, { request, deadline }: Call<'post'>): Promise<Replies['post'] | undefined> {
    const { area, key, text } = request;
    type Done = { area: string | null; number: number | null; same: boolean };
    const [first] = await this.#database.run<Done>(newsStatements.doneWith, [user, key, text], deadline);
    if (first === undefined) return undefined;
    if (first.area !== area || first.number === null || !first.same) throw keyTaken(key);
    return { area, number: first.number };
  }

  /** Whoever reads the item from then on reads this text. Done once for each key, so that a late repeat does not undo another edit. */
  async edit(call: Call<'edit'>): Promise<Replies['edit']> {
    const { area, number, text } = call.request;
    return this.#passOnce(
      newsStatements.edit,
      call,
      (row: AuthorRow) => {
        checkAuthor(row, call);
        if (row.gone) throw new Refusal('unknown-item', `${area}/${number} was deleted`);
        return { area, number };
      },
      [number, text],
    );
  }

  /** Gone for everyone when it resolves. To delete again what one has deleted does nothing. */
  async delete(call: Call<'delete'>): Promise<Replies['delete']> {
    const { area, number } = call.request;
    checkAuthor(await this.#pass<AuthorRow>(newsStatements.delete, call, [number]), call);
    return { area, number };
  }

  async subscribe(call: Call<'subscribe'>): Promise<Replies['subscribe']> {
    return this.#passOnce(newsStatements.subscribe, call, ({ changed, there }: { changed: boolean; there: boolean }) => {
      if (!there) throw new DatabaseUnavailableError('the subscription met a change of its area');
      return { area: call.request.area, changed };
    });
  }

  /** What was unread is forgotten with the subscription; who subscribes again begins with what is posted from then on. */
  async unsubscribe(call: Call<'unsubscribe'>): Promise<Replies['unsubscribe']> {
    const { area } = call.request;
    return this.#passOnce(newsStatements.unsubscribe, call, ({ changed }: { changed: boolean }) => ({ area, changed }));
  }

  /** The newest items below `before`, in the order of their numbers. Changes nothing of what is unread. */
  async read(call: Call<'read'>): Promise<Replies['read']> {
    const { before, limit } = call.request;
    const { items } = await this.#pass<Replies['read']>(newsStatements.read, call, [before ?? null, limit]);
    return { items };
  }

  /**
   * The oldest unread items that no reader of the same user holds. They are held for `leaseMs`, then offered again unless they were marked. Of an area
   * `offersMax` are in hand at the most, and for each reader that asks at the same moment a page more: what comes behind waits until some are marked.
   */
  async unread(call: Call<'unread'>, leaseMs: number): Promise<Replies['unread']> {
    type Row = Omit<Replies['unread'], 'leaseMs'> & { wanted: number };
    for (;;) {
      const row = await this.#pass<Row>(newsStatements.offer, call, [call.request.limit, leaseMs]);
      const { items, held, heldMs, wanted } = row;
      // Others took every one of them meanwhile, or they were deleted; there may be more behind.
      if (items.length > 0 || wanted === 0) return { items, leaseMs, held, heldMs };
    }
  }

  /** Marks as read what was offered to the user; what was not, is not. */
  async mark(call: Call<'mark'>): Promise<Replies['mark']> {
    const { marked } = await this.#pass<Replies['mark']>(newsStatements.mark, call, [call.request.numbers]);
    return { marked };
  }

  /** Whether somebody may watch an area here; resolves with where it is now. */
  async enter(call: Call<'watch'>): Promise<Position> {
    const { after, change } = await this.#pass<Position>(newsStatements.enter, call);
    return { after, change };
  }

  /** The refusal of an area that another node serves, with those that do. */
  async notServed(area: string, deadline: Deadline): Promise<Refusal> {
    const rows = await this.#database.run<{ address: string }>(newsStatements.nodesOf, [area], deadline);
    const nodes = rows.map(({ address }) => address);
    return new Refusal('not-served', `${area} is served by ${nodes.length === 0 ? 'no node yet' : nodes.join(', ')}`, { nodes });
  }

  /** Runs a statement that begins with the gate, and refuses who does not pass it. */
  async #pass<Row>(statement: Statement, call: OfArea, values: readonly unknown[] = []): Promise<Row> {
    const row = await this.#row<Row>(statement, call, values);
    await this.#check(row, call);
    return row;
  }

  /** The same, once for each key. */
  async #passOnce<Row, Reply extends object>(
    statement: Statement,
    call: OfArea & Parameters<typeof once>[1],
    replyOf: (row: Row) => Reply,
    values: readonly unknown[] = [],
  ): Promise<Reply> {
    let met: (Row & GateRow) | undefined;
    const work = async (client: pg.PoolClient): Promise<Reply> => {
      const all = [call.asker, call.request.area, this.#node, ...values];
      const { rows } = await client.query<Row & GateRow>({ ...statement, values: all });
      met = rows[0]!;
      if (met.areaId === null || !met.served) throw new NotPassedError();
      return replyOf(met);
    };
    try {
      return await once(this.#database, call, work);
    } catch (error) {
      // Who serves it instead is asked when the transaction has given back its connection.
      if (error instanceof NotPassedError) await this.#check(met!, call);
      throw error;
    }
  }

  async #row<Row>(
    statement: Statement,
    { asker, request, deadline }: OfArea,
    values: readonly unknown[],
  ): Promise<Row & GateRow> {
    const all = [asker, request.area, this.#node, ...values];
    const [row] = await this.#database.run<Row & GateRow>(statement, all, deadline);
    if (row === undefined) throw new Error(`${statement.name} gave no row`);
    return row;
  }

  async #check(row: GateRow, { request: { kind, area }, deadline }: OfArea): Promise<void> {
    if (row.userId === null) throw sessionOver();
    if (row.areaId === null) throw unknownArea(area);
    if (!row.served) throw await this.notServed(area, deadline);
    if (operations[kind].by === 'subscriber' && !row.subscribed)
      throw new Refusal('not-subscribed', `you are not subscribed to ${area}`);
  }
}

/** Who is not the author is told of an item that is there only. */
function checkAuthor({ mine, gone }: AuthorRow, { request: { kind, area, number } }: Call<'edit' | 'delete'>): void {
  if (mine === null || (gone === true && !mine)) throw new Refusal('unknown-item', `there is no item ${area}/${number}`);
  if (!mine) throw new Refusal('forbidden', `${area}/${number} is another author's: only the author can ${kind} it`);
}
