/**
 * Posts and reads through a node, against the same SQL behind a bare framed server (bare.ts) and against bare `pg`, in the same run, on the same PostgreSQL,
 * with the same connections and as much at a time. Node, bare server and PostgreSQL are processes of their own; the load comes from this one. Who goes first
 * changes from round to round. Then posts where commits take their time, and what a watcher waits for. `--seconds N` is how long each is measured in a round,
 * `--rounds N` how often, `--json FILE` writes the rows.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startEmbeddedPostgres } from '@lab/embedded-postgres';
import { systemClock } from '@lab/process';
import type { FramedSocket } from '@lab/protocol';
import { compareInTurn, eventually, explainBench, freePort, median, reportBench, type BenchRow } from '@lab/testing';
import { startProcess, type RunningProcess } from '@lab/testing/processes';
import pg from 'pg';
import { ask, connectTo } from '../src/wire/asking.ts';
import { Consortium } from '../src/client/consortium.ts';
import { type Body, type Session } from '../src/messages.ts';
import { decodeReply, encodeRequest } from '../src/wire/encoding.ts';
import { connectionTo } from '../src/store/database.ts';
import { newsStatements } from '../src/store/news.ts';
import { Watch } from '../test/recording-client.ts';
import { slowCommits } from '../test/slow-commits.ts';

explainBench();

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '5' },
    json: { type: 'string' },
  },
});
const [seconds, rounds] = [Number(options.seconds), Number(options.rounds)];
if (!(seconds > 0) || !Number.isInteger(rounds) || rounds < 1) throw new RangeError('--seconds and --rounds must be above 0');

/** Requests under way at a time, each on a connection of its own. */
const lanes = 32;
const areas = Array.from({ length: 16 }, (_, index) => `area-${index + 1}`);
/** Of a durable commit on a laptop's disk. */
const commitMs = 20;
/** Posts that a watcher is to hear of. */
const heardPosts = 100;
/** Items of a read. */
const pageItems = 10;
const text = 'It rains in the north and in the south, and in the west there is wind. '.repeat(3);
const timeoutMs = 10_000;
const main = join(import.meta.dirname, '../src/main.ts');

const started: RunningProcess[] = [];

function startProgram(args: readonly string[], env: Record<string, string>): RunningProcess {
  const program = startProcess(args, { ...process.env, ...env });
  started.push(program);
  return program;
}

const freeAddress = async (): Promise<string> => `127.0.0.1:${await freePort()}`;

/** What a lane does again and again; `lane` says which one it is, and `area` the number of its area, where that is another. */
type Step = (lane: number, area?: number) => Promise<unknown>;

interface Measured {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
}

async function load(step: Step, count = lanes): Promise<Measured> {
  const tookMs: number[] = [];
  const startMs = performance.now();
  const run = async (lane: number): Promise<void> => {
    while (performance.now() - startMs < seconds * 1_000) {
      const beginMs = performance.now();
      await step(lane);
      tookMs.push(performance.now() - beginMs);
    }
  };
  await Promise.all(Array.from({ length: count }, (_, lane) => run(lane)));
  const elapsedMs = performance.now() - startMs;
  tookMs.sort((a, b) => a - b);
  const at = (share: number): number => tookMs[Math.floor(tookMs.length * share)]!;
  return { perSecond: (tookMs.length / elapsedMs) * 1_000, p50Ms: at(0.5), p99Ms: at(0.99) };
}

const connections = (address: string): Promise<FramedSocket[]> =>
  Promise.all(Array.from({ length: lanes }, () => connectTo(address)));

function stepsOfNode(sockets: readonly FramedSocket[], users: readonly Session[]): { post: Step; read: Step } {
  const request = async <K extends 'post' | 'read'>(lane: number, kind: K, body: Body<K>): Promise<void> => {
    decodeReply(kind, await sockets[lane]!.request(encodeRequest(kind, timeoutMs, body), { timeoutMs }));
  };
  const of = (area: number) => ({ token: users[area % users.length]!.token, area: areas[area % areas.length]! });
  return {
    post: (lane, area = lane) => request(lane, 'post', { ...of(area), key: randomUUID(), text }),
    read: (lane) => request(lane, 'read', { ...of(lane), limit: pageItems }),
  };
}

/** The values of the SQL, as a node would give them. */
type ValuesOf = (lane: number, statement: 'post' | 'read') => unknown[];

function stepsOfBare(sockets: readonly FramedSocket[], valuesOf: ValuesOf): { post: Step; read: Step } {
  const request = (statement: 'post' | 'read') => async (lane: number) => {
    const frame = Buffer.from(JSON.stringify({ statement, values: valuesOf(lane, statement) }));
    JSON.parse((await sockets[lane]!.request(frame, { timeoutMs })).toString());
  };
  return { post: request('post'), read: request('read') };
}

function stepsOfPg(pool: pg.Pool, valuesOf: ValuesOf): { post: Step; read: Step } {
  const query = (statement: 'post' | 'read') => (lane: number) =>
    pool.query({ ...newsStatements[statement], values: valuesOf(lane, statement) });
  return { post: query('post'), read: query('read') };
}

async function measure(databaseUrl: string): Promise<BenchRow[]> {
  const [agentAddress, nodeAddress] = [await freeAddress(), await freeAddress()];
  const env = { DATABASE_URL: databaseUrl, LOG_LEVEL: 'error', ADMIN_PASSWORD: 'bench bench' };
  startProgram([main, 'agent', '--listen', agentAddress], env);
  startProgram([main, 'node', '--listen', nodeAddress, '--agents', agentAddress], env);
  const bare = startProgram([join(import.meta.dirname, 'bare.ts')], env);
  const port = Number(await bare.line());
  const consortium = new Consortium({
    agents: () => Promise.resolve([agentAddress]),
    ...{ ask, clock: systemClock, patienceMs: 30_000 },
  });
  const admin = await consortium.ask('login', { name: 'admin', password: 'bench bench', key: randomUUID() });
  const users: Session[] = [];
  for (const area of areas) await consortium.ask('addArea', { token: admin.token, area, nodes: 1, key: area });
  for (const [index, area] of areas.entries()) {
    const user = { name: `user-${index}`, password: 'bench bench', key: randomUUID() };
    await consortium.ask('register', { ...user, key: user.name });
    const session = await consortium.ask('login', { ...user, key: randomUUID() });
    users.push(session);
    await consortium.ask('subscribe', { token: session.token, area, key: area });
  }

  const pool = new pg.Pool({ ...connectionTo(databaseUrl, 'bench'), max: 10 });
  const sessions = await pool.query<{ id: string; node: string }>(
    'SELECT s.id, n.id AS node FROM sessions s JOIN users u ON u.id = s.user_id, nodes n ORDER BY u.name',
  );
  const mine = sessions.rows.slice(1);
  const valuesOf: ValuesOf = (lane, statement) => {
    const { id, node } = mine[lane % mine.length]!;
    const rest = statement === 'post' ? [randomUUID(), text] : [null, pageItems];
    return [id, areas[lane % areas.length], node, ...rest];
  };
  const steps = {
    node: stepsOfNode(await connections(nodeAddress), users),
    bare: stepsOfBare(await connections(`127.0.0.1:${port}`), valuesOf),
    pg: stepsOfPg(pool, valuesOf),
  };

  const rows: BenchRow[] = [];
  for (const kind of ['post', 'read'] as const) {
    for (const each of Object.values(steps)) await load(each[kind]);
    const samples: Measured[] = [];
    const ours = async (): Promise<number> => {
      const sample = await load(steps.node[kind]);
      samples.push(sample);
      return sample.perSecond;
    };
    const theirs = async (): Promise<number> => (await load(steps.bare[kind])).perSecond;
    const { ours: perSecond, theirs: barePerSecond, ratio } = await compareInTurn(rounds, { ours, theirs });
    const pgPerSecond = (await load(steps.pg[kind])).perSecond;
    const spread = median(samples.map(({ p50Ms, p99Ms }) => p99Ms / p50Ms));
    const row = (name: string, value: number, unit: string): BenchRow => ({ name, value, unit, target: null, holds: null });
    rows.push(
      row(`${kind}s through a node`, perSecond, '/s'),
      row(`${kind}s, bare framed server`, barePerSecond, '/s'),
      row(`${kind}s, bare pg`, pgPerSecond, '/s'),
      { name: `${kind}s, node / bare framed server`, value: ratio, unit: 'ratio', target: '>= 0.8', holds: ratio >= 0.8 },
      row(`${kind}s, node / bare pg`, perSecond / pgPerSecond, 'ratio'),
      row(`${kind}s, bare framed server / bare pg`, barePerSecond / pgPerSecond, 'ratio'),
      row(`${kind}s, p50`, median(samples.map(({ p50Ms }) => p50Ms)), 'ms'),
      row(`${kind}s, p99`, median(samples.map(({ p99Ms }) => p99Ms)), 'ms'),
      { name: `${kind}s, p99 / p50`, value: spread, unit: 'ratio', target: '<= 5', holds: spread <= 5 },
    );
  }
  const lookUp = await load(() => ask(agentAddress, 'where', { area: areas[0] }, { timeoutMs }), 8);
  const login = await load(
    (lane) => ask(agentAddress, 'login', { name: `user-${lane}`, password: 'bench bench', key: randomUUID() }, { timeoutMs }),
    2,
  );
  const apart = (name: string, { perSecond, p50Ms }: Measured): BenchRow[] => [
    { name: `${name}, a connection each`, value: perSecond, unit: '/s', target: null, holds: null },
    { name: `${name}, p50`, value: p50Ms, unit: 'ms', target: null, holds: null },
  ];
  rows.push(...apart('node look-ups, 8 at a time', lookUp), ...apart('logins, 2 at a time', login));
  await pool.end();
  rows.push(await measureWatch(consortium, users[0]!));
  // Connections of their own: a node closes those that are silent for long.
  rows.push(...(await measureSlowCommits(databaseUrl, stepsOfNode(await connections(nodeAddress), users).post)));
  return rows;
}

/** From the acknowledgement of a post on. */
async function measureWatch(consortium: Consortium, { token, name: user }: Session): Promise<BenchRow> {
  const area = areas[0]!;
  const watch = new Watch({ user, token, consortium }, area);
  await watch.begun();
  const tookMs: number[] = [];
  for (let post = 1; post <= heardPosts; post++) {
    const { number } = await consortium.ask('post', { token, area, key: randomUUID(), text });
    const beginMs = performance.now();
    await eventually(() => watch.has(number), { intervalMs: 1 });
    tookMs.push(performance.now() - beginMs);
  }
  await watch.stop();
  const value = tookMs.sort((a, b) => a - b)[Math.floor(heardPosts * 0.99) - 1]!;
  return { name: 'a watcher hears of a post, p99', value, unit: 'ms', target: '<= 200', holds: value <= 200 };
}

/** Posts wait for those before them in their area, and not for others. */
async function measureSlowCommits(databaseUrl: string, post: Step): Promise<BenchRow[]> {
  await slowCommits(databaseUrl, commitMs);
  const inAll = await load(post, areas.length);
  const inOne = await load((lane) => post(lane, 0), areas.length);
  await slowCommits(databaseUrl, 0);
  const ratio = inAll.perSecond / inOne.perSecond;
  const row = (where: string, value: number, unit: string) => ({
    name: `posts at commits of ${commitMs} ms, ${where}`,
    value,
    unit,
  });
  return [
    { ...row('in one area', inOne.perSecond, '/s'), target: null, holds: null },
    { ...row(`in ${areas.length} areas`, inAll.perSecond, '/s'), target: null, holds: null },
    { ...row(`in ${areas.length} areas / in one`, ratio, 'ratio'), target: '>= 8', holds: ratio >= 8 },
  ];
}

const postgres = await startEmbeddedPostgres();
try {
  await reportBench(await measure(postgres.url), process.argv.slice(2));
} finally {
  await Promise.all(started.map((program) => program.stop()));
  await postgres.stop();
}
process.exit();
