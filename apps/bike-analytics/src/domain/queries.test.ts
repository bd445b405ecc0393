import { join } from 'node:path';
import { type Column, type Table, Texts } from '@lab/columns';
import { describe, expect, test } from 'vitest';
import { answerStraight } from '../../data/straight-loop.ts';
import { clientSettings, systemSettings } from '../config.ts';
import { compareAnswers } from '../demo.ts';
import { type Answers, defaultSettings, filters, queries, querySettings, type Filter } from './queries.ts';
import type { Topic } from './terms.ts';

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
const cut = ({ columns, topic }: Filter): Table => Object.fromEntries(columns.map((name) => [name, batches[topic][name]!]));
const run = (kind: Filter, table: Table): Table => kind.filter('montreal', table, defaultSettings);
const named = (name: string): Filter => filters.find((filter) => filter.name === name)!;

test('queries have numbers, names and settings of their own', () => {
  const all = [...queries.map(({ number }) => number), ...queries.map(({ name }) => name)];
  expect(new Set(all).size).toBe(2 * queries.length);
  const settings = queries.reduce((sum, query) => sum + Object.keys(query.settings).length, 0);
  expect(Object.keys(querySettings)).toHaveLength(settings);
  for (const name of Object.keys({ ...clientSettings, ...systemSettings })) expect(querySettings).not.toHaveProperty(name);
});

test.each(queries)('another answer of query $number is seen', async ({ name }) => {
  const expected = await answerStraight(join(import.meta.dirname, '../../data'));
  expect(compareAnswers(expected, structuredClone(expected))).toEqual([]);
  const others: object = { ...expected, [name]: otherThan(expected[name as keyof Answers]) };
  expect(compareAnswers(expected, others as Answers)).toEqual([expect.stringMatching(`^${name}\\.`)]);
});

/** The same but for its first number. */
function otherThan(answer: unknown): unknown {
  let changed = false;
  const text = JSON.stringify(answer, (_, value: unknown) => {
    if (typeof value !== 'number' || changed) return value;
    changed = true;
    return value + 1;
  });
  return JSON.parse(text);
}

describe.each(filters)('filter $name', (filter) => {
  test('works on exactly the columns that the broker cuts for it, and its trips-solver on what it makes of them', () => {
    const kept = run(filter, cut(filter));
    const state = filter.query.state(defaultSettings);
    const add = filter.topic === 'trips' ? state.addTrips.bind(state) : state.addStatic.bind(state);
    expect(() => add(0, 'montreal', kept)).not.toThrow();
  });
});

/** The filters that look into their rows; the others take them or leave them. */
describe.each(filters.filter(({ name }) => !name.startsWith('stations')))('filter $name', (filter) => {
  const table = cut(filter);

  test.each(filter.columns)('names the column %s if it is missing, of another kind or shorter', (name) => {
    const others = Object.fromEntries(Object.entries(table).filter(([other]) => other !== name));
    expect(() => run(filter, others)).toThrow(`column ${name} must be`);
    const otherKind = table[name] instanceof Texts ? new Int32Array(2) : Texts.from(['x', 'y']);
    expect(() => run(filter, { ...table, [name]: otherKind })).toThrow(`column ${name} must be`);
    expect(() => run(filter, { ...table, [name]: shortened(table[name]!) })).toThrow(
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
  ['trips-4', 'start'],
] as const)('filter %s names an index in %s that its dictionary does not have', (filter, name) => {
  for (const index of [-1, 2, -(2 ** 31), 2 ** 31 - 1]) {
    const table = { ...cut(named(filter)), [name]: Int32Array.of(0, index) };
    expect(() => run(named(filter), table)).toThrow(`column ${name}, row 1: ${index} is no index into 2 codes`);
  }
});

test.each([3, 4])('a batch that does not fit leaves the state of query %i as it was', (number) => {
  const state = queries[number - 1]!.state(defaultSettings);
  const before = JSON.stringify(state.part());
  const table = {
    start: Int32Array.of(0, 5),
    end: Int32Array.of(0, 0),
    year: Int32Array.of(2016, 2016),
    trips: Int32Array.of(1, 1),
    codes: Texts.from(['1']),
  };
  expect(() => state.addTrips(0, 'montreal', table)).toThrow('column start, row 1: 5');
  expect(JSON.stringify(state.part())).toBe(before);
});
