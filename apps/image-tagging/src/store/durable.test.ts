import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createOnce, hasCode, replaceFile, syncFolder } from './durable.ts';

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'durable-'));
  path = join(folder, 'file');
});
afterEach(() => rm(folder, { recursive: true }));

const text = (number: number): string => `${number} `.repeat(20_000);

describe('createOnce', () => {
  it('lets one of many succeed, and tells all of them what there is', async () => {
    const given = await Promise.all(Array.from({ length: 20 }, (_, number) => createOnce(path, text(number))));
    const there = await readFile(path, 'utf8');
    expect(new Set(given)).toEqual(new Set([there]));
    expect(Array.from({ length: 20 }, (_, number) => text(number))).toContain(there);
    expect(await readdir(folder)).toEqual(['file']);
  });

  it('changes nothing where there is a file, even an empty one', async () => {
    await writeFile(path, '');
    expect(await createOnce(path, 'late')).toBe('');
    expect(await readFile(path, 'utf8')).toBe('');
  });

  it('is not in the way of a later one when it died before its link', async () => {
    await writeFile(join(folder, 'tmp-of-a-dead-one'), 'ha');
    expect(await createOnce(path, 'whole')).toBe('whole');
  });

  it('fails where there is no folder', async () => {
    await expect(createOnce(join(folder, 'no', 'file'), 'x')).rejects.toThrow('ENOENT');
  });
});

describe('replaceFile', () => {
  it('shows readers the old text or the new one, each whole', async () => {
    await writeFile(path, text(0));
    const all = new Set(Array.from({ length: 30 }, (_, number) => text(number)));
    let done = false;
    const reading = (async () => {
      let reads = 0;
      for (; !done; reads++) expect(all.has(await readFile(path, 'utf8'))).toBe(true);
      return reads;
    })();
    for (let number = 1; number < 30; number++) await replaceFile(path, text(number));
    done = true;
    expect(await reading).toBeGreaterThan(0);
    expect(await readFile(path, 'utf8')).toBe(text(29));
    expect(await readdir(folder)).toEqual(['file']);
  });
});

it('syncFolder fails where there is no folder, and hasCode tells why', async () => {
  const error: unknown = await syncFolder(join(folder, 'no')).catch((thrown: unknown) => thrown);
  expect(hasCode(error, 'EEXIST', 'ENOENT')).toBe(true);
  expect(hasCode(error, 'EEXIST')).toBe(false);
  expect(hasCode(new Error('ENOENT'), 'ENOENT')).toBe(false);
  expect(hasCode('ENOENT', 'ENOENT')).toBe(false);
  await expect(syncFolder(folder)).resolves.toBeUndefined();
});
