import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { formatOf, pictureFormats, type FormatName } from '../src/pictures/inspect.ts';
import { makePicture, type Scene } from '../data/make.ts';

const scene = { seed: 1, width: 64, height: 48, format: 'png' } as const;

describe('a made picture', () => {
  it.each(Object.keys(pictureFormats) as FormatName[])('is a %s of the size asked for', async (format) => {
    const bytes = await makePicture({ ...scene, format });
    expect(formatOf(bytes)?.name).toBe(format);
    expect(await sharp(bytes).metadata()).toMatchObject({ width: 64, height: 48 });
  });

  it('is the same for the same seed, and another for each other one', async () => {
    const pictures = await Promise.all([1, 1, 2, 3, -1, 2 ** 31].map((seed) => makePicture({ ...scene, seed })));
    const different = new Set(pictures.map((bytes) => bytes.toString('base64')));
    expect(different.size).toBe(5);
    expect(pictures[0]!.equals(pictures[1]!)).toBe(true);
  });

  it('weighs what a photograph does', async () => {
    const { length } = await makePicture({ seed: 9, width: 1000, height: 750, format: 'jpeg' });
    const bytesPerPixel = length / (1000 * 750);
    expect(bytesPerPixel * 4000 * 3000).toBeGreaterThan(2e6);
    expect(bytesPerPixel * 4000 * 3000).toBeLessThan(6e6);
  });
});

describe('the sample pictures', async () => {
  const folder = join(import.meta.dirname, '../data');
  const table = await readFile(join(folder, 'README.md'), 'utf8');
  const samples = [...table.matchAll(/^\| `([\w.-]+)` \| (\d+) \| (\d+) x (\d+) \|/gm)].map(([, file, seed, width, height]) => ({
    file: file!,
    seed: Number(seed),
    width: Number(width),
    height: Number(height),
  }));

  it('are those of the table', async () => {
    const files = (await readdir(folder)).filter((file) => !['README.md', 'make.ts'].includes(file));
    expect(samples.map(({ file }) => file).sort()).toEqual(files.sort());
  });

  it.each(samples)('can be made again: $file', async ({ file, ...rest }) => {
    const sample = await readFile(join(folder, file));
    const format = formatOf(sample)!;
    expect(file.endsWith(`.${format.extension}`)).toBe(true);
    const again = await makePicture({ ...rest, format: format.name } satisfies Scene);
    expect(formatOf(again)).toBe(format);
    for (const bytes of [sample, again])
      expect(await sharp(bytes).metadata()).toMatchObject({ width: rest.width, height: rest.height });
  });
});
