/** Who served what, and when: written down by the database itself. */
import { connectAlone } from '../src/store/database.ts';
import type { Assigned } from './history.ts';

/** On a busy machine, of whatever a test asks. */
const answerMs = 60_000;

export async function query<Row extends object>(url: string, text: string, values: readonly unknown[] = []): Promise<Row[]> {
  const client = await connectAlone(url, 'test', answerMs);
  try {
    return (await client.query<Row>(text, [...values])).rows;
  } finally {
    await client.end();
  }
}

/** From now on it is written down. Before there are areas. */
export async function recordAssignments(url: string): Promise<void> {
  // As the last act of each transaction, so that the time is that of its commit.
  await query(
    url,
    `CREATE TABLE IF NOT EXISTS test_assigned (area_id bigint, node_id uuid, address text, at_ms float8, begins boolean, decided boolean);
     CREATE OR REPLACE FUNCTION test_assigned() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       INSERT INTO test_assigned VALUES (coalesce(NEW.area_id, OLD.area_id), coalesce(NEW.node_id, OLD.node_id),
         (SELECT address FROM nodes WHERE id = NEW.node_id), extract(epoch FROM clock_timestamp()) * 1000, TG_OP = 'INSERT',
         EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 710002 AND granted AND pid = pg_backend_pid()));
       RETURN NULL;
     END $$;
     DROP TRIGGER IF EXISTS test_assigned ON assignments;
     CREATE CONSTRAINT TRIGGER test_assigned AFTER INSERT OR DELETE ON assignments
       DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION test_assigned()`,
  );
}

/** Nothing is written down any more. */
export async function forgetAssignments(url: string): Promise<void> {
  await query(url, 'DROP FUNCTION IF EXISTS test_assigned CASCADE; DROP TABLE IF EXISTS test_assigned');
}

/** A transaction that has begun to commit is done within this time, on a busy machine too. */
const commitMs = 250;

/** What was written down; times are of `Date.now`. */
export async function recordedAssignments(url: string): Promise<Assigned[]> {
  type Row = { area: string; node: string; fromMs: number; toMs: number | null };
  const rows = await query<Row>(
    url,
    `SELECT a.name AS area, b.address AS node, b.at_ms AS "fromMs", (
       SELECT min(e.at_ms) FROM test_assigned e
       WHERE NOT e.begins AND e.area_id = b.area_id AND e.node_id = b.node_id AND e.at_ms >= b.at_ms) AS "toMs"
     FROM test_assigned b JOIN areas a ON a.id = b.area_id WHERE b.begins`,
  );
  // Between the last act of a transaction and the moment from which others see it.
  return rows.map(({ area, node, fromMs, toMs }) => ({
    area,
    node,
    fromMs: fromMs - 1,
    toMs: toMs === null ? Infinity : toMs + commitMs,
  }));
}

/** How many assignments were made by a connection that did not hold the lock of the agent that decides. */
export async function trespasses(url: string): Promise<number> {
  const [row] = await query<{ count: number }>(
    url,
    'SELECT count(*)::integer AS count FROM test_assigned WHERE begins AND NOT decided',
  );
  return row!.count;
}
