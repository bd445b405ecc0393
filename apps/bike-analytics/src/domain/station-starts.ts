/** How many trips started where and when: counted by code in a batch, and joined with the stations' names when all are there. */
import { columnsOf, dictionaryOf, rowsOf, type Table, tableOf } from '@lab/columns';
import type { State } from './query.ts';
import { StationBatches, stationColumns, stationKey } from './stations.ts';
import { addUp, cities, type City } from './terms.ts';

const startColumns = { start: Int32Array, year: Int32Array, trips: Int32Array };

/** Trips to `{codes, start, year, trips}`: how many started at each code in each year, of those years that count. */
export function countStarts(table: Table, counts: (year: number) => boolean = () => true): Table {
  const { start, year } = columnsOf(table, { start: Int32Array, year: Int32Array });
  const codes = dictionaryOf(table, 'codes', { start });
  const years = new Map<number, Int32Array>();
  let starts: Int32Array = new Int32Array(0);
  for (let row = 0; row < start.length; row++) {
    // Trips come by year: it is looked up when it changes.
    if (row === 0 || year[row] !== year[row - 1]) {
      starts = years.get(year[row]!) ?? new Int32Array(codes.length);
      years.set(year[row]!, starts);
    }
    starts[start[row]!]! += 1;
  }
  const counted = [...years].flatMap(([year, starts]) =>
    counts(year) ? Array.from(starts, (trips, start) => ({ start, year, trips })).filter(({ trips }) => trips > 0) : [],
  );
  return { codes, ...tableOf(startColumns, counted) };
}

/** Trips that started at a code of this name in that year; a name may have several codes. */
export interface Started {
  city: City;
  name: string;
  year: number;
  trips: number;
}

/** Of a shard or of all. */
export interface Starts {
  stations: Started[];
  /** In the order of the cities: all trips, and those whose start joins no station. */
  joined: Joined[];
}

export interface Joined {
  city: City;
  trips: number;
  unknownStation: number;
}

/** A count per city, code and year. */
export class StationStarts implements State<Starts> {
  readonly #stations = new StationBatches();
  readonly #starts = new Map<string, Omit<Started, 'name'>>();

  addStatic(number: number, city: City, table: Table): void {
    this.#stations.add(number, city, rowsOf(table, stationColumns));
  }

  addTrips(_number: number, city: City, table: Table): void {
    const { start, year, trips } = columnsOf(table, startColumns);
    const codes = dictionaryOf(table, 'codes', { start });
    for (let row = 0; row < start.length; row++) {
      const key = stationKey(city, codes.at(start[row]!), year[row]!);
      addUp(this.#starts, key, { city, year: year[row]!, trips: trips[row]! }, ['trips']);
    }
  }

  part(): Starts {
    const names = this.#stations.byKey(({ name }) => name);
    const stations: Started[] = [];
    const joined = noneJoined();
    for (const [key, { city, year, trips }] of this.#starts) {
      const name = names.get(key);
      const ofCity = joined[cities.indexOf(city)]!;
      ofCity.trips += trips;
      if (name === undefined) ofCity.unknownStation += trips;
      else stations.push({ city, name, year, trips });
    }
    return { stations, joined };
  }
}

const noneJoined = (): Joined[] => cities.map((city) => ({ city, trips: 0, unknownStation: 0 }));

/** All shards' together: no two know of the same trip. */
export function together(parts: readonly Starts[]): Starts {
  const joined = new Map<string, Joined>(noneJoined().map((none) => [none.city, none]));
  for (const ofCity of parts.flatMap((part) => part.joined)) addUp(joined, ofCity.city, ofCity, ['trips', 'unknownStation']);
  return { stations: parts.flatMap(({ stations }) => stations), joined: [...joined.values()] };
}
