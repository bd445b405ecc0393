import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readIfThere, replaceDurably, seal, unseal } from './durable.ts';

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'durable-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

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
    await replaceDurably(folder, 'one', 'old');
    await replaceDurably(folder, 'one', 'new');
    expect(await readFile(join(folder, 'one'), 'utf8')).toBe('new');
    expect(await readdir(folder)).toEqual(['one']);
  });

  it('that is not there is no error to whoever asks so', async () => {
    expect(await readIfThere(join(folder, 'none'))).toBeUndefined();
    await expect(readIfThere(folder)).rejects.toThrow('EISDIR');
  });
});
