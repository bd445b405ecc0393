/**
 * The same answers in the most obvious way: one loop over the files, one trip after the other, and what each query says of it. It shares no
 * code with the system, so that a mistake would have to be made twice to go unseen. It is for comparing, not for use: it rejects what the system
 * rejects, but without a word.
 */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { defaultSettings, queries, type Answers } from '../src/domain/queries.ts';
import type { StraightStation, StraightTrip, Values } from '../src/domain/query.ts';
import { cities, type City } from '../src/domain/terms.ts';

/** Answers the queries from `<directory>/<city>/<topic>.csv`. Rejects when a file or a column is missing. */
export async function answerStraight(
  directory: string,
  settings: Values = defaultSettings,
  weatherOffsetDays = -1,
): Promise<Answers> {
  const loops = queries.map((query) => ({ name: query.name, loop: query.straight(settings) }));
  for (const city of cities) {
    for await (const trip of trips(join(directory, city), city, weatherOffsetDays)) for (const { loop } of loops) loop.add(trip);
  }
  return Object.fromEntries(loops.map(({ name, loop }) => [name, loop.answer()])) as Answers;
}

/** The trips of a city, with what they join. */
async function* trips(folder: string, city: City, weatherOffsetDays: number): AsyncGenerator<StraightTrip> {
  const rainMm = await readRain(join(folder, 'weather.csv'), weatherOffsetDays);
  const stations = await readStations(join(folder, 'stations.csv'));
  const columns = ['start_date', 'start_station_code', 'end_station_code', 'duration_sec', 'yearid'];
  for await (const row of rows(join(folder, 'trips.csv'), columns)) {
    const [day, seconds, year] = [toDay(row[0]!), toDuration(row[3]!), toYear(row[4]!)];
    const [startCode, endCode] = [toText(row[1]!), toText(row[2]!)];
    if (day === undefined || seconds === undefined || year === undefined || startCode === undefined || endCode === undefined)
      continue;
    const [start, end] = [stations.get(`${year} ${startCode}`), stations.get(`${year} ${endCode}`)];
    yield { city, date: row[0]!.slice(0, 10), year, seconds, rainMm: rainMm.get(day), start, end };
  }
}

/** Of each day, the first row. */
async function readRain(file: string, offsetDays: number): Promise<Map<number, number>> {
  const rainMm = new Map<number, number>();
  for await (const [date, prectot] of rows(file, ['date', 'prectot'])) {
    const [day, mm] = [toDay(date!), toNumber(prectot!)];
    if (day !== undefined && mm !== undefined && !rainMm.has(day + offsetDays)) rainMm.set(day + offsetDays, mm);
  }
  return new Map([...rainMm].filter(([, mm]) => mm !== -999));
}

async function readStations(file: string): Promise<Map<string, StraightStation>> {
  const stations = new Map<string, StraightStation>();
  for await (const row of rows(file, ['code', 'name', 'latitude', 'longitude', 'yearid'])) {
    const [code, name, year] = [toText(row[0]!), toText(row[1]!), toYear(row[4]!)];
    const [latitude, longitude] = [toCoordinate(row[2]!, 90), toCoordinate(row[3]!, 180)];
    if (!code || !name || year === undefined || latitude === undefined || longitude === undefined) continue;
    const isNowhere = latitude === 0 && longitude === 0;
    const key = `${year} ${code}`;
    if (!stations.has(key)) stations.set(key, { name, latitude: isNowhere ? NaN : latitude, longitude });
  }
  return stations;
}

// Fields: each gives undefined for a value that makes the system reject the row.

let lastDate = '';
let lastDay: number | undefined;

function toDay(text: string): number | undefined {
  if (text.length > 10 && !/^[ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?$/.test(text.slice(10))) return undefined;
  const date = text.slice(0, 10);
  if (date === lastDate) return lastDay;
  const ms = /^\d{4}-\d\d-\d\d$/.test(date) && date >= '0001' ? Date.parse(`${date}T00:00:00Z`) : NaN;
  // 30 February may have been read as 2 March.
  const exists = !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(date);
  [lastDate, lastDay] = [date, exists ? ms / 86_400_000 : undefined];
  return lastDay;
}

function toNumber(text: string): number | undefined {
  if (text.length > 64 || !/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

function toDuration(text: string): number | undefined {
  const value = toNumber(text);
  if (value === undefined) return undefined;
  const seconds = Math.round(value * 1e6) / 1e6;
  return seconds >= -(2 ** 31) && seconds < 2 ** 31 ? seconds : undefined;
}

function toYear(text: string): number | undefined {
  return /^\d{4}$/.test(text) ? Number(text) : undefined;
}

function toCoordinate(text: string, degreesMax: number): number | undefined {
  const degrees = text === '' ? NaN : toNumber(text);
  if (degrees === -999) return NaN;
  return degrees === undefined || Math.abs(degrees) > degreesMax ? undefined : degrees;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function toText(field: string): string | undefined {
  if (field.length > 1000) return undefined;
  if (!/[^\0-\x7f]/.test(field)) return field;
  try {
    return utf8.decode(Buffer.from(field, 'latin1'));
  } catch {
    return undefined;
  }
}

/** The wanted columns of the rows of a file, one character for each byte. */
async function* rows(file: string, columns: readonly string[]): AsyncGenerator<string[]> {
  let header: string[] | undefined;
  let wanted: number[] = [];
  for await (const records of recordsOf(file)) {
    for (const record of records) {
      if (header === undefined) {
        header = record ?? [];
        wanted = columns.map((name) => header!.indexOf(name));
        if (wanted.includes(-1)) throw new Error(`${file}: the header lacks one of ${columns.join(', ')}`);
      } else if (record?.length === header.length) {
        yield wanted.map((column) => record[column]!);
      }
    }
  }
}

// CSV: records of a file, undefined for one that is none.

type CsvRecord = string[] | undefined;

/** What is longer is no row but the work of a quote that nobody closed. */
const recordBytesMax = 64 * 1024;

async function* recordsOf(file: string): AsyncGenerator<CsvRecord[]> {
  let text = '';
  let isBegun = false;
  for await (const chunk of createReadStream(file, { encoding: 'latin1', highWaterMark: 1024 * 1024 }) as AsyncIterable<string>) {
    text += isBegun ? chunk : chunk.replace(/^\xef\xbb\xbf/, '');
    isBegun = true;
    const { records, next } = split(text, false);
    text = text.slice(next);
    yield records;
  }
  yield split(`${text}\n`, true).records;
}

/** The records that are complete, and where the next one begins; at the end of the file all are complete. */
function split(text: string, isEnd: boolean): { records: CsvRecord[]; next: number } {
  const records: CsvRecord[] = [];
  for (let at = 0; ;) {
    const lineEnd = text.indexOf('\n', at);
    if (lineEnd === -1) return { records, next: at };
    const line = text.slice(at, text[lineEnd - 1] === '\r' ? Math.max(at, lineEnd - 1) : lineEnd);
    const found = line.includes('"') ? quotedRecord(text, at) : { fields: line.split(','), next: lineEnd + 1 };
    if (found === 'open' && !isEnd && text.length - at <= recordBytesMax) return { records, next: at };
    if (line === '') at = lineEnd + 1;
    else if (typeof found === 'object' && found.next - 1 - at <= recordBytesMax) {
      records.push(found.fields);
      at = found.next;
    } else {
      // The next record begins on the next line.
      records.push(undefined);
      at = lineEnd + 1;
    }
  }
}

/** A record with quotes, which may go over several lines; `open` if its end is not there yet. */
function quotedRecord(text: string, from: number): { fields: string[]; next: number } | 'open' | 'broken' {
  const fields: string[] = [];
  for (let at = from; ;) {
    const isQuoted = text[at] === '"';
    const close = isQuoted ? closingQuote(text, at) : at;
    const separator = separatorAfter(text, close);
    if (separator === text.length) return 'open';
    const isLast = text[separator] === '\n';
    const rest = text.slice(isQuoted ? close + 1 : at, separator);
    const unquoted = isLast && rest.endsWith('\r') ? rest.slice(0, -1) : rest;
    if (isQuoted && unquoted !== '') return 'broken';
    fields.push(isQuoted ? text.slice(at + 1, close).replaceAll('""', '"') : unquoted);
    at = separator + 1;
    if (isLast) return { fields, next: at };
  }
}

function closingQuote(text: string, open: number): number {
  let close = text.indexOf('"', open + 1);
  while (close !== -1 && text[close + 1] === '"') close = text.indexOf('"', close + 2);
  return close === -1 ? text.length : close;
}

function separatorAfter(text: string, from: number): number {
  let at = from;
  while (at < text.length && text[at] !== ',' && text[at] !== '\n') at++;
  return at;
}
