/**
 * Replicas on the log group under faults: members come, go, die, stand still, lose the broker or the registry between any two steps; their applications are slow, or never answer a checkpoint; entries
 * come twice, late, and long after their writer has died.
 */
import { assertLinearizable, counter } from '@lab/checker';
import { sleep } from '@lab/process';
import {
  processKinds,
  PromiseBroken,
  SimulatedBroker,
  SimulatedRegistry,
  type Life,
  type SimulatedSystem,
  type World,
} from '@lab/simulation';
import { decodeEntry } from '../src/entries.ts';
import { makeLogGroup, Replica, type Group, type GroupEvent, type Membership, type Service } from '../src/index.ts';
import { joinParts, splitParts } from '../src/parts.ts';
import { Outcomes, Submissions, type Count } from './outcomes.ts';
import { checkCommands, Scroll } from './scroll.ts';

const sessionTimeoutMs = 1_500;
const faultsForMs = 30_000;

type Load = Readonly<Record<'members' | 'commands' | 'closeBytes', number>>;

/** With a mistake in it, it is for proving that the mistake is found. `count` is told what has happened. */
export type Library = Pick<typeof import('../src/index.ts'), 'makeLogGroup' | 'Replica'>;

export function simulatedGroup(
  library: Library = { makeLogGroup, Replica },
  count: Count = () => undefined,
): SimulatedSystem<Load> {
  return {
    name: 'group',
    kinds: [...processKinds, 'twice', 'lands late', 'delivered late', 'connection lost', 'cut from registry'],
    workload: (random) => ({
      members: random.integer(1, 5),
      commands: random.integer(0, 120),
      closeBytes: random.pick([1_500, 6_000, 100_000]),
    }),
    least: { members: 1, commands: 0, closeBytes: 1_500 },
    faultsForMs,
    settleMs: 120_000,
    liveness: 'Whoever lives comes to be in the view, and all that was multicast settles',
    promises: [
      'Any two members accept prefixes of one sequence of messages and views',
      'Messages of one member keep their order',
      'A multicast that resolved is in every later state',
      'A command resolves with what it returned here, or is fenced, or is indefinite',
      'What was answered is so at all',
      'What was fenced happened nowhere',
      'No command is applied twice',
      'State and messages meet at one place of the order, so all states are equal there',
      'Who is out stays out',
      'One leads in an epoch, and epochs grow',
      'The leader is the candidate that has been in the group longest',
      'The leader knows that it leads, and nobody else believes it',
    ],
    prepare: async (load) => (world) => new Run(world, library, count, load).run(load.members),
  };
}

/** What an entry says. */
function describeEntry(body: Uint8Array): string {
  const entry = decodeEntry(Buffer.from(body));
  switch (entry?.kind) {
    case 'head':
      return `head after ${entry.previous ?? 'nothing'}`;
    case 'view':
      return `view ${entry.epoch}.${entry.number}: ${entry.members.join(' ')}`;
    case 'close':
      return `close ${entry.epoch}.${entry.number}`;
    case 'message':
      return `${entry.sender} #${entry.number}: ${splitParts(entry.body)?.body.toString() ?? ''}`;
    case 'leave':
      return `leave ${entry.sender}`;
    case 'probe':
      return `probe of ${entry.token}`;
    case undefined:
      return 'no entry';
  }
}

const textOf = (body: Uint8Array): string => `message ${Buffer.from(body).toString('latin1')}`;

/** Whoever is first at a place says what stands there; all others must agree. */
class Order {
  readonly entries: string[] = [];
  readonly places = new Map<string, number>();
  #members: readonly string[] = [];
  readonly #gone = new Set<string>();

  /** The place after it. */
  check(what: string, name: string, position: number, members = this.#members): number {
    const broken = (detail: string): PromiseBroken =>
      new PromiseBroken('Any two members accept prefixes of one sequence of messages and views', detail);
    if (position === this.entries.length) {
      if (this.places.has(what)) throw broken(`"${what}" comes twice`);
      this.places.set(what, position);
      this.entries.push(what);
      this.#checkMembers(members);
    }
    const there = this.entries[position];
    if (there !== what) throw broken(`${name} has "${what}" at ${position}, where "${there}" stands`);
    return position + 1;
  }

  #checkMembers(members: readonly string[]): void {
    const back = members.find((id) => this.#gone.has(id));
    if (back !== undefined) throw new PromiseBroken('Who is out stays out', `${back} came back`);
    for (const id of this.#members) if (!members.includes(id)) this.#gone.add(id);
    this.#members = members;
  }
}

/** A membership as its application sees it, slow as that may be; what passes is compared with what all others see. */
class Tap implements Membership {
  /** In the one order; `undefined` before the base. */
  position: number | undefined;
  self: string | undefined;
  /** After a base the view in force there is told again. */
  #isAfterBase = false;
  readonly #membership: Membership;
  readonly #life: Life;
  readonly #run: Run;
  readonly #ignoresCheckpoints: boolean;

  constructor(membership: Membership, life: Life, run: Run) {
    this.#membership = membership;
    this.#life = life;
    this.#run = run;
    this.#ignoresCheckpoints = life.name !== 's1' && life.random.chance(0.05);
  }

  async multicast(body: Uint8Array, service?: Service): Promise<void> {
    await this.#membership.multicast(body, service);
    if (!this.#life.isDead) this.#run.resolved.push(textOf(body));
  }

  leave(): Promise<void> {
    return this.#membership.leave();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<GroupEvent> {
    const life = this.#life;
    const { clock } = life;
    for await (const event of this.#membership) {
      const lateMs = life.strikes('delivered late', life.place('take', event.type));
      if (lateMs !== undefined) await sleep(clock, lateMs);
      await life.awake();
      if (event.type === 'checkpoint' && this.#ignoresCheckpoints) this.#run.count('checkpoints not answered');
      else yield this.#see(event);
    }
  }

  #see(event: GroupEvent): GroupEvent {
    const { order, count } = this.#run;
    const { name } = this.#life;
    switch (event.type) {
      case 'base': {
        const { header, body } = splitParts(event.state!) ?? { header: { position: 0 }, body: event.state! };
        if (this.position !== undefined) count('fell behind');
        this.position = Number(header['position']);
        this.#isAfterBase = true;
        return { type: 'base', state: body };
      }
      case 'checkpoint': {
        const { position } = this;
        return { type: 'checkpoint', save: (state) => event.save(joinParts({ position }, state)) };
      }
      case 'view': {
        const members = event.members.map(({ id }) => id);
        const what = `${event.cause}: view ${event.id} of ${members.join()}`;
        const isTold = this.#isAfterBase && (order.places.get(what) ?? Infinity) < this.position!;
        if (!isTold) this.position = order.check(what, name, this.position!, members);
        this.#isAfterBase = false;
        if (this.self !== undefined && event.self !== this.self) count('put out or renewed');
        this.self = event.self;
        this.#life.note(`sees ${what}`);
        return event;
      }
      case 'message':
        this.#isAfterBase = false;
        this.position = order.check(textOf(event.body), name, this.position!);
        return event;
    }
  }
}

/** A process between its join and its death or its goodbye. */
interface Participant {
  readonly replica: Replica;
  readonly scroll: Scroll;
  readonly submissions: Submissions;
  tap?: Tap;
}

class Run {
  readonly order = new Order();
  readonly outcomes: Outcomes;
  readonly resolved: string[] = [];
  readonly count: Count;
  readonly #world: World;
  readonly #library: Library;
  readonly #broker: SimulatedBroker;
  readonly #registry: SimulatedRegistry;
  readonly #present = new Map<string, Participant>();
  readonly #broken = Promise.withResolvers<never>();
  readonly #closeBytes: number;
  /** Commands that nobody has submitted yet. */
  #left: number;

  constructor(world: World, library: Library, count: Count, { closeBytes, commands }: Load) {
    this.#world = world;
    this.#closeBytes = closeBytes;
    this.#left = commands;
    this.#library = library;
    this.count = count;
    this.outcomes = new Outcomes(count);
    this.#broker = new SimulatedBroker(world, describeEntry);
    this.#registry = new SimulatedRegistry(world, sessionTimeoutMs);
  }

  async run(members: number): Promise<void> {
    // Each third one only watches.
    const names = Array.from({ length: members }, (_, index) => `${index % 3 === 2 ? 'r' : 's'}${index + 1}`);
    for (const name of names) this.#world.start(name, (life) => this.#live(life));
    await Promise.race([this.#untilDone(members), this.#broken.promise]);
    this.#check();
  }

  async #untilDone(members: number): Promise<void> {
    const { clock } = this.#world;
    const isQuiet = (): boolean => this.#present.size === members && this.#isQuiet();
    await this.#world.when(() => clock.nowMs() > faultsForMs && this.#left === 0 && isQuiet());
    this.#left = members * 2;
    await this.#world.when(() => this.#left === 0 && isQuiet());
  }

  /** Joins, submits, leaves in good order, and comes again. */
  async #live(life: Life): Promise<void> {
    const { clock, random } = life;
    life.onEnd(() => this.#present.delete(life.name));
    if (life.number === 1) await sleep(clock, random.pick([0, 0, 1_000, 5_000]));
    const [broker, discovery] = [this.#broker.connect(life), this.#registry.connect(life)];
    for (let term = 1; ; term++) {
      const token = `${life.name}x${life.number}x${term}`;
      const parts = {
        broker,
        discovery,
        clock,
        newToken: () => token,
        closeBytes: this.#closeBytes,
      };
      const participant = this.#participate(life, token, this.#library.makeLogGroup(parts));
      this.#present.set(life.name, participant);
      await participant.replica.start();
      await this.#work(life, participant);
      await participant.replica.stop();
      this.#present.delete(life.name);
      await sleep(clock, random.integer(0, 5_000));
    }
  }

  #participate(life: Life, token: string, group: Group): Participant {
    const tapped: Group = {
      ...group,
      join: async (...names) => (participant.tap = new Tap(await group.join(...names), life, this)),
    };
    const scroll = new Scroll();
    const isCandidate = ({ name }: { name: string }): boolean => name.startsWith('s');
    const names = { groupName: 'sim', name: life.name, token };
    const replica = new this.#library.Replica({ ...names, group: tapped, machine: scroll, isCandidate });
    replica.failed.catch((error: unknown) => this.#broken.reject(error));
    const participant: Participant = { replica, scroll, submissions: new Submissions(token, this.outcomes) };
    return participant;
  }

  /** Until it wants to leave. */
  async #work(life: Life, { replica, submissions }: Participant): Promise<void> {
    const { clock, random } = life;
    for (;;) {
      const pauseMs = random.pick([0, 50, 50, 200, 1_000, 4_000]);
      // What comes after the faults is bounded by the group, not by who takes his time.
      await sleep(clock, clock.nowMs() < faultsForMs ? pauseMs : Math.min(pauseMs, 50));
      if (this.#left > 0) {
        this.#left--;
        submissions.submit(replica, random, () => life.isDead);
      }
      if (clock.nowMs() < faultsForMs && random.chance(0.02)) return;
    }
  }

  /** Everybody that lives is in one view, has read all, and has an answer to all that it submitted. */
  #isQuiet(): boolean {
    const present = [...this.#present.values()];
    const selves = present.map(({ tap }) => tap?.self).sort();
    return present.every(
      ({ replica, tap, submissions: { submitted, settled } }) =>
        tap?.position === this.order.entries.length &&
        submitted === settled &&
        replica.view?.members
          .map(({ id }) => id)
          .sort()
          .join() === selves.join(),
    );
  }

  #check(): void {
    const { applied, fenced, faults } = this.outcomes;
    const broken = (promise: string, details: readonly string[]): void => {
      if (details.length > 0) throw new PromiseBroken(promise, details.join('\n'));
    };
    const present = [...this.#present.values()];
    const { replica: first, scroll } = present[0]!;
    const { lines, commands } = scroll;
    broken('A command resolves with what it returned here, or is fenced, or is indefinite', faults);
    const lost = this.resolved.filter((text) => !this.order.places.has(text));
    broken('A multicast that resolved is in every later state', lost);
    const wrong = applied.filter(({ text, place }) => !commands[place - 1]?.endsWith(` ${text}`));
    broken(
      'What was answered is so at all',
      wrong.map(({ text, place }) => `${text} at ${place}`),
    );
    checkCommands(lines, fenced);
    assertLinearizable(counter, this.outcomes.history.operations);
    const leader = first.view?.members.find(({ name }) => name.startsWith('s'));
    for (const { replica, scroll: own } of present) {
      const { self } = replica.view!;
      const differs = own.lines.findIndex((line, at) => line !== lines[at]);
      if (differs >= 0 || own.lines.length !== lines.length)
        broken('State and messages meet at one place of the order, so all states are equal there', [`${self}: line ${differs}`]);
      const { leadership } = replica;
      if (leadership?.epoch !== first.leadership?.epoch || leadership?.leader.id !== leader?.id)
        broken('The leader is the candidate that has been in the group longest', [`not for ${self}`]);
      if ((replica.leads !== undefined) !== (leader !== undefined && leader.id === self))
        broken('The leader knows that it leads, and nobody else believes it', [`not so at ${self}`]);
    }
  }
}
