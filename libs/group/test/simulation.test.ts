/**
 * The protocol against all that may happen, each run from a seed: members come, go, die, hang, lose the broker, the registry, or both; entries come twice, late, and after
 * their writer was put out.
 */
import { setImmediate } from 'node:timers/promises';
import { makeMemoryRegistry, type Discovery, type MemoryRegistry } from '@lab/discovery';
import { makeFaulty, makeMemoryServer, type Broker, type LogEntry, type MemoryServer } from '@lab/middleware';
import { FakeClock, simulate, type Random } from '@lab/testing';
import { describe, expect, test } from 'vitest';
import { makeLogGroup, type Group, type Membership } from '../src/index.ts';

const sessionTimeoutMs = 1_500;

/** A broker whose connection can be cut: calls wait, and go through when it heals. */
class Cable {
  #open: Promise<void> | undefined;
  #heal = (): void => {};
  cut(): void {
    this.#open ??= new Promise((resolve) => (this.#heal = resolve));
  }
  heal(): void {
    this.#heal();
    this.#open = undefined;
  }
  async through(): Promise<void> {
    while (this.#open !== undefined) await this.#open;
  }
  wrap(broker: Broker): Broker {
    return {
      ...{ features: broker.features, consume: broker.consume.bind(broker), publish: broker.publish.bind(broker) },
      declare: async (topology) => (await this.through(), broker.declare(topology)),
      append: async (log, body) => (await this.through(), broker.append(log, body)),
      remove: async (what) => (await this.through(), broker.remove(what)),
      read: async (log, from) => (await this.through(), this.#reader(await broker.read(log, from))),
      close: () => broker.close(),
    };
  }
  #reader(reader: AsyncIterableIterator<LogEntry>): AsyncIterableIterator<LogEntry> {
    const next = async (): Promise<IteratorResult<LogEntry>> => {
      const result = await reader.next();
      await this.through();
      return result;
    };
    return { next, return: () => reader.return!(), [Symbol.asyncIterator]: () => this.#reader(reader) };
  }
}

/** One process: what it sent, and where it stands in the order of all. */
class Process {
  readonly cable = new Cable();
  readonly discovery: Discovery;
  readonly group: Group;
  readonly name: string;
  readonly #world: World;
  membership: Membership | undefined;
  dead = false;
  registryCut = false;
  position = 0;
  /** The id of the view that has it. */
  view: { id: string; members: readonly string[]; self: string | undefined } | undefined;
  sent = 0;

  constructor(name: string, world: World) {
    this.name = name;
    this.#world = world;
    this.discovery = world.registry.connect();
    const broker = this.cable.wrap(
      makeFaulty(world.broker.connect(), {
        random: world.random,
        clock: world.clock,
        duplicates: 0.1,
        delays: 0.1,
        delayMsMax: 400,
      }),
    );
    let tokens = 0;
    const newToken = (): string => `${name}t${tokens++}`;
    this.group = makeLogGroup({ broker, discovery: this.discovery, clock: world.clock, newToken, closeBytes: 1_500 });
  }

  async run(): Promise<void> {
    const membership = await this.group.join('sim', this.name);
    this.membership = membership;
    for await (const event of membership) {
      if (this.dead) return;
      switch (event.type) {
        case 'base':
          this.#world.count(this.view === undefined ? 'joined' : 'fell behind');
          this.position = event.state!.length === 0 ? 0 : Number(event.state!.toString());
          break;
        case 'view': {
          const members = event.members.map(({ id }) => id);
          const what = `view ${event.id} ${members.join()}`;
          // After a base the view in force there is told again.
          if (!this.#world.order.slice(0, this.position).includes(what)) this.#see(what);
          if (this.view?.self !== undefined && event.self !== this.view.self) this.#world.count('put out or renewed');
          this.view = { id: event.id, members, self: event.self };
          break;
        }
        case 'message':
          this.#see(`message ${event.body.toString()}`);
          break;
        case 'checkpoint':
          this.#world.count('checkpoints');
          event.save(Buffer.from(String(this.position)));
      }
    }
  }

  /** Whoever is first at a place of the order says what stands there; all others must agree. */
  #see(what: string): void {
    const { order } = this.#world;
    const there = order[this.position];
    if (there === undefined && this.position === order.length) order.push(what);
    else if (there !== what) this.#world.faults.push(`${this.name} has "${what}" at ${this.position}, where "${there}" stands`);
    this.position++;
  }

  multicast(): void {
    if (this.membership === undefined) return;
    const text = `${this.name}:${++this.sent}`;
    const { resolved, indefinite } = this.#world;
    this.membership.multicast(Buffer.from(text)).then(
      () => void (this.dead || resolved.push(text)),
      () => {
        this.#world.count('indefinite');
        if (!this.dead) indefinite.push(text);
      },
    );
  }
}

class World {
  readonly clock = new FakeClock();
  readonly broker: MemoryServer = makeMemoryServer();
  readonly registry: MemoryRegistry = makeMemoryRegistry({ clock: this.clock, sessionTimeoutMs });
  readonly random: Random;
  readonly processes: Process[] = [];
  /** The one order: views and messages. */
  readonly order: string[] = [];
  readonly resolved: string[] = [];
  readonly indefinite: string[] = [];
  readonly faults: string[] = [];

  readonly count: (what: string) => void;

  constructor(random: Random, count: (what: string) => void) {
    this.random = random;
    this.count = count;
  }

  get living(): Process[] {
    return this.processes.filter(({ dead }) => !dead);
  }

  add(): void {
    const process = new Process(`p${this.processes.length}`, this);
    this.processes.push(process);
    void process.run();
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 50) {
      this.clock.advance(Math.min(50, left));
      await setImmediate();
    }
  }

  step(): void {
    const { random, living } = this;
    const one = living.length > 0 ? random.pick(living) : undefined;
    const dice = random.next();
    if (one === undefined || (dice < 0.08 && living.length < 6)) return this.add();
    if (dice < 0.12) return this.kill(one);
    if (dice < 0.15) return this.leave(one);
    if (dice < 0.2) return this.cut(one, random.next() < 0.6, random.next() < 0.6);
    if (dice < 0.3) return this.heal(one);
    one.multicast();
  }

  kill(process: Process): void {
    process.dead = true;
    process.cable.cut();
    this.registry.crash(process.discovery);
  }

  leave(process: Process): void {
    if (process.membership === undefined) return this.kill(process);
    process.dead = true;
    void process.membership.leave();
  }

  cut(process: Process, broker: boolean, registry: boolean): void {
    if (broker) process.cable.cut();
    if (registry && !process.registryCut) this.registry.cut(process.discovery);
    process.registryCut ||= registry;
  }

  heal(process: Process): void {
    process.cable.heal();
    if (process.registryCut) this.registry.heal(process.discovery);
    process.registryCut = false;
  }

  /** Everybody that lives is in one view, has read all, and has nothing under way. */
  isQuiet(): boolean {
    const { living } = this;
    const selves = living.map(({ view }) => view?.self).sort();
    return living.every(
      ({ view, position }) =>
        view !== undefined && position === this.order.length && [...view.members].sort().join() === selves.join(),
    );
  }
}

async function scenario(random: Random, count: (what: string) => void): Promise<void> {
  const world = new World(random, count);
  for (let count = random.integer(1, 4); count > 0; count--) world.add();
  for (let steps = random.integer(20, 80); steps > 0; steps--) {
    world.step();
    await world.pass(random.pick([0, 50, 50, 200, 1_000, 4_000]));
  }
  for (const process of world.living) world.heal(process);
  if (world.living.length === 0) world.add();
  for (let tries = 0; tries < 400 && !world.isQuiet(); tries++) await world.pass(100);
  expect(world.faults).toEqual([]);
  expect(
    world.isQuiet(),
    JSON.stringify(world.living.map(({ name, view, position }) => ({ name, view, position, of: world.order.length }))),
  ).toBe(true);
  for (const process of world.living) process.multicast();
  await world.pass(5_000);
  check(world);
  for (const process of world.processes) void process.membership?.leave();
}

function check(world: World): void {
  expect(world.faults).toEqual([]);
  const messages = world.order.filter((what) => what.startsWith('message ')).map((what) => what.slice('message '.length));
  expect(new Set(messages).size, 'no message comes twice').toBe(messages.length);
  expect(
    world.resolved.filter((text) => !messages.includes(text)),
    'what resolved is there',
  ).toEqual([]);
  for (const { name, dead, sent } of world.processes) {
    const own = messages.filter((text) => text.startsWith(`${name}:`)).map((text) => Number(text.slice(name.length + 1)));
    expect(own, `${name}'s messages are in its order`).toEqual([...own].sort((a, b) => a - b));
    if (dead) continue;
    const settled = [...world.resolved, ...world.indefinite].filter((text) => text.startsWith(`${name}:`));
    expect(settled.length, `all of ${name}'s multicasts have settled`).toBe(sent);
  }
}

describe('the log group, simulated', () => {
  test('whatever dies, hangs or is cut off, all accept one order, and what resolved is in it', { timeout: 600_000 }, async () => {
    const counts: Record<string, number> = {};
    const count = (what: string): void => void (counts[what] = (counts[what] ?? 0) + 1);
    await simulate({ seeds: 500, env: process.env, file: import.meta.filename }, (random) => scenario(random, count));
    console.log(counts);
  });
});
