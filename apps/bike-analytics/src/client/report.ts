/** The answers as tables, for people. */
import { tableText } from '@lab/process/terminal';
import type { RejectedRow, Results } from '../domain/answers.ts';

/** Longer lists are cut; the file has all. */
const rowsShown = 10;

export function reportText({ rainyTrips, doubledStations, farStations, leftOut, rejected, rejectedRows }: Results): string {
  const average = rainyTrips.averageSeconds === null ? 'none' : `${rainyTrips.averageSeconds.toFixed(1)} s`;
  return [
    `1. Trips that started on days with more than 30 mm of rain: ${count(rainyTrips.trips, 'trip')} on ${count(rainyTrips.days.length, 'day')}, ${average} on average`,
    table(
      ['city', 'date', 'average s', 'trips'],
      rainyTrips.days.map((day) => [day.city, day.date, day.averageSeconds.toFixed(1), day.trips]),
    ),
    `2. Stations whose started trips at least doubled from 2016 to 2017: ${doubledStations.length}`,
    table(
      ['city', 'station', '2016', '2017'],
      doubledStations.map((station) => [station.city, station.name, station.trips2016, station.trips2017]),
    ),
    `3. Montreal stations reached from more than 6 km away on average: ${farStations.length}`,
    table(
      ['station', 'average km', 'trips'],
      farStations.map((station) => [station.name, station.averageKm.toFixed(3), station.trips]),
    ),
    `Left out: ${count(leftOut.unknownStation, 'trip')} of an unknown station, ${count(leftOut.noCoordinates, 'trip')} of a station without coordinates`,
    `Rejected: ${count(
      Object.values(rejectedRows).reduce((sum, rows) => sum + rows, 0),
      'row',
    )}`,
    ...Object.entries(rejectedRows).flatMap(([file, rows]) => rejectedOf(file, rows, rejected)),
  ].join('\n');
}

function rejectedOf(name: string, rows: number, rejected: readonly RejectedRow[]): string[] {
  const shown = rejected.filter(({ file }) => file === name).slice(0, rowsShown);
  const more = rows > shown.length ? [`    ... and ${rows - shown.length} more (--output FILE has the first 100)`] : [];
  return [`  ${name}: ${count(rows, 'row')}`, ...shown.map(({ line, reason }) => `    line ${line}: ${reason}`), ...more];
}

function count(number: number, noun: string): string {
  return `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`;
}

function table(head: string[], rows: (string | number)[][]): string {
  const more = rows.length > rowsShown ? `\n  ... and ${rows.length - rowsShown} more (--output FILE has them all)` : '';
  return tableText(head, rows.slice(0, rowsShown)) + more;
}
