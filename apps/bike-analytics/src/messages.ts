/**
 * The wire contract, between roles and with the client alike: heads and bodies, as @lab/protocol/messages lays them out. The body is for `rows` and
 * `batch` a table of @lab/columns, for `partial`, `answer`, `progress` and `result` JSON, otherwise nothing.
 *
 * Every message carries the session it belongs to. What a role makes of a batch is a function of that batch alone, so
 * (session, topic, number) names it on all its way, and a repeat is recognised by its number.
 */
import { messageCodec, type HeadOf } from '@lab/protocol/messages';
import { z } from 'zod';
import { filters, queries, querySettings } from './domain/queries.ts';
import type { Setting, Values } from './domain/query.ts';
import { cities, topics } from './domain/terms.ts';
import { shardsMax } from './topology.ts';

/** Signs of life in a session timeout, either way: so many may be lost before anybody gives up. */
export const beatsPerTimeout = 12;

/** A head is names and numbers; what is longer was not made by this system. */
const headBytesMax = 4096;

const count = z.int().min(0).max(0x7fffffff);
const session = z.uuid();
const topic = z.enum(topics);
const city = z.enum(cities);
const query = z.literal(queries.map(({ number }) => number));
/** Batch b belongs to shard b mod `shards`; fixed for a session by the entry point that opened it. */
const shards = z.int().min(1).max(shardsMax);
/** Names one life of an entry point: under the same name comes back another, which knows nothing of sessions. */
const entryPoint = z.string().max(64);

/** A setting of a query, as a flag or a number has it. */
function settingSchema(setting: Setting<number> | Setting<string>) {
  if ('oneOf' in setting) return z.enum(setting.oneOf).default(setting.default).describe(setting.about);
  const number = z.coerce.number().min(setting.min).max(setting.max);
  return (setting.whole === true ? number.int() : number).default(setting.default).describe(setting.about);
}
/** The settings of all queries, by name. */
export const settingSchemas = Object.fromEntries(
  Object.entries(querySettings).map(([name, setting]) => [name, settingSchema(setting)]),
);
const settings = z.strictObject(settingSchemas) as unknown as z.ZodType<Values>;
/** Shown while it runs, and not held: what there is of a query's answer so far. */
const soFar = z.literal(true).optional();

const schemas = {
  // From stage to stage.
  /** A batch of one topic and one city; the body is its table. */
  rows: z.object({
    ...{ kind: z.literal('rows'), session, shards, settings, topic, number: count, city, rows: count },
    /** The client wants to see answers so far. */
    progress: z.boolean(),
  }),
  /** End of topic: it had the batches 0 to `batches` - 1. */
  end: z.object({ kind: z.literal('end'), session, shards, settings, topic, batches: count }),
  /** What was made of this batch is safe in the next stage's queues. */
  passed: z.object({
    kind: z.literal('passed'),
    session,
    topic,
    number: count,
    by: z.enum([...filters.map(({ name }) => name), 'broker']),
  }),
  /** A shard's part of a query's answer. */
  partial: z.object({ kind: z.literal('partial'), session, shards, settings, query, shard: count, soFar }),
  /** A query's answer. */
  answer: z.object({ kind: z.literal('answer'), session, query, soFar }),
  /** A role lets go of the session, of which it had no news for longer than a session timeout. */
  lapsed: z.object({ kind: z.literal('lapsed'), session }),

  // From the client. `batch` has the original's three fields: topic, eof and rows (the body).
  /** Opens a session, or takes it up again: with the batches of each topic that was acknowledged, and the entry point that last took it in. */
  hello: z.object({
    kind: z.literal('hello'),
    session,
    acknowledged: z.partialRecord(topic, count),
    shards: shards.optional(),
    entryPoint: entryPoint.optional(),
    settings,
    progress: z.boolean(),
    /** Names of the queries whose answers it knows. */
    queries: z.array(z.string().max(64)).max(9),
  }),
  batch: z.object({ kind: z.literal('batch'), topic, eof: z.literal(0), number: count, city, rows: count }),
  eof: z.object({ kind: z.literal('eof'), topic, eof: z.literal(1), batches: count }),
  ping: z.object({ kind: z.literal('ping') }),
  /** The client has the result: the session may be forgotten. */
  accepted: z.object({ kind: z.literal('accepted') }),

  // To the client.
  /** Batches of each topic that need not be sent again. */
  welcome: z.object({
    kind: z.literal('welcome'),
    received: z.partialRecord(topic, count),
    sessionTimeoutMs: z.number(),
    shards,
    entryPoint,
  }),
  /** Every batch of the topic, and its end, are safe. */
  acknowledged: z.object({ kind: z.literal('acknowledged'), topic }),
  /** With the reason why its next batch is not taken yet, if it is not. */
  alive: z.object({ kind: z.literal('alive'), waiting: z.string().optional() }),
  result: z.object({ kind: z.literal('result') }),
  /** What there is of a query's answer so far, if `hello` asked for it; the body is the answer. */
  progress: z.object({ kind: z.literal('progress'), query }),
  /** The session ends with an error; with `again`, a new session from the start may do better. */
  refused: z.object({ kind: z.literal('refused'), reason: z.string(), again: z.boolean() }),
} as const;

export const { encodeParts, encode, decode } = messageCodec(schemas, headBytesMax);

export type Kind = keyof typeof schemas;
export type Head<K extends Kind = Kind> = HeadOf<typeof schemas, K>;
export interface Message<K extends Kind = Kind> {
  head: Head<K>;
  body: Buffer;
}

/** In a few words: what of which session. */
export function describeMessage(body: Uint8Array): string {
  if (body.byteLength === 0) return '';
  const { head } = decode(
    Buffer.from(body.buffer, body.byteOffset, body.byteLength),
    'rows',
    'end',
    'passed',
    'partial',
    'answer',
    'lapsed',
  );
  const of = `of ${head.session.slice(0, 8)}`;
  switch (head.kind) {
    case 'rows':
      return `rows ${head.topic} #${head.number} ${head.city} ${of}`;
    case 'end':
      return `end ${head.topic} ${of}`;
    case 'passed':
      return `passed ${head.topic} #${head.number} by ${head.by} ${of}`;
    case 'partial':
      return `partial ${head.query} shard ${head.shard} ${of}`;
    case 'answer':
      return `answer ${head.query} ${of}`;
    case 'lapsed':
      return `lapsed ${of}`;
  }
}
