import { expect, test } from 'vitest';
import { columnsOf, dictionaryOf, rowsOf, tableOf } from './columns.ts';
import { decodeTable, encodeTable, Texts, type Table } from './table.ts';

const schema = { code: Texts, year: Int32Array, km: Float64Array };
const rows = [
  { code: 'A', year: 2016, km: 0.5 },
  { code: 'é', year: -1, km: NaN },
];

test('rows become a table and come back from its bytes', () => {
  expect(rowsOf(decodeTable(encodeTable(tableOf(schema, rows))), schema)).toEqual(rows);
  expect(rowsOf(decodeTable(encodeTable(tableOf(schema, []))), schema)).toEqual([]);
  expect(rowsOf(tableOf(schema, rows), { year: Int32Array })).toEqual([{ year: 2016 }, { year: -1 }]);
});

test.each<[string, Table, string]>([
  ['is missing', { code: Texts.from([]) }, 'column year must be whole numbers, not missing'],
  ['is of another kind', { code: new Float64Array() }, 'column code must be texts, not Float64Array'],
  ['is longer than the first', { ...tableOf(schema, rows), km: new Float64Array(3) }, 'column km must have 2 rows, not 3'],
])('a column that %s is an error', (_, table, message) => {
  expect(() => columnsOf(table, schema)).toThrow(message);
  expect(() => rowsOf(table, schema)).toThrow(message);
});

test('a dictionary is given with columns that fit it, and otherwise names what does not', () => {
  const table = { codes: Texts.from(['A', 'B']) };
  expect(dictionaryOf(table, 'codes', { start: Int32Array.of(0, 1, 1) })).toBe(table.codes);
  expect(() => dictionaryOf(table, 'codes', { start: Int32Array.of(0), end: Int32Array.of(1, 2) })).toThrow(
    'column end, row 1: 2 is no index into 2 codes',
  );
  expect(() => dictionaryOf(table, 'codes', { start: Int32Array.of(-1) })).toThrow('column start, row 0: -1 is no index');
  expect(() => dictionaryOf({}, 'codes', {})).toThrow('column codes must be texts, not missing');
});
