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

/** Throws `MalformedBundleError` for anything but what `encodeIndex` makes. */
export function decodeIndex(bytes: Buffer): PackedBundle[] {
  const end = bytes.length - 32;
  const sound = end >= 8 && digest('sha256', bytes.subarray(0, end), 'buffer').equals(bytes.subarray(end));
  if (!sound || bytes.readUInt32BE() !== magic) throw new MalformedBundleError('the index of a pack is damaged');
  const bundles: PackedBundle[] = [];
  for (let at = 8; at < end;) {
    const header = decodeHeader(bytes, at + 4);
    bundles.push({ offset: bytes.readUInt32BE(at), header });
    at += 4 + headerBytesOf(header.blobs.length);
  }
  return bundles;
}

/** A bundle from its pack; its blobs are not checked. */
export async function readBundle(file: DiskFile, bundle: PackedBundle): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(bytesOfBundle(bundle));
  const { bytesRead } = await file.read(bytes, 0, bytes.length, bundle.offset);
  return bytes.subarray(0, bytesRead);
}

/** The bundles of a pack as the pack itself tells them; where a header is damaged it goes on with the next that is not. */
export async function walkPack(file: DiskFile): Promise<PackedBundle[]> {
  const { size } = await file.stat();
  const bundles: PackedBundle[] = [];
  for (let offset = 0; offset < size;) {
    const bundle = await bundleAt(file, offset, size);
    if (bundle === undefined) {
      offset = await nextMagic(file, offset + 1, size);
    } else {
      bundles.push(bundle);
      offset += bytesOfBundle(bundle);
    }
  }
  return bundles;
}

/**
 * Of a pack that was being written when its writer died: the bundles that had been, from its beginning to the first that is not
 * whole and sound.
 */
export async function walkUnfinished(file: DiskFile): Promise<PackedBundle[]> {
  const bundles: PackedBundle[] = [];
  let end = 0;
  for (const bundle of await walkPack(file)) {
    const payload = (await readBundle(file, bundle)).subarray(headerBytesOf(bundle.header.blobs.length));
    if (bundle.offset !== end || blobsOf(bundle.header, payload).includes(undefined)) break;
    bundles.push(bundle);
    end += bytesOfBundle(bundle);
  }
  return bundles;
}

/** Where the next header may begin; the end of the file where none does. */
async function nextMagic(file: DiskFile, from: number, size: number): Promise<number> {
  const rest = Buffer.alloc(size - from);
  await file.read(rest, 0, rest.length, from);
  const at = rest.indexOf(bundleMagic);
  return at < 0 ? size : from + at;
}

/** Headers are mostly small; a large one is read again in full. */
const headerGuessBytes = 4096;

async function bundleAt(file: DiskFile, offset: number, size: number): Promise<PackedBundle | undefined> {
  for (const length of [headerGuessBytes, headerBytesOf(blobsMax)]) {
    const bytes = Buffer.alloc(Math.min(length, size - offset));
    await file.read(bytes, 0, bytes.length, offset);
    try {
      const bundle = { offset, header: decodeHeader(bytes) };
      return offset + bytesOfBundle(bundle) <= size ? bundle : undefined;
    } catch (error) {
      if (!(error instanceof MalformedBundleError)) throw error;
    }
  }
  return undefined;
}
