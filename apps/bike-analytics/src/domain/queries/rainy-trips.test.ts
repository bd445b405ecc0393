import type { Table } from '@lab/columns';
import { expect, test } from 'vitest';
import { rainyTrips } from './rainy-trips.ts';

const settings = { rainAboveMm: 30 };
const { weather, trips } = rainyTrips.topics;
const keepRainyDays = (table: Table) => weather!.filter('toronto', table, settings);
const sumByDay = (table: Table) => trips.filter('toronto', table, settings);
const newState = () => rainyTrips.state(settings);

const ints = (...values: number[]) => Int32Array.from(values);
const floats = (...values: number[]) => Float64Array.from(values);

/** 2017-04-06 */
const day = 17_262;

test('a day is rainy with strictly more than 30 mm, and unknown without a number', () => {
  const table = { day: ints(1, 2, 3, 4, 5), rainMm: floats(30, 30.01, 0, 31, NaN) };
  expect(keepRainyDays(table)).toEqual({ day: ints(1, 2, 3, 4), isRainy: ints(0, 1, 0, 1) });
});

test('trips are summed by day, in whatever order the days come', () => {
  const table = { day: ints(9, 7, 9, 9), seconds: ints(10, 20, 30, 40), micros: ints(500_000, 0, 600_000, 0) };
  expect(sumByDay(table)).toEqual({
    day: ints(9, 7),
    seconds: floats(80, 20),
    micros: floats(1_100_000, 0),
    trips: ints(3, 1),
  });
});

test('a negative duration adds nothing but its trip', () => {
  // -0.25 s is -1 s and 750,000 millionths.
  const table = { day: ints(9, 9, 9), seconds: ints(-1, -500, 60), micros: ints(750_000, 0, 0) };
  expect(sumByDay(table)).toEqual({ day: ints(9), seconds: floats(60), micros: floats(0), trips: ints(3) });
});

test('a batch without rows has no days, and one over more days than there are dates has them all', () => {
  const none = { day: ints(), seconds: ints(), micros: ints() };
  expect(sumByDay(none)).toEqual({ day: ints(), seconds: floats(), micros: floats(), trips: ints() });
  const table = { day: ints(-2_000_000_000, 2_000_000_000), seconds: ints(1, 1), micros: ints(0, 0) };
  expect(sumByDay(table)).toMatchObject({ day: ints(-2_000_000_000, 2_000_000_000), trips: ints(1, 1) });
});

test('averages are over the rainy days of the city of the trip, also when the weather comes last and from several shards', () => {
  const shards = [newState(), newState()];
  const sums = (seconds: number, count: number) => ({
    day: ints(day, day + 1),
    seconds: floats(seconds, 99),
    micros: floats(500_000, 0),
    trips: ints(count, 1),
  });
  shards[0]!.addTrips(0, 'washington', sums(100, 2));
  shards[1]!.addTrips(1, 'washington', sums(200, 3));
  shards[0]!.addTrips(2, 'montreal', sums(1000, 1));
  for (const shard of shards) {
    shard.addStatic(0, 'washington', { day: ints(day), isRainy: ints(1) });
    shard.addStatic(1, 'montreal', { day: ints(day, day + 1), isRainy: ints(0, 1) });
  }
  expect(
    rainyTrips.merge(
      shards.map((shard) => shard.part()),
      settings,
    ),
  ).toEqual({
    averageSeconds: 400 / 6,
    trips: 6,
    days: [
      { city: 'montreal', date: '2017-04-07', averageSeconds: 99, trips: 1 },
      { city: 'washington', date: '2017-04-06', averageSeconds: 301 / 5, trips: 5 },
    ],
    noWeather: 2,
  });
});

test('without trips on rainy days there is no average', () => {
  const state = newState();
  state.addStatic(0, 'toronto', { day: ints(day), isRainy: ints(1) });
  expect(rainyTrips.merge([state.part()], settings)).toEqual({ averageSeconds: null, trips: 0, days: [], noWeather: 0 });
});
