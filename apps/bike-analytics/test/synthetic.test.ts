import { exitCodes } from '@lab/process';
import { describe, expect, test } from 'vitest';
import { newTopicReader } from '../src/domain/reader.ts';
import { generateDataset } from '../data/generate.ts';
import { syntheticFiles } from '../data/synthetic.ts';

const textsOf = (trips: number, seed: number) =>
  Object.fromEntries(
    syntheticFiles({ trips, seed }).map(({ city, topic, pieces }) => [`${city}/${topic}`, [...pieces()].join('')]),
  );

const rowsOf = (text: string) => text.split('\n').slice(1, -1);

describe('synthetic data', () => {
  test('is the same for the same seed, and other data for another', () => {
    expect(textsOf(500, 7)).toEqual(textsOf(500, 7));
    expect(textsOf(500, 7)['montreal/trips']).not.toEqual(textsOf(500, 8)['montreal/trips']);
  });

  test.each([0, 1, 2, 1000, 20_001])('of %i trips has just as many, and no row that a reader rejects', (trips) => {
    let rows = 0;
    for (const { city, topic, pieces } of syntheticFiles({ trips, seed: 3 })) {
      const reader = newTopicReader(topic, { file: city, batchRows: 4096, weatherOffsetDays: -1 });
      const batches = [...[...pieces()].flatMap((piece) => reader.push(new TextEncoder().encode(piece))), ...reader.end()];
      expect(reader.rejections).toMatchObject({ count: 0 });
      if (topic === 'trips') rows += batches.reduce((sum, batch) => sum + batch.rows, 0);
    }
    expect(rows).toBe(trips);
  });

  test('comes in pieces that stay small, whatever the number of trips', () => {
    const trips = syntheticFiles({ trips: 50_000, seed: 1 }).filter(({ topic }) => topic === 'trips');
    for (const { pieces } of trips) for (const piece of pieces()) expect(piece.length).toBeLessThan(512 * 1024);
  });

  test('is not written where no folder can be: wrong usage', async () => {
    const written = generateDataset({ directory: import.meta.filename, trips: 1, seed: 1 });
    await expect(written).rejects.toMatchObject({ name: 'ExitError', exitCode: exitCodes.usage });
  });

  test('has the quirks of the real set', () => {
    const texts = textsOf(20_000, 1);
    expect(texts['montreal/weather']!.split('\n')[0]!.split(',')).toHaveLength(21);
    expect(texts['toronto/weather']!.split('\n')[0]!.split(',')).toHaveLength(20);
    expect(texts['montreal/weather']).toContain(',-999.0,');
    expect(rowsOf(texts['toronto/stations']!).every((row) => row.includes(',,,'))).toBe(true);
    expect(texts['montreal/stations']).toContain('-999.0,-999.0');
    expect(rowsOf(texts['montreal/stations']!).some((row) => row.includes('"'))).toBe(true);
    expect(rowsOf(texts['montreal/trips']!).some((row) => row.split(',')[4]!.startsWith('-'))).toBe(true);
    expect(rowsOf(texts['montreal/trips']!).some((row) => row.includes(',9999,'))).toBe(true);
    const names = rowsOf(texts['washington/stations']!)
      .filter((row) => row.endsWith(',2017'))
      .map((row) => row.split(',')[1]);
    expect(new Set(names).size).toBeLessThan(names.length);
  });
});
