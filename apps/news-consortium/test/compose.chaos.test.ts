/**
 * Every part of the system is killed, paused or cut off in real containers, in an order that a seed chooses, while clients do whatever clients do. They go on by
 * themselves; what all of them did and saw is checked against the promises in the end. `SEED=7` repeats an order.
 */
import { eventually, seededRandom } from '@lab/testing';
import type { Container } from '@lab/testing/containers';
import { Load } from '@lab/testing/load';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { query } from './assignment-log.ts';
import { agents, databases, NewsComposeSystem } from './compose-system.ts';
import { longestWait } from './history.ts';
import { waitMsMax, Work } from './work.ts';

/** Operations that must be done after a fault struck, before it ends: the clients went on without whoever is away. */
const operationsDuringFault = 100;
const nodes = [1, 2, 3];
const seed = Number(process.env['SEED'] ?? 1);
const random = seededRandom(seed);

let system: NewsComposeSystem;
beforeAll(async () => {
  system = await NewsComposeSystem.start('chaos', { LEASE: '1s' });
}, 300_000);
afterAll(() => system[Symbol.asyncDispose](), 120_000);

/** The container of the agent that holds the lock. */
async function decider(): Promise<string> {
  return eventually(async () => {
    const [row] = await query<{ agent: string }>(
      system.databaseUrl,
      `SELECT agent FROM deciding WHERE EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 710002 AND granted)`,
    );
    return row?.agent ?? '';
  });
}

const anyNode = (): Container => system.container('node', random.pick(nodes));
const notDeciding = async (): Promise<Container> => {
  const deciding = await decider();
  return system.container(agents.find((name) => name !== deciding)!);
};
const deciding = async (): Promise<Container> => system.container(await decider());

interface Fault {
  readonly what: string;
  readonly victim: () => Container | Promise<Container>;
  readonly strike: (victim: Container) => Promise<void>;
  readonly repair: (victim: Container) => Promise<void>;
  /** Without the database nothing goes on. */
  readonly stopsAll?: true;
}

const killed = {
  strike: (victim: Container) => victim.kill(),
  repair: async (victim: Container) => {
    await victim.start();
    await system.refresh();
  },
};
const paused = { strike: (victim: Container) => victim.pause(), repair: (victim: Container) => victim.unpause() };
const cutOff = { strike: (victim: Container) => victim.partition(), repair: (victim: Container) => victim.heal() };
const primary = async (): Promise<Container> => system.container(await system.replicated());
const standby = async (): Promise<Container> => {
  const leading = await system.replicated();
  return system.container(databases.find((name) => name !== leading)!);
};
const both = {
  strike: async () => void (await system.compose('kill', ...databases)),
  repair: async () => {
    await system.compose('start', ...databases);
    await system.refresh();
  },
};

const faults: readonly Fault[] = [
  { what: 'a node is killed', victim: anyNode, ...killed },
  { what: 'a node is paused', victim: anyNode, ...paused },
  { what: 'a node is cut off', victim: anyNode, ...cutOff },
  { what: 'a node is stopped', victim: anyNode, ...killed, strike: (victim) => victim.stop() },
  { what: 'an agent is killed', victim: notDeciding, ...killed },
  { what: 'an agent is paused', victim: notDeciding, ...paused },
  { what: 'an agent is cut off', victim: notDeciding, ...cutOff },
  { what: 'the deciding agent is killed', victim: deciding, ...killed },
  { what: 'the deciding agent is paused', victim: deciding, ...paused },
  { what: 'the deciding agent is cut off', victim: deciding, ...cutOff },
  { what: 'the primary is killed', victim: primary, ...killed },
  { what: 'the primary is stopped', victim: primary, ...killed, strike: (victim) => victim.stop() },
  { what: 'the primary is paused', victim: primary, ...paused },
  { what: 'the primary is cut off', victim: primary, ...cutOff },
  { what: 'the standby is killed', victim: standby, ...killed },
  { what: 'the monitor is killed', victim: () => system.container('postgres-monitor'), ...killed },
  { what: 'primary and standby are killed', victim: primary, ...both, stopsAll: true },
];

it(`keeps its promises whatever is killed, paused or cut off (seed ${seed})`, { timeout: 900_000 }, async () => {
  const work = new Work(system, random.fork('work'));
  await work.prepare();
  await using load = new Load(work, { rate: 200, clients: 6 });
  const report: string[] = [];
  for (const fault of random.shuffle(faults)) {
    await work.goOn(operationsDuringFault);
    const victim = await fault.victim();
    await load.amidWork();
    let sinceMs = Date.now();
    await fault.strike(victim);
    if (fault.stopsAll !== true) await work.goOn(operationsDuringFault);
    await fault.repair(victim);
    // With the database away nobody can be answered: what counts is how soon they are when it is back.
    if (fault.stopsAll === true) sinceMs = Date.now();
    await work.goOn(operationsDuringFault);
    // One fault at a time: where the standby has not all yet, the primary may not be lost.
    await system.replicated();
    report.push(`${fault.what}: nobody waited longer than ${waitSince(work, sinceMs)} ms`);
  }
  const verdicts = await load.verdicts();
  console.log([...report, `${work.operations.length} operations in all`].join('\n'));
  expect(verdicts.filter(({ kept }) => kept !== true)).toEqual([]);
  expect(longestWait(work).waitedMs).toBeLessThan(waitMsMax);
});

/** The longest part of any wait that lies behind this moment. */
function waitSince({ operations }: Work, sinceMs: number): number {
  const waits = operations
    .filter(({ completedMs }) => completedMs >= sinceMs && completedMs !== Infinity)
    .map(({ invokedMs, completedMs }) => completedMs - Math.max(invokedMs, sinceMs));
  return Math.max(0, ...waits);
}
