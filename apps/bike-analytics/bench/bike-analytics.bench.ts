/**
 * The system against DuckDB with two threads, on the same CSV files, in the same run. DuckDB's time includes its reading of the files; ours runs from the
 * first frame to the accepted result, with the processes started. `--trips N` sets the size (default 10 million), `--json FILE` writes the rows.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { eventually, explainBench, freePort, median, reportBench, type BenchRow } from '@lab/testing';
import { startRabbitmq } from '@lab/testing/containers';
import { generateDataset } from '../data/generate.ts';
import { roles } from '../src/wiring.ts';

explainBench();

const { values } = parseArgs({
  options: { trips: { type: 'string', default: '10000000' }, rounds: { type: 'string', default: '3' }, json: { type: 'string' } },
});
const trips = Number(values.trips);
const app = join(import.meta.dirname, '..');
const data = join(app, '../../tmp', `bike-${trips}`);
const roleMemoryMaxMb = 300;
const embeddedMemoryMaxMb = 600;
/** In its first runs every process compiles its code, which is no cost of replicas: so many runs make it small. */
const replicaRounds = 8;
/** Of so many small sessions at once no role needs more memory, either. */
const tinySessions = 100;

interface Usage {
  seconds: number;
  cpuSeconds: number;
  peakMb: number;
}

/** Runs a script that prints its measurement as its last line. */
async function measure(script: string, args: readonly string[]): Promise<Usage> {
  const child = spawn(process.execPath, [join(import.meta.dirname, script), ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  const [code] = (await once(child, 'close')) as [number];
  if (code !== 0) throw new Error(`${script} ended with exit code ${code}: ${output}`);
  return JSON.parse(output.trim().split('\n').at(-1) ?? '') as Usage;
}

/** What the kernel says of a running process: CPU so far, and its largest resident size. */
function usageOf(pid: number): Omit<Usage, 'seconds'> {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  const ticksPerSecond = 100;
  const peakKb = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]!;
  return { cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond, peakMb: Number(peakKb) / 1024 };
}

interface RoleProcess {
  name: string;
  child: ChildProcess;
}

async function startRole(name: string, settings: Record<string, string>, processes: RoleProcess[]): Promise<void> {
  const healthPort = await freePort();
  const all = { ...settings, 'health-port': String(healthPort), 'log-level': 'warn' };
  const flags = Object.entries(all).flatMap(([flag, value]) => [`--${flag}`, value]);
  const child = spawn(process.execPath, [join(app, 'src/main.ts'), name, ...flags], { stdio: ['ignore', 'inherit', 'inherit'] });
  processes.push({ name, child });
  const healthy = async (): Promise<boolean> => (await fetch(`http://127.0.0.1:${healthPort}/healthz`)).ok;
  await eventually(healthy, { timeoutMs: 120_000 });
}

interface RabbitmqRuns {
  runs: Usage[];
  /** By role, of all its replicas and all runs; RabbitMQ and the file-reader among them. */
  perRole: Map<string, Omit<Usage, 'seconds'>>;
}

/** With so many replicas of each filter and trips-solver; `script` is what a client does. */
async function throughRabbitmq(rounds: number, replicas: number, script = 'file-reader-run.ts'): Promise<RabbitmqRuns> {
  await using rabbitmq = await startRabbitmq();
  const listen = `127.0.0.1:${await freePort()}`;
  const many = { filters: String(replicas), 'trips-solvers': String(replicas) };
  const settings = { 'rabbitmq-url': rabbitmq.url, listen, ...many };
  const processes: RoleProcess[] = [];
  try {
    const names = [...roles].flatMap(([name, role]) =>
      Array.from({ length: ['filters', 'tripsSolvers'].includes(role.replicas) ? replicas : 1 }, () => name),
    );
    await Promise.all(names.map((name) => startRole(name, settings, processes)));
    const startSeconds = new Map(processes.map(({ child }) => [child, usageOf(child.pid!).cpuSeconds]));
    const idleSeconds = await rabbitmq.cpuSeconds();
    const runs: Usage[] = [];
    for (let round = 0; round < rounds; round++) runs.push(await measure(script, [data, listen]));
    const perRole = new Map<string, Omit<Usage, 'seconds'>>();
    for (const { name, child } of processes) {
      const { cpuSeconds, peakMb } = usageOf(child.pid!);
      const others = perRole.get(name) ?? { cpuSeconds: 0, peakMb: 0 };
      const sinceStart = cpuSeconds - startSeconds.get(child)!;
      perRole.set(name, { cpuSeconds: others.cpuSeconds + sinceStart, peakMb: Math.max(others.peakMb, peakMb) });
    }
    perRole.set('rabbitmq', { cpuSeconds: (await rabbitmq.cpuSeconds()) - idleSeconds, peakMb: 0 });
    perRole.set('file-reader', {
      cpuSeconds: runs.reduce((sum, run) => sum + run.cpuSeconds, 0),
      peakMb: Math.max(...runs.map((run) => run.peakMb)),
    });
    return { runs, perRole };
  } finally {
    // Also where one of them did not start: what is left would answer the next run.
    for (const { child } of processes) child.kill();
    for (const { child } of processes) if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }
}

const seconds = (runs: readonly Usage[]): number => median(runs.map((run) => run.seconds));
const atMost = (name: string, value: number, unit: string, limit: number): BenchRow => ({
  name,
  value,
  unit,
  target: `<= ${limit}`,
  holds: value <= limit,
});
const cpuOf = (perRole: RabbitmqRuns['perRole']): number =>
  [...perRole.values()].reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0);
const shown = (name: string, value: number, unit: string): BenchRow => ({ name, value, unit, target: null, holds: null });

async function main(): Promise<void> {
  if (!existsSync(join(data, 'washington/trips.csv'))) {
    process.stderr.write(`making ${trips.toLocaleString('en')} trips in ${data}\n`);
    await generateDataset({ directory: data, trips, seed: 1 });
  }
  const rounds = Number(values.rounds);
  const duckdb: Usage[] = [];
  const embedded: Usage[] = [];
  for (let round = 0; round < rounds; round++) {
    process.stderr.write(`round ${round + 1} of ${rounds}: DuckDB, embedded\n`);
    duckdb.push(await measure('duckdb-run.ts', [data]));
    embedded.push(await measure('embedded-run.ts', [data]));
  }
  process.stderr.write('through RabbitMQ, one process per role\n');
  const { runs, perRole } = await throughRabbitmq(replicaRounds, 1);
  process.stderr.write('the same with two of each filter and trips-solver\n');
  const doubled = await throughRabbitmq(replicaRounds, 2);
  process.stderr.write(`${tinySessions} small sessions at once\n`);
  const tiny = await throughRabbitmq(1, 1, 'tiny-sessions-run.ts');
  tiny.perRole.delete('file-reader');
  duckdb.push(await measure('duckdb-run.ts', [data]));
  const reference = seconds(duckdb);
  await reportBench(
    [
      shown('DuckDB, 2 threads', reference, 's'),
      shown('embedded', seconds(embedded), 's'),
      shown('embedded, rows per second', trips / seconds(embedded), '1/s'),
      atMost('embedded / DuckDB', seconds(embedded) / reference, 'ratio', 0.6),
      shown('through RabbitMQ', seconds(runs), 's'),
      shown('through RabbitMQ, rows per second', trips / seconds(runs), '1/s'),
      atMost('through RabbitMQ / DuckDB', seconds(runs) / reference, 'ratio', 1.5),
      shown('through RabbitMQ, CPU of all processes', cpuOf(perRole) / replicaRounds, 's'),
      atMost('the same with two of each filter and trips-solver', cpuOf(doubled.perRole) / cpuOf(perRole), 'ratio', 1.1),
      shown('embedded, CPU', median(embedded.map((run) => run.cpuSeconds)), 's'),
      atMost(
        `${tinySessions} small sessions at once, peak memory of a role`,
        Math.max(...[...tiny.perRole.values()].map(({ peakMb }) => peakMb)),
        'MB',
        roleMemoryMaxMb,
      ),
      atMost('embedded, peak memory', Math.max(...embedded.map((run) => run.peakMb)), 'MB', embeddedMemoryMaxMb),
      ...[...perRole].flatMap(([name, { cpuSeconds, peakMb }]) => [
        shown(`${name}, CPU per run`, cpuSeconds / replicaRounds, 's'),
        ...(name === 'rabbitmq' ? [] : [atMost(`${name}, peak memory`, peakMb, 'MB', roleMemoryMaxMb)]),
      ]),
    ],
    process.argv.slice(2),
  );
}

await main();
