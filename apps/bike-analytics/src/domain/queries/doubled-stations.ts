/**
 * Query 2: stations whose started trips at least doubled from one year to another.
 *
 * A station is a city and a name, while trips are counted by code: the codes of one name, of which half of the real names have
 * several, are added up over all shards before the years are compared.
 */
import { checkIndices, ints, type Table, Texts, texts } from '@lab/columns';
import { defineQuery, type State, type Straight } from '../query.ts';
import { StationBatches, stationKey } from '../stations.ts';
import { cities, compareTexts, count, type City } from '../terms.ts';

type Settings = { yearBefore: number; yearAfter: number; growth: number };

/** A station whose started trips grew enough. */
export interface DoubledStation {
  city: City;
  name: string;
  tripsBefore: number;
  tripsAfter: number;
}

export interface DoubledStationsAnswer {
  /** By city and name. */
  stations: DoubledStation[];
  /** Trips of the two years whose start joins no station. */
  unknownStation: number;
}

/** Stations to `{code, name, year}`: those of the two years. */
function keepYears(_city: City, table: Table, { yearBefore, yearAfter }: Settings): Table {
  const year = ints(table, 'year');
  const code = texts(table, 'code', year.length);
  const name = texts(table, 'name', year.length);
  const rows = [...year.keys()].filter((row) => year[row] === yearBefore || year[row] === yearAfter);
  return {
    code: Texts.from(rows.map((row) => code.at(row))),
    name: Texts.from(rows.map((row) => name.at(row))),
    year: Int32Array.from(rows, (row) => year[row]!),
  };
}

/** Trips to `{codes, tripsBefore, tripsAfter}`: how many started at each code of the batch. */
function countStarts(_city: City, table: Table, { yearBefore, yearAfter }: Settings): Table {
  const codes = texts(table, 'codes');
  const start = ints(table, 'start');
  const year = ints(table, 'year', start.length);
  checkIndices(start, 'start', codes);
  const tripsBefore = new Int32Array(codes.length);
  const tripsAfter = new Int32Array(codes.length);
  for (let row = 0; row < start.length; row++) {
    if (year[row] === yearBefore) tripsBefore[start[row]!]! += 1;
    if (year[row] === yearAfter) tripsAfter[start[row]!]! += 1;
  }
  return { codes, tripsBefore, tripsAfter };
}

/** Started trips of a code or of a name. */
interface Starts {
  tripsBefore: number;
  tripsAfter: number;
}

/** Two counts per city and code. A part is like the answer, with nothing compared yet. */
class DoubledStations implements State<DoubledStationsAnswer> {
  readonly #settings: Settings;
  readonly #stations = new StationBatches();
  readonly #starts = new Map<City, Map<string, Starts>>(cities.map((city) => [city, new Map()]));

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  addStatic(number: number, city: City, table: Table): void {
    this.#stations.add(number, city, table);
  }

  addTrips(_number: number, city: City, table: Table): void {
    const codes = texts(table, 'codes');
    const tripsBefore = ints(table, 'tripsBefore', codes.length);
    const tripsAfter = ints(table, 'tripsAfter', codes.length);
    const starts = this.#starts.get(city)!;
    for (let row = 0; row < codes.length; row++) {
      if (tripsBefore[row] === 0 && tripsAfter[row] === 0) continue;
      addStarts(starts, codes.at(row), { tripsBefore: tripsBefore[row]!, tripsAfter: tripsAfter[row]! });
    }
  }

  part(): DoubledStationsAnswer {
    const { yearBefore, yearAfter } = this.#settings;
    const names = this.#stations.byKey((table, row) => texts(table, 'name').at(row));
    const totals = new Map<string, DoubledStation>();
    let unknownStation = 0;
    const join = (city: City, code: string, year: number, starts: Starts): void => {
      const name = names.get(stationKey(city, code, year));
      const trips = Math.max(starts.tripsBefore, starts.tripsAfter);
      if (name === undefined) unknownStation += trips;
      else if (trips > 0) addStation(totals, { city, name, ...starts });
    };
    for (const [city, codes] of this.#starts) {
      for (const [code, { tripsBefore, tripsAfter }] of codes) {
        for (const year of new Set([yearBefore, yearAfter])) {
          join(city, code, year, {
            tripsBefore: year === yearBefore ? tripsBefore : 0,
            tripsAfter: year === yearAfter ? tripsAfter : 0,
          });
        }
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
  to.tripsBefore += more.tripsBefore;
  to.tripsAfter += more.tripsAfter;
}

function merge(parts: readonly DoubledStationsAnswer[], { growth }: Settings): DoubledStationsAnswer {
  const totals = new Map<string, DoubledStation>();
  for (const station of parts.flatMap(({ stations }) => stations)) addStation(totals, station);
  return {
    stations: [...totals.values()]
      .filter(({ tripsBefore, tripsAfter }) => tripsBefore >= 1 && tripsAfter >= growth * tripsBefore)
      .sort((a, b) => compareTexts([a.city, a.name], [b.city, b.name])),
    unknownStation: parts.reduce((sum, part) => sum + part.unknownStation, 0),
  };
}

function straight({ yearBefore, yearAfter, growth }: Settings): Straight<DoubledStationsAnswer> {
  const stations = new Map<string, DoubledStation>();
  let unknownStation = 0;
  return {
    add({ city, year, start }) {
      if (year !== yearBefore && year !== yearAfter) return;
      if (start === undefined) return void unknownStation++;
      const key = `${city} ${start.name}`;
      const station = stations.get(key) ?? { city, name: start.name, tripsBefore: 0, tripsAfter: 0 };
      if (year === yearBefore) station.tripsBefore += 1;
      if (year === yearAfter) station.tripsAfter += 1;
      stations.set(key, station);
    },
    answer: () => ({
      stations: [...stations.keys()]
        .sort()
        .map((key) => stations.get(key)!)
        .filter(({ tripsBefore, tripsAfter }) => tripsBefore > 0 && tripsAfter / tripsBefore >= growth),
      unknownStation,
    }),
  };
}

const year = { min: 0, max: 9999, whole: true };

export const doubledStations = defineQuery({
  number: 2,
  name: 'doubledStations',
  settings: {
    yearBefore: { default: 2016, ...year, about: 'the year to compare with' },
    yearAfter: { default: 2017, ...year, about: 'the year that is compared with it' },
    growth: { default: 2, min: 0, max: 1_000_000, about: 'so many times as many trips a station must have in it' },
  },
  topics: {
    stations: { columns: ['code', 'name', 'year'], filter: keepYears },
    trips: { columns: ['start', 'year', 'codes'], filter: countStarts },
  },
  state: (settings) => new DoubledStations(settings),
  merge,
  show: ({ stations, unknownStation }, { yearBefore, yearAfter, growth }) => ({
    title: `Stations with at least ${growth} times as many starts in ${yearAfter} as in ${yearBefore}: ${count(stations.length, 'station')}`,
    columns: ['city', 'station', String(yearBefore), String(yearAfter)],
    rows: stations.map(({ city, name, tripsBefore, tripsAfter }) => [city, name, tripsBefore, tripsAfter]),
    leftOut: { 'of an unknown station': unknownStation },
  }),
  straight,
});
