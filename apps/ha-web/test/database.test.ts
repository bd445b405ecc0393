/**
 * The agents' protocol, on two modelled machines: whatever fails and whenever, no row that a client was told is stored is lost, and none that a client has read is
 * gone for the next.
 */
import { assertLinearizable, byKey, History, register, type RegisterInput } from '@lab/checker';
import { makeMemoryRegistry, type Discovery } from '@lab/discovery';
import { FakeClock, simulate, type Random } from '@lab/testing';
import { expect, it } from 'vitest';
import type { DatabaseRecord } from '../src/database/domain/next-step.ts';
import { World, type Life, type Machine, type MachineName } from './database-model.ts';

const names: readonly MachineName[] = ['db-1', 'db-2'];

/** `rpl_semi_sync_master_wait_point`: whether a commit that waits for the replica is hidden from other clients. */
type WaitPoint = 'AFTER_SYNC' | 'AFTER_COMMIT';

/** A register for each row: whether it is there. */
const rows = byKey(register(false));

/** Clients that write and read wherever a door is open, and remember what they were told. */
class Clients {
  readonly acknowledged = new Set<string>();
  readonly history: History<RegisterInput<boolean> & { key: string }, boolean | undefined>;
  /** The newest rows. */
  readonly #written: string[] = [];
  /** The latest in which anything was acknowledged. */
  #epoch = 0;
  readonly #world: World;
  readonly #random: Random;
  readonly #waitPoint: WaitPoint;

  constructor(world: World, random: Random, waitPoint: WaitPoint) {
    this.#world = world;
    this.#random = random;
    this.#waitPoint = waitPoint;
    this.history = new History(world.clock);
    for (let client = 0; client < 3; client++) this.#use(`client ${client}`);
  }

  #use(client: string): void {
    const again = (): void => void this.#world.clock.after(this.#random.integer(5, 150), () => this.#use(client));
    const machine = this.#world.machines[this.#random.pick(names)];
    const { life } = machine;
    if (!life || !machine.doorOpen || machine.paused) return again();
    if (this.#written.length > 0 && this.#random.chance(0.5)) {
      this.#read(client, life);
      return again();
    }
    if (!life.writable) return again();
    this.#write(client, machine, life, again);
  }

  #read(client: string, { data, waiters }: Life): void {
    const key = this.#random.pick(this.#written);
    const hidden = this.#waitPoint === 'AFTER_SYNC' ? waiters.length : 0;
    const isThere = data.log.slice(0, data.log.length - hidden).some(({ id }) => id === key);
    this.history.begin(client, { op: 'read', key }).ok(isThere);
  }

  #write(client: string, machine: Machine, life: Life, again: () => void): void {
    const id = this.#world.newId();
    this.#written.push(id);
    if (this.#written.length > 5) this.#written.shift();
    const call = this.history.begin(client, { op: 'write', key: id, value: true });
    // A client that hears nothing goes away; its row may be stored later.
    let waits = true;
    const cancel = this.#world.clock.after(2_000, () => {
      waits = false;
      again();
    });
    void life.commit({ id, ofClient: true }).then(() => {
      if (!life.alive || !waits) return;
      cancel();
      call.ok(undefined);
      this.acknowledged.add(id);
      this.#acknowledgedIn(life.data.epochs.at(-1)?.epoch ?? 0, machine.name);
      again();
    });
  }

  /** Two databases that acknowledge would be of two epochs. */
  #acknowledgedIn(epoch: number, by: MachineName): void {
    if (epoch < this.#epoch) this.#world.problems.push(new Error(`${by} acknowledged in epoch ${epoch}, behind ${this.#epoch}`));
    this.#epoch = Math.max(this.#epoch, epoch);
  }
}

async function recordOf(observer: Discovery): Promise<DatabaseRecord | undefined> {
  const state = await observer.record('database').read();
  return state && (JSON.parse(state.text) as DatabaseRecord);
}

const logOf = (machine: Machine): Set<string> => new Set((machine.life?.data ?? machine.data).log.map(({ id }) => id));

async function check(world: World, clients: Clients, observer: Discovery): Promise<DatabaseRecord | undefined> {
  const told = [...clients.acknowledged];
  const record = await recordOf(observer);
  if (world.problems[0]) throw world.problems[0];
  if (record === undefined) {
    expect(told).toEqual([]);
    return undefined;
  }
  const primary = world.machines[record.primary as MachineName];
  // It has lost its disk, and lets nobody in.
  if (primary.data.empty) return record;
  const has = logOf(primary);
  const lost = told.filter((id) => !has.has(id));
  if (lost.length > 0)
    throw new Error(
      `at ${world.clock.nowMs()} ms ${record.primary} of epoch ${record.epoch} has not ${lost.length} rows: ${lost.slice(0, 5).join()}`,
    );
  return record;
}

const faults: Readonly<Record<string, (world: World, random: Random, machine: Machine) => () => void>> = {
  killServer: (_, __, machine) => (machine.killServer(), () => undefined),
  killAgent: (_, __, machine) => (machine.killAgent(), () => undefined),
  applySlowly: (_, __, machine) => ((machine.appliesFast = false), () => (machine.appliesFast = true)),
  stopApplying: (_, __, machine) => {
    if (machine.life) machine.life.applying = false;
    return () => undefined;
  },
  deceive: (_, __, machine) => ((machine.deceived = true), () => (machine.deceived = false)),
  pause: (_, __, machine) => (machine.pause(), () => machine.resume()),
  powerOff: (_, __, machine) => (machine.powerOff(), () => machine.powerOn()),
  allOff: (world, random) => {
    const machines = random.shuffle(Object.values(world.machines));
    for (const machine of machines) machine.powerOff();
    return () => {
      machines[0]!.powerOn();
      world.clock.after(random.integer(0, 5_000), () => machines[1]!.powerOn());
    };
  },
  cutBetween: (world) => ((world.linked = false), () => (world.linked = true)),
  cutVrrp: (world) => ((world.vrrpCut = true), () => (world.vrrpCut = false)),
  cutFromRegistry: (world, _, { name }) => (world.cut(name, true), () => world.cut(name, false)),
  registryAway: (world) => {
    for (const name of names) world.cut(name, true);
    return () => {
      for (const name of names) world.cut(name, false);
    };
  },
  cutOff: (world, _, { name }) => {
    world.cut(name, true);
    world.linked = false;
    return () => {
      world.cut(name, false);
      world.linked = true;
    };
  },
};

async function healed(world: World, clients: Clients, observer: Discovery): Promise<void> {
  world.linked = true;
  world.vrrpCut = false;
  for (const name of names) {
    world.machines[name].appliesFast = true;
    world.machines[name].deceived = false;
    world.machines[name].resume();
    world.cut(name, false);
    world.machines[name].powerOn();
  }
  // Twice a lease, a session, a rebuild and several tries.
  for (let waitedMs = 0; waitedMs < 40_000; waitedMs += 500) {
    await world.clock.advanceAsync(500);
    const record = await check(world, clients, observer);
    if (record === undefined) continue;
    const primary = world.machines[record.primary as MachineName];
    const both =
      primary.life?.writable && primary.doorOpen && record.replicaInSync && record.replicaBootId === primary.peer.life?.bootId;
    if (both && !primary.peer.doorOpen && waitedMs > 5_000) return;
  }
  throw new Error(
    `not whole again after everything healed: ${JSON.stringify([await recordOf(observer), ...names.map((name) => world.machines[name].agent?.agent.status())])}`,
  );
}

/** Of the primary; its replica takes over, or, where it was not in sync, keeps what may be the last that there is. */
async function loseDisk(world: World, clients: Clients, observer: Discovery, random: Random): Promise<void> {
  // Behind the last repair of what was healed already.
  await world.clock.advanceAsync(20_000);
  const primary = world.machines[(await recordOf(observer))!.primary as MachineName];
  const replica = primary.peer;
  if (random.chance(0.5)) {
    primary.loseDisk();
    return healed(world, clients, observer);
  }
  replica.powerOff();
  while ((await recordOf(observer))!.replicaInSync) await world.clock.advanceAsync(100);
  const kept = logOf(replica);
  primary.loseDisk();
  replica.powerOn();
  await world.clock.advanceAsync(10_000);
  const left = logOf(replica);
  expect([...kept].filter((id) => !left.has(id))).toEqual([]);
  if (world.problems[0]) throw world.problems[0];
}

/** Twelve faults, one after the other and at once, until all has healed, and then a lost disk. */
async function scenario(random: Random, waitPoint: WaitPoint): Promise<{ told: number; takeovers: number }> {
  const clock = new FakeClock();
  const registry = makeMemoryRegistry({ clock, sessionTimeoutMs: 2_000 });
  const world = new World(clock, random.fork('world'), registry);
  const observer = registry.connect();
  const clients = new Clients(world, random.fork('clients'), waitPoint);
  for (const name of names) world.machines[name].powerOn();
  await clock.advanceAsync(5_000);
  for (let fault = 0; fault < 12; fault++) {
    const repair = faults[random.pick(Object.keys(faults))]!(world, random, world.machines[random.pick(names)]);
    clock.after(random.integer(50, 12_000), repair);
    const steps = random.integer(1, 12);
    for (let step = 0; step < steps; step++) {
      await clock.advanceAsync(random.pick([20, 100, 300, 1_000]));
      await check(world, clients, observer);
    }
  }
  await healed(world, clients, observer);
  await loseDisk(world, clients, observer, random);
  assertLinearizable(rows, clients.history.operations);
  return { told: clients.acknowledged.size, takeovers: (await recordOf(observer))!.epoch - 1 };
}

const simulation = { seeds: 150, env: process.env, file: import.meta.filename };

it(
  'loses no acknowledged row, shows none that may be lost, and is whole again when all that was killed, paused or cut off has healed',
  // Each seed has a limit of its own; all together take as long as the machine is busy.
  { timeout: 900_000 },
  async () => {
    let told = 0;
    let takeovers = 0;
    await simulate(simulation, async (random) => {
      const outcome = await scenario(random, 'AFTER_SYNC');
      told += outcome.told;
      takeovers += outcome.takeovers;
    });
    expect(told).toBeGreaterThan(1_000);
    expect(takeovers).toBeGreaterThan(0);
  },
);

it(
  'would show rows that are gone after a failover, if they were to be seen before the replica has them',
  { timeout: 900_000 },
  async () => {
    const run = simulate({ ...simulation, env: {} }, async (random) => void (await scenario(random, 'AFTER_COMMIT')));
    await expect(run).rejects.toThrow(/not linearizable on .* read\("[^"]*"\) → false/s);
  },
);
