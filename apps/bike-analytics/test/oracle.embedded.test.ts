/**
 * Three ways to the same answers: the domain, the straight loop, DuckDB. `BIKE_DATA=DIR` adds a data set, such as the real one. Where rows are
 * malformed DuckDB is not asked: there the question is what to reject, which the first two must agree upon.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { seededRandom, type Random } from '@lab/testing';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { compareAnswers } from '../src/demo.ts';
import { defaultSettings, type Answers } from '../src/domain/queries.ts';
import type { Values } from '../src/domain/query.ts';
import { generateDataset } from '../data/generate.ts';
import { answerStraight } from '../data/straight-loop.ts';
import { answerDirectly } from './direct.ts';
import { answerWithDuckdb } from './oracle.ts';
import { randomFiles, writeFiles } from './random-data.ts';

/** All of it is work, and nothing waits: how long it takes is the machine's affair. */
vi.setConfig({ testTimeout: 600_000 });

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'bike-analytics-'));
});
afterAll(() => rm(scratch, { recursive: true }));

/** In one shard with files in their order, and in several with everything in another order: they may not differ by a bit. */
interface Asked {
  settings?: Values;
  weatherOffsetDays?: number;
}

async function answerInAnyOrder(
  directory: string,
  random: Random,
  { settings = defaultSettings, weatherOffsetDays = -1 }: Asked = {},
): Promise<Answers> {
  const inOrder = await answerDirectly(directory, {
    shards: 1,
    batchRows: 5000,
    ...{ settings, weatherOffsetDays },
    shuffle: (items) => [...items],
  });
  const shards = random.integer(2, 5);
  const mixed = await answerDirectly(directory, {
    shards,
    batchRows: random.integer(50, 1000),
    ...{ settings, weatherOffsetDays },
    shuffle: (items) => random.shuffle(items),
  });
  expect(mixed).toEqual(inOrder);
  return inOrder;
}

async function expectThreeAlike(directory: string, random: Random, asked: Asked = {}): Promise<Answers> {
  const answers = await answerInAnyOrder(directory, random, asked);
  expect(compareAnswers(await answerWithDuckdb(directory, asked), answers)).toEqual([]);
  expect(compareAnswers(await answerStraight(directory, asked.settings, asked.weatherOffsetDays), answers)).toEqual([]);
  return answers;
}

const dataSets = [
  join(import.meta.dirname, '../data'),
  ...(process.env.BIKE_DATA === undefined ? [] : [resolve(process.env.BIKE_DATA)]),
];

describe.each(dataSets)('the data set in %s', (directory) => {
  test('has the same answers by the domain, the straight loop and DuckDB, and each query finds something', async () => {
    const answers = await expectThreeAlike(directory, seededRandom(1));
    expect(answers.rainyTrips.days.length).toBeGreaterThan(0);
    expect(answers.doubledStations.stations.length).toBeGreaterThan(0);
    expect(answers.farStations.stations.length).toBeGreaterThan(0);
    expect(answers.busiestStations.stations.length).toBe(30);
  }, 60_000);
});

describe.each([2, 3])('a generated data set of seed %i', (seed) => {
  test('has the same answers by the domain, the straight loop and DuckDB', async () => {
    const directory = join(scratch, `generated-${seed}`);
    await generateDataset({ directory, trips: 20_000, seed });
    await expectThreeAlike(directory, seededRandom(seed));
  }, 60_000);
});

test('random data sets, most of which is rare in real ones, have the same answers by the domain, the straight loop and DuckDB', async () => {
  const found = { rainyTrips: 0, doubled: 0, far: 0, busiest: 0, unknownStation: 0, noCoordinates: 0 };
  for (let seed = 1; seed <= 8; seed++) {
    const random = seededRandom(seed);
    const directory = join(scratch, `random-${seed}`);
    await writeFiles(directory, randomFiles(random));
    const settings = {
      ...{ rainAboveMm: random.pick([0, 30, 31]), yearBefore: 2016, yearAfter: random.integer(2015, 2018) },
      ...{
        growth: random.pick([0.5, 1, 2]),
        farCity: 'montreal',
        farAboveKm: random.pick([1, 6]),
        busiest: random.integer(1, 12),
      },
    };
    const answers = await expectThreeAlike(directory, random, { settings, weatherOffsetDays: random.integer(-2, 1) });
    found.rainyTrips += answers.rainyTrips.trips;
    found.doubled += answers.doubledStations.stations.length;
    found.far += answers.farStations.stations.length;
    found.busiest += answers.busiestStations.stations.length;
    found.unknownStation += answers.farStations.unknownStation;
    found.noCoordinates += answers.farStations.noCoordinates;
  }
  for (const count of Object.values(found)) expect(count).toBeGreaterThan(0);
}, 60_000);

describe('files with malformed rows', () => {
  /** What may come to stand in a file by mistake: all that means something, and some that is not UTF-8. */
  const debris = fc.constantFrom(
    '"',
    '""',
    ',',
    '\n',
    '\r',
    '\r\n',
    '',
    ' ',
    '-',
    '0',
    '9',
    '.',
    'e',
    '\xff',
    '\xc3',
    '"\n',
    ',"',
    '",',
    'T25:00',
  );
  const damage = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    remove: fc.integer({ min: 0, max: 12 }),
    insert: debris,
  });

  /** Damages a file of bytes as characters, but not its header: without one it is no file of this data set. */
  function damaged(text: string, damages: readonly { at: number; remove: number; insert: string }[]): string {
    const header = text.indexOf('\n') + 1;
    return damages.reduce((rest, { at, remove, insert }) => {
      const from = header + Math.floor(at * (rest.length - header));
      return rest.slice(0, from) + insert + rest.slice(from + remove);
    }, text);
  }

  test('whatever the damage, the system takes the rows that the straight loop takes', async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.array(damage, { minLength: 5, maxLength: 40 }), async (seed, damages) => {
        const random = seededRandom(seed);
        const directory = join(scratch, `damaged-${run++}`);
        const bytes = [...randomFiles(random, { trips: 60 })].map(([name, text]): [string, string] => [
          name,
          Buffer.from(text).toString('latin1'),
        ]);
        const files = bytes.map(([name, text]): [string, Buffer] => [name, Buffer.from(damaged(text, damages), 'latin1')]);
        await writeFiles(directory, new Map(files));
        const answers = await answerInAnyOrder(directory, random);
        expect(compareAnswers(await answerStraight(directory), answers)).toEqual([]);
        await rm(directory, { recursive: true });
      }),
      { numRuns: 30 },
    );
  }, 60_000);
});
