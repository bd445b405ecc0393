/** The scanner against the plain way, `split` at line ends and at commas, over the same bytes in the same run. `--json FILE` writes the rows. */
import { explainBench, median, reportBench, type BenchRow } from '@lab/testing';
import { CsvScanner } from '../src/index.ts';

explainBench();

const rows = 200_000;
const rounds = 15;
/** What runs before the compiler has settled is not counted. */
const warmUpRounds = 5;

const header = 'start_date,start_station_code,end_date,end_station_code,duration_sec,is_member,yearid';
const lines = Array.from(
  { length: rows },
  (_, row) => `2016-06-17 10:03:${row % 60},${row % 900},2016-06-17 10:13:00,7${row % 90},600.0,1,2016`,
);
const bytes = Buffer.from(`${header}\n${lines.join('\n')}\n`);

/** How many fields each way has seen: it must be all of them. */
function scan(): number {
  const csv = new CsvScanner('bench', header.split(','));
  csv.push(bytes);
  csv.end();
  let fields = 0;
  while (csv.next()) for (let column = 0; column < 7; column++) fields += csv.to(column) > csv.from(column) ? 1 : 0;
  return fields;
}

function split(): number {
  let fields = 0;
  for (const line of bytes.toString('utf8').split('\n').slice(1))
    for (const field of line.split(',')) fields += field.length > 0 ? 1 : 0;
  return fields;
}

function secondsOf(run: () => number): number {
  const startMs = performance.now();
  const fields = run();
  if (fields !== 7 * rows) throw new Error(`${run.name} has seen ${fields} fields, not ${7 * rows}`);
  return (performance.now() - startMs) / 1000;
}

const measured = { scan: [] as number[], split: [] as number[] };
for (let round = -warmUpRounds; round < rounds; round++) {
  const [scanned, plain] = [secondsOf(scan), secondsOf(split)];
  if (round >= 0) {
    measured.scan.push(scanned);
    measured.split.push(plain);
  }
}
const ratio = median(measured.scan) / median(measured.split);
const megabytes = bytes.byteLength / 1e6;
const shown = (name: string, value: number): BenchRow => ({ name, value, unit: 'MB/s', target: null, holds: null });
await reportBench(
  [
    shown('scanner', megabytes / median(measured.scan)),
    shown('split', megabytes / median(measured.split)),
    { name: 'scanner / split, time', value: ratio, unit: 'ratio', target: '<= 0.5', holds: ratio <= 0.5 },
  ],
  process.argv.slice(2),
);
