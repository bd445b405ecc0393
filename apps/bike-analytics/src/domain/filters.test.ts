import { type Column, type Table, Texts } from '@lab/columns';
import { describe, expect, test } from 'vitest';
import { columnsOf, filterRows } from './filters.ts';
import { newSolverState } from './solvers.ts';
import { filterNames, filtersOf, queryOf, topics, type FilterName, type Topic } from './terms.ts';

/** Batches as the file-reader makes them. */
const batches: Readonly<Record<Topic, Readonly<Record<string, Column>>>> = {
  weather: { day: Int32Array.of(1, 2), rainMm: Float64Array.of(31, 3) },
  stations: {
    code: Texts.from(['1', '2']),
    name: Texts.from(['A', 'B']),
    latitude: Float64Array.of(45, NaN),
    longitude: Float64Array.of(-73, NaN),
    year: Int32Array.of(2016, 2017),
  },
  trips: {
    day: Int32Array.of(1, 1),
    seconds: Int32Array.of(60, 70),
    micros: Int32Array.of(0, 0),
    start: Int32Array.of(0, 1),
    end: Int32Array.of(1, 0),
    year: Int32Array.of(2016, 2017),
    codes: Texts.from(['1', '2']),
  },
};
const topicOf = (filter: FilterName): Topic => topics.find((topic) => filtersOf[topic].includes(filter))!;
const cut = (filter: FilterName): Table =>
  Object.fromEntries(columnsOf[filter].map((name) => [name, batches[topicOf(filter)][name]!]));

describe.each(filterNames)('filter %s', (filter) => {
  const table = cut(filter);

  test('works on exactly the columns that the broker cuts for it, and its trips-solver on what it makes of them', () => {
    const kept = filterRows[filter]('montreal', table);
    const state = newSolverState[queryOf(filter)]();
    const add = topicOf(filter) === 'trips' ? state.addTrips.bind(state) : state.addStatic.bind(state);
    expect(() => add(0, 'montreal', kept)).not.toThrow();
  });
});

/** The filters that look into their rows; the other two only decide by city. */
describe.each(filterNames.filter((name) => name !== 'stations-3'))('filter %s', (filter) => {
  const table = cut(filter);

  test.each(columnsOf[filter])('names the column %s if it is missing, of another kind or shorter', (name) => {
    const others = Object.fromEntries(Object.entries(table).filter(([other]) => other !== name));
    expect(() => filterRows[filter]('montreal', others)).toThrow(`column ${name} must be`);
    const otherKind = table[name] instanceof Texts ? new Int32Array(2) : Texts.from(['x', 'y']);
    expect(() => filterRows[filter]('montreal', { ...table, [name]: otherKind })).toThrow(`column ${name} must be`);
    expect(() => filterRows[filter]('montreal', { ...table, [name]: shortened(table[name]!) })).toThrow(
      /^column \w+(, row 1: 1 is no index| must have)/,
    );
  });
});

function shortened(column: Column): Column {
  return column instanceof Texts ? Texts.from(column.toArray().slice(0, 1)) : column.slice(0, 1);
}

test.each([
  ['trips-2', 'start'],
  ['trips-3', 'start'],
  ['trips-3', 'end'],
] as const)('filter %s names an index in %s that its dictionary does not have', (filter, name) => {
  for (const index of [-1, 2, -(2 ** 31), 2 ** 31 - 1]) {
    const table = { ...cut(filter), [name]: Int32Array.of(0, index) };
    expect(() => filterRows[filter]('montreal', table)).toThrow(`column ${name}, row 1: ${index} is no index into 2 codes`);
  }
});

test('a batch that does not fit leaves the state of query 3 as it was', () => {
  const state = newSolverState[3]();
  const before = JSON.stringify(state.partial());
  const table = {
    start: Int32Array.of(0, 0),
    end: Int32Array.of(0, 5),
    year: Int32Array.of(2016, 2016),
    codes: Texts.from(['1']),
  };
  expect(() => state.addTrips(0, 'montreal', table)).toThrow('column end, row 1: 5');
  expect(JSON.stringify(state.partial())).toBe(before);
});
