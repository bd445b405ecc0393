import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';

/** One line of a bench: what was measured, and whether it is what was wanted. */
export interface BenchRow {
  name: string;
  /** Finite. */
  value: number;
  unit: string;
  /** As text, `>= 0.8`; null for a number that is only shown. */
  target: string | null;
  /** Whether the value is within the target; null where there is none. */
  holds: boolean | null;
}

export interface BenchOutput {
  env: Readonly<Record<string, string | undefined>>;
  write(text: string): void;
}

const standardOutput: BenchOutput = { env: process.env, write: (text) => process.stdout.write(text) };

/** Before a bench measures for minutes: where it is asked for help, says what it takes, and ends the process. */
export function explainBench(): void {
  if (!process.argv.slice(2).some((arg) => ['help', '--help', '-h'].includes(arg))) return;
  process.stdout.write(`Usage: npx nx bench APP [--json FILE]

Measures, for minutes, and prints what was measured beside what was wanted; with --json into FILE, too.
`);
  process.exit(0);
}

/**
 * Prints the rows as a table, and with `--json FILE` among the arguments writes them to that file too. A relative FILE is in the folder that
 * the command was given in: npm leaves that one in `INIT_CWD`, Nx in `CALLER_CWD`. Whether targets hold does not change the exit code:
 * how fast a machine is on a day decides nothing.
 */
export async function reportBench(
  rows: readonly BenchRow[],
  args: readonly string[],
  output: BenchOutput = standardOutput,
): Promise<void> {
  const unusable = rows.find(({ value }) => !Number.isFinite(value));
  if (unusable !== undefined) throw new RangeError(`bench row "${unusable.name}" is ${unusable.value}: it measured nothing`);
  output.write(formatTable(rows));
  const file = jsonFile(args);
  if (file === undefined) return;
  const report = rows.map(({ name, value, unit, target, holds }) => ({ name, value, unit, target, holds }));
  await writeFile(
    resolve(output.env['CALLER_CWD'] ?? output.env['INIT_CWD'] ?? '.', file),
    `${JSON.stringify(report, null, 2)}\n`,
  );
}

function formatTable(rows: readonly BenchRow[]): string {
  const cells = rows.map(({ name, target, value, unit, holds }) => [
    name,
    target ?? '–',
    formatValue(value),
    unit,
    holds === null ? '–' : holds ? 'yes' : 'NO',
  ]);
  const table = [['name', 'target', 'measured', 'unit', 'holds'], ...cells];
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...table.map((row) => row[column]!.length)));
  const align = (cell: string, column: number): string =>
    column === 2 ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!);
  return table.map((row) => `${row.map(align).join('  ').trimEnd()}\n`).join('');
}

/** Three digits, as a measurement has no more. */
function formatValue(value: number): string {
  return Math.abs(value) >= 99.95 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);
}

function jsonFile(args: readonly string[]): string | undefined {
  const at = args.findIndex((arg) => arg === '--json' || arg.startsWith('--json='));
  if (at < 0) return undefined;
  const file = args[at] === '--json' ? args[at + 1] : args[at]!.slice('--json='.length);
  if (file === undefined || file === '') throw new Error('--json needs a FILE behind it');
  return file;
}

/** The middle value; of an even number of values the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('no values, no median');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Medians over the rounds; the ratio is the median of each round's, so what slows the machine for a while slows both sides of it. */
export interface Comparison {
  ours: number;
  theirs: number;
  /** Ours in theirs. */
  ratio: number;
}

/** Measures two things in turn, `rounds` times each, the one that goes first changing from round to round. */
export async function compareInTurn(
  rounds: number,
  measure: { ours: () => Promise<number>; theirs: () => Promise<number> },
): Promise<Comparison> {
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    if (round % 2 === 0) ours.push(await measure.ours());
    theirs.push(await measure.theirs());
    if (round % 2 === 1) ours.push(await measure.ours());
  }
  return { ours: median(ours), theirs: median(theirs), ratio: median(ours.map((value, round) => value / theirs[round]!)) };
}
