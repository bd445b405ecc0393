/**
 * The wire contract: between admin and server, between requester and node, and on the queues between the roles.
 * Heads and bodies are laid out by @lab/protocol/messages. Of bodies, bundles and lists of hashes are bytes (32 for a SHA-256); everything else that is
 * long is JSON compressed with zstd.
 *
 * Paths and names are strings as domain/file-names.ts makes them.
 */
import { createHash } from 'node:crypto';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { MalformedMessageError, messageCodec, type HeadOf } from '@lab/protocol/messages';
import { z } from 'zod';
import { problemOf } from './domain/exclude.ts';
import { checksumLine, entriesMax, manifestBytesMax, type Chunk, type Entry } from './domain/manifest.ts';
import { nodeNamePattern } from './domain/paths.ts';

/** A head holds names and numbers, a path or two, and notes. */
const headBytesMax = 64 * 1024;

/** Most characters of a note that are kept. */
export const noteLengths = { path: 1000, note: 300 };

const count = z.int().min(0);
const hash = z.string().regex(/^[0-9a-f]{64}$/);
const node = z.string().regex(nodeNamePattern, 'a node is called by letters, digits, ".", "_" and "-", at most 64');
/** Checked by `normalPath` where it comes in, and by the node, which knows its root. */
const path = z.string().min(1).max(4096);
const address = z.string().max(300);
const keep = z.int().min(1).optional();
const keepRules = { keep, keepHourly: keep, keepDaily: keep, keepWeekly: keep, keepMonthly: keep };
const exclude = z
  .array(z.string())
  .refine((patterns) => problemOf(patterns) === undefined)
  .optional();
/** What of a path is backed up: the admin says it, and the node keeps to it. */
const scope = { exclude, oneFileSystem: z.boolean().optional() };
const registration = { node, address, path, every: z.string().max(100), ...scope, ...keepRules };
/** Of words for a person: what is longer is cut where it is made. */
export const reasonLength = 8192;
const reason = z.string().max(reasonLength);
const progress = { files: count, bytes: count, sentBytes: count };
export const outcome = z.object({
  result: z.enum(['version', 'unchanged', 'healed', 'superseded', 'failed']),
  version: count.optional(),
  ...progress,
  storedBytes: count,
  removed: count.optional(),
  elapsedMs: z.number(),
  reason: reason.optional(),
});

/** What could not be backed up as it was; a version keeps a hundred of them. */
export const notesSchema = z.object({
  notes: z.array(z.object({ path: z.string().max(noteLengths.path), note: z.string().max(noteLengths.note) })).max(100),
  leftOut: count,
});

const schemas = {
  /** The peer will not do it, for a reason that a person understands. */
  failed: z.object({ kind: z.literal('failed'), reason, code: count.optional() }),

  // A backup, between requester and node.
  /** With `checksum`, only if the tree has another. */
  backup: z.object({ kind: z.literal('backup'), path, ...scope, checksum: hash.optional() }),
  /** Each second, so that nobody takes long work for a hang. */
  working: z.object({ kind: z.literal('working'), ...progress, total: count.optional() }),
  unchanged: z.object({ kind: z.literal('unchanged'), files: count, bytes: count }),
  /** Body: hash and length (u32) of each blob that the node would send. */
  offer: z.object({ kind: z.literal('offer') }),
  /** Body: a byte for each blob of the offer, 1 where it is wanted. Answers come in the order of offers. */
  want: z.object({ kind: z.literal('want') }),
  /** Body: a bundle (bundle.ts), of wanted blobs. */
  bundle: z.object({ kind: z.literal('bundle') }),
  /** The last bundle's content is safe from the end of any process. The node has few bytes under way that are not. */
  kept: z.object({ kind: z.literal('kept'), bytes: count }),
  /** Body: a piece of the manifest's text, compressed. */
  manifest: z.object({ kind: z.literal('manifest'), more: z.boolean() }),
  /** After the manifest: what it must hash to. Body: the tree's notes, JSON. */
  tree: z.object({ kind: z.literal('tree'), checksum: hash }),
  /** What became of it. */
  stored: z.object({ kind: z.literal('stored'), outcome }),

  // A command, between admin and server.
  register: z.object({ kind: z.literal('register'), ...registration }),
  /** With `forget`, of a path that has versions, it may not be registered any more. */
  unregister: z.object({ kind: z.literal('unregister'), node, path, forget: z.boolean() }),
  backupNow: z.object({ kind: z.literal('backupNow'), node, path }),
  /** With `last`, the newest so many of each path. */
  list: z.object({ kind: z.literal('list'), node: node.optional(), path: path.optional(), last: z.int().min(1).optional() }),
  forget: z.object({ kind: z.literal('forget'), node, path, version: z.int().min(1) }),
  status: z.object({ kind: z.literal('status') }),
  verify: z.object({ kind: z.literal('verify') }),
  shutdown: z.object({ kind: z.literal('shutdown') }),
  /** Body: a piece of JSON, compressed. */
  answer: z.object({ kind: z.literal('answer'), more: z.boolean() }),
  fetch: z.object({ kind: z.literal('fetch'), node, path, version: z.int().min(1).optional() }),
  /** Answer to `fetch`, before the manifest and `damaged`; body: the version's record, JSON. */
  version: z.object({ kind: z.literal('version') }),
  /** Body: a byte for each entry of the manifest, 1 where it cannot be restored, compressed. */
  damaged: z.object({ kind: z.literal('damaged') }),
  /** Body: hashes. The bundles of the version fetched last that have them follow, then `sent`. */
  need: z.object({ kind: z.literal('need') }),
  sent: z.object({ kind: z.literal('sent') }),
  /** What came was not what this hash says: look at it again. */
  suspect: z.object({ kind: z.literal('suspect'), hash }),

  // On the queues.
  /** A command for the nodes manager; body: the command's message. */
  command: z.object({ kind: z.literal('command'), id: z.uuid(), replyTo: z.string() }),
  /** Body: JSON. */
  reply: z.object({ kind: z.literal('reply'), id: z.uuid(), failed: reason.optional() }),
  due: z.object({ kind: z.literal('due'), attempt: z.uuid(), ...registration }),
  scrub: z.object({ kind: z.literal('scrub'), slice: count }),
  sweep: z.object({ kind: z.literal('sweep'), graceMs: count }),
  /** Restore one of its versions into nothing; which, `pick` says. */
  drill: z.object({ kind: z.literal('drill'), node, path, pick: count }),
  /** Without a version there is none. */
  drilled: z.object({
    kind: z.literal('drilled'),
    node,
    path,
    version: count.optional(),
    problem: reason.optional(),
    elapsedMs: count,
  }),
  progress: z.object({ kind: z.literal('progress'), attempt: z.uuid(), node, path, ...progress }),
  ended: z.object({ kind: z.literal('ended'), attempt: z.uuid(), node, path, outcome }),
  stop: z.object({ kind: z.literal('stop') }),
} as const;

export { MalformedMessageError };
export const { encodeParts, encode, decode } = messageCodec(schemas, headBytesMax);

export type Kind = keyof typeof schemas;
export type Head<K extends Kind = Kind> = HeadOf<typeof schemas, K>;
export interface Message<K extends Kind = Kind> {
  head: Head<K>;
  body: Buffer;
}

export const packJson = (value: unknown): Buffer => zstdCompressSync(JSON.stringify(value));
export const unpackJson = (body: Buffer): unknown => JSON.parse(unpackText(body));

export const unpackText = (body: Buffer): string => unpackBytes(body).toString();
export const packBytes = (bytes: Uint8Array): Buffer => zstdCompressSync(bytes);

/** Of a text that comes in pieces: in a buffer that has room for the largest, so that it is never copied together. */
export const unpackPiece = (body: Uint8Array): Buffer => unpackBytes(body, pieceBytes, pieceBytes + 1);

/** Bytes that were packed; more than a manifest may have is a `MalformedMessageError`, however small it came. */
export function unpackBytes(body: Uint8Array, maxOutputLength = manifestBytesMax, chunkSize?: number): Buffer {
  try {
    return zstdDecompressSync(body, { maxOutputLength, chunkSize });
  } catch (cause) {
    throw new MalformedMessageError('a body that is not compressed', { cause });
  }
}

/** Of a tree: by it a node knows whether the newest version is what it has, and a requester that a manifest came whole. */
export class TreeChecksum {
  readonly #hash = createHash('sha256');

  add(entry: Entry): void {
    this.#hash.update(checksumLine(entry));
  }

  digest(): string {
    return this.#hash.digest('hex');
  }
}

export function checksumOf(entries: Iterable<Entry>): string {
  const sum = new TreeChecksum();
  for (const entry of entries) sum.add(entry);
  return sum.digest();
}

/** What may be long travels in pieces: a frame holds a few megabytes. */
export const pieceBytes = 1024 * 1024;

/** Pieces of some text, cut wherever a character ends; `more` of the last says whether text follows. */
export function* pieces(kind: 'manifest' | 'answer', text: string, more = false): Generator<Message<'manifest' | 'answer'>> {
  const bytes = Buffer.from(text);
  for (let at = 0; at === 0 || at < bytes.length; at += pieceBytes) {
    const body = zstdCompressSync(bytes.subarray(at, at + pieceBytes));
    yield { head: { kind, more: more || at + pieceBytes < bytes.length }, body };
  }
}

const offerBytes = 36;

export function packOffer(chunks: readonly Chunk[]): Buffer {
  const body = Buffer.allocUnsafe(chunks.length * offerBytes);
  chunks.forEach(([sha256, size], index) => {
    body.write(sha256, index * offerBytes, 'hex');
    body.writeUInt32BE(size, index * offerBytes + 32);
  });
  return body;
}

export function unpackOffer(body: Buffer): Chunk[] {
  if (body.length % offerBytes !== 0 || body.length / offerBytes > entriesMax)
    throw new MalformedMessageError(`an offer of ${body.length} bytes`);
  return Array.from({ length: body.length / offerBytes }, (_, index) => {
    const at = index * offerBytes;
    return [body.toString('hex', at, at + 32), body.readUInt32BE(at + 32)];
  });
}

export const packHashes = (hashes: readonly string[]): Buffer => Buffer.from(hashes.join(''), 'hex');

export function unpackHashes(body: Buffer): string[] {
  if (body.length % 32 !== 0) throw new MalformedMessageError(`a list of hashes of ${body.length} bytes`);
  return Array.from({ length: body.length / 32 }, (_, index) => body.toString('hex', index * 32, index * 32 + 32));
}
