/**
 * Faults as data. A fault is a key, which says where and what, and an argument, which says how long. *Recording*, each key decides for itself, by the seed, whether it strikes, so that
 * leaving one out does not change the others; what strikes is listed. *Replaying*, only what is on a list strikes, and nothing is drawn: a list needs no seed, and stays good when the way in which faults are drawn has changed.
 */
import type { Random } from '@lab/testing';
import type { SimulationEvent } from './events.ts';

export interface Fault {
  /** Place and kind: `filter-trips-1.1 publish #10 bike-analytics.trips-solver-1/every late`, of the role's first life and its tenth publish there. */
  readonly key: string;
  /** Milliseconds, mostly; see `kinds`. */
  readonly arg: number;
}

interface Kind {
  /** Of striking at one place, where the seed has the kind on at its middle strength. */
  readonly chance: number;
  /** Smallest and largest argument. */
  readonly arg: readonly [min: number, max: number];
}

/** Every kind of fault, one word for the same thing in simulations and on containers. A fault brings its own repair: `arg` is when. */
export const kinds = {
  /** The process dies just before the call takes effect, and is started again after `arg` ms. */
  'dies before': { chance: 0.01, arg: [10, 8_000] },
  /** It dies when the call has taken effect, and does not see its answer. */
  'dies after': { chance: 0.01, arg: [10, 8_000] },
  /** The call takes `arg` ms, and before it has its effect the process dies, whatever it does by then; it is started again a second later. */
  'dies meanwhile': { chance: 0.01, arg: [1, 2_000] },
  /** The process stands still for `arg` ms; its connections stay. What comes to it meanwhile it sees when it thaws: answers, deliveries, timers. */
  pauses: { chance: 0.004, arg: [100, 20_000] },
  /** The process stands still for `arg` ms, longer than the broker waits for it: its connection is lost meanwhile. */
  hangs: { chance: 0.001, arg: [20_001, 200_000] },
  /** So does its machine, as one whose lid is closed: the process's own clock stands still with it. */
  sleeps: { chance: 0.001, arg: [1_000, 300_000] },
  /** The call takes `arg` ms before it has its effect. Who dies meanwhile has not done it. */
  late: { chance: 0.05, arg: [1, 2_000] },
  /** The call has its effect at once; its answer takes `arg` ms. */
  'answered late': { chance: 0.03, arg: [1, 2_000] },
  /** The call has its effect twice, as when its confirm is lost and it is sent again. */
  twice: { chance: 0.03, arg: [0, 0] },
  /** A copy of what the call has sent is still on its way, and has its effect `arg` ms later, when its sender may long be dead. */
  'lands late': { chance: 0.02, arg: [1, 60_000] },
  /** A delivery waits `arg` ms before its consumer sees it, and with it all later ones of this consumer. */
  'delivered late': { chance: 0.03, arg: [1, 2_000] },
  /** The handler has done its work, and its acknowledgement is lost: the message comes again, redelivered. */
  'ack lost': { chance: 0.03, arg: [0, 0] },
  /** The connection is lost and the process lives: after `arg` ms it is connected again. What was not acknowledged goes back; what was not confirmed is sent again. */
  'connection lost': { chance: 0.01, arg: [1, 5_000] },
  /** Somebody deletes the queue, with all in it. */
  'queue deleted': { chance: 0.01, arg: [0, 0] },
  /** The broker answers nobody for `arg` ms: all connections are lost. */
  'broker away': { chance: 0.0006, arg: [30_000, 600_000] },
  /** The broker comes back after `arg` ms without its disk: without queues, exchanges and logs. */
  'broker loses disk': { chance: 0.0006, arg: [1, 60_000] },
  /** What was sent takes `arg` ms, and arrives even if its sender is dead by then. */
  'arrives late': { chance: 0.05, arg: [1, 8_000] },
  /** A machine loses its power: all that runs there dies, and starts again after `arg` ms. */
  'machine off': { chance: 0.01, arg: [50, 12_000] },
  'all machines off': { chance: 0.005, arg: [50, 12_000] },
  /** All that runs on a machine stands still for `arg` ms. */
  'machine pauses': { chance: 0.01, arg: [50, 12_000] },
  /** A machine's server, as a database, dies, and starts again after `arg` ms. */
  'server dies': { chance: 0.01, arg: [200, 1_500] },
  /** A replica applies a transaction a second for `arg` ms. */
  'applies slowly': { chance: 0.01, arg: [50, 12_000] },
  /** A replica's thread that applies stops for good. */
  'stops applying': { chance: 0.01, arg: [0, 0] },
  /** For `arg` ms others take a machine for dead, whatever it does. */
  'taken for dead': { chance: 0.01, arg: [50, 12_000] },
  /** Nothing passes between a process or machine and the registry for `arg` ms: calls wait or fail, and a session that is shorter is lost. */
  'cut from registry': { chance: 0.01, arg: [1, 12_000] },
  /** The registry answers nobody for `arg` ms. */
  'registry away': { chance: 0.005, arg: [1, 12_000] },
  /** Nothing passes between two machines for `arg` ms. */
  'link cut': { chance: 0.01, arg: [1, 12_000] },
  /** Only the messages that say "I live" are lost for `arg` ms. */
  'heartbeats lost': { chance: 0.01, arg: [1, 12_000] },
  /** A machine is cut from all others and the registry for `arg` ms. */
  'cut off': { chance: 0.01, arg: [1, 12_000] },
  /** A call to the disk fails with `EIO`, and has no effect. */
  'disk error': { chance: 0.005, arg: [0, 0] },
  /** The disk takes nothing more for `arg` ms: what is written comes as far as there is room, and fails with `ENOSPC`. */
  'disk full': { chance: 0.002, arg: [1, 12_000] },
  /** For `arg` ms a machine's time of day is far ahead; then it goes back. The clocks of processes, which never go back, know nothing of it. */
  'clock jumps': { chance: 0.01, arg: [100, 10_000] },
  /** A machine's time of day stands still for `arg` ms, and is right again then. */
  'clock stands': { chance: 0.01, arg: [100, 10_000] },
  /** A machine's time of day runs half as fast again for `arg` ms, and is right again then. */
  'clock races': { chance: 0.01, arg: [100, 10_000] },
  /** A machine's time of day runs at 0.7 of its pace for `arg` ms, and is right again then. */
  'clock lags': { chance: 0.01, arg: [100, 10_000] },
  /** The process's own clock, on which it waits and measures, is fast by `arg` per mille as long as it lives. */
  'runs fast': { chance: 0.1, arg: [10, 100] },
  /** It is slow by `arg` per mille. */
  'runs slow': { chance: 0.1, arg: [10, 100] },
  /** Nothing passes one way between two processes for `arg` ms; the other way all does. */
  'cut one way': { chance: 0.005, arg: [1, 60_000] },
  /** A client's connection is cut after `arg` ms. */
  cut: { chance: 0.1, arg: [0, 5_000] },
} as const satisfies Record<string, Kind>;

export type KindName = keyof typeof kinds;

/** No two clocks agree. */
export const paceKinds = ['runs fast', 'runs slow'] as const satisfies readonly KindName[];

/** What happens to a machine's time of day. */
export const timeKinds = ['clock jumps', 'clock stands', 'clock races', 'clock lags'] as const satisfies readonly KindName[];

/** What happens to every process that calls others. */
export const processKinds = [
  ...(['dies before', 'dies meanwhile', 'dies after', 'pauses', 'late', 'answered late'] as const),
  ...paceKinds,
] satisfies readonly KindName[];

/** What happens to every process that talks to a broker. */
export const brokerKinds = [
  ...processKinds,
  ...(['twice', 'delivered late', 'ack lost', 'connection lost'] as const),
] satisfies readonly KindName[];

/** What stands still for longer than others wait for it. */
export const standstillKinds = ['hangs', 'sleeps'] as const satisfies readonly KindName[];

/** What happens to a broker itself. What it holds is lost by the last two. */
export const outageKinds = ['broker away', 'broker loses disk', 'queue deleted'] as const satisfies readonly KindName[];

/** Each seed has a kind off, or on at one of these strengths, so that rare pairs are not drowned in what is frequent. */
const strengths = [0, 0, 0.3, 1, 4];

export class FaultPlan {
  /** What has struck, in its order. */
  readonly fired: Fault[] = [];
  readonly #random: Random | undefined;
  readonly #chances = new Map<KindName, number>();
  readonly #listed: ReadonlyMap<string, number> | undefined;

  private constructor(random: Random | undefined, listed: ReadonlyMap<string, number> | undefined) {
    this.#random = random;
    this.#listed = listed;
  }

  /** Faults of these kinds strike as the seed decides. */
  static recorded(random: Random, wanted: readonly KindName[]): FaultPlan {
    const plan = new FaultPlan(random, undefined);
    for (const kind of wanted) {
      const chance = kinds[kind].chance * random.fork(kind).pick(strengths);
      if (chance > 0) plan.#chances.set(kind, chance);
    }
    return plan;
  }

  /** Only what is listed strikes. */
  static replayed(faults: readonly Fault[]): FaultPlan {
    return new FaultPlan(undefined, new Map(faults.map(({ key, arg }) => [key, arg])));
  }

  /** The argument of the fault, if it strikes here. `share` of the kind's chance is for places that are very many. */
  strikes(kind: KindName, place: string, share = 1): number | undefined {
    const arg = this.#listed === undefined ? this.#draw(kind, place, share) : this.#listed.get(`${place} ${kind}`);
    if (arg !== undefined) this.fired.push({ key: `${place} ${kind}`, arg });
    return arg;
  }

  #draw(kind: KindName, place: string, share: number): number | undefined {
    const chance = this.#chances.get(kind);
    if (chance === undefined) return undefined;
    const own = this.#random!.fork(`${place} ${kind}`);
    return own.next() < chance * share ? own.integer(kinds[kind].arg[0], kinds[kind].arg[1]) : undefined;
  }
}

/** The longest first: one kind is the end of another's name. */
const byLength = (Object.keys(kinds) as KindName[]).sort((a, b) => b.length - a.length);

/** The kind of a fault, by its key. */
export function kindOf({ key }: Fault): KindName {
  const found = byLength.find((kind) => key.endsWith(` ${kind}`));
  if (found === undefined) throw new RangeError(`"${key}" ends with no kind of fault: ${Object.keys(kinds).join(', ')}`);
  return found;
}

const callKinds: readonly KindName[] = [
  ...(['dies before', 'dies meanwhile', 'dies after', 'late', 'answered late', 'twice', 'lands late'] as const),
  ...(['pauses', 'hangs', 'sleeps', 'connection lost', 'broker away', 'broker loses disk', 'cut from registry'] as const),
  ...(['machine off', 'all machines off', 'disk full', 'disk error'] as const),
];

/** The kinds that may strike at an event of a recording; only some of them strike in every system, and at every call. */
export const kindsAt: Readonly<Partial<Record<SimulationEvent['type'], readonly KindName[]>>> = {
  call: callKinds,
  delivery: ['delivered late', 'dies before', 'connection lost'],
  settled: ['dies before', 'ack lost', 'dies after'],
};

/** The place of an event at which a fault may strike: with a blank and a kind behind it, the key of the fault. */
export function placeOf(event: SimulationEvent): string | undefined {
  if (!('at' in event) || event.at === undefined) return undefined;
  return `${event.role}.${event.life} ${event.at} ${event.type === 'call' ? event.to : event.from}`;
}

/** What of a place its event does not say otherwise: `publish #3`. */
export const atOf = (place: string): string => / (\S+ #\d+) /.exec(place)![1]!;
