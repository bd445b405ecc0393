/** The faults of the promise, one by one: what is done to which machine under load, what is measured, and what was promised. */
import { setTimeout as wait } from 'node:timers/promises';
import { failedRetries, failures, isGood, outageMs, type Attempt, type Traffic } from './load.ts';
import type { System } from './system.ts';

/** One line of the table. */
export interface Result {
  readonly fault: string;
  readonly promise: string;
  readonly measured: string;
  readonly holds: boolean;
  /** The same with times that are allowed to be three times as long: this machine may be busy with something else. Counts are exact. */
  readonly holdsRoughly: boolean;
}

export interface Drill {
  readonly system: System;
  readonly load: Traffic;
}

export interface Fault {
  readonly name: string;
  /** Faults of one kind are measured and promised alike. */
  readonly kind: string;
  /** Strikes, measures and repairs; resolves when all is whole again. */
  run(drill: Drill): Promise<Result[]>;
}

/** What happens to a machine, and what ends that; what repairs itself needs nothing. */
interface Loss {
  readonly strike: (drill: Drill, machine: string) => Promise<unknown>;
  readonly repair?: (drill: Drill, machine: string) => Promise<unknown>;
}

/** Before a fault and behind a repair: so long everything must just work. */
const calmMs = 500;
/** A fault lasts so long where nothing else says how long. */
const faultMs = 3_000;

/** Whether counts are zero and times below their limits, in ms; now, and roughly. */
function judged(zero: readonly (readonly unknown[])[], limits: readonly (readonly [ms: number, limitMs: number])[]) {
  const within = (factor: number): boolean =>
    zero.every(({ length }) => length === 0) && limits.every(([ms, limitMs]) => ms <= factor * limitMs);
  return { holds: within(1), holdsRoughly: within(3) };
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;

async function calm({ system }: Drill): Promise<void> {
  await system.whole();
  await wait(calmMs);
}

/** Resolves with how long it took until an order was acknowledged that is behind that moment. */
const writesGoOn = ({ system, load }: Drill, sinceMs: number): Promise<number> =>
  system.until('writes go on', async () => load.orders.acknowledgedMs > sinceMs);

/** The active balancer is lost, and comes back. */
function balancerFault(name: string, { strike, repair }: Loss): Fault {
  const promise = 'service back within 1 s; its return costs no request that a retry does not cover';
  return {
    name,
    kind: 'balancer',
    async run(drill) {
      const { system, load } = drill;
      await calm(drill);
      const active = await system.activeBalancer();
      const struckMs = performance.now();
      await strike(drill, active);
      await wait(faultMs);
      const outage = outageMs(load, ['page'], struckMs);
      const repairedMs = performance.now();
      await repair?.(drill, active);
      await system.whole();
      await wait(calmMs);
      const uncovered = failedRetries(load, ['page', 'read', 'order'], repairedMs);
      const measured = `outage ${seconds(outage)}; ${uncovered.length} retries failed on its return`;
      return [{ fault: name, promise, measured, ...judged([uncovered], [[outage, 1_000]]) }];
    },
  };
}

/** A web server is lost. */
function webFault(name: string, { strike, repair }: Loss): Fault {
  const promise = 'retried reads do not fail; out of rotation within 2 s, gone from HAProxy within 5 s';
  return {
    name,
    kind: 'web server',
    async run(drill) {
      const { system, load } = drill;
      await calm(drill);
      const victim = (await system.webServers()).at(-1)!;
      const host = (await system.inside(victim, 'hostname')).trim();
      const struckMs = performance.now();
      const states = async (): Promise<string[]> =>
        (await system.status()).servers.filter(({ name }) => name === host).map(({ state }) => state);
      const out = system.until(`${victim} is out of rotation`, async () => !(await states()).includes('up'));
      const gone = system.until(`${victim} is gone from HAProxy`, async () => (await states()).length === 0);
      await strike(drill, victim);
      const [rotationMs, goneMs] = await Promise.all([out, gone]);
      const failed = failures(load, ['page', 'read', 'order'], struckMs);
      const retries = failedRetries(load, ['read'], struckMs);
      await repair?.(drill, victim);
      await system.whole();
      const measured = `${failed.length} requests failed, ${retries.length} retried reads; out of rotation after ${seconds(rotationMs)}, gone after ${seconds(goneMs)}`;
      const limits = [
        [rotationMs, 2_000],
        [goneMs, 5_000],
      ] as const;
      return [{ fault: name, promise, measured, ...judged([retries], limits) }];
    },
  };
}

/** Something that no request may notice. */
function unnoticed(name: string, act: (drill: Drill) => Promise<unknown>, promise = 'no failed request'): Fault {
  return {
    name,
    kind: 'unnoticed',
    async run(drill) {
      const { system, load } = drill;
      await calm(drill);
      const beganMs = performance.now();
      await act(drill);
      await system.whole();
      await wait(calmMs);
      const failed = failures(load, ['page', 'read', 'order'], beganMs);
      const done = load.attempts.filter(({ doneMs }) => doneMs >= beganMs).length;
      const why = failed[0] === undefined ? '' : `: ${failed[0].problem ?? failed[0].status}`;
      return [{ fault: name, promise, measured: `${failed.length} of ${done} requests failed${why}`, ...judged([failed], []) }];
    },
  };
}

/** The primary database is lost, and the old one returns. */
function primaryFault(name: string, limitMs: number, { strike, repair }: Loss): Fault {
  return {
    name,
    kind: 'primary',
    async run(drill) {
      const { system, load } = drill;
      await calm(drill);
      const primary = await system.primary();
      const struckMs = performance.now();
      await strike(drill, primary);
      await system.until('another primary', async () => (await system.primary()) !== primary, limitMs * 3);
      await writesGoOn(drill, performance.now());
      await wait(calmMs);
      const outage = outageMs(load, ['order'], struckMs);
      const repairedMs = performance.now();
      await repair?.(drill, primary);
      await system.whole();
      const backMs = performance.now() - repairedMs;
      return [
        {
          fault: name,
          promise: `writes back within ${limitMs / 1000} s`,
          measured: `no write for ${seconds(outage)}`,
          ...judged([], [[outage, limitMs]]),
        },
        {
          fault: `${name}, and returns`,
          promise: 'replica in sync by itself',
          measured: `in sync after ${seconds(backMs)}`,
          ...judged([], []),
        },
      ];
    },
  };
}

/** Something happens on the primary's machine; whichever database is the primary behind it. */
function hiccup(name: string, limitMs: number, { strike }: Loss): Fault {
  return {
    name,
    kind: 'hiccup',
    async run(drill) {
      const { system, load } = drill;
      await calm(drill);
      const struckMs = performance.now();
      await strike(drill, await system.primary());
      await wait(limitMs);
      await system.whole();
      const outage = outageMs(load, ['order'], struckMs);
      const promise = `writes back within ${limitMs / 1000} s, and both databases again`;
      return [{ fault: name, promise, measured: `no write for ${seconds(outage)}`, ...judged([], [[outage, limitMs]]) }];
    },
  };
}

function replicaFault(name: string, { strike, repair }: Loss): Fault {
  const promise = 'writes go on within 3 s; it may not be promoted until in sync again';
  return {
    name,
    kind: 'replica',
    async run(drill) {
      const { system, load } = drill;
      await calm(drill);
      const replica = (await system.primary()) === 'db-1' ? 'db-2' : 'db-1';
      const struckMs = performance.now();
      await strike(drill, replica);
      await system.until('the primary goes on alone', async () => !(await inSync(system)));
      await wait(faultMs);
      const outage = outageMs(load, ['order'], struckMs);
      const alone = !(await inSync(system));
      await repair?.(drill, replica);
      await system.whole();
      return [
        {
          fault: name,
          promise,
          measured: `no write for ${seconds(outage)}`,
          ...judged(alone ? [] : [['promotable']], [[outage, 3_000]]),
        },
      ];
    },
  };
}

async function inSync(system: System): Promise<boolean> {
  const { databases } = await system.status();
  return databases.some(({ status }) => status?.role === 'primary' && status.replicaInSync);
}

/** So long is waited while a majority of ZooKeeper's servers is away. */
const majorityAwayMs = 6_000;

async function withoutMajority(system: System, meanwhile: () => Promise<unknown>): Promise<void> {
  const lost = ['zookeeper-1', 'zookeeper-2'];
  await Promise.all(lost.map(system.kill));
  await meanwhile();
  await Promise.all(lost.map(system.start));
}

/** How a machine is lost, and how it comes back. */
const losses = {
  killed: { strike: ({ system }, machine) => system.kill(machine), repair: ({ system }, machine) => system.start(machine) },
  paused: { strike: ({ system }, machine) => system.pause(machine), repair: ({ system }, machine) => system.unpause(machine) },
  'cut off': { strike: ({ system }, machine) => system.cutOff(machine), repair: ({ system }, machine) => system.heal(machine) },
  'stopped in good order': {
    strike: ({ system }, machine) => system.stop(machine),
    repair: ({ system }, machine) => system.start(machine),
  },
} satisfies Record<string, Loss>;

/** A process of the machine dies, and its supervisor starts it again. */
const dies = (pattern: string): Loss => ({ strike: ({ system }, machine) => system.killProcess(machine, pattern) });
const hangs = (pattern: string): Loss => ({
  strike: ({ system }, machine) => system.inside(machine, `pkill -STOP -f '${pattern}'`),
});

/** A program of the machine that is chosen dies, and has time to come back. */
const programKilled = (name: string, machine: (system: System) => Promise<string>): Fault =>
  unnoticed(`${name} killed`, async ({ system }) => {
    await system.killProcess(await machine(system), `main.ts ${name.split(' ')[0]}`);
    await wait(faultMs);
  });

export const faults: readonly Fault[] = [
  balancerFault('active balancer killed', losses.killed),
  balancerFault('active balancer paused', losses.paused),
  balancerFault('active balancer cut off', losses['cut off']),
  balancerFault("active balancer's HAProxy dies", dies('^haproxy')),
  webFault('web server killed', losses.killed),
  webFault('web server paused', losses.paused),
  webFault('web server cut off', losses['cut off']),
  unnoticed('web server stopped', async ({ system }) => {
    const victim = (await system.webServers()).at(-1)!;
    await system.stop(victim);
    await system.start(victim);
  }),
  unnoticed('scaled up to 4, and down to 2', async ({ system }) => {
    await system.scale(4);
    await system.scale(2);
  }),
  unnoticed('rolling update of the web servers', ({ system }) => system.update()),
  programKilled('announcer', async (system) => (await system.webServers())[0]!),
  programKilled('lb-sync', (system) => system.activeBalancer()),
  programKilled('db-agent of the primary', (system) => system.primary()),
  unnoticed("leader of ZooKeeper's servers killed", async ({ system }) => {
    const leader = await system.zookeeperLeader();
    await system.kill(leader);
    await wait(faultMs);
    await system.start(leader);
  }),
  unnoticed(
    "majority of ZooKeeper's servers killed",
    ({ system }) => withoutMajority(system, () => wait(majorityAwayMs)),
    'no failed request; changes wait until it is back',
  ),
  primaryFault('primary killed', 5_000, losses.killed),
  primaryFault('primary paused', 10_000, losses.paused),
  primaryFault('primary cut off', 10_000, losses['cut off']),
  primaryFault('primary stopped in good order', 5_000, losses['stopped in good order']),
  hiccup("primary's mariadbd dies", 5_000, dies('^mariadbd')),
  hiccup("primary's db-agent hangs", 10_000, hangs('main.ts db-agent')),
  hiccup("primary's keepalived dies", 5_000, dies('^keepalived')),
  replicaFault('replica killed', losses.killed),
  replicaFault('replica paused', losses.paused),
  replicaFault('replica cut off', losses['cut off']),
  {
    name: "replica lost while ZooKeeper's majority is away",
    kind: 'majority',
    async run(drill) {
      const { system, load } = drill;
      await calm(drill);
      const replica = (await system.primary()) === 'db-1' ? 'db-2' : 'db-1';
      let lostMs = Infinity;
      let written: Attempt[] = [];
      await withoutMajority(system, async () => {
        await system.kill(replica);
        // What was on its way when the replica died may still have been answered.
        lostMs = performance.now();
        await wait(majorityAwayMs);
        written = load.attempts.filter((each) => each.kind === 'order' && isGood(each) && each.sentMs > lostMs);
      });
      const tookMs = await writesGoOn(drill, performance.now());
      await system.start(replica);
      await system.whole();
      return [
        {
          fault: this.name,
          promise: 'writes wait: the one case where safety costs availability',
          measured: `${written.length} orders answered meanwhile; writes went on ${seconds(tookMs)} after ZooKeeper was back`,
          ...judged([written], []),
        },
      ];
    },
  },
  {
    name: 'everything powered off and on',
    kind: 'everything',
    async run(drill) {
      const { system } = drill;
      await calm(drill);
      await system.compose('kill');
      const offMs = performance.now();
      await system.compose('start');
      await system.whole();
      const measured = `everything in order ${seconds(performance.now() - offMs)} after the power was back`;
      return [{ fault: this.name, promise: 'comes back by itself, nothing acknowledged lost', measured, ...judged([], []) }];
    },
  },
];
