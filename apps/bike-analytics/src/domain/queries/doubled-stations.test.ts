import { type Table, Texts } from '@lab/columns';
import { expect, test } from 'vitest';
import type { City } from '../terms.ts';
import { doubledStations } from './doubled-stations.ts';

const settings = { yearBefore: 2016, yearAfter: 2017, growth: 2 };
const { trips: tripsUse } = doubledStations.topics;
const merge = (parts: Parameters<typeof doubledStations.merge>[0]) => doubledStations.merge(parts, settings);

const ints = (...values: number[]) => Int32Array.from(values);

type StationRow = [code: string, name: string, year: number];
const stations = (...rows: StationRow[]): Table => ({
  code: Texts.from(rows.map(([code]) => code)),
  name: Texts.from(rows.map(([, name]) => name)),
  year: Int32Array.from(rows, ([, , year]) => year),
});

type StartsRow = [code: string, tripsBefore: number, tripsAfter: number];
const starts = (...rows: StartsRow[]): Table => ({
  codes: Texts.from(rows.map(([code]) => code)),
  start: ints(...rows.flatMap((_, row) => [row, row])),
  year: ints(...rows.flatMap(() => [2016, 2017])),
  trips: ints(...rows.flatMap(([, ...trips]) => trips)),
});

/** One shard with these stations, and these trips, of one city. */
function partialOf(city: City, stationRows: StationRow[], startsRows: StartsRow[]) {
  const state = doubledStations.state(settings);
  state.addTrips(0, city, starts(...startsRows));
  state.addStatic(0, city, stations(...stationRows));
  return state.part();
}

const bothYears = (code: string, name: string): StationRow[] => [
  [code, name, 2016],
  [code, name, 2017],
];

test('trips are counted by the code where they start and by year', () => {
  const codes = Texts.from(['7', '007', 'x']);
  const table = tripsUse.filter(
    'toronto',
    { start: ints(0, 1, 1, 0, 1, 2), year: ints(2016, 2017, 2017, 2016, 2016, 2015), codes },
    settings,
  );
  expect(table).toEqual({ codes, start: ints(0, 1, 1), year: ints(2016, 2016, 2017), trips: ints(2, 1, 2) });
});

test('a station doubled with twice the trips, and at least one in 2016', () => {
  const names = ['less', 'twice', 'from none', 'more'];
  const rows = names.flatMap((name, code) => bothYears(String(code), name));
  const partial = partialOf('toronto', rows, [
    ['0', 10, 19],
    ['1', 10, 20],
    ['2', 0, 5],
    ['3', 1, 3],
  ]);
  expect(merge([partial]).stations).toEqual([
    { city: 'toronto', name: 'more', tripsBefore: 1, tripsAfter: 3 },
    { city: 'toronto', name: 'twice', tripsBefore: 10, tripsAfter: 20 },
  ]);
});

test('the codes of one name and the shards are added up before the years are compared', () => {
  const rows = [...bothYears('1', 'A'), ...bothYears('2', 'A')];
  // Neither a code nor a shard doubled by itself but one; all together did.
  const partials = [
    partialOf('toronto', rows, [['1', 10, 15]]),
    partialOf('toronto', rows, [
      ['2', 1, 7],
      ['1', 0, 0],
    ]),
  ];
  expect(merge(partials).stations).toEqual([{ city: 'toronto', name: 'A', tripsBefore: 11, tripsAfter: 22 }]);
  expect(merge(partials.slice(0, 1)).stations).toEqual([]);
});

test('a trip joins the station of its own city, code and year', () => {
  // Code 5 was moved: its trips of 2016 are those of the old place.
  const moved = partialOf(
    'toronto',
    [['5', 'old', 2016], ['5', 'new', 2017], ...bothYears('6', 'new')],
    [
      ['5', 4, 9],
      ['6', 5, 1],
    ],
  );
  const elsewhere = partialOf('washington', bothYears('6', 'new'), [['6', 1, 2]]);
  expect(merge([moved, elsewhere]).stations).toEqual([
    { city: 'toronto', name: 'new', tripsBefore: 5, tripsAfter: 10 },
    { city: 'washington', name: 'new', tripsBefore: 1, tripsAfter: 2 },
  ]);
});

test('trips that join no station are counted', () => {
  const rows: StationRow[] = [['1', 'A', 2016]];
  const trips: StartsRow[] = [
    ['1', 3, 4],
    ['01', 5, 0],
    ['9', 1, 1],
  ];
  expect(merge([partialOf('toronto', rows, trips), partialOf('washington', rows, trips)]).unknownStation).toBe(2 * (4 + 5 + 2));
});

test('of a repeated station the first row wins by batch and row, not by arrival', () => {
  const state = doubledStations.state(settings);
  state.addStatic(8, 'toronto', stations(['1', 'third', 2016]));
  state.addStatic(5, 'toronto', stations(['1', 'first', 2016], ['1', 'second', 2016]));
  state.addTrips(0, 'toronto', starts(['1', 2, 0]));
  expect(state.part().stations).toContainEqual({ city: 'toronto', name: 'first', year: 2016, trips: 2 });
});
