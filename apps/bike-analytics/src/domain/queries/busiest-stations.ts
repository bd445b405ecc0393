/** Query 4: the stations of each city at which most trips started, over all years. */
import { defineQuery, type Straight } from '../query.ts';
import { countStarts, StationStarts, together, type Joined, type Starts } from '../station-starts.ts';
import { addUp, cities, compareTexts, count, type City } from '../terms.ts';

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
  joined: Joined[];
}

function merge(parts: readonly Starts[], { busiest }: Settings): BusiestStationsAnswer {
  const { stations, joined } = together(parts);
  const totals = new Map<string, BusyStation>();
  // No city has a slash.
  for (const { city, name, trips } of stations) addUp(totals, `${city}/${name}`, { city, name, trips }, ['trips']);
  const sorted = [...totals.values()].sort((a, b) => b.trips - a.trips || compareTexts([a.name], [b.name]));
  const busiestOf = (city: City): BusyStation[] => sorted.filter((each) => each.city === city).slice(0, busiest);
  return { stations: cities.flatMap(busiestOf), joined };
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
    trips: { columns: ['start', 'year', 'codes'], filter: (_city, table) => countStarts(table) },
  },
  state: () => new StationStarts(),
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
