/** A recording: the events of a run, read from a file of JSON lines and checked, or sampled to fit into one. */
import { ExitError, exitCodes } from '@lab/process';
import { eventsVersion, type SimulationEvent } from '@lab/simulation/events';
import { z } from 'zod';

/** What was recorded. Time goes on from event to event; a run that goes on appends to it. */
export interface Recording {
  readonly system: string;
  readonly seed: number | undefined;
  readonly events: readonly SimulationEvent[];
  /** Where it was too large to keep all: how many events there were. */
  readonly sampledFrom?: number | undefined;
}

/** A page with more would take a browser minutes. */
export const eventsMax = 200_000;

const ms = z.number().min(0);
const instance = { role: z.string().min(1), life: z.int().min(1) };
const eventSchema = z.discriminatedUnion('type', [
  z.object({
    ms,
    type: z.literal('run'),
    version: z.literal(eventsVersion),
    system: z.string(),
    seed: z.int().optional(),
    sampledFrom: z.int().optional(),
  }),
  z.object({ ms, type: z.literal('start'), ...instance }),
  z.object({ ms, type: z.literal('end'), ...instance, reason: z.string() }),
  z.object({ ms, type: z.literal('call'), ...instance, call: z.string(), to: z.string(), message: z.string() }),
  z.object({ ms, type: z.literal('delivery'), ...instance, from: z.string(), message: z.string(), redelivered: z.boolean() }),
  z.object({ ms, type: z.literal('settled'), ...instance, from: z.string(), message: z.string(), ok: z.boolean() }),
  z.object({ ms, type: z.literal('fault'), ...instance, key: z.string(), arg: z.number(), message: z.string() }),
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
  let sampledFrom: number | undefined;
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
    if (data!.type === 'run') sampledFrom = data!.sampledFrom;
    events.push(data as SimulationEvent);
    if (events.length > eventsMax) wrong(index + 1, `more than ${eventsMax} events`);
  }
  const [run] = events;
  if (run?.type !== 'run') return wrong(1, 'it is empty: this is no recording');
  return { system: run.system, seed: run.seed, events, sampledFrom };
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

/**
 * The recording in at most so many characters. What is kept in any case: starts, ends, notes, faults, what happens around faults and before the end, and all of each message that a fault
 * touched. Of the other messages every so many-th stays, with all that happened to it.
 */
export function sampleRecording(recording: Recording, charactersMax: number): Recording {
  if (recordingText(recording).length <= charactersMax) return recording;
  const { events } = recording;
  const sampledFrom = recording.sampledFrom ?? events.length;
  for (let around = aroundFaults; ; around = Math.floor(around / 2)) {
    const kept = keptOf(events, around);
    for (let nth = 2; nth <= 4_096; nth *= 2) {
      const sampled = events.filter((event, index) => kept.has(index) || ('message' in event && isNth(event.message, nth)));
      const sample = { ...recording, events: sampled, sampledFrom };
      if (recordingText(sample).length <= charactersMax) return sample;
    }
    if (around === 0)
      throw new ExitError(
        `the recording is too large: its starts, ends, faults and notes alone are over ${charactersMax} characters`,
      );
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
