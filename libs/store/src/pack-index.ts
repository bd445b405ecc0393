/**
 * What is in a pack, in a file beside it: for each bundle its offset and its header. A pack whose index is lost is read through
 * from its beginning, header by header, so no single damage hides more than one bundle.
 *
 *   u32 magic "LBI1", u32 number of bundles, then for each: u32 offset, the header (see bundle.ts); at the end SHA-256 of all before
 */
import { hash as digest } from 'node:crypto';
import {
  blobsMax,
  blobsOf,
  bundleMagic,
  decodeHeader,
  encodeHeader,
  headerBytesOf,
  MalformedBundleError,
  type BundleHeader,
} from './bundle.ts';
import type { DiskFile } from './disk.ts';
import { readAt } from './durable.ts';

const magic = 0x4c424931;

export interface PackedBundle {
  offset: number;
  header: BundleHeader;
}

export const bytesOfBundle = ({ header }: PackedBundle): number => headerBytesOf(header.blobs.length) + header.payloadBytes;

export function encodeIndex(bundles: readonly PackedBundle[]): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(magic);
  head.writeUInt32BE(bundles.length, 4);
  const parts = bundles.flatMap(({ offset, header }) => {
    const at = Buffer.alloc(4);
    at.writeUInt32BE(offset);
    return [at, encodeHeader(header)];
  });
  const text = Buffer.concat([head, ...parts]);
  return Buffer.concat([text, digest('sha256', text, 'buffer')]);
}

/** Throws `MalformedBundleError` for anything but what `encodeIndex` makes; then makes one bundle at a time. */
export function decodeIndex(bytes: Buffer): Iterable<PackedBundle> {
  const end = bytes.length - 32;
  const sound = end >= 8 && digest('sha256', bytes.subarray(0, end), 'buffer').equals(bytes.subarray(end));
  if (!sound || bytes.readUInt32BE() !== magic) throw new MalformedBundleError('the index of a pack is damaged');
  return bundlesIn(bytes, end);
}

function* bundlesIn(bytes: Buffer, end: number): Generator<PackedBundle> {
  for (let at = 8; at < end;) {
    const header = decodeHeader(bytes, at + 4);
    yield { offset: bytes.readUInt32BE(at), header };
    at += 4 + headerBytesOf(header.blobs.length);
  }
}

/** A bundle from its pack; its blobs are not checked. What cannot be read is 0. */
export const readBundle = (file: DiskFile, bundle: PackedBundle): Promise<Buffer> =>
  readAt(file, bundle.offset, bytesOfBundle(bundle), () => {});

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
      offset += bytesOfBundle(bundle);
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
    const bytes = await readAt(file, bundle.offset, bytesOfBundle(bundle), onTrouble);
    const payload = bytes.subarray(headerBytesOf(bundle.header.blobs.length));
    if (bundle.offset !== end || blobsOf(bundle.header, payload).includes(undefined)) break;
    bundles.push(bundle);
    end += bytesOfBundle(bundle);
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
      const bundle = { offset, header: decodeHeader(bytes) };
      return offset + bytesOfBundle(bundle) <= size ? bundle : undefined;
    } catch (error) {
      if (!(error instanceof MalformedBundleError)) throw error;
    }
  }
  return undefined;
}
