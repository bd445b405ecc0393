import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seededRandom } from '@lab/testing';
import { expect, it } from 'vitest';
import { generateDataset } from '../../data/generate.ts';
import { syntheticFiles } from '../../data/synthetic.ts';
import { defaultSettings, queries } from '../../src/domain/queries.ts';
import { cities } from '../../src/domain/terms.ts';
import { answerDirectly } from '../../test/direct.ts';

/** By the text of the files: no row of them is malformed, and no trip has a quote. */
function expected(trips: number, seed: number): unknown[] {
  const sums = new Map<string, { city: string; year: number; trips: number; long: number }>();
  for (const { city, topic, pieces } of syntheticFiles({ trips, seed })) {
    if (topic !== 'trips') continue;
    for (const row of [...pieces()].join('').split('\n').slice(1, -1)) {
      const [, , , , seconds, , year] = row.split(',').map(Number);
      const sum = sums.get(`${city} ${year}`) ?? { city, year: year!, trips: 0, long: 0 };
      sums.set(`${city} ${year}`, { ...sum, trips: sum.trips + 1, long: sum.long + (seconds! > 2_700 ? 1 : 0) });
    }
  }
  const order = (city: string): number => cities.findIndex((each) => each === city);
  return [...sums.values()].sort((a, b) => order(a.city) - order(b.city) || a.year - b.year);
}

it('query 5 is longTrips, and is shown with a table', () => {
  const query = queries.find(({ number }) => number === 5);
  expect(query?.name).toBe('longTrips');
  const empty = query!.merge([query!.state(defaultSettings).part()], defaultSettings);
  expect(empty).toEqual({ years: [] });
  expect(query!.show(empty, defaultSettings).columns.length).toBeGreaterThan(0);
});

it.each([1, 3])('its answers are those of the files, with %i shards and in any order', async (shards) => {
  const [trips, seed] = [3_000, 17 + shards];
  const directory = await mkdtemp(join(tmpdir(), 'bike-exercise-'));
  try {
    await generateDataset({ directory, trips, seed });
    const random = seededRandom(seed);
    const answers = await answerDirectly(directory, {
      ...{ shards, batchRows: 100, weatherOffsetDays: -1 },
      shuffle: (items) => random.shuffle(items),
    });
    expect(answers).toMatchObject({ longTrips: { years: expected(trips, seed) } });
  } finally {
    await rm(directory, { recursive: true });
  }
});

it('what takes 45 minutes to the millionth is not longer', () => {
  const query = queries.find(({ number }) => number === 5)!;
  const state = query.state(defaultSettings);
  const [seconds, micros] = [Int32Array.of(2_699, 2_700, 2_700, 2_701, -5_000), Int32Array.of(999_999, 0, 1, 0, 0)];
  const all = { seconds, micros, year: Int32Array.of(2016, 2016, 2016, 2016, 2016), day: new Int32Array(5) };
  state.addTrips(0, 'toronto', query.topics.trips.filter('toronto', all, defaultSettings));
  const answer = query.merge([state.part()], defaultSettings);
  expect(answer).toEqual({ years: [{ city: 'toronto', year: 2016, trips: 5, long: 2 }] });
});
