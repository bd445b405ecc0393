/** Tables by their schemas. What came over the wire and is not there, or does not fit, is an error that names it. */
import type { Column, Table } from './table.ts';
import { Texts } from './table.ts';

/** What columns there are, by name, and of which kind. */
export type Schema = Readonly<Record<string, typeof Int32Array | typeof Float64Array | typeof Texts>>;
/** The columns of a schema. */
export type Columns<S extends Schema> = { [Name in keyof S]: S[Name]['prototype'] };
/** A row of them. */
export type RowOf<S extends Schema> = { [Name in keyof S]: S[Name] extends typeof Texts ? string : number };

/** The columns of a schema, of one column at least, all of one length. Throws where one is missing, is of another kind, or has more or fewer rows than the first. */
export function columnsOf<S extends Schema>(table: Table, schema: S): Columns<S> {
  let rows: number | undefined;
  for (const [name, kind] of Object.entries(schema)) {
    const column = table[name];
    if (!(column instanceof kind)) throw new TypeError(`column ${name} must be ${kindNames.get(kind)}, not ${kindOf(column)}`);
    rows ??= column.length;
    if (column.length !== rows) throw new RangeError(`column ${name} must have ${rows} rows, not ${column.length}`);
  }
  return table as Columns<S>;
}

/** A table of these rows; with none, its columns are empty. */
export function tableOf<S extends Schema>(schema: S, rows: readonly RowOf<S>[]): Columns<S> {
  const column = (name: string): Column => {
    const values = rows.map((row) => row[name]!);
    const kind = schema[name]!;
    return kind === Texts ? Texts.from(values as string[]) : (kind as typeof Int32Array).from(values as number[]);
  };
  return Object.fromEntries(Object.keys(schema).map((name) => [name, column(name)])) as Columns<S>;
}

/** The rows of such a table, one object each. Throws as `columnsOf` does. */
export function rowsOf<S extends Schema>(table: Table, schema: S): RowOf<S>[] {
  const columns: Table = columnsOf(table, schema);
  const names = Object.keys(schema);
  const rows = Array.from({ length: columns[names[0]!]!.length }, (): Record<string, number | string> => ({}));
  for (const name of names) rows.forEach((row, at) => (row[name] = columns[name]!.at(at)!));
  return rows as RowOf<S>[];
}

/** The texts of a table's dictionary. Throws unless every value of the columns given is an index into it. */
export function dictionaryOf(table: Table, name: string, columns: Readonly<Record<string, Int32Array>>): Texts {
  const texts = columnsOf(table, { [name]: Texts })[name]!;
  for (const [column, indices] of Object.entries(columns)) checkIndices(column, indices, name, texts.length);
  return texts;
}

function checkIndices(column: string, indices: Int32Array, dictionary: string, length: number): void {
  for (let row = 0; row < indices.length; row++) {
    // As an unsigned number a negative index is a large one.
    if (indices[row]! >>> 0 >= length)
      throw new RangeError(`column ${column}, row ${row}: ${indices[row]!} is no index into ${length} ${dictionary}`);
  }
}

const kindNames = new Map<unknown, string>([
  [Int32Array, 'whole numbers'],
  [Float64Array, 'numbers'],
  [Texts, 'texts'],
]);

function kindOf(column: Column | undefined): string {
  return column === undefined ? 'missing' : column.constructor.name;
}
