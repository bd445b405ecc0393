/** Small data sets with more of what is rare than any real one has: every code is repeated, misspelt or moved somewhere. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Random } from '@lab/testing';
import { cities, type City, type Topic } from '../src/domain/terms.ts';

/** Like each other but for case, zeros and space; `NULL` and `NA` are codes too. */
const codes = ['1', '01', '001', '1.0', 'a1', 'A1', 'NULL', 'NA', '7000', '7001', '7002', '-5'];
const names = [
  'Milton / Clark',
  'milton / clark',
  'Côte, St-Antoine',
  'The "Square"',
  '"',
  'Métro',
  'a',
  'B',
  'Z ',
  "O'Hare",
  '東',
  '007',
];
const years = [2015, 2016, 2017, 2018];
const firstMs = Date.UTC(2016, 11, 20);

/** Texts of the nine files by `<city>/<topic>`. Rows are well-formed, but some repeat a key. */
export function randomFiles(random: Random, { trips = 400, weather = 25, stations = 60 } = {}): Map<string, string> {
  const files = new Map<string, string>();
  for (const city of cities) {
    const newline = random.pick(['\n', '\r\n']);
    const file = (topic: Topic, header: string, count: number, row: (index: number) => string) => {
      const lines = [header, ...Array.from({ length: count }, (_, index) => row(index))];
      files.set(`${city}/${topic}`, lines.join(newline) + (random.chance(0.5) ? newline : ''));
    };
    file('weather', 'date,qv2m,prectot', weather, () => weatherRow(random));
    file('stations', 'code,name,latitude,longitude,yearid', stations, () => stationRow(random, city));
    file('trips', 'start_date,start_station_code,end_date,end_station_code,duration_sec,is_member,yearid', trips, () =>
      tripRow(random),
    );
  }
  return files;
}

export async function writeFiles(directory: string, files: ReadonlyMap<string, string | Uint8Array>): Promise<void> {
  for (const [name, content] of files) {
    await mkdir(join(directory, name, '..'), { recursive: true });
    await writeFile(join(directory, `${name}.csv`), content);
  }
}

function dateOf(random: Random): string {
  return new Date(firstMs + random.integer(0, 19) * 86_400_000).toISOString().slice(0, 10);
}

function weatherRow(random: Random): string {
  return `${dateOf(random)},1.5,${random.pick(['0.0', '30', '30.0', '30.000001', '31', '45.5', '-999.0', '3e1'])}`;
}

function stationRow(random: Random, city: City): string {
  const place = city === 'montreal' && random.chance(0.9);
  const around = (degrees: number, by: number) => (degrees + (random.next() - 0.5) * by).toFixed(random.integer(0, 14));
  const coordinate = (degrees: number) =>
    place && random.chance(0.97) ? around(degrees, 0.2) : random.pick(['', '-999.0', '0.0']);
  return [random.pick(codes), quoted(random.pick(names)), coordinate(45.5), coordinate(-73.6), random.pick(years)].join(',');
}

function tripRow(random: Random): string {
  const time = `${String(random.integer(0, 23)).padStart(2, '0')}:00:59`;
  const duration = random.pick(['900', '900.0', '0', '-60.0', '1234.5', '-0.25', '0.000001', '86399.999999']);
  return [
    `${dateOf(random)} ${time}`,
    random.pick(codes),
    '',
    random.pick(codes),
    duration,
    random.integer(0, 1),
    random.pick(years),
  ].join(',');
}

function quoted(text: string): string {
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
