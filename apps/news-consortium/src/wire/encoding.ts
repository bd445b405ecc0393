/** What the messages are as bytes: JSON in UTF-8. A `Refusal` says what is wrong with bytes that are none. */
import { z } from 'zod';
import {
  deadlineMsMax,
  operations,
  operationsAmong,
  type Body,
  type Change,
  type Item,
  type Kind,
  type Replies,
  type Request,
  type WatchFrame,
} from '../messages.ts';
import { nameAmong, noNames, quoted, token } from './fields.ts';
import { Refusal, refusalCodes, type RefusalDetails } from './refusal.ts';

const encoder = new TextEncoder();
export const encode = (message: object): Uint8Array => encoder.encode(JSON.stringify(message));

export const encodeRequest = <K extends Kind>(kind: K, deadlineMs: number, body: Body<K>): Uint8Array =>
  encode({ kind, deadlineMs: Math.max(1, Math.min(deadlineMsMax, Math.ceil(deadlineMs))), ...body });

const deadlineMs = z.int().min(1).max(deadlineMsMax);

/** Reads requests; a `Refusal` says what is wrong with one. */
export type RequestReader = (frame: Uint8Array) => Request;

/** For a system with these old names of users and areas; without them, for one that has none. */
export function requestReader({ users, areas } = { users: noNames, areas: noNames }): RequestReader {
  const schemas = new Map<string, z.ZodObject>(
    Object.entries(operationsAmong(nameAmong(users), nameAmong(areas))).map(([kind, { by, request }]) => [
      kind,
      z.object({ kind: z.literal(kind), deadlineMs, ...(by !== 'anybody' && { token }), ...request }),
    ]),
  );
  return (frame) => {
    const value = parseJson(frame);
    const kind = (value as { kind?: unknown } | null)?.kind;
    if (typeof kind !== 'string') throw new Refusal('malformed', 'a request says its kind');
    const schema = schemas.get(kind);
    if (schema === undefined) throw new Refusal('malformed', `there is no request ${quoted(kind)}`);
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data as unknown as Request;
    const [issue] = parsed.error.issues;
    const field = issue?.path.join('.') ?? '';
    throw new Refusal('invalid', issue?.code === 'custom' ? issue.message : `${kind}: ${field}: ${issue?.message}`);
  };
}

function parseJson(frame: Uint8Array): unknown {
  try {
    return JSON.parse(decoder.decode(frame));
  } catch (cause) {
    throw new Refusal('malformed', 'a frame that is not JSON in UTF-8', {}, { cause });
  }
}
const decoder = new TextDecoder('utf-8', { fatal: true });

export const encodeReply = (reply: object): Uint8Array => encode({ ok: reply });

export const encodeRefusal = ({ code, message, details }: Refusal): Uint8Array =>
  encode({ error: { code, message, ...details } });

const errorSchema = z.object({
  code: z.enum(refusalCodes),
  message: z.string(),
  nodes: z.array(z.string()).optional(),
  retryAfterMs: z.number().optional(),
});

/** Reads a reply. Throws the refusal that it is, or `malformed` where the peer speaks something else. */
export function decodeReply<K extends Kind>(kind: K, frame: Uint8Array): Replies[K] {
  const value = decodeFrame(frame);
  if (value['ok'] !== undefined) return operations[kind].reply(value['ok']) as Replies[K];
  throw new Refusal('malformed', 'the peer sent no reply of this protocol');
}

/** Reads what a node sends to a watcher. */
export function decodeWatchFrame(frame: Uint8Array): WatchFrame {
  const value = decodeFrame(frame);
  if (Array.isArray(value['news'])) return { news: value['news'] as (Item | Change)[] };
  if (value['alive'] === true) return { alive: true };
  throw new Refusal('malformed', 'the peer sent neither news nor a sign of life');
}

function decodeFrame(frame: Uint8Array): Record<string, unknown> {
  const value = parseJson(frame);
  if (typeof value !== 'object' || value === null) throw new Refusal('malformed', 'a frame that is no object');
  const error = errorSchema.safeParse((value as { error?: unknown }).error);
  if (!error.success) return value as Record<string, unknown>;
  const { code, message, ...details } = error.data;
  throw new Refusal(code, message, details as RefusalDetails);
}
