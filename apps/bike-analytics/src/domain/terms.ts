/** The words of this system that are fixed: what the data is about, in the order in which it is sent. */
export const topics = ['weather', 'stations', 'trips'] as const;
export type Topic = (typeof topics)[number];

export const cities = ['montreal', 'toronto', 'washington'] as const;
export type City = (typeof cities)[number];

/** A filter is named by its topic and the number of the query that it works for. */
export type FilterName = `${Topic}-${number}`;

/** Orders by code units, the first texts that differ decide: the same on every machine, whatever its language. */
export function compareTexts(a: readonly string[], b: readonly string[]): number {
  const at = a.findIndex((text, index) => text !== b[index]);
  return at === -1 ? 0 : a[at]! < b[at]! ? -1 : 1;
}

/** `1 trip`, `2 trips`, `1,000 trips`. */
export const count = (number: number, noun: string): string => `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`;

/** Adds a row to the one of its key, which is then the sum of both in these fields; the first is copied. */
export function addUp<Row extends object>(
  sums: Map<string, Row>,
  key: string,
  row: Row,
  fields: readonly NumbersOf<Row>[],
): void {
  const sum = sums.get(key) as Record<string, number> | undefined;
  if (sum === undefined) sums.set(key, { ...row });
  else for (const field of fields) sum[field]! += (row as Record<string, number>)[field]!;
}
type NumbersOf<Row> = { [Field in keyof Row & string]: Row[Field] extends number ? Field : never }[keyof Row & string];
