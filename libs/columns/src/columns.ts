/** Typed access to the columns of a table, which came over the wire: what is not there or does not fit is an error that names it. */
import type { Column, Table } from './table.ts';
import { Texts } from './table.ts';

/** The column of whole numbers of that name, of `rows` rows if given. */
export function ints(table: Table, name: string, rows?: number): Int32Array {
  const column = table[name];
  if (!(column instanceof Int32Array)) throw new TypeError(`column ${name} must be whole numbers, not ${kindOf(column)}`);
  return ofLength(column, name, rows);
}

/** The column of numbers of that name, of `rows` rows if given. */
export function floats(table: Table, name: string, rows?: number): Float64Array {
  const column = table[name];
  if (!(column instanceof Float64Array)) throw new TypeError(`column ${name} must be numbers, not ${kindOf(column)}`);
  return ofLength(column, name, rows);
}

/** The column of texts of that name, of `rows` rows if given. */
export function texts(table: Table, name: string, rows?: number): Texts {
  const column = table[name];
  if (!(column instanceof Texts)) throw new TypeError(`column ${name} must be texts, not ${kindOf(column)}`);
  return ofLength(column, name, rows);
}

/** Throws unless every value of the column is an index into `codes`, the dictionary of its batch. */
export function checkIndices(column: Int32Array, name: string, codes: Texts): void {
  const { length } = codes;
  for (let row = 0; row < column.length; row++) {
    // As an unsigned number a negative index is a large one.
    if (column[row]! >>> 0 >= length)
      throw new RangeError(`column ${name}, row ${row}: ${column[row]!} is no index into ${length} codes`);
  }
}

function kindOf(column: Column | undefined): string {
  return column === undefined ? 'missing' : column.constructor.name;
}

function ofLength<C extends Column>(column: C, name: string, rows: number | undefined): C {
  if (rows !== undefined && column.length !== rows)
    throw new RangeError(`column ${name} must have ${rows} rows, not ${column.length}`);
  return column;
}
