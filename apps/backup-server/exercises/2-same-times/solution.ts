/** An edit that leaves the size, after which somebody sets the time back. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { FileCache } from '../../src/tree/file-cache.ts';
import { Tree } from '../../src/tree/tree.ts';

let base: string;
let file: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'exercise-'));
  mkdirSync(join(base, 'root'));
  file = join(base, 'root/notes');
  // By the node's clock it is an hour later than by that of the files: none of them has just changed.
  vi.useFakeTimers({ now: Date.now() + 3_600_000, toFake: ['Date'] });
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(base, { recursive: true });
});

/** What a backup says of the file's content: as the cache knows it, or as it is read. */
async function backUp(): Promise<string> {
  const chunks: Buffer[] = [];
  using walk = new Tree(join(base, 'root'), new FileCache(join(base, 'cache'), 'root')).open('.');
  for (const found of walk) {
    if (found.type !== 'file') continue;
    if (found.known !== undefined) return contents.get(found.known.sha256)!;
    const { entry } = await walk.read(found, async ({ bytes }) => void chunks.push(Buffer.from(bytes)));
    contents.set(entry!.sha256, Buffer.concat(chunks).toString());
    return contents.get(entry!.sha256)!;
  }
  throw new Error('there is no file');
}
const contents = new Map<string, string>();

it('a backup has what is in the file', async () => {
  writeFileSync(file, 'the first content');
  utimesSync(file, 1_000, 1_000);
  expect(await backUp()).toBe('the first content');
  writeFileSync(file, 'the other content');
  utimesSync(file, 1_000, 1_000);
  expect(await backUp()).toBe(readFileSync(file, 'utf8'));
});
