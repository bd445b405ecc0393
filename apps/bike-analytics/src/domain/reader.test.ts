import { decodeTable, HeaderError, Texts, type Batch, type TableReader } from '@lab/columns';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { newTopicReader, type ReaderOptions } from './reader.ts';
import type { Topic } from './terms.ts';

const bytesOf = (text: string) => new TextEncoder().encode(text);
const newReader = (topic: Topic, options: Partial<ReaderOptions> = {}) =>
  newTopicReader(topic, { file: 'test.csv', batchRows: 100, weatherOffsetDays: -1, ...options });

const plain = (table: Uint8Array) =>
  Object.fromEntries(
    Object.entries(decodeTable(table)).map(([name, column]) => [name, column instanceof Texts ? column.toArray() : [...column]]),
  );

interface Reading {
  batches: { rows: number; table: Record<string, (number | string)[]> }[];
  rejections: TableReader['rejections'];
}

function readChunks(reader: TableReader, chunks: Iterable<Uint8Array>): Reading {
  const batches: Batch[] = [];
  for (const chunk of chunks) batches.push(...reader.push(chunk));
  batches.push(...reader.end());
  return { batches: batches.map(({ rows, table }) => ({ rows, table: plain(table) })), rejections: reader.rejections };
}

const read = (topic: Topic, text: string, options: Partial<ReaderOptions> = {}) =>
  readChunks(newReader(topic, options), [bytesOf(text)]);

/** The only batch's table, and the rejections as `line: reason`. */
function readOne(topic: Topic, text: string, options: Partial<ReaderOptions> = {}) {
  const { batches, rejections } = read(topic, text, options);
  expect(batches.length).toBeLessThanOrEqual(1);
  expect(rejections.count).toBe(rejections.first.length);
  return { table: batches[0]?.table ?? {}, rejected: rejections.first.map(({ line, reason }) => `${line}: ${reason}`) };
}

const day = (date: string) => Date.parse(`${date}T00:00:00Z`) / 86_400_000;

describe('weather', () => {
  const weather = (...rows: string[]) => ['qv2m,prectot,date', ...rows].join('\n');

  test('describes the day before its date, or as many days from it as one says', () => {
    const text = weather('1.0,30.5,2016-03-01', '1.0,0.0,2017-01-01');
    expect(readOne('weather', text).table).toEqual({ day: [day('2016-02-29'), day('2016-12-31')], rainMm: [30.5, 0] });
    expect(readOne('weather', text, { weatherOffsetDays: 0 }).table.day).toEqual([day('2016-03-01'), day('2017-01-01')]);
  });

  test('takes -999.0 for unknown', () => {
    expect(readOne('weather', weather(',-999.0,2016-01-02')).table.rainMm).toEqual([NaN]);
  });

  test('is rejected with the value that cannot be', () => {
    const rows = [',1.0,2016-02-30', ',1.0,', ',,2016-01-01', ',1.0mm,2016-01-01', ',1e999,2016-01-01', ',NaN,2016-01-01'];
    expect(readOne('weather', weather(...rows)).rejected).toEqual([
      '2: date "2016-02-30" is no date',
      '3: date "" is no date',
      '4: prectot "" is no number',
      '5: prectot "1.0mm" is no number',
      '6: prectot "1e999" is no number',
      '7: prectot "NaN" is no number',
    ]);
  });

  test('of a date that was there is rejected with the line where it was', () => {
    const { table, rejected } = readOne(
      'weather',
      weather(',1.0,2016-01-02', ',x,2016-01-03', ',2.0,2016-01-02', ',3.0,2016-01-03'),
    );
    expect(table.rainMm).toEqual([1, 3]);
    expect(rejected[1]).toBe('4: date "2016-01-02" is that of line 2, and the first row counts');
  });
});

describe('stations', () => {
  const stations = (...rows: string[]) => ['code,name,latitude,longitude,yearid', ...rows].join('\r\n');

  test('keep their codes and names as they are written', () => {
    expect(
      readOne('stations', stations('007,"Côte, ""Est""",45.5,-73.25,2016', '7, M & N ,-90,180,2016', '7,O,90.0,-1.8e2,2017'))
        .table,
    ).toEqual({
      code: ['007', '7', '7'],
      name: ['Côte, "Est"', ' M & N ', 'O'],
      latitude: [45.5, -90, 90],
      longitude: [-73.25, 180, -180],
      year: [2016, 2016, 2017],
    });
  });

  test('have no coordinates where there are none, or -999.0', () => {
    const { table } = readOne('stations', stations('1,A,,,2016', '2,B,-999.0,-999,2016'));
    expect([table.latitude, table.longitude]).toEqual([
      [NaN, NaN],
      [NaN, NaN],
    ]);
  });

  test('are rejected with the value that cannot be', () => {
    const rows = [
      ',A,1,1,2016',
      '1,,1,1,2016',
      '1,A,90.5,1,2016',
      '1,A,1,x,2016',
      '1,A,1,-180.01,2016',
      '1,A,1,1,16',
      `${'9'.repeat(1001)},A,1,1,2016`,
    ];
    expect(readOne('stations', stations(...rows)).rejected).toEqual([
      '2: code is missing',
      '3: name is missing',
      '4: latitude "90.5" is no number from -90 to 90',
      '5: longitude "x" is no number from -180 to 180',
      '6: longitude "-180.01" is no number from -180 to 180',
      '7: yearid "16" is no year',
      `8: code "${'9'.repeat(80)}…" has more than 1000 bytes`,
    ]);
  });

  test('of a code and year that were there are rejected with the line where they were', () => {
    const { table, rejected } = readOne('stations', stations('1,A,,,2016', '1,B,,,2017', '1,C,,,2016'));
    expect(table.name).toEqual(['A', 'B']);
    expect(rejected).toEqual(['4: code "1" of 2016 is that of line 2, and the first row counts']);
  });

  test('with a name that is no UTF-8 are rejected', () => {
    const bytes = Uint8Array.of(...bytesOf(stations('1,')), 0xe9, ...bytesOf(',,,2016'));
    expect(readChunks(newReader('stations'), [bytes]).rejections.first[0]?.reason).toBe('name "\uFFFD" is not valid UTF-8');
  });
});

const columns = ['start_date', 'start_station_code', 'end_date', 'end_station_code', 'duration_sec', 'is_member', 'yearid'];
const trips = (...rows: string[]) => [columns.join(','), ...rows].join('\n');

describe('trips', () => {
  test('become days, durations, years and numbers of codes', () => {
    const { table } = readOne(
      'trips',
      trips(
        '2016-06-11 02:00:00,184,2016-06-11 02:06:00,007,360.0,0,2016',
        '2016-06-11,7,,184,61,1,2016',
        '2017-01-01 23:59:59,184,x,184,0.0,,2017',
      ),
    );
    expect(table).toEqual({
      day: [day('2016-06-11'), day('2016-06-11'), day('2017-01-01')],
      seconds: [360, 61, 0],
      micros: [0, 0, 0],
      start: [0, 2, 0],
      end: [1, 0, 0],
      year: [2016, 2016, 2017],
      codes: ['184', '007', '7'],
    });
  });

  test.each([
    ['1020.0', 1020, 0],
    ['1020', 1020, 0],
    ['1020.', 1020, 0],
    ['1020.00', 1020, 0],
    ['+5', 5, 0],
    ['.5', 0, 500_000],
    ['0.1', 0, 100_000],
    ['1.0000004', 1, 0],
    ['1.0000006', 1, 1],
    ['59.9999999', 60, 0],
    ['1.2e3', 1200, 0],
    ['-68.0', -68, 0],
    ['-0.25', -1, 750_000],
    ['-0.0000001', 0, 0],
    ['0000000000012', 12, 0],
    ['2147483647.999999', 2_147_483_647, 999_999],
    ['-2147483648', -2_147_483_648, 0],
  ])('that last %s seconds have %i whole ones and %i millionths', (text, seconds, micros) => {
    const { table } = readOne('trips', trips(`2016-06-11,1,,2,${text},,2016`));
    expect([table.seconds, table.micros]).toEqual([[seconds], [micros]]);
  });

  test.each(['', ' ', '.', '-', '1,5', '0x10', 'Infinity', '1e', '12:30', '2147483648', '-2147483648.000001', '1'.repeat(65)])(
    'that last %j are rejected',
    (text) => {
      expect(readOne('trips', trips(`2016-06-11,1,,2,"${text}",,2016`)).rejected).toEqual([
        `2: duration_sec ${JSON.stringify(text)} is no number within 2^31`,
      ]);
    },
  );

  test.each([
    '2016-02-29',
    '2000-02-29 00:00',
    '2016-12-31 23:59:59',
    '2016-12-31T23:59:59.999',
    '0001-01-01',
    '9999-12-31 09:08:07',
  ])('that start on %s are taken', (date) => {
    const iso = date.slice(0, date.search(/[ T]|$/));
    expect(readOne('trips', trips(`${date},1,,2,1,,2016`)).table.day).toEqual([day(iso)]);
  });

  test.each([
    ...[
      '2017-02-29',
      '1900-02-29',
      '2016-13-01',
      '2016-00-10',
      '2016-04-31',
      '2016-01-00',
      '0000-01-01',
      '2016/01/01',
      '16-01-01',
      '',
    ],
    ...[
      '2016-01-01 24:00:00',
      '2016-01-01 23:60:00',
      '2016-01-01 23:59:60',
      '2016-01-01 1:00:00',
      '2016-01-01x',
      '2016-01-01 ',
      '2016-0a-01',
    ],
  ])('that start on %j are rejected', (date) => {
    expect(readOne('trips', trips(`${date},1,,2,1,,2016`)).rejected).toEqual([`2: start_date "${date}" is no date`]);
  });

  test('have codes of any kind: none at all, long ones, other alphabets', () => {
    const codes = ['', '0', '00', '12345678', '123456789', 'é', '駅', 'a b', "O'Hare", '\u0000', '~'.repeat(1000)];
    const rows = codes.map((code) => `2016-06-11,${code},,${code},1,,2016`);
    const { table, rejected } = readOne('trips', trips(...rows, ...rows));
    expect(rejected).toEqual([]);
    expect(table.codes).toEqual(codes);
    expect(table.start).toEqual([...codes.keys(), ...codes.keys()]);
    expect(table.end).toEqual(table.start);
  });

  test('with a code that cannot be are rejected, and leave no trace in the dictionary', () => {
    const row = (start: string, end: string) => `2016-06-11,${start},,${end},1,,2016`;
    const { table, rejected } = readOne(
      'trips',
      trips(row('only-here', 'x'.repeat(1001)), row('1', '2'), '2016-06-11,also-here,,3,1,,year'),
    );
    expect(table.codes).toEqual(['1', '2']);
    expect(rejected).toEqual([
      `2: end_station_code "${'x'.repeat(80)}…" has more than 1000 bytes`,
      '4: yearid "year" is no year',
    ]);
  });

  test('come in batches of the rows asked for, each with its own dictionary', () => {
    const rows = Array.from({ length: 10 }, (_, row) => `2016-06-11,${row},,${row + 1},1.0,1,2016`);
    const { batches } = read('trips', trips(...rows), { batchRows: 4 });
    expect(batches.map(({ rows }) => rows)).toEqual([4, 4, 2]);
    expect(batches.map(({ table }) => table.codes)).toEqual([
      ['0', '1', '2', '3', '4'],
      ['4', '5', '6', '7', '8'],
      ['8', '9', '10'],
    ]);
  });

  test('have room for as many codes as a batch can have', () => {
    const rows = Array.from({ length: 20_000 }, (_, row) => `2016-06-11,${row},,x${row},1.0,1,2016`);
    const { batches } = read('trips', trips(...rows), { batchRows: 20_000 });
    const codes = batches[0]!.table.codes!;
    expect(codes).toHaveLength(40_000);
    expect(batches[0]!.table.start!.map((start) => codes[start as number])).toEqual([...rows.keys()].map(String));
    expect(batches[0]!.table.end!.map((end) => codes[end as number])).toEqual([...rows.keys()].map((row) => `x${row}`));
  });

  test('are read the same in the usual order of columns, where there is a shortcut, and in another, where there is none', () => {
    const row = fc.tuple(
      fc.constantFrom(
        '2016-06-11 02:00:00',
        '2016-06-11 02:00:00',
        '2016-06-12',
        '2016-06-12 25:00:00',
        '2016-06-31 02:00:00',
        'x',
      ),
      fc.constantFrom('1', '22', '6203', '12345678', '123456789', '', 'é', 'a b', '"7"', '"7', 'a"b'),
      fc.constantFrom('2016-06-11 02:00:00', '', 'x y', '"2016"'),
      fc.constantFrom('1', '22', '6203', '12345678', '123456789', ''),
      fc.constantFrom('1020.0', '0', '1020.5', '-3.0', '', '1.', '1.00', '999999999', '9999999999', '1.0x', '"60.0"'),
      fc.constantFrom('0', '1', ''),
      fc.constantFrom('2016', '2017', '216', 'year', '20167', '"2016"'),
    );
    const inOrder = (rows: readonly string[][], order: readonly number[], newline: string) =>
      bytesOf([columns, ...rows].map((row) => order.map((field) => row[field]).join(',')).join(newline));
    const options = { batchRows: 3 };
    fc.assert(
      fc.property(fc.array(row), fc.constantFrom('\n', '\r\n'), (rows, newline) => {
        // A quote that is not closed takes other fields with it in another order.
        const closed = rows.filter((row) => row[1] !== '"7');
        const usual = readChunks(newReader('trips', options), [inOrder(closed, [0, 1, 2, 3, 4, 5, 6], newline)]);
        const other = readChunks(newReader('trips', options), [inOrder(closed, [6, 0, 3, 4, 1, 2, 5], newline)]);
        expect(usual).toEqual(other);
      }),
      { numRuns: 300 },
    );
  });

  test('are the same, however the bytes are cut', () => {
    const line = fc.oneof(
      {
        weight: 4,
        arbitrary: fc
          .nat(99)
          .map((n) => `2016-06-${10 + (n % 20)} 02:00:${10 + (n % 50)},${n},2016-06-11 02:06:00,${n % 7},${n}.0,0,2016\n`),
      },
      fc.constantFrom(
        '2016-06-11,1,"\n',
        'x\n',
        '\n',
        '2016-06-11,1,"a\nb",2,1,,2016\r\n',
        `${'y'.repeat(30_000)},"\n`,
        '2016-06-11,1,,2,1,,2016',
      ),
    );
    fc.assert(
      fc.property(
        fc.array(line, { maxLength: 60 }),
        fc.array(fc.nat(), { maxLength: 12 }),
        fc.boolean(),
        (lines, places, small) => {
          const bytes = bytesOf(trips('') + lines.join(''));
          const ends = [...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
          const cut = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
          const chunks = small && bytes.length < 3000 ? [...bytes].map((byte) => Uint8Array.of(byte)) : cut;
          const options = { batchRows: 5 };
          expect(readChunks(newReader('trips', options), chunks)).toEqual(readChunks(newReader('trips', options), [bytes]));
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('a file', () => {
  test('with a header only has no rows, and nothing is rejected', () => {
    expect(read('trips', `${trips()}\n`)).toEqual({ batches: [], rejections: { count: 0, kinds: {}, first: [] } });
  });

  test('without a byte is one rejection', () => {
    const reason = 'the file is empty: it has no header';
    expect(read('weather', '')).toEqual({
      batches: [],
      rejections: { count: 1, kinds: { [reason]: 1 }, first: [{ file: 'test.csv', line: 1, reason, kind: reason }] },
    });
  });

  test('whose header lacks columns is refused with their names', () => {
    const reader = newReader('trips');
    expect(() => reader.push(bytesOf('start_date,yearid,duration\n'))).toThrow(
      new HeaderError(
        'test.csv: the header has no duration_sec, start_station_code, end_station_code; it is "start_date,yearid,duration"',
      ),
    );
  });

  test('full of bad rows is counted to the end by kind, and the first ten of each kind are shown', () => {
    const row = '2016-06-17 10:00:00,1,2016-06-17 10:10:00,2,600.0,1,';
    const [short, years] = [Array.from({ length: 1500 }, () => 'x,y'), Array.from({ length: 20 }, (_, at) => `${row}"${at}"`)];
    const { rejections } = read('trips', trips(...short, ...years));
    const [tooShort, noYear] = ['the row has 2 fields, not 7 as the header', 'yearid is no year'];
    expect(rejections.count).toBe(1520);
    expect(rejections.kinds).toEqual({ [tooShort]: 1500, [noYear]: 20 });
    expect(rejections.first).toHaveLength(20);
    expect(rejections.first.at(-1)).toEqual({ file: 'test.csv', line: 1511, reason: 'yearid "9" is no year', kind: noYear });
  });

  test.each<[Topic, string, (row: number) => string]>([
    ['stations', 'code,name,latitude,longitude,yearid', (row) => `${row},${'n'.repeat(900)},1,1,2016`],
    ['trips', trips().trimEnd(), (row) => `2016-06-17 10:00:00,${row}${'s'.repeat(900)},x,${'e'.repeat(900)}${row},60,1,2016`],
  ])('of %s with long texts has batches that fit into a frame, and each row once', (topic, header, row) => {
    const rows = Array.from({ length: 20_000 }, (_, index) => row(index));
    const reader = newReader(topic, { batchRows: 100_000 });
    const batches = [...reader.push(bytesOf([header, ...rows, ''].join('\n'))), ...reader.end()];
    expect(batches.length).toBeGreaterThan(2);
    expect(batches.reduce((sum, batch) => sum + batch.rows, 0)).toBe(20_000);
    for (const { table } of batches) expect(table.byteLength).toBeLessThan(8 * 1024 * 1024);
  });

  test('whose rows are bad in a thousand ways has a hundred kinds, and the rest is one', () => {
    const rows = Array.from({ length: 1000 }, (_, fields) => 'x,'.repeat(fields + 7));
    const { kinds } = read('trips', trips(...rows)).rejections;
    expect(Object.keys(kinds)).toHaveLength(101);
    expect(kinds['other reasons']).toBe(900);
  });
});
