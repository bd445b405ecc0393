/**
 * A bundle: one or more blobs, compressed together. Packs are made of them, and they can travel as they are, so that nothing is
 * compressed twice. Small blobs share one, for a call to the compressor costs more than they do; a blob of over 64 KiB is alone
 * in most cases. What one flipped byte can spoil is one bundle.
 *
 *   offset 0      u32  magic "LBB1"
 *   offset 4      u32  0: the payload is as it is, 1: zstd (RFC 8878)
 *   offset 8      u32  bytes of the payload
 *   offset 12     u32  number of blobs, n
 *   offset 16     u32  CRC-32 of the payload: a flip that a decompressor forgives is found too
 *   offset 20     n times: SHA-256 of the blob (32 bytes), u32 its length
 *   then          u32  CRC-32 of the header up to here
 *   then          the payload: the blobs, one behind the other
 *
 * Numbers are big-endian. The header is enough to know what is inside, and where the next bundle begins.
 */
import { hash as digest } from 'node:crypto';
import { release } from '@lab/process/release';
import { constants, crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib';

const magic = 0x4c424231;
const [plain, zstd] = [0, 1];
export const bundleMagic = 'LBB1';
/** The largest blob. */
export const blobBytesMax = 4 * 1024 * 1024;
const fixedBytes = 20;
const entryBytes = 36;
/** Blobs share a bundle up to so many bytes. */
export const bundleBytes = 512 * 1024;
/** A bundle holds one blob of the largest size, or small ones; many are tiny. */
export const blobsMax = 8192;
/** No payload is larger: what does not shrink stays as it is. */
const payloadBytesMax = blobBytesMax + bundleBytes;
export const bundleBytesMax = fixedBytes + blobsMax * entryBytes + 4 + payloadBytesMax;

/** zstd's fastest level that is still a compressor: 500 MB/s here, and three times that over what does not shrink. */
const params = { [constants.ZSTD_c_compressionLevel]: 1 };
/**
 * zstd's own bound on what it adds to what does not shrink is less: with room for all, the output is one piece and never copied
 * together.
 */
const outputBytes = (inputBytes: number): number => inputBytes + (inputBytes >> 7) + 256;

export interface Blob {
  /** SHA-256 in hex. */
  hash: string;
  bytes: Uint8Array;
}

export interface BundleHeader {
  compressed: boolean;
  payloadBytes: number;
  payloadCrc: number;
  blobs: { hash: string; bytes: number }[];
}

/** The bytes are no bundle, or not what its header says. */
export class MalformedBundleError extends Error {
  override readonly name = 'MalformedBundleError';
}

export const hashOf = (bytes: Uint8Array): string => digest('sha256', bytes, 'hex');

export type BundleParts = [header: Buffer, payload: Uint8Array];

/** Blobs, one behind the other: a single one as it is. */
export const joined = (blobs: readonly Blob[]): Uint8Array =>
  blobs.length === 1 ? blobs[0]!.bytes : Buffer.concat(blobs.map(({ bytes }) => bytes));

/** A bundle of at most `blobsMax` blobs, small ones or a single large one, in two parts: header and payload. */
export function bundleParts(blobs: readonly Blob[]): BundleParts {
  const raw = joined(blobs);
  const parts = bundleOf(
    raw,
    blobs.map(({ hash, bytes }) => ({ hash, bytes: bytes.length })),
  );
  if (blobs.length > 1 && parts[1] !== raw) release(raw);
  return parts;
}

/** The same of blobs that are joined. */
export function bundleOf(raw: Uint8Array, blobs: BundleHeader['blobs']): BundleParts {
  const packed = zstdCompressSync(raw, { params, chunkSize: outputBytes(raw.length) });
  const compressed = packed.length < raw.length;
  const payload = compressed ? packed : raw;
  if (!compressed) release(packed);
  return [encodeHeader({ compressed, payloadBytes: payload.length, payloadCrc: crc32(payload), blobs }), payload];
}

export const encodeBundle = (blobs: readonly Blob[]): Buffer => Buffer.concat(bundleParts(blobs));

export function encodeHeader({ compressed, payloadBytes, payloadCrc, blobs }: BundleHeader): Buffer {
  const header = Buffer.alloc(headerBytesOf(blobs.length));
  header.writeUInt32BE(magic, 0);
  header.writeUInt32BE(compressed ? zstd : plain, 4);
  header.writeUInt32BE(payloadBytes, 8);
  header.writeUInt32BE(blobs.length, 12);
  header.writeUInt32BE(payloadCrc, 16);
  let at = fixedBytes;
  for (const { hash, bytes } of blobs) {
    at += header.write(hash, at, 'hex');
    at = header.writeUInt32BE(bytes, at);
  }
  header.writeUInt32BE(crc32(header.subarray(0, at)), at);
  return header;
}

/** The size of a header for so many blobs. */
export const headerBytesOf = (blobs: number): number => fixedBytes + blobs * entryBytes + 4;

/** Of a sound header: bytes of the payload. */
export const payloadBytesIn = (bytes: Buffer): number => bytes.readUInt32BE(8);

/** Of a sound header: the number of blobs. */
export const blobsIn = (bytes: Buffer): number => bytes.readUInt32BE(12);

/** Reads a header; the bytes may end before the payload does. */
export function decodeHeader(bytes: Buffer): BundleHeader {
  if (bytes.length < fixedBytes) throw new MalformedBundleError('a bundle ends within its header');
  if (bytes.readUInt32BE() !== magic) throw new MalformedBundleError('no bundle begins here');
  const encoding = bytes.readUInt32BE(4);
  const payloadBytes = payloadBytesIn(bytes);
  const count = blobsIn(bytes);
  if ((encoding !== plain && encoding !== zstd) || count === 0 || count > blobsMax || payloadBytes > payloadBytesMax)
    throw new MalformedBundleError(`a bundle of ${count} blobs in ${payloadBytes} bytes`);
  const end = headerBytesOf(count);
  if (bytes.length < end) throw new MalformedBundleError('a bundle ends within its header');
  if (crc32(bytes.subarray(0, end - 4)) !== bytes.readUInt32BE(end - 4))
    throw new MalformedBundleError("a bundle's header is damaged");
  const blobs = Array.from({ length: count }, (_, index) => {
    const entry = fixedBytes + index * entryBytes;
    return { hash: bytes.toString('hex', entry, entry + 32), bytes: bytes.readUInt32BE(entry + 32) };
  });
  const total = blobs.reduce((sum, blob) => sum + blob.bytes, 0);
  if (encoding === plain && total !== payloadBytes)
    throw new MalformedBundleError(`a bundle of ${total} bytes in ${payloadBytes}`);
  if (total > payloadBytesMax || blobs.some((blob) => blob.bytes > blobBytesMax))
    throw new MalformedBundleError(`a bundle of ${total} bytes`);
  return { compressed: encoding === zstd, payloadBytes, payloadCrc: bytes.readUInt32BE(16), blobs };
}

/**
 * All blobs of a bundle; one whose bytes are not those of its hash is `undefined`, and if the payload cannot be taken apart all
 * are.
 */
export function blobsOf(header: BundleHeader, payload: Buffer): (Blob | undefined)[] {
  const total = header.blobs.reduce((sum, blob) => sum + blob.bytes, 0);
  let raw: Buffer;
  try {
    raw = header.compressed ? unpacked(payload, total) : payload;
  } catch {
    return header.blobs.map(() => undefined);
  }
  let at = 0;
  return header.blobs.map(({ hash, bytes: length }) => {
    const bytes = raw.subarray(at, (at += length));
    return bytes.length === length && hashOf(bytes) === hash ? { hash, bytes } : undefined;
  });
}

/** With room for one byte more than there are, for without it another buffer would be made to see the end. */
function unpacked(payload: Buffer, bytes: number): Buffer {
  const options = { chunkSize: Math.max(bytes + 1, 64), maxOutputLength: Math.max(bytes, 1), info: true };
  const { buffer, engine } = zstdDecompressSync(payload, options) as unknown as Unpacked;
  if (engine.bytesWritten !== payload.length) throw new MalformedBundleError('something follows the payload of a bundle');
  return buffer;
}

/** What `info` makes of the result, which its types do not say. */
interface Unpacked {
  buffer: Buffer;
  engine: { bytesWritten: number };
}

/** A whole bundle as it came from a peer: every blob is what its hash says, or it is a `MalformedBundleError`. */
export function decodeBundle(bundle: Buffer): { header: BundleHeader; blobs: Blob[] } {
  const header = decodeHeader(bundle);
  const payload = bundle.subarray(headerBytesOf(header.blobs.length));
  if (payload.length !== header.payloadBytes) throw new MalformedBundleError('a bundle is not as long as its header says');
  const blobs = blobsOf(header, payload).map((blob, index) => {
    if (blob === undefined)
      throw new MalformedBundleError(`the content of blob ${header.blobs[index]!.hash} is not that of its hash`);
    return blob;
  });
  return { header, blobs };
}
