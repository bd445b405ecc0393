/** What is done once for each of a user's keys, however often it is asked for: the request is known by its hash, and the first reply is given again. */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { operations, type KindWith, type UserRole } from '../messages.ts';
import type { Call } from '../wire/calls.ts';
import { Refusal } from '../wire/refusal.ts';
import { sessionOver } from './accounts.ts';
import type { Database, Statement } from './database.ts';

/** What is asked under a key. */
type Keyed = Call<KindWith<'key'>>;

/** What a request with a key says, without who says it and how long it may take. */
function hashOf(request: Keyed['request']): Buffer {
  const said: Record<string, unknown> = { ...request };
  for (const name of ['token', 'key', 'deadlineMs']) delete said[name];
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
 * that was used for something else, and who is no administrator what is for those.
 */
export async function once<Reply extends object>(
  database: Database,
  { request, asker: session, deadline }: Keyed,
  work: (client: pg.PoolClient) => Promise<Reply>,
): Promise<Reply> {
  const { kind, key } = request;
  const hash = hashOf(request);
  return database.transaction(deadline, async (client) => {
    const run = async <Row extends pg.QueryResultRow>(statement: Statement, values: unknown[]): Promise<Row | undefined> =>
      (await client.query<Row>({ ...statement, values })).rows[0];
    const user = await run<{ id: string; role: UserRole; fresh: boolean }>(statements.begin, [session, key, hash]);
    if (user === undefined) throw sessionOver();
    if (!user.fresh) {
      const known = await run<{ reply: Reply }>(statements.known, [user.id, key, hash]);
      if (known === undefined) throw keyTaken(key);
      return known.reply;
    }
    if (operations[kind].by === 'administrator' && user.role !== 'administrator')
      throw new Refusal('forbidden', 'this is for administrators');
    const reply = await work(client);
    await run(statements.end, [user.id, key, JSON.stringify(reply)]);
    return reply;
  });
}

export const keyTaken = (key: string): Refusal => new Refusal('conflict', `the key ${key} was used for another request`);
