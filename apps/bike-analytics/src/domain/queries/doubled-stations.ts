/**
 * Query 2: stations whose started trips at least doubled from one year to another.
 *
 * A station is a city and a name, while trips are counted by code: the codes of one name, of which half of the real names have
 * several, are added up over all shards before the years are compared.
 */
import { defineQuery, type Straight } from '../query.ts';
import { countStarts, StationStarts, together, type Starts } from '../station-starts.ts';
import { addUp, compareTexts, count, type City } from '../terms.ts';

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

function merge(parts: readonly Starts[], { yearBefore, yearAfter, growth }: Settings): DoubledStationsAnswer {
  const { stations, joined } = together(parts);
  const totals = new Map<string, DoubledStation>();
  for (const { city, name, year, trips } of stations) {
    const [tripsBefore, tripsAfter] = [year === yearBefore ? trips : 0, year === yearAfter ? trips : 0];
    // No city has a slash.
    addUp(totals, `${city}/${name}`, { city, name, tripsBefore, tripsAfter }, ['tripsBefore', 'tripsAfter']);
  }
  return {
    stations: [...totals.values()]
      .filter(({ tripsBefore, tripsAfter }) => tripsBefore >= 1 && tripsAfter >= growth * tripsBefore)
      .sort((a, b) => compareTexts([a.city, a.name], [b.city, b.name])),
    unknownStation: joined.reduce((sum, { unknownStation }) => sum + unknownStation, 0),
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
    stations: { columns: ['code', 'name', 'year'], filter: (_city, table) => table },
    trips: {
      columns: ['start', 'year', 'codes'],
      filter: (_city, table, { yearBefore, yearAfter }) =>
        countStarts(table, (year) => year === yearBefore || year === yearAfter),
    },
  },
  state: () => new StationStarts(),
  merge,
  show: ({ stations, unknownStation }, { yearBefore, yearAfter, growth }) => ({
    title: `Stations with at least ${growth} times as many starts in ${yearAfter} as in ${yearBefore}: ${count(stations.length, 'station')}`,
    columns: ['city', 'station', String(yearBefore), String(yearAfter)],
    rows: stations.map(({ city, name, tripsBefore, tripsAfter }) => [city, name, tripsBefore, tripsAfter]),
    leftOut: { 'of an unknown station': unknownStation },
  }),
  straight,
});
