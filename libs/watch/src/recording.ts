/** A recording: the events of a run, read from a file of JSON lines and checked, or sampled to fit into one. */
import { ExitError, exitCodes } from '@lab/process';
import { eventsVersion, type SimulationEvent, type Trouble } from '@lab/simulation/events';
import { kinds as faultKinds, type KindName } from '@lab/simulation/faults';
import type { Ledger } from '@lab/testing/ledger';
import { z } from 'zod';

type RunEvent = SimulationEvent & { readonly type: 'run' };

/** How full queues were at a time, and how many messages came and went in a second, as the broker counts them. */
export interface Depths {
  readonly ms: number;
  readonly queues: Readonly<Record<string, { readonly ready: number; readonly held: number; readonly rate: number }>>;
}

/** What is known of a system that no event tells, by groups of its instances. */
export interface Known {
  /** Whose doing reaches whom. */
  readonly flows: readonly (readonly [from: string, to: string])[];
  /** Which group does the work of what callers name otherwise: a database's software, a registry. */
  readonly serves: Readonly<Record<string, string>>;
}

/** Of a system that ran on its engines: its time is that of a clock, and what was seen of it besides events. */
export interface Live {
  /** Until when it was watched. */
  readonly untilMs: number;
  /** Whether all messages are told or some of them, as of a sample of spans: how many wait is not known from those. */
  readonly tells: 'all' | 'some';
  /** Time goes on from one to the next. */
  readonly depths: readonly Depths[];
  readonly known?: Known | undefined;
  /** What `npx nx load` said last. */
  readonly ledger?: Ledger | undefined;
}

/** What was recorded. Time goes on from event to event; a run that goes on appends to it. */
export interface Recording {
  readonly system: string;
  readonly seed: number | undefined;
  readonly events: readonly SimulationEvent[];
  /** Of a simulation: what it takes to run it again, and the kinds of faults that it knows. */
  readonly scenario?: RunEvent['scenario'];
  readonly kinds?: RunEvent['kinds'];
  readonly live?: Live | undefined;
  /** Where it was too large to keep all: how many events there were. */
  readonly sampledFrom?: number | undefined;
}

/** A page with more would take a browser minutes. */
export const eventsMax = 200_000;

const ms = z.number().min(0);
const at = z
  .string()
  .regex(/^\S+ #\d+$/)
  .optional();
const instance = { role: z.string().min(1), life: z.int().min(1) };
const trouble = z.enum(['hung', 'asleep', 'cut', 'slow'] satisfies Trouble[]);
const eventSchema = z.discriminatedUnion('type', [
  z.object({
    ms,
    type: z.literal('run'),
    version: z.literal(eventsVersion),
    system: z.string(),
    seed: z.int().optional(),
    scenario: z.object({ seed: z.int(), load: z.record(z.string(), z.int()) }).optional(),
    kinds: z
      .array(z.string())
      .transform((all) => all.filter((each): each is KindName => Object.hasOwn(faultKinds, each)))
      .optional(),
    sampledFrom: z.int().optional(),
  }),
  z.object({ ms, type: z.literal('start'), ...instance }),
  z.object({ ms, type: z.literal('end'), ...instance, reason: z.string() }),
  z.object({ ms, type: z.literal('call'), ...instance, call: z.string(), to: z.string(), message: z.string(), at }),
  z.object({ ms, type: z.literal('delivery'), ...instance, from: z.string(), message: z.string(), redelivered: z.boolean(), at }),
  z.object({ ms, type: z.literal('settled'), ...instance, from: z.string(), message: z.string(), ok: z.boolean(), at }),
  z.object({
    ms,
    type: z.literal('fault'),
    ...instance,
    key: z.string(),
    arg: z.number(),
    message: z.string(),
    trouble: trouble.optional(),
  }),
  z.object({ ms, type: z.literal('mended'), ...instance, trouble, text: z.string() }),
  z.object({ ms, type: z.literal('note'), ...instance, text: z.string() }),
  z.object({ ms, type: z.literal('promise'), broken: z.string().optional(), detail: z.string() }),
]);
const known = new Set<unknown>(eventSchema.options.map(({ shape }) => shape.type.value));

/** Reads a file of events; what is wrong in it is an error that names `file`, the line and the way out. Types of events that are not known are left out. */
export function readRecording(text: string, file: string): Recording {
  const wrong = (line: number, problem: string): never => {
    throw new ExitError(
      `${file}:${line}: ${problem}; "npx nx simulate APP --seed N --events FILE" writes such a file`,
      exitCodes.usage,
    );
  };
  const events: SimulationEvent[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const value = parsed(line) ?? wrong(index + 1, `no JSON: ${JSON.stringify(line.slice(0, 60))}`);
    const type = (value as { type?: unknown }).type;
    if (events.length === 0 && type !== 'run')
      wrong(index + 1, `the first line says ${JSON.stringify(type)}, not "run": this is no recording`);
    const version = (value as { version?: unknown }).version;
    if (type === 'run' && version !== eventsVersion)
      wrong(index + 1, `version ${JSON.stringify(version)}, and only ${eventsVersion} can be read`);
    if (!known.has(type)) continue;
    const { success, data, error } = eventSchema.safeParse(value);
    if (!success)
      wrong(index + 1, `no event: ${error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join(', ')}`);
    if (data!.ms < (events.at(-1)?.ms ?? 0)) wrong(index + 1, `${data!.ms} ms, after ${events.at(-1)!.ms} ms: time goes back`);
    events.push(data as SimulationEvent);
    if (events.length > eventsMax) wrong(index + 1, `more than ${eventsMax} events`);
  }
  if (events.length === 0) wrong(1, 'it is empty: this is no recording');
  return recordingOf(events);
}

/** The recording of these events, of which the first tells what was run. */
export function recordingOf(events: readonly SimulationEvent[]): Recording {
  const { system, seed, scenario, kinds, sampledFrom } = events[0] as RunEvent & { sampledFrom?: number };
  return { system, seed, scenario, kinds, sampledFrom, events };
}

function parsed(line: string): object | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** As the text of a file. */
export const recordingText = ({ events, sampledFrom }: Recording): string =>
  events.map((event) => `${JSON.stringify(event.type === 'run' ? { ...event, sampledFrom } : event)}\n`).join('');

/** So many events before and after each fault, and before a broken promise, are kept. */
const aroundFaults = 150;

/** The recording in at most so many characters, as `sampled` says. */
export function sampleRecording(recording: Recording, charactersMax: number): Recording {
  const lengthOf = (events: readonly SimulationEvent[]): number => recordingText({ ...recording, events }).length;
  if (lengthOf(recording.events) <= charactersMax) return recording;
  const events = sampled(recording.events, (some) => lengthOf(some) <= charactersMax);
  if (events === undefined)
    throw new ExitError(
      `the recording is too large: its starts, ends, faults and notes alone are over ${charactersMax} characters`,
    );
  return { ...recording, events, sampledFrom: recording.sampledFrom ?? recording.events.length };
}

/**
 * As many of the events as fit. What is kept in any case: starts, ends, notes, faults, what happens around faults and before the end, and all of each message that a fault touched. Of the
 * other messages every so many-th stays, with all that happened to it. Nothing where what is kept in any case does not fit.
 */
export function sampled(
  events: readonly SimulationEvent[],
  fits: (events: readonly SimulationEvent[]) => boolean,
): readonly SimulationEvent[] | undefined {
  for (let around = aroundFaults; ; around = Math.floor(around / 2)) {
    const kept = keptOf(events, around);
    for (let nth = 2; nth <= 4_096 && fits(events.filter((_, index) => kept.has(index))); nth *= 2) {
      const sample = events.filter((event, index) => kept.has(index) || ('message' in event && isNth(event.message, nth)));
      if (fits(sample)) return sample;
    }
    if (around === 0) return undefined;
  }
}

/** The places of events that stay whatever is left out. A message of which anything stays, stays: half of it would be counted as one that waits. */
function keptOf(events: readonly SimulationEvent[], around: number): ReadonlySet<number> {
  const delivered = new Set(events.flatMap((event) => (event.type === 'delivery' ? [event.message] : [])));
  const kept = new Set<number>();
  const whole = new Set<string>();
  for (const [index, event] of events.entries()) {
    if (event.type !== 'call' && event.type !== 'delivery' && event.type !== 'settled') kept.add(index);
    if (around === 0 || (event.type !== 'fault' && event.type !== 'promise')) continue;
    if (event.type === 'fault' && event.message !== '') whole.add(event.message);
    for (let at = Math.max(0, index - around); at <= Math.min(events.length - 1, index + around); at++) {
      kept.add(at);
      const near = events[at]!;
      if ('message' in near && delivered.has(near.message)) whole.add(near.message);
    }
  }
  for (const [index, event] of events.entries()) if ('message' in event && whole.has(event.message)) kept.add(index);
  return kept;
}

/** Whether this message is among the one in `nth` that stay: by its words, so that all of it stays. */
function isNth(message: string, nth: number): boolean {
  let hash = 2_166_136_261;
  for (let at = 0; at < message.length; at++) hash = Math.imul(hash ^ message.charCodeAt(at), 16_777_619);
  return ((hash ^ (hash >>> 15)) >>> 0) % nth === 0;
}
