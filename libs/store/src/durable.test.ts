import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newFolder } from '../test/small-store.ts';
import { createOnce, hasCode, readIfThere, replaceFile, seal, sync, unseal } from './durable.ts';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = newFolder();
  path = join(folder, 'file');
});
afterEach(() => rm(folder, { recursive: true }));

const text = (number: number): string => `${number} `.repeat(20_000);

const record = { node: 'a', path: 'docs/ä\udc80\n', version: 3, notes: [{ path: 'x', note: 'y' }] };

function flipped(bytes: Buffer, at: number, mask: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at]! ^= mask;
  return copy;
}

describe('a sealed record', () => {
  it('is what was sealed, whatever JSON can say', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const expected: unknown = JSON.parse(JSON.stringify(value));
        expect(unseal(Buffer.from(seal(value)))).toEqual({ value: expected, damaged: false });
      }),
    );
  });

  it('outlives any one flipped byte, and says that it is damaged', () => {
    const bytes = Buffer.from(seal(record));
    const wrong: number[] = [];
    for (let at = 0; at < bytes.length; at++) {
      for (const mask of [1, 0x20, 0x80, 0xff]) {
        const opened = unseal(flipped(bytes, at, mask));
        if (opened?.damaged !== true || JSON.stringify(opened.value) !== JSON.stringify(record)) wrong.push(at);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('outlives any byte that became a newline', () => {
    const bytes = Buffer.from(seal(record));
    const wrong = Array.from(bytes.keys()).filter((at) => {
      const opened = unseal(flipped(bytes, at, bytes[at]! ^ 0x0a));
      return JSON.stringify(opened?.value) !== JSON.stringify(record);
    });
    expect(wrong).toEqual([]);
  });

  it('outlives a run of zeros in either of its halves', () => {
    const bytes = Buffer.from(seal(record));
    const half = bytes.length / 2;
    for (let from = 0; from < bytes.length; from++) {
      const zeroed = Buffer.from(bytes).fill(0, from, Math.min(from + 50, from < half ? half : bytes.length));
      expect(unseal(zeroed)).toEqual({ value: record, damaged: true });
    }
  });

  it('is nothing when both copies are damaged, or nothing is there', () => {
    const bytes = Buffer.from(seal(record));
    expect(unseal(flipped(flipped(bytes, 70, 1), bytes.length - 10, 1))).toBeUndefined();
    for (const text of ['', '\n', '\n\n', 'x', JSON.stringify(record)]) expect(unseal(Buffer.from(text))).toBeUndefined();
  });
});

describe('a file', () => {
  it('is replaced as a whole, and nothing is left beside it', async () => {
    await replaceFile(path, 'old');
    await replaceFile(path, 'new');
    expect(await readFile(path, 'utf8')).toBe('new');
    expect(await readdir(folder)).toEqual(['file']);
  });

  it('is replaced over what a dead writer left aside', async () => {
    await writeFile(join(folder, '.file.new'), text(1));
    await replaceFile(path, 'new');
    expect(await readFile(path, 'utf8')).toBe('new');
    expect(await readdir(folder)).toEqual(['file']);
  });

  it('that is replaced shows readers the old text or the new one, each whole', async () => {
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

  it('that is not there is no error to whoever asks so', async () => {
    expect(await readIfThere(path)).toBeUndefined();
    await expect(readIfThere(folder)).rejects.toThrow('EISDIR');
  });

  it('or folder that is not there cannot be synced, and hasCode tells why', async () => {
    const error: unknown = await sync(join(folder, 'no')).catch((thrown: unknown) => thrown);
    expect(hasCode(error, 'EEXIST', 'ENOENT')).toBe(true);
    expect(hasCode(error, 'EEXIST')).toBe(false);
    expect(hasCode(new Error('ENOENT'), 'ENOENT')).toBe(false);
    expect(hasCode('ENOENT', 'ENOENT')).toBe(false);
    await expect(sync(folder)).resolves.toBeUndefined();
  });
});

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
