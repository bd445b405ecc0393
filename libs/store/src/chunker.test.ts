import { seededRandom } from '@lab/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chunksIn, cutAt, fileChunks, manifestChunks, type ChunkSizes } from './chunker.ts';

const small: ChunkSizes = { min: 16, average: 64, max: 256 };
const noise = (length: number, seed: number): Uint8Array => {
  const random = seededRandom(seed);
  return new Uint8Array(Uint32Array.from({ length: Math.ceil(length / 4) }, () => random.next() * 2 ** 32).buffer).subarray(
    0,
    length,
  );
};
const textOf = (chunk: Uint8Array): string => Buffer.from(chunk).toString('hex');
const cuts = (bytes: Uint8Array, sizes = small): string[] => [...chunksIn(bytes, sizes)].map(textOf);
const content = fc.oneof(
  fc.uint8Array({ maxLength: 3000 }),
  fc.tuple(fc.nat(3000), fc.nat(255)).map(([length, value]) => new Uint8Array(length).fill(value)),
  fc.tuple(fc.nat(3000), fc.nat()).map(([length, seed]) => noise(length, seed)),
);

describe('chunks', () => {
  it('are the content, each within the limits, and the same each time', () => {
    fc.assert(
      fc.property(content, (bytes) => {
        const chunks = [...chunksIn(bytes, small)];
        expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
        for (const [index, { length }] of chunks.entries()) {
          expect(length).toBeLessThanOrEqual(small.max);
          if (index < chunks.length - 1) expect(length).toBeGreaterThan(small.min);
        }
        expect(cuts(Buffer.from(bytes))).toEqual(chunks.map(textOf));
      }),
    );
  });

  it('do not depend on what follows the largest one', () => {
    fc.assert(
      fc.property(content, fc.uint8Array({ maxLength: 100 }), (bytes, more) => {
        const whole = Buffer.concat([bytes, more]);
        expect(cutAt(whole.subarray(0, small.max), small)).toBe(cutAt(whole, small));
      }),
    );
  });

  it('of nothing are none', () => {
    expect(cuts(new Uint8Array())).toEqual([]);
  });

  it.each([
    ['files', fileChunks, 16 * 1024 * 1024],
    ['manifests', manifestChunks, 8 * 1024 * 1024],
  ])('of %s are about as long as they should be', (_, sizes, length) => {
    const chunks = [...chunksIn(noise(length, 1), sizes)];
    const average = length / chunks.length;
    expect(average).toBeGreaterThan(sizes.average * 0.6);
    expect(average).toBeLessThan(sizes.average * 1.7);
    expect(chunks.filter((chunk) => chunk.length === sizes.max).length).toBeLessThan(chunks.length / 20);
  });

  it('around an edit change, and no others: a dozen of eight hundred on average, however long it takes them to fall into step', () => {
    const random = seededRandom(7);
    let fresh = 0;
    for (let edit = 0; edit < 50; edit++) {
      const before = noise(50_000, random.integer(0, 1e9));
      const at = random.integer(0, 49_999);
      const put = noise(random.integer(1, 300), random.integer(0, 1e9));
      const after = Buffer.concat([before.subarray(0, at), put, before.subarray(at + random.integer(0, 300))]);
      const known = new Set(cuts(before));
      fresh += cuts(after).filter((chunk) => !known.has(chunk)).length;
    }
    expect(fresh / 50).toBeLessThan(12);
  });

  it('are cut where they always were: other places would store everything anew', () => {
    const sizes = [...chunksIn(noise(8 * 1024 * 1024, 42), fileChunks)].map(({ length }) => length);
    expect(sizes).toMatchInlineSnapshot(`
      [
        1433961,
        921643,
        679150,
        1221701,
        1103961,
        610952,
        1266826,
        1125167,
        25247,
      ]
    `);
    expect([...chunksIn(noise(2000, 42), small)].map(({ length }) => length)).toMatchInlineSnapshot(`
      [
        85,
        99,
        23,
        122,
        86,
        31,
        37,
        71,
        38,
        51,
        19,
        88,
        48,
        67,
        68,
        101,
        89,
        24,
        88,
        84,
        28,
        27,
        74,
        19,
        31,
        35,
        18,
        70,
        86,
        45,
        18,
        22,
        21,
        51,
        26,
        73,
        37,
      ]
    `);
  });
});
