/** The whole system in this process: under faults that follow from a seed, and under clients that misbehave. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seededRandom, simulate, type Random } from '@lab/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compareAnswers } from '../src/demo.ts';
import type { Answers } from '../src/domain/answers.ts';
import { cities, topics } from '../src/domain/terms.ts';
import { generateDataset } from '../data/generate.ts';
import { answerStraight } from '../data/straight-loop.ts';
import { roles } from '../src/wiring.ts';
import { dataSetOf, Simulation } from './simulation.ts';

interface Case {
  files: Map<string, Uint8Array>;
  expected: Answers;
}

let directory: string;
const cases: Case[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'bike-system-'));
  for (let seed = 1; seed <= 4; seed++) {
    const data = join(directory, String(seed));
    await generateDataset({ directory: data, trips: 600, seed });
    const files = new Map<string, Uint8Array>();
    for (const city of cities)
      for (const topic of topics) files.set(`${city}/${topic}`, await readFile(join(data, city, `${topic}.csv`)));
    cases.push({ files, expected: await answerStraight(data) });
  }
});
afterAll(() => rm(directory, { recursive: true }));

const chunkBytes = 20_000;

async function runOne(simulation: Simulation, { files, expected }: Case, batchRows: number): Promise<void> {
  const { result } = await simulation.runClient(dataSetOf(files, chunkBytes), batchRows);
  expect(compareAnswers(expected, result as Answers)).toEqual([]);
}

describe('the answers are those of a straight loop', () => {
  const seeds = 200;
  /** What hangs ends by its turns, however slow the machine; this is for what hangs within one. */
  const hangsMs = 600_000;
  it(`whatever dies, breaks, comes twice or late: ${seeds} seeds`, { timeout: seeds * hangsMs }, async () => {
    const deaths = new Map<string, number>();
    let cuts = 0;
    await simulate({ seeds, env: process.env, file: import.meta.filename, seedTimeoutMs: hangsMs }, async (random: Random) => {
      const simulation = new Simulation({ random, faulty: true, deaths: 0.01, cuts: 0.005 });
      await simulation.during(simulation.system.start());
      const clients = [random.pick(cases), random.pick(cases)].map((each) => runOne(simulation, each, random.integer(20, 100)));
      await simulation.during(Promise.all(clients));
      cuts += simulation.hits.cuts;
      for (const [role, count] of simulation.hits.deaths) deaths.set(role, (deaths.get(role) ?? 0) + count);
    });
    if (process.env['SEED'] !== undefined) return;
    expect([...roles.keys()].filter((role) => !deaths.has(role))).toEqual([]);
    expect(cuts).toBeGreaterThan(0);
  });

  it('for several clients at once, each its own, and again on the same system', async () => {
    const simulation = new Simulation({ random: seededRandom(7) });
    await simulation.during(simulation.system.start());
    for (let round = 0; round < 2; round++)
      await simulation.during(Promise.all(cases.map((each) => runOne(simulation, each, 100))));
  });
});
