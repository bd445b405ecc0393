import { describe, expect, test } from 'vitest';
import { columnsOf } from './columns.ts';
import { readNumber } from './fields.ts';
import { Keys, PlainRows, TableReader, type Batch } from './table-reader.ts';
import { decodeTable, Texts } from './table.ts';

const schema = { name: Texts, size: Float64Array };

function newReader(batchRows = 3): TableReader {
  const keys = new Keys<string>();
  const rows = new PlainRows(['name', 'size'], schema, (csv) => {
    const [name, size] = [csv.text(0), csv.read(1, readNumber)];
    if (name === undefined) return `${csv.named(0)} is not valid UTF-8`;
    if (size === undefined) return `${csv.named(1)} is no number`;
    return keys.problem(name, csv.line, csv.named(0)) ?? { name, size };
  });
  return new TableReader('test.csv', rows, batchRows);
}

function read(text: string, reader = newReader()): { rows: number; names: string[]; sizes: number[] }[] {
  const batches: Batch[] = [...reader.push(new TextEncoder().encode(text)), ...reader.end()];
  return batches.map(({ rows, table }) => {
    const { name, size } = columnsOf(decodeTable(table), schema);
    return { rows, names: name.toArray(), sizes: [...size] };
  });
}

describe('a table reader', () => {
  test('gives batches of the rows asked for, and what is left', () => {
    expect(read('size,name\n1,A\n2,B\n3,C\n4.5,"D, d"\n')).toEqual([
      { rows: 3, names: ['A', 'B', 'C'], sizes: [1, 2, 3] },
      { rows: 1, names: ['D, d'], sizes: [4.5] },
    ]);
  });

  test('gives a batch before its rows are many where its texts are long', () => {
    const rows = Array.from({ length: 100 }, (_, row) => `1,${String(row).padStart(3, '0')}${'x'.repeat(60_000)}\n`);
    const batches = read(`size,name\n${rows.join('')}`, newReader(1000));
    expect(batches.length).toBe(2);
    expect(batches.flatMap(({ names }) => names.map((name) => Number(name.slice(0, 3))))).toEqual([...rows.keys()]);
  });

  test('counts what it does not take by kind, and keeps the first ten of each with line and value', () => {
    const reader = newReader();
    const many = Array.from({ length: 12 }, (_, row) => `x${row},B\n`);
    expect(read(`size,name\n1,A\n2,A\n7\n${many.join('')}`, reader)).toEqual([{ rows: 1, names: ['A'], sizes: [1] }]);
    const [repeated, short] = [
      'name is that of another line, and the first row counts',
      'the row has 1 fields, not 2 as the header',
    ];
    const { count, kinds, first } = reader.rejections;
    expect(count).toBe(14);
    expect(kinds).toEqual({ [repeated]: 1, [short]: 1, 'size is no number': 12 });
    expect(first).toHaveLength(12);
    expect(first[0]).toEqual({
      ...{ file: 'test.csv', line: 3, kind: repeated },
      reason: 'name "A" is that of line 2, and the first row counts',
    });
    expect(first.at(-1)).toEqual({ file: 'test.csv', line: 14, reason: 'size "x9" is no number', kind: 'size is no number' });
  });

  test('reads chunks to their end, and gives the account last', async () => {
    const chunks = (async function* () {
      for (const text of ['size,na', 'me\n1,A\n2,B\n3', ',C\nx,D\n4,E']) yield new TextEncoder().encode(text);
    })();
    const shown: unknown[] = [];
    for await (const piece of newReader().read(chunks))
      shown.push('batch' in piece ? [piece.bytesRead, piece.batch.rows] : piece);
    expect(shown).toEqual([
      [29, 3],
      [29, 1],
      { bytesRead: 29, rows: 4, rejections: expect.objectContaining({ count: 1 }) as object },
    ]);
  });

  test('takes a file without a byte for one rejection', () => {
    const reader = newReader();
    expect(read('', reader)).toEqual([]);
    expect(reader.rejections.first).toMatchObject([{ line: 1, reason: 'the file is empty: it has no header' }]);
  });
});
