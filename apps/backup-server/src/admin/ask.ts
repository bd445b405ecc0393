/** What an admin asks of a server, on a connection of its own. */
import { ExitError, exitCodes } from '@lab/process/exit-codes';
import { release } from '@lab/process/release';
import type { Channel } from '../channel/channel.ts';
import { entriesIn, manifestBytesMax, ManifestReader, type Entry } from '../domain/manifest.ts';
import { decode, encode, MalformedMessageError, unpackBytes, unpackJson, unpackPiece, type Head } from '../messages.ts';
import type { Version } from '../versions.ts';

/** One command and its answer. */
export async function ask<T>(channel: Channel, head: Head, onWorking: (head: Head<'working'>) => void = () => {}): Promise<T> {
  await send(channel, head);
  const pieces: Buffer[] = [];
  await receive(channel, 'answer', (piece) => void pieces.push(piece), onWorking);
  return JSON.parse(Buffer.concat(pieces).toString()) as T;
}

/** The server takes no command whose values are out of range: whoever gave them hears it here. */
async function send(channel: Channel, head: Head): Promise<void> {
  try {
    decode(encode(head), head.kind);
  } catch (error) {
    throw new ExitError((error as Error).message, exitCodes.usage, { cause: error });
  }
  await channel.send(head);
}

/** A text that comes in pieces. */
async function receive(
  channel: Channel,
  kind: 'answer' | 'manifest',
  take: (piece: Buffer, packed: Buffer) => void,
  onWorking: (head: Head<'working'>) => void = () => {},
): Promise<void> {
  let length = 0;
  for (;;) {
    const { head, body } = await channel.expect(kind, 'working');
    if (head.kind === 'working') {
      onWorking(head);
      continue;
    }
    const piece = unpackPiece(body);
    length += piece.length;
    if (length > manifestBytesMax) throw new MalformedMessageError(`${kind}: more than ${manifestBytesMax} bytes`);
    take(piece, body);
    if (!head.more) return;
  }
}

export interface Asked {
  node: string;
  path: string;
  /** Default: the newest. */
  version?: number | undefined;
}

export interface AskedVersion {
  version: Version;
  /** All that is in it, made anew each time it is gone through: a million objects would take ten times the bytes that they came as. */
  entries: Iterable<Entry>;
  /** The same as it came, in memory that threads share. */
  packed: readonly Uint8Array[];
  /** Whether the entry at this place in them cannot be restored. */
  isDamaged: (index: number) => boolean;
}

/** A version, and all that is in it. A `Download` on the same channel gets the content. */
export async function askVersion(channel: Channel, { node, path, version: number }: Asked): Promise<AskedVersion> {
  await send(channel, { kind: 'fetch', node, path, version: number });
  const version = unpackJson((await channel.expect('version')).body) as Version;
  const [reader, pieces] = [new ManifestReader(), [] as Uint8Array[]];
  await receive(channel, 'manifest', (piece, packed) => {
    reader.push(piece);
    release(piece);
    const shared = new Uint8Array(new SharedArrayBuffer(packed.length));
    shared.set(packed);
    pieces.push(shared);
  });
  reader.end();
  const marks = unpackBytes((await channel.expect('damaged')).body);
  return { version, entries: packedEntries(pieces), packed: pieces, isDamaged: (index) => marks[index] === 1 };
}

export const packedEntries = (pieces: readonly Uint8Array[]): Iterable<Entry> => ({
  [Symbol.iterator]: () => entriesIn(unpacked(pieces)),
});

function* unpacked(pieces: readonly Uint8Array[]): Generator<Buffer> {
  for (const packed of pieces) {
    const piece = unpackPiece(packed);
    yield piece;
    release(piece);
  }
}
