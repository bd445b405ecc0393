/**
 * What a run looked like at any moment: a pure function of the recording and of how many of its events have happened. `makeModel` reads the recording once; then each moment is the nearest checkpoint
 * and the few events after it. A moment between two events has those before it, and its own time: what ends by itself, as a pause, ends there.
 */
import type { SimulationEvent, Trouble } from '@lab/simulation/events';
import { kinds, type KindName } from '@lab/simulation/faults';
import type { Recording } from './recording.ts';
import { depthsMs } from './insert.ts';
import { after } from './scale.ts';

/** One process of a role, as `filter-trips-1-2`: it lives several times. */
export interface Instance {
  readonly name: string;
  /** The name without its numbers: all replicas of a role are one group. */
  readonly group: string;
  /** The numbers behind the name, `1.2`; empty where there are none. */
  readonly number: string;
}

/** Where messages wait. The entries of a log stay in it, whoever has read them. */
export interface Queue {
  readonly name: string;
  readonly isLog: boolean;
}

/** A message on its way: from the call that sent it to where it arrives. A `queue` is in between, or it goes straight from process to process. */
export interface Flight {
  /** The event of the call; `undefined` of a message that came again, or whose sender is not recorded. */
  readonly call: number | undefined;
  /** The event of the delivery; of a message straight to a process that of its call. */
  readonly delivery: number;
  readonly from: number | undefined;
  readonly to: number;
  readonly queue: number | undefined;
  readonly message: string;
  readonly redelivered: boolean;
}

/** What an instance has received and not settled. */
export interface Holding {
  readonly queue: number;
  readonly message: string;
  /** The event of its delivery. */
  readonly since: number;
}

export interface InstanceState {
  /** 0 before the first. */
  life: number;
  isUp: boolean;
  /** Why it ended, of one that did. */
  reason: string;
  /** What is wrong with it while it lives, until a time in ms. */
  troubles: { [trouble in Trouble]?: number };
  leads: boolean;
  /** What it said last that is to be seen. */
  note: string;
  holds: Holding[];
}

export interface QueueState {
  /** How many of each message wait; below 0 where a delivery was told before its call. */
  waiting: Map<string, number>;
  held: number;
  /** What has come into it so far. */
  entries: number;
}

export interface State {
  instances: InstanceState[];
  queues: QueueState[];
  /** Broker or registry answer nobody until then, in ms. */
  engineAwayMs: number;
  promise: 'open' | 'kept' | 'broken';
}

export interface Model {
  readonly recording: Recording;
  readonly events: readonly SimulationEvent[];
  readonly instances: readonly Instance[];
  readonly queues: readonly Queue[];
  /** What is called and is neither process nor queue nor a file: a database, a registry. */
  readonly resources: readonly string[];
  /** By their deliveries. */
  readonly flights: readonly Flight[];
  /** The events of each message, by its words. */
  readonly messages: ReadonlyMap<string, readonly number[]>;
  instance(name: string): number | undefined;
  queue(name: string): number | undefined;
  /** The queues of one life of a process, which go with it. */
  ownQueues(of: { readonly role: string; readonly life: number }): readonly number[];
  /** Whether there is this queue at an event: that of one life is there from the life's beginning to its end. */
  exists(queue: number, event: number): boolean;
  /** The process that a call goes to straight. */
  calledInstance(to: string): number | undefined;
  calledResource(to: string): number | undefined;
  /** The queues that a call brings its message into. */
  routes(to: string): readonly number[];
  /** When so many events have happened. What it gives is the caller's to read, and to change nothing in. */
  stateAt(count: number): State;
}

/** Events between two checkpoints. */
const stride = 256;

export function makeModel(recording: Recording): Model {
  const { events } = recording;
  const names = namesOf(recording);
  const index = {
    recording,
    events,
    ...names,
    flights: flightsOf(events, names),
    messages: messagesOf(events),
  };
  const checkpoints: State[] = [];
  const folding = emptyState(index);
  for (const [at, event] of events.entries()) {
    if (at % stride === 0) checkpoints.push(structuredClone(folding));
    fold(folding, event, at, index);
  }
  checkpoints.push(structuredClone(folding));
  let last: { count: number; state: State } | undefined;
  return {
    ...index,
    stateAt(count) {
      if (last?.count === count) return last.state;
      // Forward from the last one where that is nearer, as in a replay.
      const isNear = last !== undefined && last.count <= count && count - last.count < count % stride;
      const from = isNear ? last!.count : count - (count % stride);
      const state = structuredClone(isNear ? last!.state : checkpoints[from / stride]!);
      for (let at = from; at < count; at++) fold(state, events[at]!, at, index);
      last = { count, state };
      return state;
    },
  };
}

type Index = Omit<Model, 'stateAt'>;
type Names = Omit<Index, 'recording' | 'events' | 'flights' | 'messages'>;

/** Before anything has happened. */
export const emptyState = ({ instances, queues }: Pick<Model, 'instances' | 'queues'>): State => ({
  instances: instances.map(() => ({ life: 0, isUp: false, reason: '', troubles: {}, leads: false, note: '', holds: [] })),
  queues: queues.map(() => ({ waiting: new Map(), held: 0, entries: 0 })),
  engineAwayMs: 0,
  promise: 'open',
});

/** The next event happens: changes the state. */
export function fold(state: State, event: SimulationEvent, at: number, index: Index): void {
  if (event.type === 'run') return;
  if (event.type === 'promise') return void (state.promise = event.broken === undefined ? 'kept' : 'broken');
  const number = index.instance(event.role)!;
  const instance = state.instances[number]!;
  switch (event.type) {
    case 'start':
      Object.assign(instance, { life: event.life, isUp: true, reason: '', troubles: {}, note: '' });
      return;
    case 'end':
      giveBack(state, instance);
      for (const queue of index.ownQueues(event)) empty(state, queue);
      Object.assign(instance, { isUp: false, reason: event.reason, troubles: {}, leads: false, note: '' });
      return;
    case 'call':
      if (event.call === 'elect')
        lead(
          state,
          index,
          (each) => each === number,
          () => true,
        );
      if (event.call === 'remove') empty(state, index.queue(event.to));
      if (event.call === 'publish' || event.call === 'append')
        for (const queue of index.routes(event.to)) {
          if (!index.exists(queue, at)) continue;
          addTo(state.queues[queue]!.waiting, event.message, 1);
          state.queues[queue]!.entries++;
        }
      return;
    case 'delivery':
      return deliver(state, instance, index.queue(event.from)!, event.message, at, index);
    case 'settled':
      return settle(state, instance, index.queue(event.from)!, event.message, event.ok);
    case 'fault':
      return strike(state, instance, event, index);
    case 'mended':
      return void delete instance.troubles[event.trouble];
    case 'note':
      instance.note = event.text;
      if (resigning.test(event.text)) instance.leads = false;
      if (leading.test(event.text)) {
        const { group } = index.instances[number]!;
        lead(
          state,
          index,
          (each) => each === number,
          (each) => index.instances[each]!.group === group,
        );
      }
  }
}

/** What an app's instance says when it leads the others of its group, and when it does so no more. */
const leading = /^(serves clients$|decides$|deciding who serves what|leads(,|$))/;
const resigning = /^((leads|decides) no more$|closes to clients$)/;

function lead(
  state: State,
  { instances }: Index,
  isLeader: (each: number) => boolean,
  concerns: (each: number) => boolean,
): void {
  for (const each of instances.keys()) if (concerns(each)) state.instances[each]!.leads = isLeader(each);
}

function deliver(state: State, instance: InstanceState, queue: number, message: string, at: number, { queues }: Index): void {
  if (queues[queue]!.isLog) return;
  addTo(state.queues[queue]!.waiting, message, -1);
  state.queues[queue]!.held++;
  instance.holds.push({ queue, message, since: at });
}

function settle(state: State, instance: InstanceState, queue: number, message: string, ok: boolean): void {
  const at = instance.holds.findIndex((each) => each.queue === queue && each.message === message);
  if (at < 0) return;
  instance.holds.splice(at, 1);
  state.queues[queue]!.held--;
  if (!ok) addTo(state.queues[queue]!.waiting, message, 1);
}

/** What an instance held goes back into its queues. */
function giveBack(state: State, instance: InstanceState): void {
  for (const { queue, message } of instance.holds) {
    state.queues[queue]!.held--;
    addTo(state.queues[queue]!.waiting, message, 1);
  }
  instance.holds = [];
}

function empty(state: State, queue: number | undefined): void {
  if (queue === undefined) return;
  for (const instance of state.instances) instance.holds = instance.holds.filter((each) => each.queue !== queue);
  Object.assign(state.queues[queue]!, { waiting: new Map<string, number>(), held: 0, entries: 0 });
}

function addTo(counts: Map<string, number>, key: string, more: number): void {
  const count = (counts.get(key) ?? 0) + more;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}

/** The kind of a fault: how its key ends. */
export function kindOfFault(key: string): KindName | undefined {
  const kind = kindNames.find((each) => key.endsWith(` ${each}`));
  return kind;
}
/** The longest first: `cut` is the end of no other, but who knows. */
const kindNames = (Object.keys(kinds) as KindName[]).sort((a, b) => b.length - a.length);

/** What a kind of fault does to the instance that it strikes, for as long as its argument says. What kills is told by the `end` that follows. */
const troubleOf: { readonly [kind in KindName]?: Trouble } = {
  pauses: 'hung',
  hangs: 'hung',
  'machine pauses': 'hung',
  sleeps: 'asleep',
  'connection lost': 'cut',
  'cut from registry': 'cut',
  'link cut': 'cut',
  'cut off': 'cut',
  'cut one way': 'cut',
  'heartbeats lost': 'cut',
  'taken for dead': 'cut',
  cut: 'cut',
  late: 'slow',
  'answered late': 'slow',
  'delivered late': 'slow',
  'arrives late': 'slow',
  'applies slowly': 'slow',
  'disk full': 'slow',
  'clock jumps': 'slow',
  'clock stands': 'slow',
  'clock races': 'slow',
  'clock lags': 'slow',
};

/** Faults of what all stand on. */
export const isEngineFault = (kind: KindName | undefined): boolean =>
  kind === 'broker away' || kind === 'broker loses disk' || kind === 'registry away';

type FaultEvent = SimulationEvent & { readonly type: 'fault' };

function strike(state: State, instance: InstanceState, { key, ms, arg, trouble: lasting }: FaultEvent, index: Index): void {
  if (lasting !== undefined) instance.troubles[lasting] = Infinity;
  const kind = kindOfFault(key);
  if (kind === undefined) return;
  const trouble = troubleOf[kind];
  if (trouble !== undefined && arg > 0) instance.troubles[trouble] = Math.max(instance.troubles[trouble] ?? 0, ms + arg);
  if (kind === 'connection lost') giveBack(state, instance);
  if (isEngineFault(kind)) state.engineAwayMs = Math.max(state.engineAwayMs, ms + arg);
  if (kind === 'broker away' || kind === 'broker loses disk') for (const each of state.instances) giveBack(state, each);
  if (kind === 'broker loses disk') for (const queue of index.queues.keys()) empty(state, queue);
  if (kind === 'queue deleted')
    empty(
      state,
      index.queues.findIndex(({ name }) => key.endsWith(` ${name} queue deleted`)),
    );
}

/** What is to be seen of an instance at a time. */
export type Status = 'absent' | 'up' | 'dead' | Trouble;

export function statusOf({ life, isUp, troubles }: InstanceState, ms: number): Status {
  if (life === 0) return 'absent';
  if (!isUp) return 'dead';
  return (['asleep', 'hung', 'cut', 'slow'] as const).find((trouble) => (troubles[trouble] ?? -1) > ms) ?? 'up';
}

/** How full queues are. */
export interface Depth {
  /** Of a log its entries. */
  readonly ready: number;
  readonly held: number;
  /** How many come out in a second, where the broker was asked. */
  readonly rate: number | undefined;
  /** Counted from events of which some were left out. */
  readonly isAbout: boolean;
}

/** How full these queues are at a time, at which `state` is: as the broker counted, and otherwise by the events, unless they tell some of the messages. */
export function depthOf(
  { recording: { live, sampledFrom }, queues }: Pick<Model, 'recording' | 'queues'>,
  state: Pick<State, 'queues'>,
  members: readonly number[],
  ms: number,
): Depth | undefined {
  const samples = live?.depths ?? [];
  const last = samples[after(samples.length, (at) => samples[at]!.ms <= ms) - 1];
  const sum = (of: (queue: number) => number | undefined): number =>
    members.reduce((total, queue) => total + (of(queue) ?? 0), 0);
  if (last !== undefined && ms - last.ms <= depthsMs) {
    const asked = (what: 'ready' | 'held' | 'rate'): number => sum((queue) => last.queues[queues[queue]!.name]?.[what]);
    return { ready: asked('ready'), held: asked('held'), rate: asked('rate'), isAbout: false };
  }
  if (live?.tells === 'some') return undefined;
  return {
    ready: sum((queue) => (queues[queue]!.isLog ? state.queues[queue]!.entries : readyIn(state.queues[queue]!))),
    held: sum((queue) => state.queues[queue]!.held),
    rate: undefined,
    isAbout: sampledFrom !== undefined,
  };
}

/** How many messages wait. */
export function readyIn({ waiting }: QueueState): number {
  let ready = 0;
  for (const count of waiting.values()) ready += Math.max(0, count);
  return ready;
}

/** `trips-solver-1-2`: the numbers at its end say which replica it is. */
export function instanceOf(name: string): Instance {
  const [, group = name, number = ''] = /^(.*?)((?:-\d+)+)$/.exec(name) ?? [];
  return { name, group, number: number.slice(1).replaceAll('-', '.') };
}

const isFile = (to: string): boolean => to.startsWith('/');

/** Who and what there is, from all events. */
function namesOf({ events, live }: Recording): Names {
  const roles = new Set<string>();
  const queueNames = new Map<string, { isLog: boolean }>();
  const called = new Set<string>();
  for (const event of events) {
    if ('role' in event) roles.add(event.role);
    if (event.type === 'delivery' && !queueNames.has(event.from)) queueNames.set(event.from, { isLog: true });
    if (event.type === 'settled') queueNames.set(event.from, { isLog: false });
    if (event.type !== 'call') continue;
    const { call, to } = event;
    if (call === 'append') queueNames.set(to, queueNames.get(to) ?? { isLog: true });
    else if (call === 'publish' && !to.includes('/')) queueNames.set(to, { isLog: false });
    else if (!brokerCalls.has(call) && !isFile(to)) called.add(to);
  }
  // What is read and never acknowledged is a log, unless it is consumed.
  for (const event of events)
    if (event.type === 'call' && event.call === 'consume' && queueNames.has(event.to)) queueNames.set(event.to, { isLog: false });
  for (const { queues: counted } of live?.depths ?? [])
    for (const name of Object.keys(counted)) if (!queueNames.has(name)) queueNames.set(name, { isLog: false });
  const instances = [...roles].map(instanceOf);
  const byName = new Map(instances.map(({ name }, at) => [name, at]));
  const queues = [...queueNames].map(([name, { isLog }]) => ({ name, isLog }));
  const queueByName = new Map(queues.map(({ name }, at) => [name, at]));
  const resources = [...called].filter((to) => !byName.has(hostOf(to)) && !queueByName.has(to));
  const resourceByName = new Map(resources.map((name, at) => [name, at]));
  const routes = routesOf(events, queueByName);
  const owned = ownedQueues(events, queueByName);
  return {
    instances,
    queues,
    resources,
    instance: (name) => byName.get(name),
    queue: (name) => queueByName.get(name),
    ...owned,
    calledInstance: (to) => byName.get(hostOf(to)),
    calledResource: (to) => resourceByName.get(to),
    routes: (to) => routes.get(to) ?? [],
  };
}

/** A queue that is called after one life, or has an id of its own, ends with who consumes it. */
const ofOneLife = /\.\d+$|[0-9a-f]{8}-[0-9a-f]{4}-/;

/** Which queues belong to one life of a process, and so when they exist. */
function ownedQueues(
  events: readonly SimulationEvent[],
  queueByName: ReadonlyMap<string, number>,
): Pick<Model, 'ownQueues' | 'exists'> {
  const lives = new Map<string, { from: number; to: number; queues: Set<number> }>();
  const lifeOf = new Map<number, { from: number; to: number }>();
  for (const [at, event] of events.entries()) {
    if (!('role' in event)) continue;
    const key = `${event.role}.${event.life}`;
    const life = lives.get(key) ?? { from: at, to: events.length, queues: new Set() };
    lives.set(key, life);
    if (event.type === 'end') life.to = at;
    const name = event.type === 'delivery' ? event.from : event.type === 'call' && event.call === 'consume' ? event.to : '';
    const queue = queueByName.get(name);
    if (queue === undefined || !ofOneLife.test(name)) continue;
    life.queues.add(queue);
    lifeOf.set(queue, life);
  }
  return {
    ownQueues: ({ role, life }) => [...(lives.get(`${role}.${life}`)?.queues ?? [])],
    exists: (queue, event) => {
      const { from, to } = lifeOf.get(queue) ?? { from: 0, to: events.length };
      return event >= from && event <= to;
    },
  };
}

/** Calls about queues that carry no message. */
const brokerCalls = new Set(['publish', 'append', 'declare', 'consume', 'read', 'remove']);

/** Of an address, `server:7500`. */
const hostOf = (to: string): string => to.replace(/:\d+$/, '');

/** Where calls bring their messages: into the queue that they name; through an exchange, into the queues that the same words came out of soon after. */
function routesOf(
  events: readonly SimulationEvent[],
  queueByName: ReadonlyMap<string, number>,
): ReadonlyMap<string, readonly number[]> {
  const routes = new Map<string, Set<number>>();
  const viaExchange = new Map<string, Set<string>>();
  const direct = new Set<string>();
  for (const event of events) {
    if (event.type !== 'call' || (event.call !== 'publish' && event.call !== 'append')) continue;
    const queue = queueByName.get(event.to);
    if (queue !== undefined) {
      routes.set(event.to, new Set([queue]));
      direct.add(`${event.to}\n${event.message}`);
    } else viaExchange.set(event.message, (viaExchange.get(event.message) ?? new Set()).add(event.to));
  }
  for (const event of events) {
    if (event.type !== 'delivery' || direct.has(`${event.from}\n${event.message}`)) continue;
    const exchanges = [...(viaExchange.get(event.message) ?? [])];
    // The one that is called like the queue, where the same words go through several.
    const alike = exchanges.filter((to) => event.from.startsWith(to.slice(0, to.indexOf('/'))));
    for (const to of alike.length > 0 ? alike : exchanges)
      routes.set(to, (routes.get(to) ?? new Set()).add(queueByName.get(event.from)!));
  }
  return new Map([...routes].map(([to, queues]) => [to, [...queues]]));
}

function messagesOf(events: readonly SimulationEvent[]): ReadonlyMap<string, readonly number[]> {
  const messages = new Map<string, number[]>();
  for (const [at, event] of events.entries()) {
    if (!('message' in event) || event.message === '') continue;
    if (event.type === 'call' && isFile(event.to)) continue;
    const places = messages.get(event.message);
    if (places === undefined) messages.set(event.message, [at]);
    else places.push(at);
  }
  return messages;
}

function flightsOf(events: readonly SimulationEvent[], names: Names): readonly Flight[] {
  const flights: Flight[] = [];
  const sent = new Map<string, number[]>();
  const taken = new Map<string, number>();
  for (const [at, event] of events.entries()) {
    if (event.type !== 'call' || (event.call !== 'publish' && event.call !== 'append')) continue;
    for (const queue of names.routes(event.to)) {
      if (!names.exists(queue, at)) continue;
      const key = `${queue}\n${event.message}`;
      const calls = sent.get(key);
      if (calls === undefined) sent.set(key, [at]);
      else calls.push(at);
    }
  }
  for (const [at, event] of events.entries()) {
    if (event.type === 'call') {
      const to = event.call === 'publish' ? undefined : names.calledInstance(event.to);
      const from = names.instance(event.role)!;
      const { message } = event;
      if (to !== undefined) flights.push({ call: at, delivery: at, from, to, queue: undefined, message, redelivered: false });
    }
    if (event.type !== 'delivery') continue;
    const queue = names.queue(event.from)!;
    const key = `${queue}\n${event.message}`;
    const calls = sent.get(key) ?? [];
    // First come, first served; of a log, the last that was written before.
    const nth = names.queues[queue]!.isLog ? after(calls.length, (each) => calls[each]! < at) - 1 : (taken.get(key) ?? 0);
    if (!event.redelivered) taken.set(key, nth + 1);
    const call = event.redelivered ? undefined : (calls[Math.max(0, nth)] ?? calls.findLast((each) => each < at));
    const sender = call === undefined ? undefined : events[call];
    const from = sender?.type === 'call' ? names.instance(sender.role) : undefined;
    const { message, redelivered } = event;
    flights.push({ call, delivery: at, from, to: names.instance(event.role)!, queue, message, redelivered });
  }
  return flights;
}
