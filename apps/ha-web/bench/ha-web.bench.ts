/**
 * What the balancer costs, and how long failovers take. The same load (a page of products) goes through the floating address, behind which there are two web servers, and to one web
 * server directly; in the same run, in turn. Then a fixed rate, for the latency that is added. Then each failover ten times. `--seconds N`, `--rounds N` and
 * `--failovers N` make it shorter, `--json FILE` writes the rows.
 */
import { Agent, request } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { compareInTurn, explainBench, median, reportBench, type BenchRow } from '@lab/testing';
import { ensureEngine } from '../../../docker/engine.ts';
import { outageMs, Traffic } from '../deploy/drill/load.ts';
import { System } from '../deploy/drill/system.ts';

explainBench();

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    failovers: { type: 'string', default: '10' },
    json: { type: 'string' },
  },
});
const [seconds, rounds, failovers] = [Number(options.seconds), Number(options.rounds), Number(options.failovers)];
if (!(seconds > 0) || !(rounds >= 1) || !(failovers >= 0))
  throw new RangeError('--seconds, --rounds and --failovers are numbers from 1 on');

const lanes = 16;
const path = '/api/products?size=12';
const fixedPerSecond = 200;

const agent = new Agent({ keepAlive: true, maxSockets: 256 });

function ask(origin: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const outgoing = request(`${origin}${path}`, { agent, timeout: 5_000 }, (incoming) => {
      incoming
        .on('error', reject)
        .on('end', () => (incoming.statusCode === 200 ? resolve() : reject(new Error(`${incoming.statusCode}`))));
      incoming.resume();
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer in 5 s')));
    outgoing.on('error', reject).end();
  });
}

/** Requests per second, with so many under way at a time. */
async function flatOut(origin: string): Promise<number> {
  let done = 0;
  const startMs = performance.now();
  const run = async (): Promise<void> => {
    while (performance.now() - startMs < seconds * 1_000) {
      await ask(origin);
      done++;
    }
  };
  await Promise.all(Array.from({ length: lanes }, run));
  return (done / (performance.now() - startMs)) * 1_000;
}

/** The median of what requests take when they are sent at a fixed rate, whether earlier ones were answered or not. */
async function atFixedRate(origin: string): Promise<number> {
  const tookMs: number[] = [];
  const asked: Promise<void>[] = [];
  const startMs = performance.now();
  for (let number = 0; number < fixedPerSecond * seconds; number++) {
    const dueMs = startMs + (number * 1_000) / fixedPerSecond;
    while (performance.now() < dueMs) await wait(Math.max(0, dueMs - performance.now()));
    const sentMs = performance.now();
    asked.push(ask(origin).then(() => void tookMs.push(performance.now() - sentMs)));
  }
  await Promise.all(asked);
  return median(tookMs);
}

async function speedRows(system: System): Promise<BenchRow[]> {
  const { servers } = await system.status();
  const direct = `http://${servers.find(({ service }) => service === 'api-servers')!.address}`;
  await flatOut(system.url);
  await flatOut(direct);
  const flat = await compareInTurn(rounds, { ours: () => flatOut(system.url), theirs: () => flatOut(direct) });
  const fixed = await compareInTurn(rounds, { ours: () => atFixedRate(system.url), theirs: () => atFixedRate(direct) });
  const added = fixed.ours - fixed.theirs;
  return [
    { name: 'requests through the balancer, two web servers', value: flat.ours, unit: '/s', target: null, holds: null },
    { name: 'requests to one web server directly', value: flat.theirs, unit: '/s', target: null, holds: null },
    { name: 'through the balancer / directly', value: flat.ratio, unit: 'ratio', target: '>= 0.7', holds: flat.ratio >= 0.7 },
    { name: `p50 at ${fixedPerSecond}/s, directly`, value: fixed.theirs, unit: 'ms', target: null, holds: null },
    { name: `p50 at ${fixedPerSecond}/s, added by the balancer`, value: added, unit: 'ms', target: '<= 2', holds: added <= 2 },
  ];
}

/** What is killed, and which requests stand still. */
const killed = [
  { name: 'active balancer killed', victim: (system: System) => system.activeBalancer(), kind: 'page', limitMs: 1_000 },
  { name: 'primary killed', victim: (system: System) => system.primary(), kind: 'order', limitMs: 5_000 },
] as const;

async function failoverRows(system: System): Promise<BenchRow[]> {
  const load = await Traffic.start(system, 4);
  const rows: BenchRow[] = [];
  for (const { name, victim, kind, limitMs } of killed) {
    const outages: number[] = [];
    for (let run = 0; run < failovers; run++) {
      const machine = await victim(system);
      const struckMs = performance.now();
      await system.kill(machine);
      await wait(limitMs + 1_000);
      outages.push(outageMs(load, [kind], struckMs));
      await system.start(machine);
      await system.whole();
    }
    const row = (what: string, ms: number, holds: boolean | null): BenchRow => ({
      ...{ name: `${name}, outage, ${what} of ${failovers}`, value: ms / 1_000, unit: 's', holds },
      target: holds === null ? null : `<= ${limitMs / 1_000}`,
    });
    const [min, max] = [Math.min(...outages), Math.max(...outages)];
    rows.push(row('min', min, null), row('median', median(outages), null), row('max', max, max <= limitMs));
  }
  await load.stop();
  return rows;
}

await ensureEngine();
// What is measured is the system, not its spans.
process.env['LAB_TRACE'] = 'off';
const system = await System.of({ name: 'bench', externalPrefix: '10.86.0', internalPrefix: '10.86.1' });
await system.down();
try {
  await system.up();
  const rows = await speedRows(system);
  if (failovers > 0) rows.push(...(await failoverRows(system)));
  await reportBench(rows, process.argv.slice(2));
} finally {
  await system.down();
}
process.exit();
