/**
 * Query 2: stations whose started trips at least doubled from 2016 to 2017.
 *
 * A station is a city and a name, while trips are counted by code: the codes of one name, of which half of the real names have
 * several, are added up over all shards before 2016 and 2017 are compared.
 */
import { checkIndices, ints, type Table, Texts, texts } from '@lab/columns';
import { compareTexts, type DoubledStation, type DoubledStationsAnswer } from './answers.ts';
import { StationBatches, stationKey } from './stations.ts';
import { cities, farCity, type City } from './terms.ts';

/** Stations to `{code, name, year}`: those of the two years. */
export function keepComparedYears(_city: City, table: Table): Table {
  const year = ints(table, 'year');
  const code = texts(table, 'code', year.length);
  const name = texts(table, 'name', year.length);
  const rows = [...year.keys()].filter((row) => year[row] === 2016 || year[row] === 2017);
  return {
    code: Texts.from(rows.map((row) => code.at(row))),
    name: Texts.from(rows.map((row) => name.at(row))),
    year: Int32Array.from(rows, (row) => year[row]!),
  };
}

/** Trips to `{codes, trips2016, trips2017}`: how many started at each code of the batch. */
export function countStarts(_city: City, table: Table): Table {
  const codes = texts(table, 'codes');
  const start = ints(table, 'start');
  const year = ints(table, 'year', start.length);
  checkIndices(start, 'start', codes);
  const trips2016 = new Int32Array(codes.length);
  const trips2017 = new Int32Array(codes.length);
  for (let row = 0; row < start.length; row++) {
    if (year[row] === 2016) trips2016[start[row]!]! += 1;
    else if (year[row] === 2017) trips2017[start[row]!]! += 1;
  }
  return { codes, trips2016, trips2017 };
}

/** Started trips of a code or of a name. */
interface Starts {
  trips2016: number;
  trips2017: number;
}

/** A shard's part of the answer: its trips by city and name, nothing compared yet. */
export interface DoubledStationsPartial {
  stations: DoubledStation[];
  unknownStation: number;
}

/** What a trips-solver keeps for query 2: two counts per city and code. Batches may come in any order, each once. */
export class DoubledStations {
  readonly #stations = new StationBatches();
  readonly #starts = new Map<City, Map<string, Starts>>(cities.map((city) => [city, new Map()]));

  /** Adds stations, as `keepComparedYears` gives them. */
  addStatic(number: number, city: City, table: Table): void {
    this.#stations.add(number, city, table);
  }

  /** Adds counts by code, as `countStarts` gives them. */
  addTrips(_number: number, city: City, table: Table): void {
    const codes = texts(table, 'codes');
    const trips2016 = ints(table, 'trips2016', codes.length);
    const trips2017 = ints(table, 'trips2017', codes.length);
    const starts = this.#starts.get(city)!;
    for (let row = 0; row < codes.length; row++) {
      if (trips2016[row] === 0 && trips2017[row] === 0) continue;
      addStarts(starts, codes.at(row), { trips2016: trips2016[row]!, trips2017: trips2017[row]! });
    }
  }

  partial(): DoubledStationsPartial {
    const names = this.#stations.byKey((table, row) => texts(table, 'name').at(row));
    const totals = new Map<string, DoubledStation>();
    let unknownStation = 0;
    const join = (city: City, code: string, year: number, starts: Starts): void => {
      const name = names.get(stationKey(city, code, year));
      if (name !== undefined) addStation(totals, { city, name, ...starts });
      // Query 3 needs every trip of Montreal, and counts those that it misses.
      else if (city !== farCity) unknownStation += starts.trips2016 + starts.trips2017;
    };
    for (const [city, codes] of this.#starts) {
      for (const [code, { trips2016, trips2017 }] of codes) {
        if (trips2016 > 0) join(city, code, 2016, { trips2016, trips2017: 0 });
        if (trips2017 > 0) join(city, code, 2017, { trips2016: 0, trips2017 });
      }
    }
    return { stations: [...totals.values()], unknownStation };
  }
}

function addStation(totals: Map<string, DoubledStation>, { city, name, ...starts }: DoubledStation): void {
  // No city has a slash.
  const key = `${city}/${name}`;
  const total = totals.get(key);
  if (total === undefined) totals.set(key, { city, name, ...starts });
  else add(total, starts);
}

function addStarts(starts: Map<string, Starts>, code: string, more: Starts): void {
  const known = starts.get(code);
  if (known === undefined) starts.set(code, more);
  else add(known, more);
}

function add(to: Starts, more: Starts): void {
  to.trips2016 += more.trips2016;
  to.trips2017 += more.trips2017;
}

/** The answer, from the parts of all shards in any order. */
export function mergeDoubledStations(partials: readonly DoubledStationsPartial[]): DoubledStationsAnswer {
  const totals = new Map<string, DoubledStation>();
  for (const station of partials.flatMap((partial) => partial.stations)) addStation(totals, station);
  return {
    stations: [...totals.values()]
      .filter(({ trips2016, trips2017 }) => trips2016 >= 1 && trips2017 >= 2 * trips2016)
      .sort((a, b) => compareTexts([a.city, a.name], [b.city, b.name])),
    unknownStation: partials.reduce((sum, partial) => sum + partial.unknownStation, 0),
  };
}
