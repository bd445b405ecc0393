/**
 * Brings the schema to the version that this program knows: the files in `migrations/`, in the order of their numbers, all in one transaction, one process at
 * a time. A file that was released is never changed: what comes after is another file, and a changed one is refused.
 */
import { join } from 'node:path';
import { ExitError, exitCodes, retry, type Clock, type Logger } from '@lab/process';
import type pg from 'pg';
import Postgrator from 'postgrator';
import { connectAlone, DatabaseUnavailableError, messageOf, unavailable } from './database.ts';
import { noteOldNames } from './old-names.ts';

const migrationPattern = join(import.meta.dirname, 'migrations/*.sql');
/** The advisory lock of whoever migrates; the number means nothing. */
export const migrationLock = 710_001;

/** That of the names, which takes more than SQL. */
const namesVersion = 5;

/** How long a database may take to be there, and another process to migrate it: they are often started together. */
const patienceMs = 60_000;
const againMs = 500;
/** Each statement is done by then. */
const migrationMs = 30_000;

/** Resolves when the schema is of this program's version; waits for a database that is not there yet or that another process migrates, and says so. */
export async function migrate({ url, clock, log }: { url: string; clock: Clock; log: Logger }): Promise<void> {
  const onRetry = (error: unknown): void => log.warn({ err: error }, 'the database cannot be had yet; trying again');
  const worthwhile = (error: unknown): boolean => unavailable(error) !== undefined;
  const options = { clock, withinMs: patienceMs, pauseMs: againMs, worthwhile, onRetry };
  await retry(() => migrateNow(url, log), options).catch((error: unknown) => {
    throw explained(error, url);
  });
}

async function migrateNow(url: string, log: Logger): Promise<void> {
  const client = await connectAlone(url, 'news-consortium migration', migrationMs);
  try {
    await client.query('BEGIN');
    const { rows } = await client.query<{ mine: boolean }>('SELECT pg_try_advisory_xact_lock($1) AS mine', [migrationLock]);
    if (rows[0]?.mine !== true) throw new DatabaseUnavailableError('another process migrates it');
    const execQuery = (query: string): Promise<pg.QueryResult> => client.query(query);
    const postgrator = new Postgrator({ driver: 'pg', migrationPattern, schemaTable: 'schema_versions', execQuery });
    const [known, found] = [await postgrator.getMaxVersion(), await postgrator.getDatabaseVersion()];
    if (found > known)
      throw new ExitError(
        `the database has version ${found}, this program knows ${known}: start a newer program`,
        exitCodes.failed,
      );
    const applied = await postgrator.migrate();
    if (applied.some(({ version }) => version === namesVersion)) await noteOldNames(client);
    await client.query('COMMIT');
    if (applied.length > 0) log.info({ migrations: applied.map(({ name }) => name) }, 'migrated the database');
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** What an operator can do about it: a wrong password, a database that does not exist, an address where there is none. */
function explained(error: unknown, url: string): Error {
  if (error instanceof ExitError) return error;
  const where = url.replace(/^\w+:\/\//, '').replace(/:[^@/]*@/, '@');
  const code = unavailable(error) === undefined ? exitCodes.failed : exitCodes.unavailable;
  return new ExitError(`${where}: ${messageOf(error)}`, code, { cause: error });
}
