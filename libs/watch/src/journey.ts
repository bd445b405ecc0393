/** A run in words: one event, the way of one message, the days of one process, and the story of all. */
import type { SimulationEvent } from '@lab/simulation/events';
import { kindOfFault, type Depth, type Model } from './model.ts';
import type { Recording } from './recording.ts';

/** How full a queue or a log is. */
export function depthText(depth: Depth | undefined, isLog: boolean): string {
  if (depth === undefined) return 'depth not known';
  const about = depth.isAbout ? '~' : '';
  return isLog ? `log of ${about}${depth.ready} entries` : `${about}${depth.ready} ready, ${about}${depth.held} held`;
}

/** What a process has in hand; where some messages are told and others are not, nobody knows how many. */
export function holdsText(holds: number, { live }: Recording): string {
  if (live?.tells === 'some') return holds > 0 ? 'at work' : '';
  return holds > 0 ? `holds ${holds}` : 'holds nothing';
}

/** A row of a story. What is between stars is to be strong. */
export interface Row {
  /** The event that it tells of. */
  readonly at: number;
  readonly ms: number;
  readonly kind: 'data' | 'note' | 'fault' | 'plain';
  readonly text: string;
  readonly detail: string;
  /** The message that it is about, of rows in which it is worth to be followed. */
  readonly message?: string | undefined;
}

/** Rows after which a story is cut in its middle. */
const rowsMax = 400;

/** `filter-trips-1-2.3`: in its third life. The first is not told. */
export const nameOf = ({ role, life }: { role: string; life: number }): string => (life === 1 ? role : `${role}.${life}`);

const span = (ms: number): string => (ms >= 1_000 ? `${Math.round(ms / 10) / 100} s` : `${Math.round(ms * 10) / 10} ms`);

/** What a fault's argument says: how long, mostly; of a clock's pace it is per mille. */
function argumentOf({ key, arg }: { key: string; arg: number }): string {
  if (arg === 0) return '';
  return /^runs /.test(kindOfFault(key) ?? '') ? ` by ${arg} ‰` : `, ${span(arg)}`;
}

/** One event, in a line. */
export function lineOf(event: SimulationEvent): string {
  switch (event.type) {
    case 'run':
      return `run of ${event.system}${event.seed === undefined ? '' : `, seed ${event.seed}`}`;
    case 'promise':
      return event.broken === undefined ? 'all promises kept' : `broken: ${event.broken}`;
    case 'fault':
      return faultLine(event);
    case 'mended':
      return `${nameOf(event)} ${event.text}`;
    case 'start':
      return event.life === 1 ? `${event.role} starts` : `${event.role} starts again, life ${event.life}`;
    case 'end':
      return event.reason === 'killed' ? `${nameOf(event)} dies` : `${nameOf(event)} ends: ${event.reason}`;
    case 'note':
      return `${nameOf(event)} ${event.text}`;
    case 'call':
      return `${nameOf(event)} → ${event.call} ${event.to}${event.message === '' || event.message === event.to ? '' : `: ${event.message}`}`;
    case 'delivery':
      return `${nameOf(event)} ← ${event.message || event.from}${event.redelivered ? ' (again)' : ''}`;
    case 'settled':
      return `${nameOf(event)} ${event.ok ? 'acknowledges' : 'fails'} ${event.message || event.from}`;
  }
}

/** A name in so many letters: both of its ends tell it from others, so the middle goes. */
export function shortened(name: string, room: number): string {
  if (name.length <= room) return name;
  const front = Math.max(1, Math.floor((room - 1) / 2));
  return `${name.slice(0, front)}…${name.slice(1 + front - room)}`;
}

/** What a run has come to, for who is at its end, or somewhere before it. */
export function verdictLine({ broken }: SimulationEvent & { type: 'promise' }, isOver: boolean): string {
  const when = isOver ? '' : ' in the end';
  return broken === undefined ? `promises kept${when}` : `broken${when}: ${broken}`;
}

function faultLine(event: SimulationEvent & { type: 'fault' }): string {
  return `${nameOf(event)}: ${kindOfFault(event.key) ?? event.key}${argumentOf(event)}`;
}

/** A fault by its key alone: what, how long, and where. */
export function faultText(fault: { key: string; arg: number }): string {
  const kind = kindOfFault(fault.key);
  const place = kind === undefined ? '' : fault.key.slice(0, -kind.length - 1);
  return `*${kind ?? fault.key}*${argumentOf(fault)} · ${place}`;
}

/** Whether the fault kills who it strikes: one of a simulation, or the kill of a container. */
const isDeath = ({ key }: { key: string }): boolean => key === 'killed' || (kindOfFault(key)?.startsWith('dies ') ?? false);

/** Tells, of one event after another, which are ends that were told with the fault that killed. */
function toldEnds(): (event: SimulationEvent) => boolean {
  const struck = new Set<string>();
  return (event) => {
    if (event.type === 'fault' && isDeath(event)) struck.add(nameOf(event));
    return event.type === 'end' && struck.has(nameOf(event));
  };
}

/** What a fault's key says beside its kind and its role: where it struck. */
function whereStruck({ key, role, life }: SimulationEvent & { type: 'fault' }): string {
  const kind = kindOfFault(key);
  return (kind === undefined ? key : key.slice(0, -kind.length - 1)).replace(`${role}.${life} `, 'at ');
}

/** The way of a message: published, delivered (try 2), acknowledged, held by whom when it died. */
export function journeyOf(model: Model, message: string): Row[] {
  const tries = new Map<string, number>();
  const holders = new Map<string, { from: string; since: number }>();
  const rows: Row[] = [];
  /** The rows of faults that killed: their ends are told there. */
  const struck = new Map<string, number>();
  const last = model.messages.get(message)?.at(-1) ?? -1;
  for (let at = model.messages.get(message)?.[0] ?? 0; at <= Math.max(last, 0) || holders.size > 0; at++) {
    const event = model.events[at];
    if (event === undefined) break;
    if (event.type === 'end' && holders.delete(`${event.role}.${event.life}`)) {
      const text = event.reason === 'killed' ? `*${nameOf(event)}* dies` : `*${nameOf(event)}* ends`;
      const detail = 'it had not acknowledged: the message goes back';
      const told = struck.get(nameOf(event));
      if (told === undefined) rows.push({ at, ms: event.ms, kind: 'fault', text, detail });
      else rows[told] = { ...rows[told]!, detail: `${rows[told]!.detail}; ${detail}` };
    }
    if (event.type === 'fault' && losesConnection(event, holders)) {
      const text = `*${nameOf(event)}*: ${kindOfFault(event.key)}${argumentOf(event)}`;
      rows.push({ at, ms: event.ms, kind: 'fault', text, detail: 'what was not acknowledged goes back' });
      continue;
    }
    if (!('message' in event) || event.message !== message) continue;
    if (event.type === 'fault' && isDeath(event)) struck.set(nameOf(event), rows.length);
    rows.push({ at, ms: event.ms, ...stepOf(event, tries, holders, at, model) });
    if (at > last) break;
  }
  return cut(rows);
}

type Step = Pick<Row, 'kind' | 'text' | 'detail'>;

/** Whether the fault takes a message from who holds it, and lets that one live. */
function losesConnection(
  { key, role, life }: { key: string; role: string; life: number },
  holders: Map<string, unknown>,
): boolean {
  const kind = kindOfFault(key);
  if (kind === 'connection lost') return holders.delete(`${role}.${life}`);
  if (kind !== 'broker away' && kind !== 'broker loses disk') return false;
  const some = holders.size > 0;
  holders.clear();
  return some;
}

function stepOf(
  event: Extract<SimulationEvent, { readonly message: string }>,
  tries: Map<string, number>,
  holders: Map<string, { from: string; since: number }>,
  at: number,
  model: Model,
): Step {
  switch (event.type) {
    case 'call': {
      const sent = { publish: 'published', append: 'appended', send: 'sent', answer: 'answered' }[event.call];
      const text = sent === undefined ? `*${nameOf(event)}* calls ${event.call}` : `${sent} by *${nameOf(event)}*`;
      return { kind: 'data', text, detail: `to ${event.to}` };
    }
    case 'delivery': {
      const isLog = model.queues[model.queue(event.from)!]!.isLog;
      const nth = (tries.get(event.from) ?? 0) + 1;
      tries.set(event.from, nth);
      if (isLog) return { kind: 'data', text: `read by *${nameOf(event)}*`, detail: `from ${event.from}` };
      holders.set(`${event.role}.${event.life}`, { from: event.from, since: at });
      return {
        kind: 'data',
        text: `delivered${nth > 1 ? ' again' : ''} to *${nameOf(event)}*${nth > 1 ? ` (try ${nth})` : ''}`,
        detail: `from ${event.from}`,
      };
    }
    case 'settled': {
      const held = holders.get(`${event.role}.${event.life}`);
      holders.delete(`${event.role}.${event.life}`);
      const heldMs = held === undefined ? 0 : event.ms - model.events[held.since]!.ms;
      if (!event.ok) return { kind: 'fault', text: `*${nameOf(event)}* fails`, detail: 'the message goes back' };
      return { kind: 'plain', text: `acknowledged by *${nameOf(event)}*`, detail: heldMs >= 1 ? `held for ${span(heldMs)}` : '' };
    }
    case 'fault':
      return toldOf(event, at);
  }
}

/** What an instance went through: its lives, its faults, its notes, what it received and sent. */
export function daysOf(model: Model, instance: number): Row[] {
  const { name } = model.instances[instance]!;
  const isTold = toldEnds();
  const rows = model.events.flatMap((event, at): Row[] => {
    if (isTold(event) || !('role' in event) || event.role !== name || event.type === 'settled') return [];
    const { ms } = event;
    if (event.type === 'call') {
      if (!model.messages.has(event.message) || event.to.startsWith('/')) return [];
      return [
        { at, ms, kind: 'plain', text: `${event.call} *${event.message}*`, detail: `to ${event.to}`, message: event.message },
      ];
    }
    if (event.type === 'delivery') {
      if (event.message === '') return [];
      return [
        {
          at,
          ms,
          kind: 'data',
          text: `*${event.message}*${event.redelivered ? ' (again)' : ''}`,
          detail: `from ${event.from}`,
          message: event.message,
        },
      ];
    }
    return [toldOf(event, at)];
  });
  return cut(rows);
}

/** Of an event that is no message. */
function toldOf(event: SimulationEvent & { type: 'start' | 'end' | 'fault' | 'mended' | 'note' }, at: number): Row {
  const { ms } = event;
  switch (event.type) {
    case 'start':
      return {
        at,
        ms,
        kind: 'plain',
        text: `*${event.role}* ${event.life === 1 ? 'starts' : 'is back'}`,
        detail: event.life === 1 ? '' : `life ${event.life}`,
      };
    case 'end':
      return {
        at,
        ms,
        kind: 'fault',
        text: `*${nameOf(event)}* ${event.reason === 'killed' ? 'dies' : 'ends'}`,
        detail: event.reason === 'killed' ? '' : event.reason,
      };
    case 'mended':
      return { at, ms, kind: 'plain', text: `*${nameOf(event)}* ${event.text}`, detail: '' };
    case 'note':
      return { at, ms, kind: 'note', text: `*${nameOf(event)}* ${event.text}`, detail: '' };
    case 'fault': {
      if (isDeath(event)) {
        const back = event.arg > 0 ? `; back after ${span(event.arg)}` : '';
        return {
          at,
          ms,
          kind: 'fault',
          text: `*${nameOf(event)}* ${kindOfFault(event.key) ?? 'is killed'}`,
          detail: kindOfFault(event.key) === undefined ? '' : `${whereStruck(event).replace(/^at /, '')}${back}`,
        };
      }
      const text = `*${nameOf(event)}*: ${kindOfFault(event.key) ?? event.key}${argumentOf(event)}`;
      const about = event.message === '' || whereStruck(event).includes(event.message) ? '' : `: ${event.message}`;
      return {
        at,
        ms,
        kind: 'fault',
        text,
        // One that is no kind of the simulation is its own word.
        detail: kindOfFault(event.key) === undefined ? about : `${whereStruck(event)}${about}`,
        message: event.message === '' ? undefined : event.message,
      };
    }
  }
}

/** The event at which something happened: of a broken promise, or the first fault, or the last one. */
export function firstOf({ events }: Pick<Model, 'events'>): number {
  const broken = events.findIndex((event) => event.type === 'promise' && event.broken !== undefined);
  if (broken >= 0) return broken;
  const fault = events.findIndex(({ type }) => type === 'fault');
  return fault >= 0 ? fault : events.length - 1;
}

/** The story of the run: faults, deaths and returns, notes when they change, the promise. */
export function storyOf(model: Model): Row[] {
  const isNews = newsOf();
  const isTold = toldEnds();
  const rows = model.events.flatMap((event, at): Row[] => {
    if (isTold(event)) return [];
    const { ms } = event;
    switch (event.type) {
      case 'start':
        return event.life === 1 ? [] : [toldOf(event, at)];
      case 'note':
        return isNews(event) ? [toldOf(event, at)] : [];
      case 'mended':
      case 'end':
      case 'fault':
        return [toldOf(event, at)];
      case 'promise':
        return event.broken === undefined
          ? [{ at, ms, kind: 'plain', text: '*All promises kept*', detail: '' }]
          : [{ at, ms, kind: 'fault', text: `*Broken: ${event.broken}*`, detail: event.detail }];
      case 'run':
      case 'call':
      case 'delivery':
      case 'settled':
        return [];
    }
  });
  return cut(together(rows));
}

/** Who tries again all the time fails in the same ways, until it succeeds. */
const sameFailureMs = 10_000;

/** Tells which notes say something new: another one than the last of that process, or a failure that it has not had for a while. */
function newsOf(): (note: SimulationEvent & { type: 'note' }) => boolean {
  const last = new Map<string, string>();
  const failedMs = new Map<string, number>();
  return ({ role, text, ms }) => {
    if (/^fails\b/.test(text)) {
      const failure = `${role} ${text}`;
      const beforeMs = failedMs.get(failure) ?? -Infinity;
      failedMs.set(failure, ms);
      return ms - beforeMs >= sameFailureMs;
    }
    const before = last.get(role);
    last.set(role, text);
    return text !== before;
  };
}

/** Fewer are told one by one. */
const togetherMin = 4;
/** So many of them are named. */
const namedMax = 6;

/** What happens to many at the same time is one row. */
function together(rows: readonly Row[]): Row[] {
  const said = ({ text }: Row): string => text.replace(/^\*[^*]+\*/, '');
  const merged: Row[] = [];
  for (let from = 0, to = 0; from < rows.length; from = to) {
    const first = rows[from]!;
    for (to = from; to < rows.length && rows[to]!.ms === first.ms && said(rows[to]!) === said(first);) to++;
    const same = rows.slice(from, to);
    const verb = { ' dies': 'die', ' ends': 'end', ' is back': 'are back' }[said(first)];
    if (same.length < togetherMin || verb === undefined) merged.push(...same);
    else {
      const names = same.map(({ text }) => text.split('*')[1]!);
      const more = names.length > namedMax ? ` and ${names.length - namedMax} more` : '';
      merged.push({
        ...same.at(-1)!,
        text: `*${same.length} processes* ${verb}`,
        detail: names.slice(0, namedMax).join(', ') + more,
      });
    }
  }
  return merged;
}

function cut(rows: Row[]): Row[] {
  if (rows.length <= rowsMax) return rows;
  const left = rows.length - rowsMax;
  const [first, last] = [rows.slice(0, rowsMax / 2), rows.slice(-rowsMax / 2)];
  const { at, ms } = rows[rowsMax / 2]!;
  return [...first, { at, ms, kind: 'plain', text: `… ${left} more …`, detail: '' }, ...last];
}
