/**
 * Query 1: average duration of the trips that started on days with much rain in their city.
 *
 * Durations are summed as whole seconds and millionths, each exactly (up to 2^53: 285 million years of riding), and divided once
 * at the end: sums add up in any order and over any number of shards to the same bits.
 */
import { columnsOf, PairMap, rowsOf, tableOf, type Table } from '@lab/columns';
import { defineQuery, type State, type Straight } from '../query.ts';
import { addUp, compareTexts, count, type City } from '../terms.ts';

/** The trips that started on one rainy day in one city. */
export interface RainyDay {
  city: City;
  /** YYYY-MM-DD */
  date: string;
  averageSeconds: number;
  trips: number;
}

export interface RainyTripsAnswer {
  /** Null when there was no such trip. */
  averageSeconds: number | null;
  trips: number;
  /** Days with trips only, by city and date. */
  days: RainyDay[];
  /** Trips that started on a day of which it is not known how much it rained. */
  noWeather: number;
}

/** A shard's part: its trips on rainy days, one entry per city and day. */
interface Part {
  days: DaySum[];
  noWeather: number;
}

const msPerDay = 86_400_000;

const rainyDays = { day: Int32Array, isRainy: Int32Array };
const daySums = { day: Int32Array, seconds: Float64Array, micros: Float64Array, trips: Int32Array };

/** Weather to `{day, isRainy}`, 1 or 0: the days that are known. */
function keepRainyDays(_city: City, table: Table, { rainAboveMm }: { rainAboveMm: number }): Table {
  const known = rowsOf(table, { day: Int32Array, rainMm: Float64Array }).filter(({ rainMm }) => !Number.isNaN(rainMm));
  return tableOf(
    rainyDays,
    known.map(({ day, rainMm }) => ({ day, isRainy: Number(rainMm > rainAboveMm) })),
  );
}

/** Trips to `{day, seconds, micros, trips}`: one row per day, in order of appearance. A negative duration adds nothing but its trip. */
function sumByDay(_city: City, table: Table): Table {
  const { day, seconds, micros } = columnsOf(table, { day: Int32Array, seconds: Int32Array, micros: Int32Array });
  const sums: Omit<DaySum, 'city'>[] = [];
  /** By day, the number of its sum, from 1: days may come in any order. */
  const numbers = new PairMap();
  // Trips mostly come by day: what is looked up is looked up once for as many as lie together.
  for (let row = 0; row < day.length;) {
    const [of, from] = [day[row]!, row];
    let [ofSeconds, ofMicros] = [0, 0];
    for (; row < day.length && day[row] === of; row++) {
      if (seconds[row]! < 0) continue;
      ofSeconds += seconds[row]!;
      ofMicros += micros[row]!;
    }
    const number = numbers.get(of, 0) || numbers.add(of, 0, sums.push({ day: of, seconds: 0, micros: 0, trips: 0 }));
    const sum = sums[number - 1]!;
    sum.seconds += ofSeconds;
    sum.micros += ofMicros;
    sum.trips += row - from;
  }
  return tableOf(daySums, sums);
}

/** The trips of one city and day. */
interface DaySum {
  city: City;
  day: number;
  seconds: number;
  micros: number;
  trips: number;
}

/** A sum per city and day. */
class RainyTrips implements State<Part> {
  /** Whether a day is rainy, if that is known. */
  readonly #rainy = new Map<string, boolean>();
  readonly #sums = new Map<string, DaySum>();

  addStatic(_number: number, city: City, table: Table): void {
    for (const { day, isRainy } of rowsOf(table, rainyDays)) this.#rainy.set(`${city} ${day}`, isRainy === 1);
  }

  addTrips(_number: number, city: City, table: Table): void {
    for (const sum of rowsOf(table, daySums)) addDay(this.#sums, { city, ...sum });
  }

  part(): Part {
    const sums = [...this.#sums];
    const unknown = sums.filter(([key]) => !this.#rainy.has(key));
    return {
      days: sums.filter(([key]) => this.#rainy.get(key) === true).map(([, sum]) => sum),
      noWeather: unknown.reduce((sum, [, { trips }]) => sum + trips, 0),
    };
  }
}

const summed = ['seconds', 'micros', 'trips'] as const;
const addDay = (sums: Map<string, DaySum>, sum: DaySum): void => addUp(sums, `${sum.city} ${sum.day}`, sum, summed);

function merge(parts: readonly Part[]): RainyTripsAnswer {
  const sums = new Map<string, DaySum>();
  const total = { seconds: 0, micros: 0, trips: 0 };
  for (const sum of parts.flatMap(({ days }) => days)) {
    addDay(sums, sum);
    for (const field of summed) total[field] += sum[field];
  }
  return {
    averageSeconds: total.trips === 0 ? null : average(total),
    trips: total.trips,
    days: [...sums.values()]
      .map((sum) => ({ city: sum.city, date: dateOf(sum.day), averageSeconds: average(sum), trips: sum.trips }))
      .sort((a, b) => compareTexts([a.city, a.date], [b.city, b.date])),
    noWeather: parts.reduce((sum, { noWeather }) => sum + noWeather, 0),
  };
}

function average({ seconds, micros, trips }: Pick<DaySum, 'seconds' | 'micros' | 'trips'>): number {
  return (seconds + micros / 1e6) / trips;
}

function dateOf(day: number): string {
  const iso = new Date(day * msPerDay).toISOString();
  return iso.slice(0, iso.indexOf('T'));
}

function straight(rainAboveMm: number): Straight<RainyTripsAnswer> {
  const rides: { key: string; seconds: number }[] = [];
  let noWeather = 0;
  return {
    add({ city, date, rainMm, seconds }) {
      if (rainMm === undefined) noWeather += 1;
      else if (rainMm > rainAboveMm) rides.push({ key: `${city} ${date}`, seconds: Math.max(0, seconds) });
    },
    answer() {
      const mean = (all: typeof rides): number => all.reduce((sum, { seconds }) => sum + seconds, 0) / all.length;
      const days = Map.groupBy(rides, ({ key }) => key);
      return {
        averageSeconds: rides.length === 0 ? null : mean(rides),
        trips: rides.length,
        days: [...days.keys()].sort().map((key) => {
          const [city, date] = key.split(' ') as [City, string];
          return { city, date, averageSeconds: mean(days.get(key)!), trips: days.get(key)!.length };
        }),
        noWeather,
      };
    },
  };
}

export const rainyTrips = defineQuery({
  number: 1,
  name: 'rainyTrips',
  settings: {
    rainAboveMm: { default: 30, min: 0, max: 10_000, about: 'a day with more mm of rain is a rainy one' },
  },
  topics: {
    weather: { columns: ['day', 'rainMm'], filter: keepRainyDays },
    trips: { columns: ['day', 'seconds', 'micros'], filter: sumByDay },
  },
  state: () => new RainyTrips(),
  merge,
  show: ({ averageSeconds, trips, days, noWeather }, { rainAboveMm }) => ({
    title:
      `Trips that started on days with more than ${rainAboveMm} mm of rain: ${count(trips, 'trip')} on ` +
      `${count(days.length, 'day')}, ${averageSeconds === null ? 'none' : `${averageSeconds.toFixed(1)} s`} on average`,
    columns: ['city', 'date', 'average s', 'trips'],
    rows: days.map((day) => [day.city, day.date, day.averageSeconds.toFixed(1), day.trips]),
    leftOut: { 'of a day without weather': noWeather },
  }),
  straight: ({ rainAboveMm }) => straight(rainAboveMm),
});
