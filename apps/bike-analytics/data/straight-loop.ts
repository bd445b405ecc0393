/**
 * The same three answers in the most obvious way: one loop over the files, one trip after the other, plain maps. It shares no code with the
 * system, so that a mistake would have to be made twice to go unseen. It is for comparing, not for use: it rejects what the system
 * rejects, but without a word.
 */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import type { Answers, DoubledStation, FarStation, RainyDay } from '../src/domain/answers.ts';
import { cities, type City } from '../src/domain/terms.ts';

interface Station {
  name: string;
  /** On a sphere of radius 1; undefined without coordinates. */
  point: [number, number, number] | undefined;
}

/** Answers the three queries from `<directory>/<city>/<topic>.csv`. Rejects when a file or a column is missing. */
export async function answerStraight(directory: string, { weatherOffsetDays = -1 } = {}): Promise<Answers> {
  const sums = new Sums();
  for (const city of cities) {
    const rainyDays = await readRainyDays(join(directory, city, 'weather.csv'), weatherOffsetDays);
    const stations = await readStations(join(directory, city, 'stations.csv'));
    const columns = ['start_date', 'start_station_code', 'end_station_code', 'duration_sec', 'yearid'];
    for await (const row of rows(join(directory, city, 'trips.csv'), columns)) {
      const [day, duration, year] = [toDay(row[0]!), toDuration(row[3]!), toYear(row[4]!)];
      const [startCode, endCode] = [toText(row[1]!), toText(row[2]!)];
      if (day === undefined || duration === undefined || year === undefined || startCode === undefined || endCode === undefined)
        continue;
      if (rainyDays.has(day)) sums.addRainy(city, day, Math.max(0, duration));
      sums.addRide(city, year, stations.get(`${year} ${startCode}`), stations.get(`${year} ${endCode}`));
    }
  }
  return sums.answers();
}

async function readRainyDays(file: string, offsetDays: number): Promise<Set<number>> {
  const rainMm = new Map<number, number>();
  for await (const [date, prectot] of rows(file, ['date', 'prectot'])) {
    const [day, mm] = [toDay(date!), toNumber(prectot!)];
    if (day !== undefined && mm !== undefined && !rainMm.has(day)) rainMm.set(day, mm);
  }
  return new Set([...rainMm].filter(([, mm]) => mm > 30).map(([day]) => day + offsetDays));
}

async function readStations(file: string): Promise<Map<string, Station>> {
  const stations = new Map<string, Station>();
  for await (const row of rows(file, ['code', 'name', 'latitude', 'longitude', 'yearid'])) {
    const [code, name, year] = [toText(row[0]!), toText(row[1]!), toYear(row[4]!)];
    const [latitude, longitude] = [toCoordinate(row[2]!, 90), toCoordinate(row[3]!, 180)];
    if (!code || !name || year === undefined || latitude === undefined || longitude === undefined) continue;
    const key = `${year} ${code}`;
    if (!stations.has(key)) stations.set(key, { name, point: toPoint(latitude, longitude) });
  }
  return stations;
}

class Sums {
  readonly #rainy = new Map<string, { city: City; day: number; seconds: number; trips: number }>();
  readonly #starts = new Map<string, DoubledStation>();
  readonly #arrivals = new Map<string, { name: string; km: number; trips: number }>();
  #unknownStation = 0;
  #noCoordinates = 0;

  addRainy(city: City, day: number, seconds: number): void {
    const sum = getOrSet(this.#rainy, `${city} ${day}`, { city, day, seconds: 0, trips: 0 });
    sum.seconds += seconds;
    sum.trips += 1;
  }

  addRide(city: City, year: number, start: Station | undefined, end: Station | undefined): void {
    const isCompared = year === 2016 || year === 2017;
    if (isCompared && start !== undefined) {
      getOrSet(this.#starts, `${city} ${start.name}`, { city, name: start.name, trips2016: 0, trips2017: 0 })[`trips${year}`] +=
        1;
    }
    const misses = city === 'montreal' ? start === undefined || end === undefined : isCompared && start === undefined;
    if (misses) this.#unknownStation += 1;
    if (city !== 'montreal' || start === undefined || end === undefined) return;
    if (start.point === undefined || end.point === undefined) {
      this.#noCoordinates += 1;
      return;
    }
    const sum = getOrSet(this.#arrivals, end.name, { name: end.name, km: 0, trips: 0 });
    sum.km += kmBetween(start.point, end.point);
    sum.trips += 1;
  }

  answers(): Answers {
    const rainy = [...this.#rainy.values()];
    const trips = rainy.reduce((sum, day) => sum + day.trips, 0);
    const seconds = rainy.reduce((sum, day) => sum + day.seconds, 0);
    const days = rainy.map(({ city, day, ...sum }): RainyDay => {
      return {
        city,
        date: new Date(day * 86_400_000).toISOString().slice(0, 10),
        averageSeconds: sum.seconds / sum.trips,
        trips: sum.trips,
      };
    });
    const doubled = [...this.#starts.values()].filter(({ trips2016, trips2017 }) => trips2016 >= 1 && trips2017 >= 2 * trips2016);
    const far = [...this.#arrivals.values()].map(({ name, km, ...sum }): FarStation => ({
      name,
      averageKm: km / sum.trips,
      trips: sum.trips,
    }));
    return {
      rainyTrips: {
        averageSeconds: trips === 0 ? null : seconds / trips,
        trips,
        days: sorted(days, (day) => `${day.city} ${day.date}`),
      },
      doubledStations: sorted(doubled, ({ city, name }) => `${city} ${name}`),
      farStations: sorted(
        far.filter(({ averageKm }) => averageKm > 6),
        ({ name }) => name,
      ),
      leftOut: { unknownStation: this.#unknownStation, noCoordinates: this.#noCoordinates },
    };
  }
}

function getOrSet<V>(map: Map<string, V>, key: string, otherwise: V): V {
  const value = map.get(key) ?? otherwise;
  map.set(key, value);
  return value;
}

function sorted<T>(items: T[], keyOf: (item: T) => string): T[] {
  return items.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

function toPoint(latitude: number, longitude: number): Station['point'] {
  if (Number.isNaN(latitude + longitude) || (latitude === 0 && longitude === 0)) return undefined;
  const [north, east] = [(latitude * Math.PI) / 180, (longitude * Math.PI) / 180];
  return [Math.cos(north) * Math.cos(east), Math.cos(north) * Math.sin(east), Math.sin(north)];
}

/** Along the surface, from the straight line through the Earth: the haversine formula in other words. */
function kmBetween(a: [number, number, number], b: [number, number, number]): number {
  const chord = Math.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2);
  return 2 * 6371 * Math.asin(Math.min(1, chord / 2));
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
