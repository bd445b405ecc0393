import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';

/** One line of a bench: what was measured, and whether it is what was wanted. */
export interface BenchRow {
  name: string;
  value: number;
  unit: string;
  /** As text, `>= 0.8`; null for a number that is only shown. */
  target: string | null;
  holds: boolean | null;
}

/**
 * Prints the rows as a table, and with `--json FILE` among the arguments writes them to a file too; a relative one is in the folder that the bench was
 * called from. Whether targets hold does not change the exit code: how fast a machine is on a day decides nothing.
 */
export async function reportBench(rows: readonly BenchRow[], args: readonly string[], env = process.env): Promise<void> {
  const cells = rows.map(({ name, value, unit, target, holds }) => [
    name,
    target ?? '',
    `${format(value)} ${unit}`,
    holds === null ? '' : holds ? 'yes' : 'NO',
  ]);
  const table = [['name', 'target', 'measured', 'holds'], ...cells];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => row[column]!.length)));
  for (const row of table)
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    );
  const at = args.indexOf('--json');
  if (at < 0) return;
  const file = args[at + 1];
  if (file === undefined) throw new Error('--json needs a FILE');
  await writeFile(resolve(env['INIT_CWD'] ?? '.', file), `${JSON.stringify(rows, null, 2)}\n`);
}

function format(value: number): string {
  return value >= 1000 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);
}

/** The middle value; of an even number of values the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('no values, no median');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
