export { CodeNumbers, codeProblem } from './code-numbers.ts';
export { CsvScanner, HeaderError, recordBytesMax } from './csv.ts';
export { dateBytes, DateReader, isDigit, readDuration, readNumber, readYear, timeEnd, yearBytes } from './fields.ts';
export { PairMap } from './pair-map.ts';
export { decodeTable, encodeTable, MalformedTableError, pickColumns, Texts, type Column, type Table } from './table.ts';
export { columnsOf, dictionaryOf, rowsOf, tableOf, type Columns, type RowOf, type Schema } from './columns.ts';
export { formatProblem } from './format.ts';
export {
  Keys,
  PlainRows,
  TableReader,
  type Batch,
  type Piece,
  type Rejection,
  type Rejections,
  type Rows,
} from './table-reader.ts';
