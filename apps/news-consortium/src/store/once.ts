/** What is done once for each of a user's keys, however often it is asked for: the request is known by its hash, and the first reply is given again. */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import type { Request, UserRole } from '../messages.ts';
import { Refusal } from '../wire/refusal.ts';
import { sessionOver } from './accounts.ts';
import type { Database, Deadline, Statement } from './database.ts';

/** Who asks for what, under which key. */
export interface Keyed {
  readonly session: string;
  readonly key: string;
  /** Of all that the request says. */
  readonly hash: Buffer;
}

/** The user of the session. */
export interface Asker {
  readonly id: string;
  readonly role: UserRole;
}

export type KeyedRequest = Extract<Request, { key: string }>;

/** What a request with a key says, without who says it and how long it may take. */
export function hashOf(request: KeyedRequest): Buffer {
  const said: Partial<typeof request & { token: string }> = { ...request };
  for (const name of ['token', 'key', 'deadlineMs'] as const) delete said[name];
  return createHash('sha256').update(JSON.stringify(said)).digest();
}

export const statements = {
  // FOR SHARE: whoever closes the session waits until this is done, so that nothing is done for a session that was closed. Of two with one key at once
  // the second waits for the first, and finds its key. A post's key is with its item.
  begin: {
    name: 'begin-once',
    text: `WITH asker AS (
        SELECT u.id, u.role FROM sessions s JOIN users u ON u.id = s.user_id
        WHERE s.id = $1 AND s.closed_at IS NULL AND s.expires_at > now() FOR SHARE OF s),
      noted AS (
        INSERT INTO done (user_id, key, hash) SELECT a.id, $2, $3 FROM asker a
        WHERE NOT EXISTS (SELECT FROM news n WHERE n.author_id = a.id AND n.key = $2) ON CONFLICT DO NOTHING RETURNING 1)
      SELECT a.id, a.role, EXISTS (SELECT FROM noted) AS fresh FROM asker a`,
  },
  known: { name: 'known-once', text: `SELECT reply FROM done WHERE user_id = $1 AND key = $2 AND hash = $3` },
  end: { name: 'end-once', text: `UPDATE done SET reply = $3 WHERE user_id = $1 AND key = $2` },
} satisfies Record<string, Statement>;

/**
 * Does the work in one transaction with the note of its key. A repeat gets the first one's reply; where the work was refused, nothing is noted. Refuses a key
 * that was used for something else.
 */
export async function once<Reply extends object>(
  database: Database,
  { session, key, hash }: Keyed,
  work: (client: pg.PoolClient, asker: Asker) => Promise<Reply>,
  deadline: Deadline,
): Promise<Reply> {
  return database.transaction(deadline, async (client) => {
    const run = async <Row extends pg.QueryResultRow>(statement: Statement, values: unknown[]): Promise<Row | undefined> =>
      (await client.query<Row>({ ...statement, values })).rows[0];
    const asker = await run<{ id: string; role: UserRole; fresh: boolean }>(statements.begin, [session, key, hash]);
    if (asker === undefined) throw sessionOver();
    if (!asker.fresh) {
      const known = await run<{ reply: Reply }>(statements.known, [asker.id, key, hash]);
      if (known === undefined) throw keyTaken(key);
      return known.reply;
    }
    const reply = await work(client, asker);
    await run(statements.end, [asker.id, key, JSON.stringify(reply)]);
    return reply;
  });
}

export const keyTaken = (key: string): Refusal => new Refusal('conflict', `the key ${key} was used for another request`);
