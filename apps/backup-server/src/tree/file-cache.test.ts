import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync, type BigIntStats } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileCache, type Known, type KnownFiles } from './file-cache.ts';

let base: string;
let folder: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'file-cache-'));
  folder = join(base, 'cache');
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const stats = { size: 5n, mtimeNs: 1000_250_000n, ctimeNs: 2000_123_456n, ino: 7n, dev: 8n } as BigIntStats;
const ctimeMs = Number(stats.ctimeNs) / 1e6;
const known = {
  sha256: 'a'.repeat(64),
  chunks: [['b'.repeat(64), 3] as [string, number], ['c'.repeat(64), 2] as [string, number]],
};
const longAgo = 1_000_000;
const cache = (root = '/root'): FileCache => new FileCache(folder, root);

/** What one backup does. */
function within<T>(use: (files: KnownFiles) => T, registered = 'docs', of = cache()): T {
  using files = of.open(registered);
  return use(files);
}
const learn = (...paths: string[]): void => within((files) => paths.forEach((path) => files.learn(path, stats, longAgo, known)));
const knownOf = (path: string, registered = 'docs', root = '/root'): Known | undefined =>
  within((files) => files.of(path, stats), registered, cache(root));

describe('the cache of files', () => {
  it('knows after a restart what it was told, by registered path and root', () => {
    learn('a\udcff\n');
    expect(knownOf('a\udcff\n')).toEqual(known);
    expect(knownOf('a\ufffd\n')).toBeUndefined();
    expect(knownOf('a\udcff\n', 'other')).toBeUndefined();
    expect(knownOf('a\udcff\n', 'docs', '/elsewhere')).toBeUndefined();
  });

  it('is not readable by others', () => {
    learn('a');
    expect(statSync(folder).mode & 0o777).toBe(0o700);
  });

  it('does not know what has another size, time or inode, and knows what is on another device', () => {
    learn('a');
    const of = (other: Partial<BigIntStats>): Known | undefined => within((files) => files.of('a', { ...stats, ...other }));
    expect(of({ size: 6n })).toBeUndefined();
    expect(of({ mtimeNs: stats.mtimeNs + 1n })).toBeUndefined();
    expect(of({ ctimeNs: stats.ctimeNs + 1n })).toBeUndefined();
    expect(of({ ino: 8n })).toBeUndefined();
    expect(of({ dev: 9n })).toEqual(known);
  });

  it('does not learn what was changed less than 2 s before it was opened', () => {
    within((files) => {
      files.learn('new', stats, Math.floor(ctimeMs + 1999), known);
      files.learn('future', stats, Math.floor(ctimeMs - 5000), known);
      files.learn('old', stats, Math.floor(ctimeMs + 2001), known);
    });
    expect(['new', 'future', 'old'].filter((path) => knownOf(path) !== undefined)).toEqual(['old']);
  });

  it('forgets what is not there any more, once all has been seen', () => {
    learn('a', 'b', 'c');
    within((files) => files.touch('a'));
    expect(knownOf('c')).toEqual(known);
    within((files) => {
      files.touch('b');
      files.learn('d', stats, longAgo, known);
      files.forgetOthers();
    });
    expect(['a', 'b', 'c', 'd'].filter((path) => knownOf(path) !== undefined)).toEqual(['b', 'd']);
  });

  it('keeps what a backup has learnt that was broken off', () => {
    expect(() =>
      within((files) => {
        files.learn('a', stats, longAgo, known);
        throw new Error('cut off');
      }),
    ).toThrow('cut off');
    expect(knownOf('a')).toEqual(known);
  });

  it('of two backups at once, one learns', () => {
    within((first) => {
      first.learn('a', stats, longAgo, known);
      within((second) => {
        second.learn('b', stats, longAgo, known);
        expect(second.of('a', stats)).toBeUndefined();
      });
      expect(first.of('a', stats)).toEqual(known);
    });
    expect(knownOf('a')).toEqual(known);
    expect(knownOf('b')).toBeUndefined();
  });

  it('that is damaged anywhere, cut off or something else knows what it knew or nothing', () => {
    learn('a');
    const file = join(folder, readdirSync(folder)[0]!);
    const bytes = readFileSync(file);
    const isSound = (): boolean => {
      const found = knownOf('a');
      if (found !== undefined) expect(found).toEqual(known);
      return found !== undefined;
    };
    // Every byte of the row, and some of the rest.
    const row = bytes.indexOf('{"sha256"') - 40;
    for (let at = 0; at < bytes.length; at += at >= row - 100 && at < row + 400 ? 1 : 97) {
      const copy = Buffer.from(bytes);
      copy[at]! ^= 0x10;
      writeFileSync(file, copy);
      isSound();
      for (const name of readdirSync(folder)) rmSync(join(folder, name));
      writeFileSync(file, bytes.subarray(0, at));
      isSound();
      for (const name of readdirSync(folder)) rmSync(join(folder, name));
    }
    writeFileSync(file, 'rubbish');
    expect(isSound()).toBe(false);
    learn('a');
    expect(isSound()).toBe(true);
  });

  it('comes back when its folder was removed meanwhile', () => {
    const one = cache();
    rmSync(folder, { recursive: true });
    within((files) => files.learn('a', stats, longAgo, known), 'docs', one);
    expect(knownOf('a')).toEqual(known);
  });

  it('knows nothing where there can be no file, and no backup fails for it', () => {
    const one = cache();
    rmSync(folder, { recursive: true });
    writeFileSync(folder, 'no folder');
    chmodSync(folder, 0);
    within(
      (files) => {
        files.learn('a', stats, longAgo, known);
        files.forgetOthers();
        expect(files.of('a', stats)).toBeUndefined();
      },
      'docs',
      one,
    );
  });
});
