/**
 * Reads the files of the data set: cuts the columns that the system needs, checks each row, and batches. It knows nothing of the queries.
 *
 * The columns of the batches:
 *   weather    day, the day that the row describes, in days since 1970-01-01 · rainMm, NaN = unknown, as -999 is
 *   stations   code · name · latitude · longitude, NaN = unknown, as 0,0 is · year
 *   trips      day, on which it started · seconds and micros, its duration, rounded down to the second, and what is above · start and end, numbers of
 *              texts in codes · year · codes, the dictionary of this batch, as long as it has different codes
 *
 * A field is checked if it is needed. A row with one that cannot be is rejected with the value, and so is text that is not valid UTF-8.
 */
import {
  codeProblem,
  type CsvScanner,
  DateReader,
  Keys,
  PlainRows,
  readNumber,
  readYear,
  TableReader,
  Texts,
} from '@lab/columns';
import type { Topic } from './terms.ts';
import { TripRows } from './trip-rows.ts';

export interface ReaderOptions {
  /** The file's name in rejections. */
  file: string;
  /** Rows of a batch, 1 to 100,000; the last one of a file has what is left, and one with 4 MiB of texts has fewer. */
  batchRows: number;
  /** Days from the date of a weather row to the day that it describes. */
  weatherOffsetDays: number;
}

/** A reader of one file of a topic. What it holds is bounded, but for weather and stations, of which it remembers each key. */
export function newTopicReader(topic: Topic, { file, batchRows, weatherOffsetDays }: ReaderOptions): TableReader {
  const rows = {
    weather: () => weatherRows(weatherOffsetDays),
    stations: stationRows,
    trips: () => new TripRows(batchRows),
  }[topic]();
  return new TableReader(file, rows, batchRows);
}

/** What the data set writes for "not measured", besides nothing at all. */
const missing = -999;

const weather = { day: Int32Array, rainMm: Float64Array };

function weatherRows(offsetDays: number): PlainRows<typeof weather> {
  const dates = new DateReader();
  const keys = new Keys<number>();
  return new PlainRows(['date', 'prectot'], weather, (csv) => {
    const date = dates.read(csv.bytes, csv.from(0), csv.to(0));
    if (date === undefined) return `${csv.named(0)} is no date`;
    const rainMm = csv.read(1, readNumber);
    if (rainMm === undefined) return `${csv.named(1)} is no number`;
    const problem = keys.problem(date, csv.line, csv.named(0));
    return problem ?? { day: date + offsetDays, rainMm: rainMm === missing ? NaN : rainMm };
  });
}

const stations = { code: Texts, name: Texts, latitude: Float64Array, longitude: Float64Array, year: Int32Array };

function stationRows(): PlainRows<typeof stations> {
  const keys = new Keys<string>();
  const names = ['code', 'name', 'latitude', 'longitude', 'yearid'];
  return new PlainRows(names, stations, (csv) => {
    for (const column of [0, 1]) {
      if (csv.from(column) === csv.to(column)) return `${names[column]!} is missing`;
      const problem = csv.read(column, codeProblem);
      if (problem !== undefined) return `${csv.named(column)} ${problem}`;
    }
    const [code, name] = [csv.text(0)!, csv.text(1)!];
    const latitude = readCoordinate(csv, 2, 90);
    if (latitude === undefined) return `${csv.named(2)} is no number from -90 to 90`;
    const longitude = readCoordinate(csv, 3, 180);
    if (longitude === undefined) return `${csv.named(3)} is no number from -180 to 180`;
    const year = csv.read(4, readYear);
    if (year === undefined) return `${csv.named(4)} is no year`;
    // Where the data set of others has no station: nothing stands in the sea off Ghana.
    const isNowhere = latitude === 0 && longitude === 0;
    const problem = keys.problem(`${year}/${code}`, csv.line, `${csv.named(0)} of ${year}`);
    return problem ?? { code, name, latitude: isNowhere ? NaN : latitude, longitude, year };
  });
}

/** NaN if it is missing, undefined if it is wrong. */
function readCoordinate(csv: CsvScanner, column: number, degreesMax: number): number | undefined {
  if (csv.from(column) === csv.to(column)) return NaN;
  const degrees = csv.read(column, readNumber);
  if (degrees === missing) return NaN;
  return degrees !== undefined && Math.abs(degrees) <= degreesMax ? degrees : undefined;
}
