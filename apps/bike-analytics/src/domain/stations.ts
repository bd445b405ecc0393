/** Stations of a session, as they arrive: kept by batch, and joined only when all are there. */
import { type RowOf, Texts } from '@lab/columns';
import type { City } from './terms.ts';

/** A trip joins a station on all three; codes are texts: `007` is not `7`. */
export function stationKey(city: City, code: string, year: number): string {
  // A city has no slash and a year is a number, so that no two stations share a key.
  return `${city}/${year}/${code}`;
}

/** What every query needs of a station. */
export const stationColumns = { code: Texts, name: Texts, year: Int32Array };

/** Keeps batches of stations that come in any order, each once. */
export class StationBatches<Station extends RowOf<typeof stationColumns>> {
  readonly #batches: { number: number; city: City; stations: Station[] }[] = [];

  add(number: number, city: City, stations: Station[]): void {
    this.#batches.push({ number, city, stations });
  }

  /** What `read` makes of every station, by its key. Of a repeated key the first row wins, by batch number and row. */
  byKey<T>(read: (station: Station) => T): Map<string, T> {
    const found = new Map<string, T>();
    for (const { city, stations } of this.#batches.sort((a, b) => a.number - b.number)) {
      for (const station of stations) {
        const key = stationKey(city, station.code, station.year);
        if (!found.has(key)) found.set(key, read(station));
      }
    }
    return found;
  }
}
