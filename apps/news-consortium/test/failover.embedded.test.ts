/** The database's machine is lost: what it has acknowledged is at its standby, which takes over. On two PostgreSQL of which one follows the other. */
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@lab/embedded-postgres';
import { silentLogger, systemClock } from '@lab/process';
import { eventually, simulate } from '@lab/testing';
import { Load } from '@lab/testing/load';
import type { Verdict } from '@lab/testing/ledger';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connectionTo, Database, DatabaseUnavailableError } from '../src/store/database.ts';
import { query, trespasses } from './assignment-log.ts';
import { ConsortiumInProcess, createDatabase } from './consortium-in-process.ts';
import { longestWait } from './history.ts';
import { waitMsMax, Work } from './work.ts';

const operations = 40;
let primary: EmbeddedPostgres;
let standby: EmbeddedPostgres;
/** Of a database that both have, with both hosts. */
let url: string;

beforeEach(async () => {
  primary = await startEmbeddedPostgres();
  const { pathname } = new URL(await createDatabase(primary));
  standby = await primary.makeStandby();
  await query(primary.url, `ALTER SYSTEM SET synchronous_standby_names = 'standby'`);
  await query(primary.url, 'SELECT pg_reload_conf()');
  await eventually(
    async () => (await query(primary.url, `SELECT FROM pg_stat_replication WHERE sync_state = 'sync'`)).length > 0,
  );
  const { username, password } = new URL(primary.url);
  // The standby first: whoever takes it for the primary is seen.
  const hosts = [standby, primary].map((each) => new URL(each.url).host);
  url = `postgres://${username}:${password}@${hosts.join()}${pathname}`;
});
afterEach(async () => {
  await standby.stop();
  await primary.stop();
});

/** Of one host, which may be a standby. */
async function ask(one: string, text: string): Promise<unknown> {
  const client = new pg.Client(connectionTo(one, 'test'));
  await client.connect();
  return client.query(text).finally(() => client.end());
}
const promote = async (): Promise<void> => void (await ask(standby.url, 'SELECT pg_promote()'));

const timeout = 6 * waitMsMax;

/** What becomes of the promises when the primary dies while clients are at work, and the standby takes over. */
async function afterFailover(before: (work: Work) => Promise<void>): Promise<readonly Verdict[]> {
  let verdicts: readonly Verdict[] = [];
  const options = { seeds: 1, seedTimeoutMs: 5 * waitMsMax, env: process.env, file: import.meta.filename };
  await simulate(options, async (random) => {
    await using system = await ConsortiumInProcess.startOn(url);
    const work = new Work(system, random);
    await work.prepare();
    await using load = new Load(work, { rate: 200, clients: 6, patienceMs: 60_000 });
    await work.goOn(operations);
    await before(work);
    await load.amidWork();
    await primary.kill();
    await promote();
    await work.goOn(operations);
    verdicts = await load.verdicts();
    expect(await trespasses(url)).toBe(0);
    expect(longestWait(work.history!).waitedMs).toBeLessThan(waitMsMax);
  });
  return verdicts;
}

describe('a database of two hosts', () => {
  it('is written at the primary, wherever that is, and a request meets a standby as one that is to be asked again', async () => {
    await using stack = new AsyncDisposableStack();
    const options = { url, connections: 2, clock: systemClock, log: silentLogger };
    const database = stack.adopt(new Database(options), (each) => each.close());
    const deadline = (): number => systemClock.nowMs() + 20_000;
    const write = (text: string): Promise<unknown> => database.run({ name: text, text }, [], deadline());
    await write('CREATE TABLE written (number integer)');
    await write('INSERT INTO written VALUES (1)');
    // Of the connections that it has some lead to what is no primary any more, as after a change of roles.
    await ask(primary.url, 'ALTER SYSTEM SET default_transaction_read_only = on');
    await ask(primary.url, 'SELECT pg_reload_conf()');
    const refused = await eventually(() =>
      write('INSERT INTO written VALUES (1)').then(
        () => false,
        (error: unknown) => error,
      ),
    );
    expect(refused).toBeInstanceOf(DatabaseUnavailableError);
    await promote();
    await eventually(() =>
      write('INSERT INTO written VALUES (2)').then(
        () => true,
        () => false,
      ),
    );
    expect(
      await database.run({ name: 'all', text: 'SELECT DISTINCT number FROM written ORDER BY number' }, [], deadline()),
    ).toEqual([{ number: 1 }, { number: 2 }]);
  });

  it('is left, with every connection to it, when it slept through the end of its time', async () => {
    await using stack = new AsyncDisposableStack();
    const options = { url, connections: 2, clock: systemClock, log: silentLogger };
    const database = stack.adopt(new Database(options), (each) => each.close());
    const ports = async (): Promise<unknown[]> => {
      const port = { name: 'port', text: `SELECT current_setting('port') AS port, pg_sleep(0.2)` };
      const both = [1, 2].map(() => database.run<{ port: string }>(port, [], systemClock.nowMs() + 20_000));
      return (await Promise.all(both)).map(([row]) => row?.port);
    };
    const portOf = ({ url: one }: EmbeddedPostgres): string => new URL(one).port;
    expect(await ports()).toEqual([portOf(primary), portOf(primary)]);
    await primary.pause();
    await promote();
    const written = { name: 'write', text: 'CREATE TABLE IF NOT EXISTS written ()' };
    // One of the connections hangs, and is given up. The other one is idle.
    await eventually(() =>
      database.run(written, [], systemClock.nowMs() + 1_000).then(
        () => true,
        () => false,
      ),
    );
    await primary.resume();
    expect(await ports()).toEqual([portOf(standby), portOf(standby)]);
  });

  it('loses nothing that was acknowledged when the primary is lost while clients are at work', { timeout }, async () => {
    const verdicts = await afterFailover(() => Promise.resolve());
    expect(verdicts.filter(({ kept }) => kept !== true)).toEqual([]);
  });

  it('whose standby is not waited for loses posts, and the check names them', { timeout }, async () => {
    const verdicts = await afterFailover(async (work) => {
      await ask(primary.url, `ALTER SYSTEM SET synchronous_standby_names = ''`);
      await ask(primary.url, 'SELECT pg_reload_conf()');
      await ask(standby.url, `ALTER SYSTEM SET primary_conninfo = ''`);
      await ask(standby.url, 'SELECT pg_reload_conf()');
      await eventually(async () => (await query(primary.url, 'SELECT FROM pg_stat_replication')).length === 0);
      await work.goOn(4 * operations);
    });
    const broken = verdicts.filter(({ kept }) => kept === false);
    expect(broken.map(({ detail }) => detail).join('\n')).toMatch(/post/);
  });
});
