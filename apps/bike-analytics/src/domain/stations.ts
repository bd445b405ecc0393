/** Stations of a session, as they arrive: kept by batch, and joined only when all are there. */
import { ints, type Table, texts } from '@lab/columns';
import type { City } from './terms.ts';

/** A trip joins a station on all three; codes are texts: `007` is not `7`. */
export function stationKey(city: City, code: string, year: number): string {
  // A city has no slash and a year is a number, so that no two stations share a key.
  return `${city}/${year}/${code}`;
}

interface StationBatch {
  number: number;
  city: City;
  table: Table;
}

/** Keeps batches of `{code, name, year, ...}` that come in any order, each once. */
export class StationBatches {
  readonly #batches: StationBatch[] = [];

  add(number: number, city: City, table: Table): void {
    const { length } = texts(table, 'code');
    texts(table, 'name', length);
    ints(table, 'year', length);
    this.#batches.push({ number, city, table });
  }

  /** Every station by its key, as `read` takes it from its row. Of a repeated key the first row wins, by batch number and row. */
  byKey<T>(read: (table: Table, row: number, city: City) => T): Map<string, T> {
    const stations = new Map<string, T>();
    for (const { city, table } of this.#batches.sort((a, b) => a.number - b.number)) {
      const codes = texts(table, 'code');
      const years = ints(table, 'year');
      for (let row = 0; row < years.length; row++) {
        const key = stationKey(city, codes.at(row), years[row]!);
        if (!stations.has(key)) stations.set(key, read(table, row, city));
      }
    }
    return stations;
  }
}
