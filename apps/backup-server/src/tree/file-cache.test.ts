import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync, type Stats } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileCache, stampOf } from './file-cache.ts';

let base: string;
let folder: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'file-cache-'));
  folder = join(base, 'cache');
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const stats = { size: 5, mtimeMs: 1000.25, ctimeMs: 2000.123456, ino: 7, dev: 8 } as Stats;
const known = {
  sha256: 'a'.repeat(64),
  chunks: [['b'.repeat(64), 3] as [string, number], ['c'.repeat(64), 2] as [string, number]],
};
const longAgo = 1_000_000;
const cache = (root = '/root'): FileCache => new FileCache(folder, root);
const items = (...paths: string[]): { path: string }[] => paths.map((path) => ({ path }));

async function saved(): Promise<string> {
  const first = cache();
  first.learn('docs', 'a\udcff\n', stats, longAgo, known);
  await first.save('docs', items('', 'a\udcff\n'));
  return join(folder, readdirSync(folder)[0]!);
}

describe('the cache of files', () => {
  it('knows after a restart what it was told, by registered path and root', async () => {
    await saved();
    expect([...cache().of('docs')]).toEqual([['a\udcff\n', { ...known, stamp: stampOf(stats) }]]);
    expect(cache().of('other').size).toBe(0);
    expect(cache('/elsewhere').of('docs').size).toBe(0);
  });

  it('is not readable by others', async () => {
    await saved();
    expect(statSync(folder).mode & 0o777).toBe(0o700);
  });

  it('does not learn what was changed less than 2 s before it was opened', () => {
    const one = cache();
    one.learn('docs', 'new', stats, stats.ctimeMs + 1999, known);
    expect(one.of('docs').size).toBe(0);
    one.learn('docs', 'future', stats, stats.ctimeMs - 5000, known);
    expect(one.of('docs').size).toBe(0);
    one.learn('docs', 'old', stats, stats.ctimeMs + 2001, known);
    expect([...one.of('docs').keys()]).toEqual(['old']);
  });

  it('forgets what is not there any more', async () => {
    const one = cache();
    for (const path of ['a', 'b', 'c']) one.learn('docs', path, stats, longAgo, known);
    await one.save('docs', items('', 'a', 'b', 'c'));
    await one.save('docs', items('', 'b'));
    expect([...cache().of('docs').keys()]).toEqual(['b']);
  });

  it('writes nothing when nothing was learnt', async () => {
    const file = await saved();
    const again = cache();
    again.of('docs');
    rmSync(file);
    await again.save('docs', items('', 'a\udcff\n'));
    expect(readdirSync(folder)).toEqual([]);
  });

  it('that is damaged in any byte, cut off or something else is as good as none', async () => {
    const file = await saved();
    const bytes = readFileSync(file);
    for (let at = 0; at < bytes.length; at++) {
      const copy = Buffer.from(bytes);
      copy[at]! ^= 0x10;
      writeFileSync(file, copy);
      expect(cache().of('docs').size).toBe(0);
      writeFileSync(file, bytes.subarray(0, at));
      expect(cache().of('docs').size).toBe(0);
    }
    writeFileSync(file, 'rubbish');
    const one = cache();
    expect(one.of('docs').size).toBe(0);
    one.learn('docs', 'a', stats, longAgo, known);
    await one.save('docs', items('', 'a'));
    expect([...cache().of('docs').keys()]).toEqual(['a']);
  });

  it('comes back when its folder was removed meanwhile', async () => {
    const one = cache();
    rmSync(folder, { recursive: true });
    one.learn('docs', 'a', stats, longAgo, known);
    await one.save('docs', items('a'));
    expect(cache().of('docs').size).toBe(1);
  });

  it('without a folder keeps what it knows in memory', async () => {
    const one = new FileCache(undefined, '/root');
    one.learn('docs', 'a', stats, longAgo, known);
    await one.save('docs', items('a'));
    expect(one.of('docs').size).toBe(1);
    expect(readdirSync(base)).toEqual([]);
  });
});
