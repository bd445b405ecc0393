/** Files that cannot be used, as people have them: an error that names the file, and not answers without a city. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { exitCodes } from '@lab/process';
import { connectFramed } from '@lab/protocol';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { reportText, type Results } from '../src/client/report.ts';
import { runClient } from '../src/client/program.ts';
import { demoConfig } from '../src/config.ts';
import { defaultSettings, settingsOf } from '../src/domain/queries.ts';
import { startEmbedded } from '../src/embedded.ts';

const header = 'start_date,start_station_code,end_date,end_station_code,duration_sec,is_member,yearid';
const row = '2016-06-17 10:00:00,1,2016-06-17 10:10:00,2,600.0,1,2016';
let folder: string;
let file: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bike-bad-'));
  await cp(join(import.meta.dirname, '../data'), folder, { recursive: true });
  file = join(folder, 'toronto/trips.csv');
});
afterEach(() => rm(folder, { recursive: true }));

async function run(settings: { allowEmpty?: boolean; output?: string } = {}): Promise<Results> {
  const config = demoConfig.parse({ data: folder, ...settings });
  const { port, stop } = await startEmbedded(config);
  const connect = () => connectFramed({ host: '127.0.0.1', port });
  try {
    return (await runClient({ ...config, settings: settingsOf(config), connect })).results;
  } finally {
    await stop();
  }
}

it.each<[what: string, content: string | Buffer, reason: string]>([
  [
    'dates in US order',
    `${header}\n6/17/2016 10:03,1,6/17/2016 10:13,2,600.0,1,2016\n`,
    'start_date "6/17/2016 10:03" is no date, it looks like a date in US order: 2016-06-17 10:03:00 is expected',
  ],
  [
    'years as floats',
    `${header}\n${row}.0\n`,
    'line 2: yearid "2016.0" is no year, it looks like a year as a float: 2016 is expected. --allow-empty',
  ],
  [
    'dates in a zone',
    `${header}\n${row.replaceAll(':00,', ':00Z,')}\n`,
    'start_date "2016-06-17 10:00:00Z" is no date, it looks like',
  ],
  ['commas at the ends', `${header}\n${row},\n`, 'the row has 8 fields, not 7 as the header'],
  ['a header without an end', '\0'.repeat(100_000), 'the header has more than 65536 bytes'],
  ['nothing', '', 'line 1: the file is empty: it has no header'],
  ['a header and no rows', `${header}\n`, 'it has a header and no rows. --allow-empty takes it as it is'],
  ['semicolons', `${header}\n${row}\n`.replaceAll(',', ';'), 'the file separates its fields by ";": a comma is expected'],
  ['a header without columns, and without a newline', 'start_date,end_date', 'the header has no duration_sec'],
  ['lines that end with CR', [header, row, ''].join('\r'), 'the file has lines that end with CR alone'],
  ['gzip', gzipSync(`${header}\n${row}\n`), 'the file is compressed by gzip: unpack it'],
  ['UTF-16', Buffer.from(`\ufeff${header}\n`, 'utf16le'), 'the file is UTF-16: save it as UTF-8'],
  ['more than is looked at before it is sent', `${header}\n${`${row}.0\n`.repeat(2_000)}`, '(2000 rejected)'],
])('%s', async (_, content, reason) => {
  await writeFile(file, content);
  await expect(run()).rejects.toMatchObject({
    exitCode: exitCodes.usage,
    message: expect.stringMatching(`^toronto/trips\\.csv: .*${reason.replace(/[().]/g, '\\$&')}`) as string,
  });
});

it('takes what it can of Windows-1252, and says that it looks like that', async () => {
  const stations = join(folder, 'toronto/stations.csv');
  await writeFile(stations, Buffer.concat([await readFile(stations), Buffer.from('900,Caf\xe9,43.6,-79.4,2016\n', 'latin1')]));
  const text = reportText(await run(), defaultSettings);
  expect(text).toContain('Rejected: 1 row\n  toronto/stations.csv: 1 row\n');
  expect(text).toContain('it looks like Windows-1252');
});

it('gives a hint where trips and stations have codes of two kinds', async () => {
  const trips = await readFile(file, 'utf8');
  await writeFile(file, trips.replaceAll(/,(\d+),(?=2)/g, ',$1.0,').replaceAll(/,(\d+),(?=[\d.]+,\d,)/g, ',$1.0,'));
  expect(reportText(await run(), defaultSettings)).toMatch(
    /\n {2}[\d,]+ of toronto's [\d,]+ trips start at no station of their year that stations\.csv has/,
  );
});

it('takes no file of the data set for its output', async () => {
  const before = await readFile(file, 'utf8');
  await expect(run({ output: file })).rejects.toMatchObject({
    exitCode: exitCodes.usage,
    message: `--output ${file} is a file of the data set`,
  });
  expect(await readFile(file, 'utf8')).toBe(before);
});

it('takes a file without a row that can be used where it is meant, and counts what was rejected by file', async () => {
  await writeFile(file, `${header}\n${`${row}.0\n`.repeat(12)}`);
  const weather = join(folder, 'montreal/weather.csv');
  await writeFile(weather, `${await readFile(weather, 'utf8')}never,1\n`);
  const results = await run({ allowEmpty: true });
  expect(results.rejected).toMatchObject({
    'montreal/weather.csv': { count: 1, kinds: { 'the row has 2 fields, not 21 as the header': 1 } },
    'toronto/trips.csv': { count: 12, kinds: { 'yearid is no year': 12 } },
  });
  const text = reportText(results, defaultSettings);
  expect(text).toContain(
    'Rejected: 13 rows\n  montreal/weather.csv: 1 row\n    the row has 2 fields, not 21 as the header: 1 row\n',
  );
  expect(text).toContain('    yearid is no year: 12 rows; it looks like a year as a float: 2016 is expected\n');
  expect(text).toContain('      ... and 2 more');
});
