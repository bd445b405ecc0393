import fc from 'fast-check';
import { expect, it } from 'vitest';
import { hashOf } from './bundle.ts';
import { HashTable } from './hash-table.ts';

/** Few hashes, of which many begin and end alike: they meet in the same slots. */
const hash = fc.integer({ min: 0, max: 40 }).map((seed) => {
  const own = hashOf(Buffer.from(String(seed)));
  // In the first slots, or in the last, after which come the first.
  return seed % 3 === 0 ? own : `${(seed % 3 === 1 ? '0' : 'f').repeat(8)}${own.slice(8, -2)}00`;
});
const change = fc.oneof(fc.record({ hash, value: fc.nat({ max: 2 ** 40 }) }), fc.record({ hash, value: fc.constant(undefined) }));

it('is a map, whatever is put in and taken out', () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 200 }), (changes) => {
      const [table, map] = [new HashTable(), new Map<string, number>()];
      for (const { hash: key, value } of changes) {
        if (value === undefined) {
          table.delete(key);
          map.delete(key);
        } else {
          table.set(key, value);
          map.set(key, value);
        }
        expect(table.get(key)).toBe(map.get(key));
        expect(table.size).toBe(map.size);
      }
      for (let seed = 0; seed <= 40; seed++) {
        const key = hashOf(Buffer.from(String(seed)));
        expect(table.get(key)).toBe(map.get(key));
      }
    }),
  );
});

it('holds many, and as many again after they were taken out', () => {
  const table = new HashTable();
  const keys = Array.from({ length: 10_000 }, (_, index) => hashOf(Buffer.from(`key ${index}`)));
  for (let round = 0; round < 3; round++) {
    keys.forEach((key, index) => table.set(key, index));
    expect(keys.every((key, index) => table.get(key) === index)).toBe(true);
    table.update((key) => table.get(key)! + 1);
    expect(keys.every((key, index) => table.get(key) === index + 1)).toBe(true);
    table.deleteWhere((value) => value % 2 === 0);
    expect(keys.every((key, index) => table.has(key) === (index % 2 === 0))).toBe(true);
    for (const key of keys) table.delete(key);
    expect(table.size).toBe(0);
    expect(keys.some((key) => table.has(key))).toBe(false);
  }
});
