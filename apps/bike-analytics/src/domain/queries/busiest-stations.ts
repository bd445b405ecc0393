/** Query 4: the stations of each city at which most trips started, over all years. */
import { checkIndices, ints, type Table, texts } from '@lab/columns';
import { defineQuery, type State, type Straight } from '../query.ts';
import { StationBatches, stationKey } from '../stations.ts';
import { cities, compareTexts, count, type City } from '../terms.ts';

type Settings = { busiest: number };

export interface BusyStation {
  city: City;
  name: string;
  trips: number;
}

export interface BusiestStationsAnswer {
  /** By city; in a city the busiest first, of as many trips by name. */
  stations: BusyStation[];
  /** In the order of the cities: all trips, and those whose start joins no station. */
  joined: { city: City; trips: number; unknownStation: number }[];
}

/** Trips to `{codes, start, year, trips}`: how many started at each code in each year. */
function countStarts(_city: City, table: Table): Table {
  const codes = texts(table, 'codes');
  const start = ints(table, 'start');
  const year = ints(table, 'year', start.length);
  checkIndices(start, 'start', codes);
  const years = new Map<number, Int32Array>();
  let counts: Int32Array = new Int32Array(0);
  for (let row = 0; row < start.length; row++) {
    // Trips come by year: it is looked up when it changes.
    if (row === 0 || year[row] !== year[row - 1]) {
      counts = years.get(year[row]!) ?? new Int32Array(codes.length);
      years.set(year[row]!, counts);
    }
    counts[start[row]!]! += 1;
  }
  const all = [...years].flatMap(([of, trips]) =>
    [...trips.keys()].flatMap((code) => (trips[code] === 0 ? [] : [{ code, of, trips: trips[code]! }])),
  );
  return {
    codes,
    start: Int32Array.from(all, ({ code }) => code),
    year: Int32Array.from(all, ({ of }) => of),
    trips: Int32Array.from(all, ({ trips }) => trips),
  };
}

/** A count per city, code and year. A part is like the answer, with all stations. */
class BusiestStations implements State<BusiestStationsAnswer> {
  readonly #stations = new StationBatches();
  readonly #starts = new Map<string, { city: City; trips: number }>();

  addStatic(number: number, city: City, table: Table): void {
    this.#stations.add(number, city, table);
  }

  addTrips(_number: number, city: City, table: Table): void {
    const codes = texts(table, 'codes');
    const start = ints(table, 'start');
    const year = ints(table, 'year', start.length);
    const trips = ints(table, 'trips', start.length);
    checkIndices(start, 'start', codes);
    for (let row = 0; row < start.length; row++) {
      const key = stationKey(city, codes.at(start[row]!), year[row]!);
      const starts = this.#starts.get(key) ?? { city, trips: 0 };
      starts.trips += trips[row]!;
      this.#starts.set(key, starts);
    }
  }

  part(): BusiestStationsAnswer {
    const names = this.#stations.byKey((table, row) => texts(table, 'name').at(row));
    const stations = new Map<string, BusyStation>();
    const joined = cities.map((city) => ({ city, trips: 0, unknownStation: 0 }));
    for (const [key, { city, trips }] of this.#starts) {
      const name = names.get(key);
      const ofCity = joined[cities.indexOf(city)]!;
      ofCity.trips += trips;
      if (name === undefined) ofCity.unknownStation += trips;
      else addStation(stations, { city, name, trips });
    }
    return { stations: [...stations.values()], joined };
  }
}

function addStation(stations: Map<string, BusyStation>, { city, name, trips }: BusyStation): void {
  // No city has a slash.
  const key = `${city}/${name}`;
  const station = stations.get(key);
  if (station === undefined) stations.set(key, { city, name, trips });
  else station.trips += trips;
}

function merge(parts: readonly BusiestStationsAnswer[], { busiest }: Settings): BusiestStationsAnswer {
  const stations = new Map<string, BusyStation>();
  for (const station of parts.flatMap((part) => part.stations)) addStation(stations, station);
  const all = [...stations.values()].sort((a, b) => b.trips - a.trips || compareTexts([a.name], [b.name]));
  return {
    stations: cities.flatMap((city) => all.filter((station) => station.city === city).slice(0, busiest)),
    joined: cities.map((city, at) => ({
      city,
      trips: parts.reduce((sum, { joined }) => sum + joined[at]!.trips, 0),
      unknownStation: parts.reduce((sum, { joined }) => sum + joined[at]!.unknownStation, 0),
    })),
  };
}

function straight({ busiest }: Settings): Straight<BusiestStationsAnswer> {
  const starts = new Map<City, Map<string, number>>(cities.map((city) => [city, new Map()]));
  const joined = cities.map((city) => ({ city, trips: 0, unknownStation: 0 }));
  return {
    add({ city, start }) {
      const names = starts.get(city)!;
      const ofCity = joined.find((each) => each.city === city)!;
      ofCity.trips += 1;
      if (start === undefined) ofCity.unknownStation += 1;
      else names.set(start.name, (names.get(start.name) ?? 0) + 1);
    },
    answer() {
      const busiestOf = (city: City, names: Map<string, number>): BusyStation[] =>
        [...names]
          .sort(([a, trips], [b, others]) => others - trips || (a < b ? -1 : 1))
          .slice(0, busiest)
          .map(([name, trips]) => ({ city, name, trips }));
      return { stations: [...starts].flatMap(([city, names]) => busiestOf(city, names)), joined };
    },
  };
}

export const busiestStations = defineQuery({
  number: 4,
  name: 'busiestStations',
  settings: {
    busiest: { default: 10, min: 1, max: 10_000, whole: true, about: 'so many of the busiest stations of each city are named' },
  },
  topics: {
    stations: { columns: ['code', 'name', 'year'], filter: (_city, table) => table },
    trips: { columns: ['start', 'year', 'codes'], filter: countStarts },
  },
  state: () => new BusiestStations(),
  merge,
  show: ({ stations, joined }, { busiest }) => ({
    title: `The ${count(busiest, 'station')} of each city at which most trips started: ${count(stations.length, 'station')}`,
    columns: ['city', 'station', 'trips'],
    rows: stations.map(({ city, name, trips }) => [city, name, trips]),
    leftOut: { 'of an unknown station': joined.reduce((sum, { unknownStation }) => sum + unknownStation, 0) },
    hints: joined
      .filter(({ trips, unknownStation }) => 2 * unknownStation > trips)
      .map(
        ({ city, trips, unknownStation }) =>
          `${unknownStation.toLocaleString('en')} of ${city}'s ${count(trips, 'trip')} start at no station of their year that ` +
          'stations.csv has: are the codes written alike in both files? 7, 7.0 and 007 are three codes',
      ),
  }),
  straight,
});
