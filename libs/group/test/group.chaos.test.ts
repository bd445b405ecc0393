/** Members as processes: killed, stopped for longer than their sessions, and continued; the leader and the writer of views among them. */
import { eventually } from '@lab/testing';
import { startRabbitmq, startZookeeper, type RabbitmqServer, type ZookeeperServer } from '@lab/testing/containers';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { MemberProcess, type MemberEvent } from './member-events.ts';
import { randomToken } from './token.ts';

const rounds = 10;
const sessionTimeoutMs = 1_500;
const patience = { timeoutMs: 120_000, intervalMs: 20 };

let rabbitmq: RabbitmqServer;
let zookeeper: ZookeeperServer;
let world: World;
beforeAll(async () => void ([rabbitmq, zookeeper] = await Promise.all([startRabbitmq(), startZookeeper()])));
afterEach(() => Promise.all(world.living.map((member) => member.kill())));
afterAll(() => Promise.all([rabbitmq[Symbol.asyncDispose](), zookeeper[Symbol.asyncDispose]()]));

/** All processes that there ever were, and the one order that their journals and views must be pieces of. */
class World {
  readonly #groupName = `g${randomToken()}`;
  readonly all: MemberProcess[] = [];
  living: MemberProcess[] = [];
  readonly order: string[] = [];
  /** By id: the members of a view, and how many lines stand before it. */
  readonly #views = new Map<string, string>();
  readonly differences: string[] = [];
  readonly #restored = new Set<MemberProcess>();

  add(): MemberProcess {
    const member = new MemberProcess(
      {
        ...{ rabbitmq: rabbitmq.url, zookeeper: zookeeper.address, groupName: this.#groupName },
        ...{ name: `m${this.all.length}`, sessionTimeoutMs, isSilent: false },
      },
      (event, process) => this.#compare(event, process),
    );
    this.all.push(member);
    this.living.push(member);
    return member;
  }

  /** Whoever is first at a place of the order says what stands there. */
  #compare(event: MemberEvent, process: MemberProcess): void {
    const { lines, settings } = process;
    if (event.type === 'applied') this.#expectSame(settings.name, lines.length - 1, event.line);
    if (event.type === 'restored') event.lines.forEach((line, place) => this.#expectSame(settings.name, place, line));
    if (event.type === 'restored') return void this.#restored.add(process);
    // After its state was restored, a member is told again the view that is in force there.
    if (event.type !== 'view' || this.#restored.delete(process)) return;
    const what = `${event.cause} ${event.members.join(' ')} after ${lines.length} lines`;
    const known = this.#views.get(event.id) ?? what;
    this.#views.set(event.id, known);
    if (known !== what) this.differences.push(`${settings.name} saw view ${event.id} as "${what}", others as "${known}"`);
  }

  #expectSame(name: string, place: number, line: string): void {
    this.order[place] ??= line;
    if (this.order[place] !== line) this.differences.push(`${name} has "${line}" at ${place}, others "${this.order[place]}"`);
  }

  /** All that live are in one view, and nobody else. */
  agree(members: readonly MemberProcess[] = this.living): Promise<boolean> {
    return eventually(() => {
      const selves = members.map(({ self }) => self).sort();
      return members.every(({ view }) => view !== undefined && [...view.members].sort().join() === selves.join());
    }, patience);
  }

  /** Each of these gets so many more commands through. */
  async goOn(members: readonly MemberProcess[], count: number): Promise<void> {
    const before = members.map(({ resolved }) => resolved.length);
    await eventually(() => members.every(({ resolved }, index) => resolved.length >= before[index]! + count), patience);
  }

  async kill(victim: MemberProcess): Promise<void> {
    this.living = this.living.filter((member) => member !== victim);
    await victim.kill();
    expect(victim.inFlight).toBeGreaterThan(0);
    await this.agree();
    await this.goOn(this.living, 5);
    this.add();
  }

  /** A machine that hangs, and wakes up with all that it believed. */
  async stopAndContinue(victim: MemberProcess): Promise<void> {
    const before = victim.self;
    victim.signal('SIGSTOP');
    const others = this.living.filter((member) => member !== victim);
    await this.agree(others);
    expect(victim.inFlight).toBeGreaterThan(0);
    await this.goOn(others, 5);
    victim.signal('SIGCONT');
    await eventually(() => victim.self !== undefined && victim.self !== before, patience);
  }
}

test(
  'members are killed and stopped, leaders too: all that live have one order, what resolved is in it, and no old leader speaks in it',
  { timeout: 600_000 },
  async () => {
    world = new World();
    for (let count = 0; count < 3; count++) world.add();
    for (let round = 0; round < rounds; round++) {
      await world.agree();
      await world.goOn(world.living, 10);
      // All are candidates, so the oldest leads.
      const oldest = world.living.find(({ view, self }) => view?.members[0] === self)!;
      const victim = round % 4 < 2 ? oldest : world.living.find((member) => member !== oldest)!;
      if (round % 2 === 0) await world.kill(victim);
      else await world.stopAndContinue(victim);
    }
    await world.agree();
    world.living.forEach((member) => member.rest());
    await eventually(() => world.living.every(({ rests }) => rests), patience);
    await eventually(() => world.living.every(({ lines }) => lines.length === world.order.length), patience);
    check(world);
    expect(await Promise.all(world.living.splice(0).map((member) => member.end()))).toEqual([0, 0, 0]);
  },
);

function check({ all, differences, order }: World): void {
  expect(differences).toEqual([]);
  const places = new Map(order.map((line, place) => [line, place]));
  expect(places.size, 'no line stands twice').toBe(order.length);
  const resolved = all.flatMap((member) => member.resolved);
  expect(
    resolved.filter((line) => !places.has(line)),
    'what resolved is there',
  ).toEqual([]);
  const fenced = all.flatMap((member) => member.fenced);
  expect(fenced.length, 'some leader hung while it spoke').toBeGreaterThan(0);
  expect(fenced.filter((line) => places.has(line))).toEqual([]);
  const leaders = order.flatMap((line) => {
    const [, speaker, epoch] = /^(\S+)\.\d+ leader (\d+)$/.exec(line) ?? [];
    return speaker === undefined ? [] : [{ speaker, epoch: Number(epoch) }];
  });
  const epochs = leaders.map(({ epoch }) => epoch);
  expect(epochs, 'no old leader speaks after a new one').toEqual(epochs.toSorted((x, y) => x - y));
  const speakers = new Set(leaders.map(({ speaker, epoch }) => `${epoch} ${speaker}`));
  expect(speakers.size, 'in an epoch one leads').toBe(new Set(epochs).size);
  expect(speakers.size, 'the leadership changed hands').toBeGreaterThan(rounds / 4);
}
