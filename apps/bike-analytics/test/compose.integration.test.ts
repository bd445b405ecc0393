/** The system as `npx nx up` starts it, on a real RabbitMQ. */
import { encodeTable } from '@lab/columns';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from '@lab/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { compareAnswers } from '../src/demo.ts';
import { defaultSettings, queries, type Answers } from '../src/domain/queries.ts';
import { generateDataset } from '../data/generate.ts';
import { encode, type Head } from '../src/messages.ts';
import { answerStraight } from '../data/straight-loop.ts';
import { BikeComposeSystem } from './compose-system.ts';

const app = join(import.meta.dirname, '..');
const execute = promisify(execFile);
const sessionTimeoutSeconds = 30;

let directory: string;
let system: BikeComposeSystem;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'bike-integration-'));
  system = await BikeComposeSystem.start('integration', { TRIPS_SOLVERS: '2', SESSION_TIMEOUT: `${sessionTimeoutSeconds}s` });
}, 300_000);

afterAll(async () => {
  await system[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

it('answers the file-reader as the straight loop does', { timeout: 900_000 }, async () => {
  const output = join(directory, 'results.json');
  const args = [
    'file-reader',
    '--data',
    join(app, 'data'),
    '--entry-point',
    `127.0.0.1:${system.port}`,
    '--connect-timeout',
    '10m',
    '--output',
    output,
  ];
  const { stdout } = await execute(process.execPath, [join(app, 'src/main.ts'), ...args]);
  expect(stdout).toContain('3. Stations of montreal reached from more than 6 km away on average:');
  const results = JSON.parse(await readFile(output, 'utf8')) as Answers;
  expect(compareAnswers(await answerStraight(join(app, 'data')), results)).toEqual([]);
});

it('answers several clients at once, each its own, and then has nothing left of them', async () => {
  const sets = [1, 2, 3].map((seed) => ({ data: join(directory, String(seed)), seed }));
  for (const { data, seed } of sets) await generateDataset({ directory: data, trips: 30_000 * seed, seed });
  await Promise.all(
    sets.map(async ({ data }) =>
      expect(compareAnswers(await answerStraight(data), await system.runClient({ data, batchRows: 500 }))).toEqual([]),
    ),
  );
  await eventually(async () => (await system.queuedMessages()).size === 0, { timeoutMs: 60_000, intervalMs: 1000 });
});

it('erases the session of a client that went away everywhere, after the session timeout', async () => {
  const socket = await system.connect();
  const session = '12345678-0000-4000-8000-000000000000';
  const asked = { settings: defaultSettings, progress: false, queries: queries.map(({ name }) => name) };
  await socket.send(encode({ kind: 'hello', session, acknowledged: {}, ...asked }));
  for (let number = 0; number < 20; number++) {
    const batch: Head<'batch'> = { kind: 'batch', topic: 'weather', eof: 0, number, city: 'toronto', rows: 1 };
    await socket.send(encode(batch, encodeTable({ day: Int32Array.of(number), rainMm: Float64Array.of(40) })));
  }
  // 20 at the eof-listener and 20 at each of the two shards of query 1.
  await eventually(async () => [...(await system.queuedMessages()).values()].reduce((sum, count) => sum + count, 0) === 60, {
    timeoutMs: 120_000,
  });
  socket.destroy();
  await eventually(async () => (await system.queuedMessages()).size === 0, { timeoutMs: 60_000, intervalMs: 1000 });
});

it('refuses a second instance of a role that runs once, with the reason', async () => {
  const refused = await system
    .compose('run', '--rm', 'solver-1')
    .catch((error: Error & { stderr: string; code: number }) => error);
  expect(refused).toMatchObject({ code: 1 });
  expect(JSON.stringify(refused)).toContain('has one consumer only, and another instance is it');
});

it('refuses a setting of two solvers, with the reason', async () => {
  const refused = await system
    .compose('run', '--rm', '--env', 'SOLVERS=2', 'solver-1')
    .catch((error: Error & { stderr: string; code: number }) => error);
  expect(refused).toMatchObject({ code: 2 });
  expect(JSON.stringify(refused)).toContain('runs once: one solver sees all parts of an answer');
});
