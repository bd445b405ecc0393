/**
 * Messages of several kinds, each a head and a body:
 *
 *   offset 0      u32, big-endian: length of the head in bytes
 *   offset 4      the head: one JSON object in UTF-8, its `kind` names the message
 *   after it      the body: bytes, of a kind's own format
 *
 * A message is what a frame carries, or a queue.
 */
import { z } from 'zod';

/** What a head of each kind has, its `kind` included. */
export type Schemas = Readonly<Record<string, z.ZodObject>>;
export type HeadOf<S extends Schemas, K extends keyof S> = K extends keyof S ? z.infer<S[K]> : never;

/** The message is not one of this system: its bytes, its JSON or its fields are wrong. */
export class MalformedMessageError extends Error {
  override readonly name = 'MalformedMessageError';
}

/** Encodes and decodes messages of these kinds, with heads of at most so many bytes. */
export function messageCodec<S extends Schemas>(schemas: S, headBytesMax: number) {
  type Head = HeadOf<S, keyof S>;

  /** The message in parts, to be sent one after the other: a big body is not copied. */
  function encodeParts(head: Head, ...body: readonly Uint8Array[]): Uint8Array[] {
    const json = Buffer.from(JSON.stringify(head));
    const prefix = Buffer.allocUnsafe(4);
    prefix.writeUInt32BE(json.byteLength);
    return [prefix, json, ...body];
  }

  const encode = (head: Head, ...body: readonly Uint8Array[]): Buffer => Buffer.concat(encodeParts(head, ...body));

  /** Where the head ends; what is shorter than it says is a `MalformedMessageError`. */
  function headEndOf(bytes: Buffer): number {
    if (bytes.byteLength < 4) throw new MalformedMessageError(`a message of ${bytes.byteLength} bytes has no head`);
    const headBytes = bytes.readUInt32BE(0);
    if (headBytes > headBytesMax)
      throw new MalformedMessageError(`a head of ${headBytes} bytes; at most ${headBytesMax} are allowed`);
    if (4 + headBytes > bytes.byteLength)
      throw new MalformedMessageError(`a head of ${headBytes} bytes in a message of ${bytes.byteLength}`);
    return 4 + headBytes;
  }

  /** Takes a message apart; the body is a view of `bytes`. Anything but the kinds named is a `MalformedMessageError`. */
  function decode<K extends keyof S & string>(bytes: Buffer, ...kinds: readonly K[]): { head: HeadOf<S, K>; body: Buffer } {
    const headEnd = headEndOf(bytes);
    return { head: parseHead(bytes.toString('utf8', 4, headEnd), kinds), body: bytes.subarray(headEnd) };
  }

  function parseHead<K extends keyof S & string>(text: string, kinds: readonly K[]): HeadOf<S, K> {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw new MalformedMessageError('the head is not JSON', { cause });
    }
    const kind = kinds.find((wanted) => wanted === (value as { kind?: unknown } | null)?.kind);
    if (kind === undefined) throw new MalformedMessageError(`expected ${kinds.join(' or ')}, not ${text.slice(0, 80)}`);
    const parsed = schemas[kind]!.safeParse(value);
    if (!parsed.success) throw new MalformedMessageError(`${kind}: ${z.prettifyError(parsed.error).replaceAll('\n', ' ')}`);
    return parsed.data as HeadOf<S, K>;
  }

  return { encodeParts, encode, decode };
}
