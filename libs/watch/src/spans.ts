/** What spans tell, as events: OTLP's JSON, by OpenTelemetry's conventions for messaging, RPC and databases, and the kit's own `lab.message` and `lab.note`. */
import type { SimulationEvent } from '@lab/simulation/events';
import { z } from 'zod';

/** Something that happened to a process, before it has its place in a recording: of a union each. */
export type LiveEvent = SimulationEvent extends infer Event
  ? Event extends { readonly role: string }
    ? Omit<Event, 'ms' | 'life'> & {
        /** In ms since 1970. */
        readonly atMs: number;
        /** Of the process, where it has one: with another one the role lives again. */
        readonly process?: string | undefined;
      }
    : never
  : never;

const value = z.object({
  stringValue: z.string().optional(),
  intValue: z.union([z.number(), z.string()]).optional(),
  boolValue: z.boolean().optional(),
});
const attributes = z.array(z.object({ key: z.string(), value })).default([]);
const span = z.object({
  traceId: z.string(),
  name: z.string(),
  kind: z.int().default(1),
  startTimeUnixNano: z.string(),
  endTimeUnixNano: z.string(),
  attributes,
  events: z.array(z.object({ timeUnixNano: z.string(), attributes })).default([]),
  status: z.object({ code: z.int().default(0), message: z.string().optional() }).default({ code: 0 }),
});
type Span = z.infer<typeof span>;

/** A batch of spans, as a line of a file or the body of a request. */
export const spanBatch = z.object({
  resourceSpans: z.array(
    z.object({
      resource: z.object({ attributes }).default({ attributes: [] }),
      scopeSpans: z.array(z.object({ spans: z.array(span).default([]) })).default([]),
    }),
  ),
});
export type SpanBatch = z.infer<typeof spanBatch>;

/** OTLP's numbers. */
const kinds = { client: 3, producer: 4, consumer: 5 } as const;
const statusError = 2;
const reasonMax = 120;

type Attributes = ReadonlyMap<string, string>;

const textsOf = (all: z.infer<typeof attributes>): Attributes =>
  new Map(
    all.map(({ key, value: { stringValue, intValue, boolValue } }) => [key, String(stringValue ?? intValue ?? boolValue ?? '')]),
  );

/** Whole nanoseconds have more digits than a number. */
const msOf = (nanoseconds: string): number => Number(BigInt(nanoseconds) / 1_000n) / 1_000;

/** The events that spans tell, of a role of this name or of that which they say. Spans that tell of nothing to be seen are left out. */
export function eventsOf({ resourceSpans }: SpanBatch, words: Words, role?: string): LiveEvent[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const about = textsOf(resource.attributes);
    const who = { role: role ?? (about.get('service.name') || 'unknown'), process: about.get('service.instance.id') };
    return scopeSpans.flatMap(({ spans }) =>
      spans.flatMap((each) => told(each, textsOf(each.attributes), words).map((event) => ({ ...event, ...who }))),
    );
  });
}

type Told = LiveEvent extends infer Event ? (Event extends unknown ? Omit<Event, 'role' | 'process'> : never) : never;

function told(each: Span, about: Attributes, words: Words): Told[] {
  const [startMs, endMs] = [msOf(each.startTimeUnixNano), msOf(each.endTimeUnixNano)];
  const notes = [
    { atMs: startMs, text: about.get('lab.note') },
    ...each.events.map((event) => ({ atMs: msOf(event.timeUnixNano), text: textsOf(event.attributes).get('lab.note') })),
    { atMs: endMs, text: failureOf(each, about) },
  ].flatMap(({ atMs, text }): Told[] => (text === undefined ? [] : [{ type: 'note', atMs, text }]));
  const event =
    messageEvent(each, about, words, startMs, endMs) ??
    (each.kind === kinds.client ? callEvent(each, about, startMs) : undefined);
  return event === undefined ? notes : [event, ...notes];
}

/** What did not succeed is worth to be read. */
function failureOf({ status, name }: Span, about: Attributes): string | undefined {
  if (status.code !== statusError) return undefined;
  return `${about.get('messaging.operation.type') === 'settle' ? 'fails' : `fails to ${name}`}: ${(status.message ?? 'no reason').slice(0, reasonMax)}`;
}

function messageEvent(each: Span, about: Attributes, words: Words, startMs: number, endMs: number): Told | undefined {
  const place = about.get('messaging.destination.name') ?? '';
  const message = words.of(each.traceId, about);
  switch (about.get('messaging.operation.type') ?? '') {
    case 'send': {
      // What was not confirmed is told as a failure.
      if (each.status.code === statusError) return undefined;
      const key = about.get('messaging.rabbitmq.destination.routing_key');
      const to = !key || key === place ? place : `${place}/${key}`;
      return { type: 'call', atMs: startMs, call: about.get('messaging.operation.name') ?? 'publish', to, message };
    }
    case 'receive':
      return { type: 'delivery', atMs: startMs, from: place, message, redelivered: about.get('lab.redelivered') === 'true' };
    case 'settle':
      return { type: 'settled', atMs: endMs, from: place, message, ok: about.get('messaging.operation.name') !== 'nack' };
    default:
      return undefined;
  }
}

const callEvent = ({ name }: Span, about: Attributes, atMs: number): Told => ({
  type: 'call',
  atMs,
  call: about.get('rpc.method') ?? about.get('db.operation.name') ?? about.get('messaging.operation.name') ?? name,
  to:
    about.get('messaging.destination.name') ??
    about.get('server.address') ??
    about.get('db.system.name') ??
    about.get('rpc.system') ??
    name,
  message: about.get('lab.message') ?? '',
});

/** So many different words are remembered: longer than any of them is under way. */
const wordsMax = 50_000;

/** On the page the same words are the same message. Two that say the same are told apart by their traces, whoever is heard of first. */
export class Words {
  readonly #traceOf = new Map<string, string>();

  of(traceId: string, about: Attributes): string {
    const said = about.get('lab.message') ?? '';
    // Entries of a log bring no trace along.
    const hasTrace = about.has('lab.message.id') || about.get('messaging.operation.name') === 'publish';
    if (!hasTrace) return said;
    const suffix = `#${traceId.slice(-4)}`;
    if (said === '') return suffix;
    const first = this.#traceOf.get(said);
    if (first === undefined) {
      if (this.#traceOf.size >= wordsMax) this.#traceOf.delete(this.#traceOf.keys().next().value!);
      this.#traceOf.set(said, traceId);
    }
    return first === undefined || first === traceId ? said : `${said} ${suffix}`;
  }
}
