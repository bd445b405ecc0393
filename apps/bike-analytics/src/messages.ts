/**
 * The wire contract, between roles and with the client alike.
 *
 *   offset 0      u32, big-endian: length of the head in bytes
 *   offset 4      the head: one JSON object in UTF-8, its `kind` names the message
 *   after it      the body: for `rows` a table of @lab/columns, for `partial` and `answer` JSON, otherwise nothing
 *
 * Every message carries the session it belongs to. What a role makes of a batch is a function of that batch alone, so
 * (session, topic, number) names it on all its way, and a repeat is recognised by its number.
 */
import { z } from 'zod';
import { cities, filterNames, queries, topics } from './domain/terms.ts';

/** A head is names and numbers; what is longer was not made by this system. */
const headBytesMax = 4096;

const count = z.int().min(0).max(0x7fffffff);
const session = z.uuid();
const topic = z.enum(topics);
const city = z.enum(cities);
const query = z.literal(queries);
/** Batch b belongs to shard b mod `shards`; fixed for a session by the entry point that opened it. */
const shards = z.int().min(1).max(64);

const schemas = {
  // From stage to stage.
  /** A batch of one topic and one city; the body is its table. */
  rows: z.object({ kind: z.literal('rows'), session, shards, topic, number: count, city, rows: count }),
  /** End of topic: it had the batches 0 to `batches` - 1. */
  end: z.object({ kind: z.literal('end'), session, shards, topic, batches: count }),
  /** What was made of this batch is safe in the next stage's queues. */
  passed: z.object({ kind: z.literal('passed'), session, topic, number: count, by: z.enum([...filterNames, 'broker']) }),
  /** A shard's part of a query's answer. */
  partial: z.object({ kind: z.literal('partial'), session, shards, query, shard: count }),
  /** A query's answer. */
  answer: z.object({ kind: z.literal('answer'), session, query }),

  // From the client. `batch` has the original's three fields: topic, eof and rows (the body).
  /** Opens a session, or takes it up again: with the batches of each topic that was acknowledged. */
  hello: z.object({ kind: z.literal('hello'), session, acknowledged: z.partialRecord(topic, count), shards: shards.optional() }),
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
  }),
  /** Every batch of the topic, and its end, are safe. */
  acknowledged: z.object({ kind: z.literal('acknowledged'), topic }),
  alive: z.object({ kind: z.literal('alive') }),
  result: z.object({ kind: z.literal('result') }),
  /** The session ends with an error; with `again`, a new session from the start may do better. */
  refused: z.object({ kind: z.literal('refused'), reason: z.string(), again: z.boolean() }),
} as const;

export type Kind = keyof typeof schemas;
export type Head<K extends Kind = Kind> = K extends Kind ? z.infer<(typeof schemas)[K]> : never;
export interface Message<K extends Kind = Kind> {
  head: Head<K>;
  body: Buffer;
}

/** The message is not one of this system: its bytes, its JSON or its fields are wrong. */
export class MalformedMessageError extends Error {
  override readonly name = 'MalformedMessageError';
}

/** The message in two parts, to be sent one after the other: a big body is not copied. */
export function encodeParts(head: Head, body?: Uint8Array): Uint8Array[] {
  const json = Buffer.from(JSON.stringify(head));
  const prefix = Buffer.allocUnsafe(4);
  prefix.writeUInt32BE(json.byteLength);
  return body === undefined ? [prefix, json] : [prefix, json, body];
}

export function encode(head: Head, body?: Uint8Array): Buffer {
  return Buffer.concat(encodeParts(head, body));
}

/** Takes a message apart; the body is a view of `bytes`. Anything but the kinds named is a `MalformedMessageError`. */
export function decode<K extends Kind>(bytes: Buffer, ...kinds: readonly K[]): Message<K> {
  if (bytes.byteLength < 4) throw new MalformedMessageError(`a message of ${bytes.byteLength} bytes has no head`);
  const headBytes = bytes.readUInt32BE(0);
  if (headBytes > headBytesMax)
    throw new MalformedMessageError(`a head of ${headBytes} bytes; at most ${headBytesMax} are allowed`);
  if (4 + headBytes > bytes.byteLength)
    throw new MalformedMessageError(`a head of ${headBytes} bytes in a message of ${bytes.byteLength}`);
  const head = parseHead(bytes.toString('utf8', 4, 4 + headBytes), kinds);
  return { head, body: bytes.subarray(4 + headBytes) };
}

function parseHead<K extends Kind>(text: string, kinds: readonly K[]): Head<K> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new MalformedMessageError('the head is not JSON', { cause });
  }
  const kind = kinds.find((wanted) => wanted === (value as { kind?: unknown } | null)?.kind);
  if (kind === undefined) throw new MalformedMessageError(`expected ${kinds.join(' or ')}, not ${text.slice(0, 80)}`);
  const parsed = schemas[kind].safeParse(value);
  if (!parsed.success) throw new MalformedMessageError(`${kind}: ${z.prettifyError(parsed.error).replaceAll('\n', ' ')}`);
  return parsed.data as Head<K>;
}
