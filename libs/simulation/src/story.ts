/** What happened to the messages that a fault has touched: of all events only those, a line for each. Without a fault it is what happened last. */
import type { SimulationEvent } from './events.ts';

/** Lines after which a story is cut: nobody reads more. */
const linesMax = 60;
/** What comes again and again, as a look into a folder, is told so often. */
const sameMax = 2;
/** Without a fault: so many lines before the promise was broken. */
const lastLines = 20;

/** `calm` are the events of the same run without faults: what it has and this one has not is told, too. */
export function storyOf(events: readonly SimulationEvent[], calm: readonly SimulationEvent[]): string {
  const missing = callsMissing(events, calm);
  const touched = new Set(events.flatMap((event) => (event.type === 'fault' && event.message !== '' ? [event.message] : [])));
  // What came to nothing first: the rest follows from it.
  if (missing[0] !== undefined) touched.add(missing[0].message);
  const repeated = deliveredAgain(events, calm);
  if (repeated !== undefined) touched.add(repeated);
  const struck = new Set(events.flatMap((event) => (event.type === 'fault' ? [event.role] : [])));
  const all = struck.size > 0 ? events.filter((event) => isTold(event, touched, struck)) : lastOf(events);
  const told = withoutRepeats(all).slice(0, linesMax);
  const lines = told.map(lineOf);
  if (told.length < all.length) lines.push(`           ... and ${all.length - told.length} more`);
  if (missing.length > 0) lines.push('Without these faults this would have happened, too:');
  lines.push(...missing.slice(0, missingMax).map(({ call, to, message }) => `    never  -> ${call} ${to}   ${message}`));
  if (missing.length > missingMax) lines.push(`           ... and ${missing.length - missingMax} more`);
  return lines.join('\n');
}

const lastOf = (events: readonly SimulationEvent[]): SimulationEvent[] =>
  events.filter((event) => event.type === 'note' || ('message' in event && event.message !== '')).slice(-lastLines);

function withoutRepeats(events: readonly SimulationEvent[]): SimulationEvent[] {
  const counts = new Map<string, number>();
  return events.filter((event) => {
    const count = (counts.get(textOf(event)) ?? 0) + 1;
    counts.set(textOf(event), count);
    return count <= sameMax;
  });
}

function isTold(event: SimulationEvent, touched: ReadonlySet<string>, struck: ReadonlySet<string>): boolean {
  switch (event.type) {
    case 'run':
    case 'promise':
      return false;
    case 'fault':
    case 'mended':
      return true;
    case 'start':
      return event.life > 1 && struck.has(event.role);
    case 'end':
    case 'note':
      return struck.has(event.role);
    case 'call':
    case 'delivery':
    case 'settled':
      return touched.has(event.message);
  }
}

function lineOf(event: SimulationEvent): string {
  return `${String(event.ms).padStart(7)} ms  ${textOf(event)}`;
}

function textOf(event: SimulationEvent): string {
  switch (event.type) {
    case 'run':
      return `run of ${event.system}`;
    case 'promise':
      return event.broken ?? 'all promises kept';
    case 'fault':
      return `FAULT ${event.key}${event.arg > 0 ? ` (${event.arg} ms)` : ''}`;
    case 'start':
      return `${event.role}.${event.life} starts`;
    case 'end':
      return `${event.role}.${event.life} ends: ${event.reason}`;
    case 'note':
    case 'mended':
      return `${event.role}.${event.life} ${event.text}`;
    case 'call':
      return `${event.role}.${event.life} -> ${event.call} ${event.to}   ${event.message}`;
    case 'delivery':
      return `${event.role}.${event.life} <- ${event.from}${event.redelivered ? ' (again)' : ''}   ${event.message}`;
    case 'settled':
      return `${event.role}.${event.life} ${event.ok ? 'acknowledges' : 'fails'} ${event.message}`;
  }
}

/** The message of the first delivery that the run without faults has not: it came again, whether the broker knows that or not. */
function deliveredAgain(events: readonly SimulationEvent[], calm: readonly SimulationEvent[]): string | undefined {
  const counted = (of: readonly SimulationEvent[]): Map<string, number> => {
    const counts = new Map<string, number>();
    for (const event of of) if (isDelivery(event)) counts.set(keyOf(event), (counts.get(keyOf(event)) ?? 0) + 1);
    return counts;
  };
  const isDelivery = (event: SimulationEvent): event is Delivered => event.type === 'delivery' && event.message !== '';
  const keyOf = ({ role, from, message }: Delivered): string => `${role} ${from} ${message}`;
  const [now, then] = [counted(events), counted(calm)];
  return events.filter(isDelivery).find((event) => now.get(keyOf(event))! > Math.max(1, then.get(keyOf(event)) ?? 0))?.message;
}
type Delivered = SimulationEvent & { readonly type: 'delivery' };

/** More would hide what matters. */
const missingMax = 8;

type Call = SimulationEvent & { readonly type: 'call' };

/** What is called in the run without faults and not in this one: mostly what was lost. */
function callsMissing(events: readonly SimulationEvent[], calm: readonly SimulationEvent[]): Call[] {
  const calls = (of: readonly SimulationEvent[]): Map<string, Call> =>
    new Map(of.flatMap((event) => (event.type === 'call' && event.message !== '' ? [[keyOf(event), event]] : [])));
  const keyOf = ({ call, to, message }: Call): string => `${call} ${to} ${message}`;
  const happened = calls(events);
  return [...calls(calm)].flatMap(([key, event]) => (happened.has(key) ? [] : [event]));
}
