import { type Table, Texts } from '@lab/columns';
import { expect, test } from 'vitest';
import type { City } from '../terms.ts';
import { busiestStations } from './busiest-stations.ts';

const settings = { busiest: 2 };

type StationRow = [code: string, name: string, year?: number];
const stations = (...rows: StationRow[]): Table => ({
  code: Texts.from(rows.map(([code]) => code)),
  name: Texts.from(rows.map(([, name]) => name)),
  year: Int32Array.from(rows, ([, , year = 2017]) => year),
});

type TripRow = [start: string, year?: number];
function trips(...rows: TripRow[]): Table {
  const codes = [...new Set(rows.map(([start]) => start))];
  return {
    start: Int32Array.from(rows, ([start]) => codes.indexOf(start)),
    year: Int32Array.from(rows, ([, year = 2017]) => year),
    codes: Texts.from(codes),
  };
}

/** One shard's part, of one batch of stations and one of trips, through their filters. */
function partOf(city: City, stationRows: StationRow[], tripRows: TripRow[]) {
  const state = busiestStations.state(settings);
  const { stations: stationsUse, trips: tripsUse } = busiestStations.topics;
  state.addTrips(0, city, tripsUse.filter(city, trips(...tripRows), settings));
  state.addStatic(0, city, stationsUse!.filter(city, stations(...stationRows), settings));
  return state.part();
}

test('so many stations of each city are named, the busiest first, of as many trips by name', () => {
  const rows: StationRow[] = [
    ['1', 'B'],
    ['2', 'A'],
    ['3', 'C'],
  ];
  const parts = [
    partOf('washington', rows, [['1'], ['2'], ['3']]),
    partOf('toronto', rows, [['1'], ['2'], ['3'], ['3']]),
    partOf('toronto', rows, [['3'], ['1'], ['2']]),
  ];
  expect(busiestStations.merge(parts, settings).stations).toEqual([
    { city: 'toronto', name: 'C', trips: 3 },
    { city: 'toronto', name: 'A', trips: 2 },
    { city: 'washington', name: 'A', trips: 1 },
    { city: 'washington', name: 'B', trips: 1 },
  ]);
});

test('years and codes of one name are added up, and a trip joins the station of its own year', () => {
  const rows: StationRow[] = [
    ['1', 'A', 2016],
    ['1', 'B', 2017],
    ['2', 'A', 2017],
  ];
  const part = partOf('toronto', rows, [
    ['1', 2016],
    ['1', 2017],
    ['2', 2017],
    ['1', 2016],
    ['2', 2016],
  ]);
  const { stations: found, joined } = busiestStations.merge([part], settings);
  expect(found).toEqual([
    { city: 'toronto', name: 'A', trips: 3 },
    { city: 'toronto', name: 'B', trips: 1 },
  ]);
  expect(joined[1]).toEqual({ city: 'toronto', trips: 5, unknownStation: 1 });
});

test('codes that are written otherwise in the two files are hinted at where more than half of the trips find no station', () => {
  const hintsOf = (codes: string[]) => {
    const part = partOf(
      'toronto',
      [['7', 'A']],
      codes.map((code): TripRow => [code]),
    );
    return busiestStations.show(busiestStations.merge([part], settings), settings).hints;
  };
  expect(hintsOf(['7.0', '007', '7'])).toEqual([
    expect.stringContaining("2 of toronto's 3 trips start at no station of their year"),
  ]);
  expect(hintsOf(['7.0', '7'])).toEqual([]);
});
