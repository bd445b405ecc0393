import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeTable, encodeTable, MalformedTableError, pickColumns, Texts, type Column, type Table } from './table.ts';

/** Near each other, near the ends of a width, or anywhere. */
const ints = fc.oneof(
  fc.array(fc.integer({ min: -2, max: 300 })),
  fc.array(fc.integer({ min: 250, max: 65_600 })),
  fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })),
  fc.array(fc.constantFrom(-(2 ** 31), 2 ** 31 - 1, 0)),
  fc.array(fc.constant(736_000), { maxLength: 50 }),
);
const column: fc.Arbitrary<Column> = fc.oneof(
  ints.map((values) => Int32Array.from(values)),
  fc.array(fc.double()).map((values) => Float64Array.from(values)),
  fc.array(fc.string({ unit: 'binary', maxLength: 20 })).map((values) => Texts.from(values)),
  fc.array(fc.string({ maxLength: 5 })).map((values) => Texts.from(values)),
);
const name = fc.string({ minLength: 1, maxLength: 20 });
const table: fc.Arbitrary<Table> = fc.dictionary(name, column, { maxKeys: 6 });

/** In a form that can be compared. */
const plain = (table: Table) =>
  new Map(
    Object.entries(table).map(([name, column]) => [
      name,
      [column.constructor.name, column instanceof Texts ? column.toArray() : [...column]],
    ]),
  );

/** As in a message, where a table begins anywhere. */
function displaced(bytes: Uint8Array, by: number): Uint8Array {
  const message = new Uint8Array(by + bytes.length + 3).fill(0xaa);
  message.set(bytes, by);
  return message.subarray(by, by + bytes.length);
}

describe('a table', () => {
  test('comes back from its bytes as it was, wherever they begin', () => {
    fc.assert(
      fc.property(table, fc.nat(9), (table, by) => {
        expect(plain(decodeTable(displaced(encodeTable(table), by)))).toEqual(plain(table));
      }),
    );
  });

  test('gives the columns asked for, and picked columns are those of the table', () => {
    fc.assert(
      fc.property(table, fc.infiniteStream(fc.boolean()), fc.nat(9), (table, choice, by) => {
        const names = Object.keys(table).filter(() => choice.next().value === true);
        const bytes = displaced(encodeTable(table), by);
        const wanted = plain(Object.fromEntries(names.map((name) => [name, table[name]!])));
        expect(plain(decodeTable(bytes, names))).toEqual(wanted);
        expect(plain(decodeTable(pickColumns(bytes, names)))).toEqual(wanted);
      }),
    );
  });

  test('spends no bytes on the values of a constant column, and one on each value of a narrow one', () => {
    const bytes = (column: Int32Array) => encodeTable({ column }).length;
    const empty = bytes(new Int32Array());
    expect(bytes(new Int32Array(8192).fill(2016))).toBe(empty);
    expect(bytes(Int32Array.from({ length: 8192 }, (_, row) => 17_000 + (row % 256)))).toBe(empty + 8192);
    expect(bytes(Int32Array.from({ length: 8192 }, (_, row) => row))).toBe(empty + 2 * 8192);
  });

  test('lays out its bytes as documented', () => {
    const bytes = encodeTable({ a: Int32Array.of(-1, 1), t: Texts.from(['x', 'yz']) });
    expect([...bytes]).toEqual([
      ...[1, 2],
      ...[1, 0x61, 1, 2, 0, 0, 0, 6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 2],
      ...[1, 0x74, 16, 2, 0, 0, 0, 7, 0, 0, 0, 1, 0, 2, 0, 0x78, 0x79, 0x7a],
    ]);
  });

  test('cut short anywhere, or with bytes after it, is malformed', () => {
    fc.assert(
      fc.property(table, fc.nat(), (table, cut) => {
        const bytes = encodeTable(table);
        expect(() => decodeTable(bytes.subarray(0, cut % bytes.length))).toThrow(MalformedTableError);
        expect(() => decodeTable(displaced(bytes, 0).subarray(0, 0))).toThrow(MalformedTableError);
        expect(() => decodeTable(Uint8Array.of(...bytes, 0))).toThrow(MalformedTableError);
      }),
    );
  });

  test('with any byte changed is another table or malformed, nothing else', () => {
    fc.assert(
      fc.property(table, fc.nat(), fc.integer({ min: 1, max: 255 }), (table, where, change) => {
        const bytes = encodeTable(table);
        bytes[where % bytes.length]! ^= change;
        try {
          plain(decodeTable(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedTableError);
        }
      }),
    );
  });

  test('that claims a billion values of no width is malformed', () => {
    const bytes = encodeTable({ n: Int32Array.of(7) });
    new DataView(bytes.buffer).setUint32(5, 1_000_000_000, true);
    expect(() => decodeTable(bytes)).toThrow('column n has 1000000000 values; at most 1000000 are allowed');
  });

  test('names the column that is missing and those that are there', () => {
    const bytes = encodeTable({ day: new Int32Array(), year: new Int32Array() });
    expect(() => decodeTable(bytes, ['day', 'codes'])).toThrow('there is no column codes, only day, year');
    expect(() => pickColumns(bytes, ['codes'])).toThrow(MalformedTableError);
  });

  test('is refused when a text, a name or a column is too long', () => {
    expect(() => encodeTable({ t: Texts.from(['x'.repeat(65_536)]) })).toThrow('column t has a text of 65536 bytes');
    expect(() => encodeTable({ ['n'.repeat(256)]: new Int32Array() })).toThrow('a column name must have 1 to 255 bytes');
    expect(() => encodeTable({ n: new Int32Array(1_000_001) })).toThrow('column n has 1000001 values');
  });
});

describe('texts', () => {
  test('of bytes that are no UTF-8 are malformed when looked at, and the others are not', () => {
    const texts = Texts.fromUtf8(Uint8Array.of(0x41, 0xff, 0xc3, 0xa9), Uint32Array.of(1, 2, 4));
    expect([texts.at(0), texts.at(2)]).toEqual(['A', 'é']);
    expect(() => texts.at(1)).toThrow(MalformedTableError);
    expect(() => texts.at(3)).toThrow('there is no text 3 in a column of 3');
  });

  test('that do not end with the bytes are refused', () => {
    expect(() => Texts.fromUtf8(Uint8Array.of(0x41), Uint32Array.of(2))).toThrow(RangeError);
  });
});
