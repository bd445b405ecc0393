/**
 * Query 3: stations of a city that riders reach from far away on average; in the public data set only those of Montreal have coordinates.
 *
 * Trips are counted by route; stations are joined, and distances computed, once per route and at the end. Distances are rounded to
 * micrometres and summed as whole metres and micrometres, each exactly (up to 2^53): sums of floats would depend on the
 * order in which routes were first seen, and on the number of shards.
 */
import { columnsOf, dictionaryOf, type RowOf, rowsOf, type Table, tableOf, Texts } from '@lab/columns';
import { haversineKm, type Point } from '../haversine.ts';
import { defineQuery, type State, type Straight } from '../query.ts';
import { RouteCounts } from '../route-counts.ts';
import { StationBatches, stationColumns, stationKey } from '../stations.ts';
import { addUp, cities, compareTexts, count, type City } from '../terms.ts';

type Settings = { farCity: City; farAboveKm: number };

/** A station that riders reach from far away. */
export interface FarStation {
  name: string;
  averageKm: number;
  trips: number;
}

export interface FarStationsAnswer {
  /** By name. */
  stations: FarStation[];
  /** Trips of the city whose start or end joins no station. */
  unknownStation: number;
  /** Trips of the city that join both stations, one of them without coordinates. */
  noCoordinates: number;
}

const placedStations = { ...stationColumns, latitude: Float64Array, longitude: Float64Array };
const routes = { start: Int32Array, end: Int32Array, year: Int32Array };

/** Stations to the same columns: all of the city, none of another. */
const keepStations = (city: City, table: Table, { farCity }: Settings): Table =>
  city === farCity ? table : tableOf(placedStations, []);

/** Trips to the same columns: all of the city, none of another. Routes of a batch rarely repeat: counting them here would save nothing. */
function keepTrips(city: City, table: Table, { farCity }: Settings): Table {
  if (city !== farCity) return { ...tableOf(routes, []), codes: Texts.from([]) };
  readRoutes(table);
  return table;
}

function readRoutes(table: Table) {
  const { start, end, year } = columnsOf(table, routes);
  return { start, end, year, codes: dictionaryOf(table, 'codes', { start, end }) };
}

/** The trips that end at one station name. */
interface Arrivals {
  name: string;
  metres: number;
  micrometres: number;
  trips: number;
}

/** A shard's part of the answer: the trips that reached each name, nothing compared yet. */
interface Part {
  stations: Arrivals[];
  unknownStation: number;
  noCoordinates: number;
}

/** A station and, shared by all stations of its name, the trips that end there. */
interface Station extends Point {
  arrivals: Arrivals;
}

/** A count per route. */
class FarStations implements State<Part> {
  readonly #city: City;
  readonly #stations = new StationBatches<RowOf<typeof placedStations>>();
  readonly #routes = new RouteCounts();
  /** Numbers by code, in order of appearance: a route is three numbers. */
  readonly #codes = new Map<string, number>();

  constructor(city: City) {
    this.#city = city;
  }

  addStatic(number: number, city: City, table: Table): void {
    this.#stations.add(number, city, rowsOf(table, placedStations));
  }

  addTrips(_number: number, _city: City, table: Table): void {
    const { codes, start, end, year } = readRoutes(table);
    const numbers = Int32Array.from(codes.toArray(), (code) => this.#numberOf(code));
    for (let row = 0; row < start.length; row++) this.#routes.add(numbers[start[row]!]!, numbers[end[row]!]!, year[row]!);
  }

  #numberOf(code: string): number {
    const number = this.#codes.get(code) ?? this.#codes.size;
    this.#codes.set(code, number);
    return number;
  }

  part(): Part {
    const arrivals = new Map<string, Arrivals>();
    const placed = this.#stations.byKey(({ name, latitude, longitude }): Station => {
      return { latitude, longitude, arrivals: arrivalsOf(arrivals, name) };
    });
    let unknownStation = 0;
    let noCoordinates = 0;
    for (const [year, counts] of this.#routes.years) {
      const stations = [...this.#codes.keys()].map((code) => placed.get(stationKey(this.#city, code, year)));
      counts.forEach((start, end, trips) => {
        const from = stations[start];
        const to = stations[end];
        if (from === undefined || to === undefined) unknownStation += trips;
        else if (!isPlaced(from) || !isPlaced(to)) noCoordinates += trips;
        else addTrips(to.arrivals, haversineKm(from, to), trips);
      });
    }
    return { stations: [...arrivals.values()].filter(({ trips }) => trips > 0), unknownStation, noCoordinates };
  }
}

function isPlaced({ latitude, longitude }: Point): boolean {
  return !Number.isNaN(latitude) && !Number.isNaN(longitude);
}

function addTrips(arrivals: Arrivals, km: number, trips: number): void {
  const metres = Math.floor(km * 1e3);
  arrivals.metres += metres * trips;
  arrivals.micrometres += Math.round((km * 1e3 - metres) * 1e6) * trips;
  arrivals.trips += trips;
}

function arrivalsOf(byName: Map<string, Arrivals>, name: string): Arrivals {
  const known = byName.get(name) ?? { name, metres: 0, micrometres: 0, trips: 0 };
  byName.set(name, known);
  return known;
}

function merge(parts: readonly Part[], { farAboveKm }: Settings): FarStationsAnswer {
  const byName = new Map<string, Arrivals>();
  for (const sum of parts.flatMap(({ stations }) => stations)) addUp(byName, sum.name, sum, ['metres', 'micrometres', 'trips']);
  return {
    stations: [...byName.values()]
      .map(({ name, metres, micrometres, trips }) => ({ name, averageKm: (metres + micrometres / 1e6) / 1e3 / trips, trips }))
      .filter(({ averageKm }) => averageKm > farAboveKm)
      .sort((a, b) => compareTexts([a.name], [b.name])),
    unknownStation: parts.reduce((sum, part) => sum + part.unknownStation, 0),
    noCoordinates: parts.reduce((sum, part) => sum + part.noCoordinates, 0),
  };
}

/** Along the surface, from the straight line through the Earth: the haversine formula in other words. */
function kmBetween(a: Point, b: Point): number {
  const at = ({ latitude, longitude }: Point): [number, number, number] => {
    const [north, east] = [(latitude * Math.PI) / 180, (longitude * Math.PI) / 180];
    return [Math.cos(north) * Math.cos(east), Math.cos(north) * Math.sin(east), Math.sin(north)];
  };
  const [[x, y, z], [u, v, w]] = [at(a), at(b)];
  return 2 * 6371 * Math.asin(Math.min(1, Math.hypot(x - u, y - v, z - w) / 2));
}

function straight({ farCity, farAboveKm }: Settings): Straight<FarStationsAnswer> {
  const sums = new Map<string, { km: number; trips: number }>();
  const leftOut = { unknownStation: 0, noCoordinates: 0 };
  return {
    add({ city, start, end }) {
      if (city !== farCity) return;
      if (start === undefined || end === undefined) return void leftOut.unknownStation++;
      const km = kmBetween(start, end);
      if (Number.isNaN(km)) return void leftOut.noCoordinates++;
      const sum = sums.get(end.name) ?? { km: 0, trips: 0 };
      sums.set(end.name, { km: sum.km + km, trips: sum.trips + 1 });
    },
    answer() {
      const stations = [...sums].map(([name, { km, trips }]) => ({ name, averageKm: km / trips, trips }));
      stations.sort((a, b) => (a.name < b.name ? -1 : 1));
      return { stations: stations.filter(({ averageKm }) => averageKm > farAboveKm), ...leftOut };
    },
  };
}

export const farStations = defineQuery({
  number: 3,
  name: 'farStations',
  settings: {
    farCity: { default: 'montreal', oneOf: cities, about: 'the city whose stations are asked for' },
    farAboveKm: { default: 6, min: 0, max: 20_100, about: 'more km than this, on average, are far' },
  },
  topics: {
    stations: { columns: ['code', 'name', 'latitude', 'longitude', 'year'], filter: keepStations },
    trips: { columns: ['start', 'end', 'year', 'codes'], filter: keepTrips },
  },
  state: ({ farCity }) => new FarStations(farCity),
  merge,
  show: ({ stations, unknownStation, noCoordinates }, { farCity, farAboveKm }) => ({
    title: `Stations of ${farCity} reached from more than ${farAboveKm} km away on average: ${count(stations.length, 'station')}`,
    columns: ['station', 'average km', 'trips'],
    rows: stations.map(({ name, averageKm, trips }) => [name, averageKm.toFixed(3), trips]),
    leftOut: { 'of an unknown station': unknownStation, 'of a station without coordinates': noCoordinates },
  }),
  straight,
});
