import { constants, crc32, zstdCompressSync } from 'node:zlib';
import { seededRandom } from '@lab/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  blobBytesMax,
  blobsMax,
  blobsOf,
  bundleBytes,
  bundleBytesMax,
  decodeBundle,
  decodeHeader,
  encodeBundle,
  encodeHeader,
  hashOf,
  headerBytesOf,
  MalformedBundleError,
  type Blob,
  type BundleHeader,
} from './bundle.ts';

const blobOf = (bytes: Uint8Array): Blob => ({ hash: hashOf(bytes), bytes: Buffer.from(bytes) });
const noise = (length: number, seed = 1): Buffer => {
  const random = seededRandom(seed);
  const words = Uint32Array.from({ length: Math.ceil(length / 4) }, () => random.next() * 2 ** 32);
  return Buffer.from(words.buffer).subarray(0, length);
};
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.tuple(fc.nat(2000), fc.nat(255)).map(([length, value]) => new Uint8Array(length).fill(value)),
);
const blobs = fc.array(bytes.map(blobOf), { minLength: 1, maxLength: 20 });

/** A bundle with this header, whatever it says, and this payload. */
const forged = (header: Partial<BundleHeader>, payload: Buffer): Buffer =>
  Buffer.concat([
    encodeHeader({ compressed: false, payloadBytes: payload.length, payloadCrc: crc32(payload), blobs: [], ...header }),
    payload,
  ]);

/** Fields at offsets of a header, with a checksum that fits. */
function rewritten(bundle: Buffer, write: (header: Buffer) => void): Buffer {
  const copy = Buffer.from(bundle);
  const headerBytes = headerBytesOf(decodeHeader(bundle).blobs.length);
  write(copy);
  copy.writeUInt32BE(crc32(copy.subarray(0, headerBytes - 4)), headerBytes - 4);
  return copy;
}

describe('a bundle', () => {
  it('gives back the blobs that were put in, in order', () => {
    fc.assert(
      fc.property(blobs, (put) => {
        const { header, blobs: got } = decodeBundle(encodeBundle(put));
        expect(got).toEqual(put);
        expect(header.blobs).toEqual(put.map(({ hash, bytes: { length } }) => ({ hash, bytes: length })));
      }),
    );
  });

  it('is smaller where its content shrinks, and hardly larger where it does not', () => {
    expect(encodeBundle([blobOf(Buffer.alloc(100_000, 'lorem '))]).length).toBeLessThan(1000);
    const wild = noise(blobBytesMax);
    expect(encodeBundle([blobOf(wild)]).length).toBe(wild.length + headerBytesOf(1));
  });

  it('of the largest chunk, and of the most small blobs, is within the limit', () => {
    const large = encodeBundle([blobOf(noise(blobBytesMax))]);
    expect(decodeBundle(large).blobs).toHaveLength(1);
    expect(large.length).toBeLessThanOrEqual(bundleBytesMax);
    const size = bundleBytes / blobsMax;
    const many = Array.from({ length: blobsMax }, (_, index) => blobOf(noise(size, index)));
    const small = encodeBundle(many);
    expect(small.length).toBeLessThanOrEqual(bundleBytesMax);
    expect(decodeBundle(small).blobs).toHaveLength(blobsMax);
  });

  it('says in its header alone what is inside', () => {
    fc.assert(
      fc.property(blobs, (put) => {
        const bundle = encodeBundle(put);
        const header = decodeHeader(bundle);
        expect(decodeHeader(bundle.subarray(0, headerBytesOf(put.length)))).toEqual(header);
        expect(encodeHeader(header)).toEqual(bundle.subarray(0, headerBytesOf(put.length)));
        expect(headerBytesOf(put.length) + header.payloadBytes).toBe(bundle.length);
      }),
    );
  });

  it('with a byte flipped anywhere, cut off anywhere, or with a byte more is found out', () => {
    const bundles = [encodeBundle([blobOf(noise(60)), blobOf(noise(30, 2))]), encodeBundle([blobOf(Buffer.alloc(90, 'ab'))])];
    for (const bundle of bundles) {
      const headerBytes = headerBytesOf(decodeHeader(bundle).blobs.length);
      for (let at = 0; at < bundle.length; at++) {
        for (const mask of [1, 0x80, 0xff]) {
          const copy = Buffer.from(bundle);
          copy[at]! ^= mask;
          const { compressed, payloadCrc } = decodeHeader(bundle);
          // Of the payload a decompressor may forgive a byte: then the content is right, and the checksum tells.
          if (at >= headerBytes && compressed) expect(crc32(copy.subarray(headerBytes))).not.toBe(payloadCrc);
          else expect(() => decodeBundle(copy)).toThrow(MalformedBundleError);
        }
        expect(() => decodeBundle(bundle.subarray(0, at))).toThrow(MalformedBundleError);
      }
      expect(() => decodeBundle(Buffer.concat([bundle, Buffer.from([0])]))).toThrow(MalformedBundleError);
    }
  });

  it('never gives out content that is not that of its hash', () => {
    fc.assert(
      fc.property(blobs, fc.nat(), fc.integer({ min: 1, max: 255 }), (put, place, mask) => {
        const bundle = encodeBundle(put);
        bundle[place % bundle.length]! ^= mask;
        try {
          for (const blob of decodeBundle(bundle).blobs) expect(hashOf(blob.bytes)).toBe(blob.hash);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedBundleError);
        }
      }),
    );
  });

  it('gives out what is sound beside what is not, where nothing is compressed', () => {
    const put = [blobOf(noise(100)), blobOf(noise(100, 2)), blobOf(noise(100, 3))];
    const bundle = encodeBundle(put);
    const header = decodeHeader(bundle);
    bundle[headerBytesOf(3) + 150]! ^= 1;
    expect(blobsOf(header, bundle.subarray(headerBytesOf(3)))).toEqual([put[0], undefined, put[2]]);
    expect(blobsOf(header, bundle.subarray(headerBytesOf(3), -50))).toEqual([put[0], undefined, undefined]);
  });

  it('of rubbish is refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (rubbish) => {
        expect(() => decodeBundle(Buffer.from(rubbish))).toThrow(MalformedBundleError);
        expect(() => decodeBundle(Buffer.concat([Buffer.from('LBB1'), rubbish]))).toThrow(MalformedBundleError);
      }),
    );
  });
});

describe('a hostile bundle', () => {
  const good = encodeBundle([blobOf(noise(50)), blobOf(noise(50, 2))]);
  const one = blobOf(Buffer.from('x'));

  it.each([
    ['no blobs', 12, 0],
    ['one blob more', 12, 3],
    ['more blobs than may be', 12, blobsMax + 1],
    ['4 billion blobs', 12, 0xffffffff],
    ['a payload of 4 GiB', 8, 0xffffffff],
    ['a payload of one byte more', 8, 101],
    ['a payload of one byte less', 8, 99],
    ['an unknown encoding', 4, 0x02000000],
    ['compressed content that is not', 4, 0x01000000],
    ['bytes where zeros must be', 4, 0x00000001],
    ['a blob of 4 GiB', 20 + 32, 0xffffffff],
    ['a blob that is longer than all', 20 + 36 + 32, 51],
    ['a blob that is shorter than it is', 20 + 36 + 32, 49],
  ])('that says %s is refused', (_, offset, value) => {
    const hostile = rewritten(good, (header) => header.writeUInt32BE(value, offset));
    expect(() => decodeBundle(hostile)).toThrow(MalformedBundleError);
  });

  it('with more in it than its blobs is refused', () => {
    const payload = Buffer.concat([one.bytes, Buffer.alloc(1000)]);
    expect(() => decodeBundle(forged({ blobs: [{ hash: one.hash, bytes: 1 }] }, payload))).toThrow(MalformedBundleError);
  });

  it('that would become more than it says when decompressed is refused, before it has', () => {
    // Frames one behind the other are one text.
    const part = zstdCompressSync(Buffer.alloc(16 * 1024 * 1024));
    const bomb = Buffer.concat(Array.from({ length: 32 }, () => part));
    expect(bomb.length).toBeLessThan(100_000);
    const before = process.memoryUsage.rss();
    for (const length of [0, 1, blobBytesMax]) {
      const blob = { hash: hashOf(Buffer.alloc(length)), bytes: length };
      expect(() => decodeBundle(forged({ compressed: true, blobs: [blob] }, bomb))).toThrow(MalformedBundleError);
    }
    expect(process.memoryUsage.rss() - before).toBeLessThan(128 * 1024 * 1024);
  });

  it('of many blobs that are each small enough, and together are not, is refused', () => {
    const blob = { hash: one.hash, bytes: blobBytesMax };
    expect(() => decodeHeader(forged({ blobs: Array.from({ length: blobsMax }, () => blob) }, one.bytes as Buffer))).toThrow(
      MalformedBundleError,
    );
    expect(() => decodeHeader(forged({ blobs: [{ ...blob, bytes: blobBytesMax + 1 }] }, one.bytes as Buffer))).toThrow(
      MalformedBundleError,
    );
  });

  it('whose compressed payload is less than it says, or followed by something else, is refused', () => {
    const content = Buffer.alloc(1000, 'ab');
    const packed = zstdCompressSync(content, { params: { [constants.ZSTD_c_compressionLevel]: 1 } });
    const longer = { hash: hashOf(Buffer.alloc(1001, 'ab')), bytes: 1001 };
    expect(() => decodeBundle(forged({ compressed: true, blobs: [longer] }, packed))).toThrow(MalformedBundleError);
    const exact = { hash: hashOf(content), bytes: 1000 };
    expect(decodeBundle(forged({ compressed: true, blobs: [exact] }, packed)).blobs).toHaveLength(1);
    const junk = Buffer.concat([packed, Buffer.from('something else')]);
    expect(() => decodeBundle(forged({ compressed: true, blobs: [exact] }, junk))).toThrow(MalformedBundleError);
  });
});
