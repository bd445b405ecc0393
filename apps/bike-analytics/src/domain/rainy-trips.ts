/**
 * Query 1: average duration of the trips that started on days with more than 30 mm of rain in their city.
 *
 * Durations are summed as whole seconds and millionths, each exactly (up to 2^53: 285 million years of riding), and divided once
 * at the end: sums add up in any order and over any number of shards to the same bits.
 */
import { compareTexts, type RainyDay, type RainyTripsAnswer } from './answers.ts';
import { floats, ints } from './columns.ts';
import type { Table } from './table.ts';
import type { City } from './terms.ts';

/** Strictly more than this is a rainy day. */
const rainyAboveMm = 30;
const msPerDay = 86_400_000;

/** Weather to `{day}`: the rainy days. */
export function keepRainyDays(_city: City, table: Table): Table {
  const day = ints(table, 'day');
  const rainMm = floats(table, 'rainMm', day.length);
  return { day: day.filter((_, row) => rainMm[row]! > rainyAboveMm) };
}

/** Trips to `{day, seconds, micros, trips}`: one row per day, in order of appearance. A negative duration adds nothing but its trip. */
export function sumByDay(_city: City, table: Table): Table {
  const day = ints(table, 'day');
  const seconds = ints(table, 'seconds', day.length);
  const micros = ints(table, 'micros', day.length);
  const slots = new Map<number, number>();
  const sums = { seconds: [] as number[], micros: [] as number[], trips: [] as number[] };
  let slot = -1;
  for (let row = 0; row < day.length; row++) {
    // Neighbours are mostly of one day.
    if (row === 0 || day[row] !== day[row - 1]) slot = slotOf(day[row]!, slots, sums);
    sums.trips[slot]! += 1;
    if (seconds[row]! < 0) continue;
    sums.seconds[slot]! += seconds[row]!;
    sums.micros[slot]! += micros[row]!;
  }
  return {
    day: Int32Array.from(slots.keys()),
    seconds: Float64Array.from(sums.seconds),
    micros: Float64Array.from(sums.micros),
    trips: Int32Array.from(sums.trips),
  };
}

function slotOf(day: number, slots: Map<number, number>, sums: Readonly<Record<string, number[]>>): number {
  const known = slots.get(day);
  if (known !== undefined) return known;
  const slot = slots.size;
  slots.set(day, slot);
  for (const column of Object.values(sums)) column.push(0);
  return slot;
}

/** The trips of one city and day. */
interface DaySum {
  city: City;
  day: number;
  seconds: number;
  micros: number;
  trips: number;
}

/** A shard's part of the answer: its trips on rainy days, one entry per city and day. */
export interface RainyTripsPartial {
  days: DaySum[];
}

/** What a trips-solver keeps for query 1: a sum per city and day. Batches may come in any order, each once. */
export class RainyTrips {
  readonly #rainy = new Set<string>();
  readonly #sums = new Map<string, DaySum>();

  /** Adds rainy days, as `keepRainyDays` gives them. */
  addStatic(_number: number, city: City, table: Table): void {
    for (const day of ints(table, 'day')) this.#rainy.add(`${city} ${day}`);
  }

  /** Adds sums by day, as `sumByDay` gives them. */
  addTrips(_number: number, city: City, table: Table): void {
    const day = ints(table, 'day');
    const seconds = floats(table, 'seconds', day.length);
    const micros = floats(table, 'micros', day.length);
    const trips = ints(table, 'trips', day.length);
    for (let row = 0; row < day.length; row++) {
      addDay(this.#sums, { city, day: day[row]!, seconds: seconds[row]!, micros: micros[row]!, trips: trips[row]! });
    }
  }

  partial(): RainyTripsPartial {
    return { days: [...this.#sums].filter(([key]) => this.#rainy.has(key)).map(([, sum]) => sum) };
  }
}

function addDay(sums: Map<string, DaySum>, { city, day, seconds, micros, trips }: DaySum): void {
  const key = `${city} ${day}`;
  const sum = sums.get(key);
  if (sum === undefined) {
    sums.set(key, { city, day, seconds, micros, trips });
    return;
  }
  sum.seconds += seconds;
  sum.micros += micros;
  sum.trips += trips;
}

/** The answer, from the parts of all shards in any order. */
export function mergeRainyTrips(partials: readonly RainyTripsPartial[]): RainyTripsAnswer {
  const sums = new Map<string, DaySum>();
  const total = { seconds: 0, micros: 0, trips: 0 };
  for (const sum of partials.flatMap((partial) => partial.days)) {
    addDay(sums, sum);
    total.seconds += sum.seconds;
    total.micros += sum.micros;
    total.trips += sum.trips;
  }
  return {
    averageSeconds: total.trips === 0 ? null : average(total),
    trips: total.trips,
    days: [...sums.values()].map(rainyDay).sort((a, b) => compareTexts([a.city, a.date], [b.city, b.date])),
  };
}

function rainyDay(sum: DaySum): RainyDay {
  return { city: sum.city, date: dateOf(sum.day), averageSeconds: average(sum), trips: sum.trips };
}

function average({ seconds, micros, trips }: Pick<DaySum, 'seconds' | 'micros' | 'trips'>): number {
  return (seconds + micros / 1e6) / trips;
}

function dateOf(day: number): string {
  const iso = new Date(day * msPerDay).toISOString();
  return iso.slice(0, iso.indexOf('T'));
}
