/**
 * Query 3: stations of Montreal that riders reach from more than 6 km away on average.
 *
 * Trips are counted by route; stations are joined, and distances computed, once per route and at the end. Distances are rounded to
 * micrometres and summed as whole metres and micrometres, each exactly (up to 2^53): sums of floats would depend on the
 * order in which routes were first seen, and on the number of shards.
 */
import { checkIndices, floats, ints, type Table, Texts, texts } from '@lab/columns';
import { compareTexts, type FarStation, type FarStationsAnswer } from './answers.ts';
import { haversineKm, type Point } from './haversine.ts';
import { RouteCounts } from './route-counts.ts';
import { StationBatches, stationKey } from './stations.ts';
import { farCity, type City } from './terms.ts';

/** Strictly more than this is far. */
const farAboveKm = 6;

/** Stations to the same columns: all of Montreal, none of another city. */
export function keepStationsOfFarCity(city: City, table: Table): Table {
  const none = {
    code: Texts.from([]),
    name: Texts.from([]),
    latitude: new Float64Array(),
    longitude: new Float64Array(),
    year: new Int32Array(),
  };
  return city === farCity ? table : none;
}

/** Trips to the same columns: all of Montreal, none of another city. Routes of a batch rarely repeat: counting them here would save nothing. */
export function keepTripsOfFarCity(city: City, table: Table): Table {
  const none = { start: new Int32Array(), end: new Int32Array(), year: new Int32Array(), codes: Texts.from([]) };
  if (city !== farCity) return none;
  readRoutes(table);
  return table;
}

interface Routes {
  codes: Texts;
  start: Int32Array;
  end: Int32Array;
  year: Int32Array;
}

function readRoutes(table: Table): Routes {
  const codes = texts(table, 'codes');
  const start = ints(table, 'start');
  const end = ints(table, 'end', start.length);
  const year = ints(table, 'year', start.length);
  checkIndices(start, 'start', codes);
  checkIndices(end, 'end', codes);
  return { codes, start, end, year };
}

/** The trips that end at one station name. */
interface Arrivals {
  name: string;
  metres: number;
  micrometres: number;
  trips: number;
}

/** A shard's part of the answer: the trips that reached each name, nothing compared yet. */
export interface FarStationsPartial {
  stations: Arrivals[];
  unknownStation: number;
  noCoordinates: number;
}

/** A station and, shared by all stations of its name, the trips that end there. */
interface Station extends Point {
  arrivals: Arrivals;
}

/** What a trips-solver keeps for query 3: a count per route. Batches may come in any order, each once. */
export class FarStations {
  readonly #stations = new StationBatches();
  readonly #routes = new RouteCounts();
  /** Codes by number, and numbers by code: a route is three numbers. */
  readonly #codes: string[] = [];
  readonly #codeNumbers = new Map<string, number>();

  /** Adds stations, as `keepStationsOfFarCity` gives them. */
  addStatic(number: number, city: City, table: Table): void {
    const { length } = texts(table, 'code');
    floats(table, 'latitude', length);
    floats(table, 'longitude', length);
    this.#stations.add(number, city, table);
  }

  /** Adds trips, as `keepTripsOfFarCity` gives them. */
  addTrips(_number: number, _city: City, table: Table): void {
    const { codes, start, end, year } = readRoutes(table);
    const codeNumbers = Int32Array.from(codes.toArray(), (code) => this.#codeNumber(code));
    for (let row = 0; row < start.length; row++) {
      this.#routes.add(codeNumbers[start[row]!]!, codeNumbers[end[row]!]!, year[row]!);
    }
  }

  #codeNumber(code: string): number {
    const known = this.#codeNumbers.get(code);
    if (known !== undefined) return known;
    this.#codeNumbers.set(code, this.#codes.length);
    return this.#codes.push(code) - 1;
  }

  partial(): FarStationsPartial {
    const arrivals = new Map<string, Arrivals>();
    const stationsOfYear = this.#stationsByYear(arrivals);
    let unknownStation = 0;
    let noCoordinates = 0;
    this.#routes.forEach((start, end, year, trips) => {
      const stations = stationsOfYear(year);
      const from = stations[start];
      const to = stations[end];
      if (from === undefined || to === undefined) unknownStation += trips;
      else if (!isPlaced(from) || !isPlaced(to)) noCoordinates += trips;
      else addTrips(to.arrivals, haversineKm(from, to), trips);
    });
    return { stations: [...arrivals.values()].filter(({ trips }) => trips > 0), unknownStation, noCoordinates };
  }

  /** Gives the stations of a year by the numbers of their codes; looks each up once. */
  #stationsByYear(arrivals: Map<string, Arrivals>): (year: number) => (Station | undefined)[] {
    const stations = this.#stations.byKey((table, row) => ({
      latitude: floats(table, 'latitude')[row]!,
      longitude: floats(table, 'longitude')[row]!,
      arrivals: arrivalsOf(arrivals, texts(table, 'name').at(row)),
    }));
    const years = new Map<number, (Station | undefined)[]>();
    return (year) => {
      const known = years.get(year);
      if (known !== undefined) return known;
      const ofYear = this.#codes.map((code) => stations.get(stationKey(farCity, code, year)));
      years.set(year, ofYear);
      return ofYear;
    };
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

/** The answer, from the parts of all shards in any order. */
export function mergeFarStations(partials: readonly FarStationsPartial[]): FarStationsAnswer {
  const byName = new Map<string, Arrivals>();
  for (const { name, metres, micrometres, trips } of partials.flatMap((partial) => partial.stations)) {
    const sum = arrivalsOf(byName, name);
    sum.metres += metres;
    sum.micrometres += micrometres;
    sum.trips += trips;
  }
  return {
    stations: [...byName.values()]
      .map(farStation)
      .filter(({ averageKm }) => averageKm > farAboveKm)
      .sort((a, b) => compareTexts([a.name], [b.name])),
    unknownStation: partials.reduce((sum, partial) => sum + partial.unknownStation, 0),
    noCoordinates: partials.reduce((sum, partial) => sum + partial.noCoordinates, 0),
  };
}

function farStation({ name, metres, micrometres, trips }: Arrivals): FarStation {
  return { name, averageKm: (metres + micrometres / 1e6) / 1e3 / trips, trips };
}
