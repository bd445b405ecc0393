/**
 * Replicas on the log group, against all that may happen, each run from a seed: members come, go, die, hang, lose the broker, the registry, or both, at every step of a switch of logs too;
 * their applications are slow, or never answer a checkpoint; entries come twice, late, and minutes after their writer died.
 */
import { setImmediate } from 'node:timers/promises';
import { assertLinearizable, counter } from '@lab/checker';
import { makeMemoryRegistry, type MemoryRegistry } from '@lab/discovery';
import { makeFaulty, makeMemoryServer, type MemoryServer } from '@lab/middleware';
import { FakeClock, type Random } from '@lab/testing';
import { describe, expect, test } from 'vitest';
import { makeLogGroup, Replica, type Group, type GroupEvent, type Membership, type Service } from '../src/index.ts';
import { joinParts, splitParts } from '../src/parts.ts';
import { Fate, type SwitchStep } from './fate.ts';
import { Outcomes, simulateAll, Submissions, type Count } from './outcomes.ts';
import { checkCommands, Scroll } from './scroll.ts';

const sessionTimeoutMs = 1_500;
const closeBytes = 1_500;

/** A membership as its application sees it, slow as that may be; what passes is compared with what all others see. */
class Tap implements Membership {
  readonly #membership: Membership;
  readonly #process: Process;
  readonly #world: World;

  constructor(membership: Membership, process: Process, world: World) {
    this.#membership = membership;
    this.#process = process;
    this.#world = world;
  }

  async multicast(body: Uint8Array, service?: Service): Promise<void> {
    await this.#membership.multicast(body, service);
    if (!this.#process.fate.isDead) this.#world.resolved.push(textOf(body));
  }

  leave(): Promise<void> {
    return this.#membership.leave();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<GroupEvent> {
    for await (const event of this.#membership) {
      await this.#process.ready();
      if (event.type === 'checkpoint' && this.#process.ignoresCheckpoints) this.#world.count('checkpoints not answered');
      else yield this.#see(event);
    }
  }

  #see(event: GroupEvent): GroupEvent {
    const { order } = this.#world;
    const process = this.#process;
    switch (event.type) {
      case 'base': {
        const { header, body } = splitParts(event.state!) ?? { header: { position: 0 }, body: event.state! };
        this.#world.count(process.position === undefined ? 'joined' : 'fell behind');
        process.position = Number(header['position']);
        return { type: 'base', state: body };
      }
      case 'checkpoint': {
        this.#world.count('checkpoints');
        const { position } = process;
        return { type: 'checkpoint', save: (state) => event.save(joinParts({ position }, state)) };
      }
      case 'view': {
        const what = `view ${event.id} of ${event.members.map(({ id }) => id).join()}`;
        // After a base the view in force there is told again.
        if ((order.places.get(what) ?? Infinity) >= process.position!) process.position = order.check(what, process);
        if (process.self !== undefined && event.self !== process.self) this.#world.count('put out or renewed');
        process.self = event.self;
        return event;
      }
      case 'message':
        process.position = order.check(textOf(event.body), process);
        return event;
    }
  }
}

const textOf = (body: Uint8Array): string => `message ${Buffer.from(body).toString('latin1')}`;

/** Whoever is first at a place says what stands there; all others must agree. */
class Order {
  readonly entries: string[] = [];
  readonly places = new Map<string, number>();
  readonly faults: string[];

  constructor(faults: string[]) {
    this.faults = faults;
  }

  /** The place after it. */
  check(what: string, { name, position = 0 }: Process): number {
    if (position === this.entries.length) {
      if (this.places.has(what)) this.faults.push(`"${what}" comes twice`);
      this.places.set(what, position);
      this.entries.push(what);
    }
    const there = this.entries[position];
    if (there !== what) this.faults.push(`${name} has "${what}" at ${position}, where "${there}" stands`);
    return position + 1;
  }
}

class Process {
  readonly name: string;
  readonly fate: Fate;
  readonly replica: Replica;
  readonly scroll = new Scroll();
  readonly ignoresCheckpoints: boolean;
  /** In the one order; `undefined` before the base. */
  position: number | undefined;
  self: string | undefined;
  hasJoined = false;
  hasLeft = false;
  readonly submissions: Submissions;
  readonly #world: World;
  #paused: PromiseWithResolvers<void> | undefined;

  constructor(name: string, world: World) {
    this.name = name;
    this.#world = world;
    this.submissions = new Submissions(name, world.outcomes);
    this.ignoresCheckpoints = !world.isCalm && world.random.chance(0.05);
    const { registry, clock, random } = world;
    const faulty = makeFaulty(world.broker.connect(), { random, clock, duplicates: 0.1, delays: 0.1, delayMsMax: 400 });
    this.fate = new Fate({ clock, registry, broker: faulty, onSwitchStep: (step) => world.onSwitchStep(this, step) });
    this.replica = new Replica({
      ...{ group: this.#makeGroup(), groupName: 'sim', name, machine: this.scroll, token: name },
      // The others only watch.
      isCandidate: (member) => member.name.startsWith('s'),
    });
  }

  #makeGroup(): Group {
    const { broker, discovery, clock } = this.fate;
    const random = (): number => this.#world.random.next();
    const group = makeLogGroup({ broker, discovery, clock, random, newToken: () => `${this.name}t`, closeBytes });
    return {
      ...group,
      join: async (...names) => {
        const membership = await group.join(...names);
        this.hasJoined = true;
        return new Tap(membership, this, this.#world);
      },
    };
  }

  start(): void {
    // One that stops before it is in the group does not start.
    this.replica.start().catch(() => {});
    this.replica.failed.catch((error: Error) => this.#world.outcomes.faults.push(`${this.name} failed: ${error.stack}`));
  }

  /** The application takes no events until `resume`. */
  pause(): void {
    this.#paused ??= Promise.withResolvers();
  }

  resume(): void {
    this.#paused?.resolve();
    this.#paused = undefined;
  }

  async ready(): Promise<void> {
    while (this.#paused !== undefined) await this.#paused.promise;
    await this.fate.alive();
  }

  submit(): void {
    this.submissions.submit(this.replica, this.#world.random, () => this.fate.isDead);
  }
}

class World {
  readonly clock = new FakeClock();
  readonly broker: MemoryServer = makeMemoryServer();
  readonly registry: MemoryRegistry = makeMemoryRegistry({ clock: this.clock, sessionTimeoutMs });
  readonly random: Random;
  readonly count: Count;
  readonly processes: Process[] = [];
  readonly outcomes: Outcomes;
  readonly order: Order;
  readonly resolved: string[] = [];
  isCalm = false;

  constructor(random: Random, count: Count) {
    this.random = random;
    this.count = count;
    this.outcomes = new Outcomes(count);
    this.order = new Order(this.outcomes.faults);
  }

  get living(): Process[] {
    return this.processes.filter(({ fate, hasLeft }) => !fate.isDead && !hasLeft);
  }

  add(kind: string): Process {
    const process = new Process(`${kind}${this.processes.length}`, this);
    this.processes.push(process);
    process.start();
    return process;
  }

  async pass(ms: number): Promise<void> {
    const stepMs = ms > 5_000 ? 200 : 50;
    await setImmediate();
    for (let left = ms; left > 0; left -= stepMs) {
      this.clock.advance(Math.min(stepMs, left));
      await setImmediate();
    }
  }

  step(): void {
    const { random, living } = this;
    const dice = random.next();
    if (living.length === 0 || (dice < 0.08 && living.length < 6)) return void this.add(random.pick(['r', 's', 's']));
    const one = random.pick(living);
    if (dice < 0.11) return this.kill(one);
    if (dice < 0.14) return this.leave(one);
    if (dice < 0.18) return one.fate.cut(random.chance(0.6), random.chance(0.6));
    if (dice < 0.22) return this.hang(one);
    if (dice < 0.32) return this.restore(one);
    if (dice < 0.35) return one.pause();
    if (dice < 0.36) return this.land();
    if (one.hasJoined && !one.fate.isHung) one.submit();
  }

  kill(process: Process): void {
    process.fate.kill();
    if (this.living.length === 0) this.count('the last one died');
  }

  leave(process: Process): void {
    if (!process.hasJoined || process.fate.isHung) return this.kill(process);
    void process.replica.stop();
    process.hasLeft = true;
  }

  hang(process: Process): void {
    process.fate.hang();
    if (process.replica.leads !== undefined) this.count('a leader hung');
  }

  restore(process: Process): void {
    process.resume();
    process.fate.thaw();
  }

  /** What the dead had sent arrives. */
  land(): void {
    for (const { fate } of this.processes) if (fate.isDead) fate.land();
  }

  /** Now and then its process dies there, or another one comes. */
  onSwitchStep(process: Process, step: SwitchStep): void {
    if (this.isCalm || process.fate.isDead) return;
    const dice = this.random.next();
    if (dice < 0.06) {
      this.kill(process);
      this.count(`died at ${step}`);
    } else if (dice < 0.12 && this.living.length < 6) {
      this.add('s');
      this.count('came during a switch');
    }
  }

  /** Everybody that lives is in one view, has read all, and has an answer to all that it submitted. */
  isQuiet(): boolean {
    const { living, order } = this;
    const selves = living.map(({ self }) => self).sort();
    return living.every(
      ({ replica, position, submissions }) =>
        position === order.entries.length &&
        submissions.submitted === submissions.settled &&
        replica.view?.members
          .map(({ id }) => id)
          .sort()
          .join() === selves.join(),
    );
  }

  calmDown(): void {
    this.isCalm = true;
    for (const process of this.living) this.restore(process);
    if (this.living.every(({ ignoresCheckpoints }) => ignoresCheckpoints)) this.add('s');
  }

  async quiet(): Promise<void> {
    for (let tries = 0; tries < 600 && !this.isQuiet(); tries++) await this.pass(100);
    const where = this.living.map(({ name, self, position, replica, submissions: { submitted, settled } }) => ({
      ...{ name, self, position, view: replica.view?.members, submitted, settled },
    }));
    expect(this.isQuiet(), `${JSON.stringify(where)} of ${this.order.entries.length}`).toBe(true);
  }
}

async function scenario(random: Random, count: Count): Promise<void> {
  const world = new World(random, count);
  world.add(random.pick(['r', 's']));
  for (let steps = random.integer(15, 60); steps > 0; steps--) {
    world.step();
    await world.pass(random.pick([0, 50, 50, 200, 1_000, 4_000]));
    expect(world.outcomes.faults).toEqual([]);
  }
  if (random.chance(0.1)) {
    await world.pass(120_000);
    world.land();
    count('landed minutes late');
  }
  world.calmDown();
  await world.quiet();
  for (const process of world.living) process.submit();
  await world.quiet();
  check(world);
  for (const { replica, hasJoined } of world.living) if (hasJoined) void replica.stop();
}

function check(world: World): void {
  const { living, order, resolved } = world;
  const { applied, fenced, faults } = world.outcomes;
  expect(faults).toEqual([]);
  expect(
    resolved.filter((text) => !order.places.has(text)),
    'what resolved is there',
  ).toEqual([]);
  const first = living[0]!;
  const { lines, commands } = first.scroll;
  checkCommands(lines, fenced);
  expect(
    applied.filter(({ text, place }) => !commands[place - 1]?.endsWith(` ${text}`)),
    'what was answered is so',
  ).toEqual([]);
  assertLinearizable(counter, world.outcomes.history.operations);
  const leader = first.replica.view?.members.find(({ name }) => name.startsWith('s'));
  for (const { name, scroll, replica } of living) {
    expect(scroll.lines, `${name} has what ${first.name} has`).toEqual(lines);
    expect(replica.leadership, `${name} knows who leads`).toEqual(first.replica.leadership);
    expect(replica.leads !== undefined, `${name} knows whether it leads`).toBe(leader?.name === name);
  }
}

/** What must have happened somewhere in all the runs. */
const expected = [
  ...['applied', 'applied as leader', 'FencedError', 'IndefiniteError', 'joined', 'fell behind', 'put out or renewed'],
  ...['a leader hung', 'the last one died', 'landed minutes late', 'checkpoints', 'checkpoints not answered'],
  ...['came during a switch', 'died at declare', 'died at append', 'died at remove', 'died at write', 'died at written'],
];

describe('the log group, simulated', () => {
  test('whatever dies, hangs or is cut off, all accept one order, and what resolved is in it', { timeout: 1_200_000 }, () =>
    simulateAll(import.meta.filename, expected, scenario),
  );
});
