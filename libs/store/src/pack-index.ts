/**
 * What is in a pack, in a file beside it: for each bundle its offset and its header. A pack whose index is lost is read through
 * from its beginning, header by header, so no single damage hides more than one bundle.
 *
 *   u32 magic "LBI1", u32 number of bundles, then for each: u32 offset, the header (see bundle.ts); at the end SHA-256 of all before
 */
import { hash as digest } from 'node:crypto';
import {
  blobsIn,
  blobsMax,
  blobsOf,
  bundleMagic,
  decodeHeader,
  headerBytesOf,
  MalformedBundleError,
  payloadBytesIn,
  type BundleHeader,
} from './bundle.ts';
import type { DiskFile } from './disk.ts';
import { readAt } from './durable.ts';

const magic = 0x4c424931;

/** A bundle of a pack. Its header is kept as the bytes that it is: as objects it takes four times the memory. */
export class PackedBundle {
  readonly offset: number;
  readonly headerBytes: Buffer;

  /** Of bytes that begin with its header, sound and whole. */
  constructor(offset: number, bytes: Buffer) {
    this.offset = offset;
    this.headerBytes = bytes.subarray(0, headerBytesOf(blobsIn(bytes)));
  }

  /** Made anew each time. */
  get header(): BundleHeader {
    return decodeHeader(this.headerBytes);
  }

  /** With its payload. */
  get bytes(): number {
    return this.headerBytes.length + payloadBytesIn(this.headerBytes);
  }
}

export function encodeIndex(bundles: readonly PackedBundle[]): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(magic);
  head.writeUInt32BE(bundles.length, 4);
  const parts = bundles.flatMap(({ offset, headerBytes }) => {
    const at = Buffer.alloc(4);
    at.writeUInt32BE(offset);
    return [at, headerBytes];
  });
  const text = Buffer.concat([head, ...parts]);
  return Buffer.concat([text, digest('sha256', text, 'buffer')]);
}

/** Throws `MalformedBundleError` for anything but what `encodeIndex` makes. The bytes are held. */
export function decodeIndex(bytes: Buffer): PackedBundle[] {
  const end = bytes.length - 32;
  const sound = end >= 8 && digest('sha256', bytes.subarray(0, end), 'buffer').equals(bytes.subarray(end));
  if (!sound || bytes.readUInt32BE() !== magic) throw new MalformedBundleError('the index of a pack is damaged');
  const bundles: PackedBundle[] = [];
  for (let at = 8; at < end;) {
    const bundle = new PackedBundle(bytes.readUInt32BE(at), bytes.subarray(at + 4, end));
    bundles.push(bundle);
    at += 4 + bundle.headerBytes.length;
  }
  return bundles;
}

/** A bundle from its pack, as far as the pack goes; its blobs are not checked. What cannot be read is 0. */
export const readBundle = (file: DiskFile, bundle: PackedBundle): Promise<Buffer> =>
  readAt(file, bundle.offset, bundle.bytes, () => {});

type OnTrouble = (error: unknown) => void;

/**
 * The bundles of a pack as the pack itself tells them; where a header is damaged, or cannot be read, it goes on with the next
 * that is not.
 */
export async function walkPack(file: DiskFile, onTrouble: OnTrouble): Promise<PackedBundle[]> {
  const { size } = await file.stat();
  const bundles: PackedBundle[] = [];
  for (let offset = 0; offset < size;) {
    const bundle = await bundleAt(file, offset, size, onTrouble);
    if (bundle === undefined) {
      offset = await nextMagic(file, offset + 1, size, onTrouble);
    } else {
      bundles.push(bundle);
      offset += bundle.bytes;
    }
  }
  return bundles;
}

/**
 * Of a pack that was being written when its writer died: the bundles that had been, from its beginning to the first that is not
 * whole and sound. Rejects where it cannot be read: nobody knows then.
 */
export async function walkUnfinished(file: DiskFile): Promise<PackedBundle[]> {
  const bundles: PackedBundle[] = [];
  let end = 0;
  const onTrouble = (error: unknown): never => {
    throw error;
  };
  for (const bundle of await walkPack(file, onTrouble)) {
    const bytes = await readAt(file, bundle.offset, bundle.bytes, onTrouble);
    const payload = bytes.subarray(bundle.headerBytes.length);
    if (bundle.offset !== end || blobsOf(bundle.header, payload).includes(undefined)) break;
    bundles.push(bundle);
    end += bundle.bytes;
  }
  return bundles;
}

/** Where the next header may begin; the end of the file where none does. */
async function nextMagic(file: DiskFile, from: number, size: number, onTrouble: OnTrouble): Promise<number> {
  const rest = await readAt(file, from, size - from, onTrouble);
  const at = rest.indexOf(bundleMagic);
  return at < 0 ? size : from + at;
}

/** Headers are mostly small; a large one is read again in full. */
const headerGuessBytes = 4096;

async function bundleAt(file: DiskFile, offset: number, size: number, onTrouble: OnTrouble): Promise<PackedBundle | undefined> {
  for (const length of [headerGuessBytes, headerBytesOf(blobsMax)]) {
    const bytes = await readAt(file, offset, Math.min(length, size - offset), onTrouble);
    try {
      const header = bytes.subarray(0, headerBytesOf(decodeHeader(bytes).blobs.length));
      // A copy, that holds no more than it is.
      const bundle = new PackedBundle(offset, Buffer.from(header));
      return offset + bundle.bytes <= size ? bundle : undefined;
    } catch (error) {
      if (!(error instanceof MalformedBundleError)) throw error;
    }
  }
  return undefined;
}
