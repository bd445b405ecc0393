/** What is drawn on the lanes of time, made once: when instances lived, were in trouble, led and worked, and the arrows between them. Everything is in positions on the scale. */
import type { Flow } from '../layout.ts';
import { emptyState, fold, isEngineFault, kindOfFault, type Model } from '../model.ts';
import type { Scale } from '../scale.ts';

export interface Span {
  readonly lane: number;
  readonly from: number;
  readonly to: number;
}

export interface Arrow {
  readonly from: { readonly lane: number; readonly at: number };
  readonly to: { readonly lane: number; readonly at: number };
  readonly kind: 'data' | 'direct' | 'again';
  readonly message: string;
}

/** A process works on a message from its delivery to its acknowledgement. */
export interface Work extends Span {
  readonly message: string;
}

export interface Mark {
  readonly lane: number;
  readonly at: number;
  /** The event. */
  readonly event: number;
  readonly text: string;
}

export interface Tracks {
  /** Instances in the order of their lanes; and where each has its lane. */
  readonly order: readonly number[];
  readonly laneOf: readonly number[];
  readonly dead: readonly Span[];
  readonly troubled: readonly (Span & { readonly trouble: 'hung' | 'cut' | 'slow' })[];
  readonly leading: readonly Span[];
  /** Nobody answers: broker or registry. */
  readonly away: readonly { readonly from: number; readonly to: number; readonly text: string }[];
  readonly works: readonly Work[];
  readonly arrows: readonly Arrow[];
  readonly faults: readonly Mark[];
  readonly deaths: readonly Mark[];
  readonly notes: readonly Mark[];
  /** Calls to what is no process. */
  readonly calls: readonly Mark[];
  /** Times in which nothing happens, of `ms`. */
  readonly silences: readonly { readonly from: number; readonly to: number; readonly ms: number }[];
}

/** Shorter ones are no silence. */
const silenceMs = 400;

export function tracksOf(model: Model, flow: Flow, scale: Scale): Tracks {
  const { order, laneOf } = lanesOf(flow);
  return {
    order,
    laneOf,
    ...livesOf(model, scale, laneOf),
    ...worksAndArrows(model, scale, laneOf),
    ...marksOf(model, scale, laneOf),
  };
}

/** In the order of the map: so messages mostly go down. */
function lanesOf({ columns, nodes }: Flow): Pick<Tracks, 'order' | 'laneOf'> {
  const order = columns.flat().flatMap((node) => (nodes[node]!.kind === 'group' ? nodes[node]!.members : []));
  const laneOf: number[] = [];
  for (const [lane, at] of order.entries()) laneOf[at] = lane;
  return { order, laneOf };
}

function livesOf(model: Model, scale: Scale, laneOf: readonly number[]): Pick<Tracks, 'dead' | 'troubled' | 'leading' | 'away'> {
  const [dead, troubled, leading, away]: [
    Span[],
    (Tracks['troubled'][number] & { to: number })[],
    Span[],
    { from: number; to: number; text: string }[],
  ] = [[], [], [], []];
  const diedAt = new Map<number, number>();
  const ledFrom = new Map<number, number>();
  const state = emptyState(model);
  for (const [event, each] of model.events.entries()) {
    fold(state, each, event, model);
    const at = scale.positions[event]!;
    if (!('role' in each)) continue;
    const instance = model.instance(each.role)!;
    const lane = laneOf[instance]!;
    if (each.type === 'end') {
      diedAt.set(instance, at);
      for (const trouble of troubled) if (trouble.lane === lane) trouble.to = Math.min(trouble.to, at);
    }
    if (each.type === 'mended')
      for (const span of troubled) if (span.lane === lane && span.trouble === each.trouble) span.to = Math.min(span.to, at);
    if (each.type === 'start' && diedAt.has(instance)) {
      dead.push({ lane, from: diedAt.get(instance)!, to: at });
      diedAt.delete(instance);
    }
    if (each.type === 'fault') {
      const kind = kindOfFault(each.key);
      const to = scale.positionOf(each.ms + each.arg);
      if (isEngineFault(kind)) away.push({ from: at, to, text: kind! });
      const { hung, asleep, cut, slow } = state.instances[instance]!.troubles;
      const until = each.ms + each.arg;
      const trouble = hung === until || asleep === until ? 'hung' : cut === until ? 'cut' : slow === until ? 'slow' : undefined;
      if (each.trouble !== undefined && each.trouble !== 'asleep')
        troubled.push({ lane, from: at, to: scale.end, trouble: each.trouble });
      else if (trouble !== undefined && each.arg > 0) troubled.push({ lane, from: at, to, trouble });
    }
    if (each.type === 'note' || each.type === 'end' || each.type === 'call')
      for (const [other, { leads }] of state.instances.entries()) {
        const from = ledFrom.get(other);
        if (leads && from === undefined) ledFrom.set(other, at);
        if (leads || from === undefined) continue;
        leading.push({ lane: laneOf[other]!, from, to: at });
        ledFrom.delete(other);
      }
  }
  for (const [instance, from] of diedAt) dead.push({ lane: laneOf[instance]!, from, to: scale.end });
  for (const [instance, from] of ledFrom) leading.push({ lane: laneOf[instance]!, from, to: scale.end });
  return { dead, troubled, leading, away };
}

type OpenWork = Work & { to: number };

function worksAndArrows(model: Model, scale: Scale, laneOf: readonly number[]): Pick<Tracks, 'works' | 'arrows'> {
  const works: OpenWork[] = [];
  /** What each process has in hand. */
  const inHand = new Map<string, { readonly key: string; readonly work: OpenWork }[]>();
  /** Where a message was last, of those that come again. */
  const tried = new Map<string, OpenWork>();
  const again = new Map<number, Arrow['from']>();
  for (const [event, each] of model.events.entries()) {
    const at = scale.positions[event]!;
    if (each.type === 'end') {
      for (const { work } of inHand.get(each.role) ?? []) work.to = at;
      inHand.delete(each.role);
    }
    if (each.type !== 'delivery' && each.type !== 'settled') continue;
    const key = `${each.from}\n${each.message}`;
    const own = inHand.get(each.role) ?? [];
    inHand.set(each.role, own);
    if (each.type === 'settled') {
      const [done] = own.splice(own.findIndex((one) => one.key === key) >>> 0, 1);
      if (done !== undefined) done.work.to = at;
    } else if (!model.queues[model.queue(each.from)!]!.isLog) {
      const before = tried.get(key);
      if (each.redelivered && before !== undefined) again.set(event, { lane: before.lane, at: Math.min(before.to, at) });
      const work = { lane: laneOf[model.instance(each.role)!]!, from: at, to: scale.end, message: each.message };
      works.push(work);
      own.push({ key, work });
      tried.set(key, work);
    }
  }
  const arrows = model.flights.flatMap(({ call, delivery, from, to, queue, message, redelivered }): Arrow[] => {
    const end = { lane: laneOf[to]!, at: scale.positions[delivery]! };
    if (redelivered && again.has(delivery)) return [{ from: again.get(delivery)!, to: end, kind: 'again', message }];
    if (from === undefined || call === undefined) return [];
    return [
      {
        from: { lane: laneOf[from]!, at: scale.positions[call]! },
        to: end,
        kind: queue === undefined ? 'direct' : 'data',
        message,
      },
    ];
  });
  return { works, arrows };
}

function marksOf(
  model: Model,
  scale: Scale,
  laneOf: readonly number[],
): Pick<Tracks, 'faults' | 'deaths' | 'notes' | 'calls' | 'silences'> {
  const [faults, deaths, notes, calls]: [Mark[], Mark[], Mark[], Mark[]] = [[], [], [], []];
  const silences: { from: number; to: number; ms: number }[] = [];
  for (const [event, each] of model.events.entries()) {
    const at = scale.positions[event]!;
    const before = model.events[event - 1];
    if (model.recording.live === undefined && before !== undefined && each.ms - before.ms >= silenceMs)
      silences.push({ from: scale.positions[event - 1]!, to: at, ms: each.ms - before.ms });
    if (!('role' in each)) continue;
    const lane = laneOf[model.instance(each.role)!]!;
    if (each.type === 'fault') faults.push({ lane, at, event, text: kindOfFault(each.key) ?? each.key });
    if (each.type === 'end') deaths.push({ lane, at, event, text: each.reason });
    if (each.type === 'note') notes.push({ lane, at, event, text: each.text });
    if (each.type === 'call' && model.calledInstance(each.to) === undefined) calls.push({ lane, at, event, text: each.call });
  }
  return { faults, deaths, notes, calls, silences };
}
