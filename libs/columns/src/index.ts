export { CsvScanner, HeaderError, recordBytesMax } from './csv.ts';
export { decodeTable, encodeTable, MalformedTableError, pickColumns, Texts, type Column, type Table } from './table.ts';
export { checkIndices, floats, ints, texts } from './columns.ts';
