import { type Table, Texts } from '@lab/columns';
import { expect, test } from 'vitest';
import { farStations } from './far-stations.ts';

const settings = { farCity: 'montreal' as const, farAboveKm: 6 };
const { stations: stationsUse, trips: tripsUse } = farStations.topics;
const newState = () => farStations.state(settings);
type Part = ReturnType<ReturnType<typeof newState>['part']>;
const merge = (parts: readonly Part[]) => farStations.merge(parts, settings);

/** Degrees of latitude. */
const kmPerDegree = (Math.PI * 6371) / 180;

type StationRow = [code: string, name: string, km: number, year?: number];
/** Stations on one meridian, so many kilometres north of the equator. */
const stations = (...rows: StationRow[]): Table => ({
  code: Texts.from(rows.map(([code]) => code)),
  name: Texts.from(rows.map(([, name]) => name)),
  latitude: Float64Array.from(rows, ([, , km]) => km / kmPerDegree),
  longitude: Float64Array.from(rows, () => -73.5),
  year: Int32Array.from(rows, ([, , , year = 2017]) => year),
});

type TripRow = [start: string, end: string, year?: number];
function trips(...rows: TripRow[]): Table {
  const codes = [...new Set(rows.flatMap(([start, end]) => [start, end]))];
  return {
    start: Int32Array.from(rows, ([start]) => codes.indexOf(start)),
    end: Int32Array.from(rows, ([, end]) => codes.indexOf(end)),
    year: Int32Array.from(rows, ([, , year = 2017]) => year),
    codes: Texts.from(codes),
  };
}

function stateOf(stationRows: StationRow[], tripRows: TripRow[]): ReturnType<typeof newState> {
  const state = newState();
  state.addTrips(0, 'montreal', trips(...tripRows));
  state.addStatic(0, 'montreal', stations(...stationRows));
  return state;
}

test('only the city is kept', () => {
  const [stationTable, tripTable] = [stations(['1', 'A', 0]), trips(['1', '1'])];
  expect(stationsUse!.filter('montreal', stationTable, settings)).toBe(stationTable);
  expect(tripsUse.filter('montreal', tripTable, settings)).toBe(tripTable);
  expect(stationsUse!.filter('toronto', stationTable, settings).code).toHaveLength(0);
  expect(tripsUse.filter('washington', tripTable, settings).start).toHaveLength(0);
});

test('a station is far if the trips that end there come from more than 6 km away on average', () => {
  const state = stateOf(
    [
      ['0', 'origin', 0],
      ['1', 'near', 5],
      ['2', 'far', 9],
      ['3', 'twice', 4],
      ['4', 'twice', 10],
    ],
    [
      ['0', '1'],
      ['0', '2'],
      ['2', '2'],
      ['0', '2'],
      ['0', '3'],
      ['0', '4'],
      ['1', '0'],
    ],
  );
  const { stations: found } = merge([state.part()]);
  expect(found.map(({ name, trips }) => [name, trips])).toEqual([['twice', 2]]);
  // Two codes of one name, 4 and 10 km away. To "far" two rode 9 km and one nothing: that is 6 km, and not more.
  expect(found[0]!.averageKm).toBeCloseTo(7, 8);
});

test('the same trips in any order and number of shards give the same bits', () => {
  const stationRows = Array.from({ length: 40 }, (_, code): StationRow => [
    String(code),
    `name ${code % 7}`,
    (code * 7.123456789) % 31,
  ]);
  const rows = Array.from({ length: 3000 }, (_, trip): TripRow => [String((trip * 17) % 40), String((trip * trip) % 40)]);
  const whole = merge([stateOf(stationRows, rows).part()]);
  const shards = [0, 1, 2].map((shard) => stateOf(stationRows, rows.filter((_, trip) => trip % 3 === shard).reverse()).part());
  expect(whole.stations.length).toBeGreaterThan(3);
  expect(merge(shards.reverse())).toEqual(whole);
});

test('trips of an unknown station or without coordinates are left out and counted, each once', () => {
  const state = stateOf(
    [
      ['0', 'origin', 0],
      ['2', 'far', 9],
      ['3', 'nowhere', NaN],
      ['4', 'later', 9, 2018],
    ],
    [
      ['0', '2'],
      ['0', '9'],
      ['9', '2'],
      ['8', '9'],
      ['0', '4'],
      ['0', '2', 2016],
      ['0', '3'],
      ['3', '2'],
      ['3', '3'],
      ['3', '9'],
    ],
  );
  expect(merge([state.part(), newState().part()])).toEqual({
    stations: [{ name: 'far', averageKm: expect.closeTo(9, 8) as number, trips: 1 }],
    unknownStation: 6,
    noCoordinates: 3,
  });
});

test('of a repeated station the first row wins by batch and row, not by arrival', () => {
  const state = stateOf([], [['0', '1']]);
  state.addStatic(7, 'montreal', stations(['1', 'last', 50], ['0', 'origin', 0]));
  state.addStatic(3, 'montreal', stations(['1', 'first', 20], ['1', 'second', 30]));
  expect(state.part().stations).toMatchObject([{ name: 'first', metres: 19_999, trips: 1 }]);
});
