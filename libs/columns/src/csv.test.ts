import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CsvScanner, HeaderError, recordBytesMax } from './csv.ts';

interface Row {
  line: number;
  values?: (string | undefined)[];
  problem?: string;
}

const bytesOf = (text: string) => new TextEncoder().encode(text);

/** Everything that comes out of the file, given in chunks. */
function scan(chunks: Iterable<Uint8Array>, names: readonly string[] = ['a', 'b']): Row[] {
  const csv = new CsvScanner('test.csv', names);
  const rows: Row[] = [];
  const takeAll = () => {
    while (csv.next()) {
      const { line, problem } = csv;
      rows.push(problem === undefined ? { line, values: names.map((_, column) => csv.text(column)) } : { line, problem });
    }
  };
  for (const chunk of chunks) {
    csv.push(chunk);
    takeAll();
  }
  csv.end();
  takeAll();
  return rows;
}

const scanText = (text: string, names?: readonly string[]) => scan([bytesOf(text)], names);

/** The bytes cut at random places, some pieces empty. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = [...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
}

describe('the scanner', () => {
  test('finds columns by name, in any order and among others, quoted or not', () => {
    expect(scanText('x,"b",y,a\n1,2,3,4\n')).toEqual([{ line: 2, values: ['4', '2'] }]);
  });

  test.each([
    ['LF', 'a,b\n1,2\n3,4\n'],
    ['CRLF', 'a,b\r\n1,2\r\n3,4\r\n'],
    ['a byte order mark', '\uFEFFa,b\n1,2\n3,4\n'],
    ['a byte order mark before a quote', '\uFEFF"a","b"\r\n"1",2\n3,"4"\n'],
    ['no newline at the end', 'a,b\n1,2\n3,4'],
    ['quotes around the last field and no newline', 'a,b\n1,2\n3,"4"'],
    ['a blank last line', 'a,b\n1,2\n3,4\n\n'],
    ['blank lines with CR at the end', 'a,b\n1,2\n3,4\r\n\r\n\r\n'],
  ])('reads a file with %s', (_, text) => {
    expect(scanText(text)).toEqual([
      { line: 2, values: ['1', '2'] },
      { line: 3, values: ['3', '4'] },
    ]);
  });

  test('reads commas, quotes and newlines in quotes, and counts the lines', () => {
    expect(scanText('a,b\n"x, ""y""\r\nz",2\n"""",""\n')).toEqual([
      { line: 2, values: ['x, "y"\r\nz', '2'] },
      { line: 4, values: ['"', ''] },
    ]);
  });

  test('passes over blank lines, and keeps empty fields and quotes within a field', () => {
    expect(scanText('a,b\n\n,\n\n x"y ,"z"\n')).toEqual([
      { line: 3, values: ['', ''] },
      { line: 5, values: [' x"y ', 'z'] },
    ]);
  });

  test('says of a row with more or fewer fields how many there are', () => {
    expect(scanText('a,b\n1\n1,2\n1,2,3\n"1","2",\n')).toEqual([
      { line: 2, problem: 'has 1 fields, not 2 as the header' },
      { line: 3, values: ['1', '2'] },
      { line: 4, problem: 'has 3 fields, not 2 as the header' },
      { line: 5, problem: 'has 3 fields, not 2 as the header' },
    ]);
  });

  test('goes on at the next line after text behind a closing quote', () => {
    expect(scanText('a,b\n"1"x,2\n3,4\n"5"\r6,7\n')).toEqual([
      { line: 2, problem: 'has text after the closing quote of field 1' },
      { line: 3, values: ['3', '4'] },
      { line: 4, problem: 'has text after the closing quote of field 1' },
    ]);
  });

  test('goes on at the next line after a quote that is not closed before the end', () => {
    expect(scanText('a,b\n1,"2\n3,4\n5,6')).toEqual([
      { line: 2, problem: 'has a quote that is not closed' },
      { line: 3, values: ['3', '4'] },
      { line: 4, values: ['5', '6'] },
    ]);
  });

  test('gives up a quote that is not closed within 64 KiB, and loses one row by it', () => {
    const rows = Array.from({ length: 30_000 }, (_, index) => `${index},x`);
    const found = scanText(['a,b', '"open,1', ...rows].join('\n'));
    expect(found[0]).toEqual({ line: 2, problem: 'has more than 65536 bytes; perhaps a quote is not closed' });
    expect(found.slice(1)).toEqual(rows.map((row, index) => ({ line: index + 3, values: row.split(',') })));
  });

  test('keeps no more than a row and a chunk, however long a line is', () => {
    const csv = new CsvScanner('test.csv', ['a']);
    csv.push(bytesOf('a\n'));
    expect(csv.next()).toBe(false);
    const chunk = new Uint8Array(10_000).fill(0x78);
    let problems = 0;
    for (let pushed = 0; pushed < 1000; pushed++) {
      csv.push(chunk);
      while (csv.next()) problems++;
    }
    expect(problems).toBe(1);
    expect(csv.bytes.length).toBeLessThan(recordBytesMax + 3 * chunk.length);
  });

  test('takes a row of exactly 64 KiB and none longer', () => {
    const rowOf = (bytes: number) => `a,b\n${'x'.repeat(bytes - 2)},y\n1,2\n`;
    expect(scanText(rowOf(recordBytesMax)).map(({ problem }) => problem)).toEqual([undefined, undefined]);
    expect(scanText(rowOf(recordBytesMax + 1)).map(({ line, problem }) => [line, problem !== undefined])).toEqual([
      [2, true],
      [3, false],
    ]);
  });

  test('gives what is no UTF-8 as undefined', () => {
    expect(scan([Uint8Array.of(...bytesOf('a,b\n'), 0xff, ...bytesOf(',é\n'))])).toEqual([{ line: 2, values: [undefined, 'é'] }]);
  });

  test('has no header and no rows in a file of no bytes, of a byte order mark, or of blank lines', () => {
    for (const text of ['', '\uFEFF', '\n\r\n']) {
      const csv = new CsvScanner('test.csv', ['a']);
      csv.push(bytesOf(text));
      csv.end();
      expect([csv.next(), csv.hasHeader]).toEqual([false, false]);
    }
  });

  test.each([
    ['x,a,y\n', 'test.csv: the header has no b, c; it is "x,a,y"'],
    ['a,b,c,b\n', 'test.csv: the header has b twice; it is "a,b,c,b"'],
    ['a,"b"x,c\n', 'test.csv: the header has text after the closing quote of field 2'],
    ['"a,b,c\n', 'test.csv: the header has a quote that is not closed'],
    [`${'x,'.repeat(300)}\n`, 'test.csv: a header of 301 columns; at most 256 are allowed'],
  ])('refuses the header %j', (text, message) => {
    expect(() => scanText(text, ['a', 'b', 'c'])).toThrow(new HeaderError(message));
  });

  test('gives the same, however the bytes are cut', () => {
    // Pieces that make every kind of trouble with each other.
    const piece = fc.constantFrom('1', 'é', ',', ',', '"', '""', '\n', '\n', '\r\n', '\r', '\uFEFF', ' ', 'x'.repeat(40_000));
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 40 }),
        fc.array(fc.nat(200_000), { maxLength: 8 }),
        fc.boolean(),
        (pieces, places, small) => {
          const bytes = bytesOf(`a,b\n${pieces.join('')}`);
          const chunks = small && bytes.length < 500 ? [...bytes].map((byte) => Uint8Array.of(byte)) : cut(bytes, places);
          expect(scan(chunks)).toEqual(scan([bytes]));
        },
      ),
      { numRuns: 500 },
    );
  });

  test('reads back whatever is written by the rules of RFC 4180', () => {
    const value = fc.string({ unit: fc.constantFrom('a', 'é', '"', ',', '\n', '\r', ' ', '7'), maxLength: 8 });
    const field = fc.tuple(value, fc.boolean());
    const written = ([text, quoted]: [string, boolean]) =>
      quoted || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    const rows = fc.array(fc.tuple(field, field));
    fc.assert(
      fc.property(rows, fc.constantFrom('\n', '\r\n'), fc.boolean(), (rows, newline, last) => {
        const lines = ['a,b', ...rows.map((row) => row.map(written).join(','))];
        const text = lines.join(newline) + (last ? newline : '');
        expect(scanText(text).map(({ values }) => values)).toEqual(rows.map((row) => row.map(([value]) => value)));
      }),
    );
  });
});
