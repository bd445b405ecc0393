import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { dirname, join } from 'node:path';
import { eventually } from '@lab/testing';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEmbeddedPostgres, type EmbeddedPostgres } from './index.ts';

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client(url);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

/** What of a server must not outlive it: its processes, the postmaster among them, and its folder. */
async function tracesOf(url: string): Promise<{ pids: number[]; folder: string }> {
  const rows = await query(
    url,
    `select pid, current_setting('data_directory') as data from pg_stat_activity where pid <> pg_backend_pid()
     union select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int, current_setting('data_directory')`,
  );
  return { pids: rows.map(({ pid }) => pid as number), folder: dirname(rows[0]!['data'] as string) };
}

/** An orphan that has ended may be waiting for the machine's first process to take note: that one is not alive. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return process.platform !== 'linux' || !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

describe('an embedded PostgreSQL', () => {
  let server: EmbeddedPostgres;
  beforeAll(async () => {
    server = await startEmbeddedPostgres();
    await query(server.url, 'create table news (headline text)');
  });
  afterAll(() => server.stop());

  it('takes SQL, with texts in the order of their code points', async () => {
    const rows = await query(
      server.url,
      `select word, upper(word) from (values ('é'), ('z'), ('B')) as words (word) order by word`,
    );
    expect(rows).toEqual([
      { word: 'B', upper: 'B' },
      { word: 'z', upper: 'Z' },
      { word: 'é', upper: 'É' },
    ]);
  });

  it('takes nobody without the password', async () => {
    const url = new URL(server.url);
    url.password = 'lab';
    await expect(query(url.href, 'select 1')).rejects.toThrow(/password authentication failed/);
  });

  it('has what was committed, and nothing else, after a kill in the middle of a transaction', async () => {
    const { pids } = await tracesOf(server.url);
    await query(server.url, `insert into news values ('committed')`);
    const open = new Client(server.url);
    await open.connect();
    const cut = once(open, 'error');
    await open.query('begin');
    await open.query(`insert into news values ('open')`);
    await server.kill();
    expect(pids.filter(isAlive)).toEqual([]);
    await cut;
    await expect(query(server.url, 'select 1')).rejects.toThrow(/ECONNREFUSED/);
    await server.restart();
    expect(await query(server.url, 'select headline from news')).toEqual([{ headline: 'committed' }]);
  });

  it('is killed once, however often it is asked to', async () => {
    await server.kill();
    await server.kill();
    await server.restart();
    expect(await query(server.url, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('stops in good order for a restart', async () => {
    await query(server.url, `insert into news values ('before the restart')`);
    await server.restart();
    expect(await query(server.url, `select headline from news where headline like 'before%'`)).toHaveLength(1);
  });

  it('says what PostgreSQL said when it does not start, and starts when it can', async () => {
    await server.kill();
    const squatter = createServer().listen(Number(new URL(server.url).port), '127.0.0.1');
    await once(squatter, 'listening');
    await expect(server.restart()).rejects.toThrow(/Address already in use/);
    squatter.close();
    await once(squatter, 'close');
    await server.restart();
    expect(await query(server.url, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('starts where the folder of temporary files is closed to others', async () => {
    const [usual, closed] = [process.env['TMPDIR'], await mkdtemp(join(tmpdir(), 'closed-'))];
    process.env['TMPDIR'] = closed;
    try {
      await using other = await startEmbeddedPostgres();
      expect(await query(other.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    } finally {
      if (usual === undefined) delete process.env['TMPDIR'];
      else process.env['TMPDIR'] = usual;
      await rm(closed, { recursive: true });
    }
  });

  it('leaves neither a process nor a folder when it is stopped, also after a kill', async () => {
    const [killed, running] = await Promise.all([startEmbeddedPostgres(), startEmbeddedPostgres()]);
    const traces = await Promise.all([killed, running].map(({ url }) => tracesOf(url)));
    await killed.kill();
    await Promise.all([killed.stop(), running.stop()]);
    expect(traces.flatMap(({ pids }) => pids).filter(isAlive)).toEqual([]);
    expect(traces.map(({ folder }) => existsSync(folder))).toEqual([false, false]);
  });

  it.each(['SIGKILL', 'SIGINT'] as const)('ends with the process that started it, when that gets %s', async (signal) => {
    const script = `const { startEmbeddedPostgres } = await import(${JSON.stringify(import.meta.resolve('./index.ts'))});
      console.log((await startEmbeddedPostgres()).url);`;
    const starter = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [url] = (await once(createInterface({ input: starter.stdout }), 'line')) as [string];
    const { pids, folder } = await tracesOf(url);
    expect(pids.filter(isAlive)).toEqual(pids);
    starter.kill(signal);
    await eventually(() => !pids.some(isAlive) && !existsSync(folder));
  });
});
