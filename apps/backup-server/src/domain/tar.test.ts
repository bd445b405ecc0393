import { execFileSync, spawnSync } from 'node:child_process';
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bytesFromName, nameFromBytes } from './file-names.ts';
import type { Entry } from './manifest.ts';
import { blockBytes, padding, tarEnd, tarHeader } from './tar.ts';

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'tar-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const sha256 = 'a'.repeat(64);
const file = (path: string, size: number, mode = 0o644, mtimeMs = 1_700_000_000_000): Entry => ({
  type: 'file',
  path,
  mode,
  mtimeMs,
  size,
  sha256,
});
const contentOf = (entry: Entry): Buffer => Buffer.alloc(entry.type === 'file' ? entry.size : 0, `content of ${entry.path} `);

const archiveOf = (entries: readonly Entry[]): Buffer =>
  Buffer.concat([
    ...entries.flatMap((entry) => [tarHeader(entry, entry.path), contentOf(entry), padding(contentOf(entry).length)]),
    tarEnd,
  ]);

const tar = (options: readonly string[], input: Buffer): string =>
  execFileSync('tar', options, {
    input,
    encoding: 'latin1',
    env: { ...process.env, LC_ALL: 'C.UTF-8', TZ: 'UTC' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });

function extracted(entries: readonly Entry[]): string {
  const target = mkdtempSync(join(folder, 'out-'));
  tar(['xpf', '-', '-C', target], archiveOf(entries));
  return target;
}

const placeOf = (top: string, path: string): Buffer => Buffer.concat([Buffer.from(`${top}/`), bytesFromName(path)]);

/** What tar made is what the entry says. */
function expectThere(top: string, entry: Entry): void {
  const place = placeOf(top, entry.path);
  const stats = lstatSync(place);
  if (entry.type === 'link') return expect(nameFromBytes(readlinkSync(place, 'buffer'))).toBe(entry.target);
  expect(stats.mode & 0o7777).toBe(entry.mode);
  expect(stats.mtimeMs).toBe(Math.floor(entry.mtimeMs / 1000) * 1000);
  if (entry.type === 'file') expect(readFileSync(place).equals(contentOf(entry))).toBe(true);
  else expect(stats.isDirectory()).toBe(true);
}

const lengths = [1, 98, 99, 100, 101, 102, 155, 200, 255];
const names = [
  ...lengths.map((length) => 'n'.repeat(length)),
  ...lengths.slice(1).map((length) => `${'é'.repeat(length >> 1)}${length % 2 === 0 ? '' : 'x'}`),
  'two\nlines',
  ' blank ',
  '-rf',
  '\\back\\slash',
  'tab\t"quoted"\u007f',
  '😀',
  'e\u0301',
  nameFromBytes(Uint8Array.of(0xff, 0x61)),
  nameFromBytes(Uint8Array.of(0xe2, 0x82)),
  `${nameFromBytes(Uint8Array.of(0x80))}${'x'.repeat(150)}`,
  `${'=\n9 path=x\n'.repeat(12)}`,
];

describe('an archive', () => {
  it('is extracted by tar as it was, whatever the names and sizes', () => {
    const entries = names.map((name, index): Entry =>
      file(name, [0, 1, 511, 512, 513, 5000][index % 6]!, [0o600, 0o755, 0o444][index % 3]),
    );
    const top = extracted(entries);
    expect(readdirSync(top, 'buffer').map(nameFromBytes).toSorted()).toEqual(names.toSorted());
    for (const entry of entries) expectThere(top, entry);
  });

  it('has folders, deep paths and links, with their modes and targets', () => {
    const deep = Array.from({ length: 12 }, (_, index) => `folder-${index}-${'d'.repeat(15)}`);
    const folders = deep.map((_, index): Entry => ({
      type: 'folder',
      path: deep.slice(0, index + 1).join('/'),
      mode: 0o755,
      mtimeMs: 5000,
    }));
    const links = names.map((target, index): Entry => ({ type: 'link', path: `link-${index}`, target, mtimeMs: 0 }));
    const last: Entry = {
      type: 'link',
      path: `${deep.join('/')}/${'l'.repeat(120)}`,
      target: `${deep.join('/')}/${'t'.repeat(120)}`,
      mtimeMs: 0,
    };
    const entries = [...folders, file(`${deep.join('/')}/file`, 10), ...links, last];
    const top = extracted(entries);
    for (const entry of entries) if (entry.type !== 'folder') expectThere(top, entry);
    for (const entry of folders) expect(lstatSync(join(top, entry.path)).isDirectory()).toBe(true);
  });

  it('is listed by tar with modes, but for what would run as its owner, sizes and times', () => {
    const entries: Entry[] = [
      { type: 'folder', path: 'top', mode: 0o1777, mtimeMs: 0 },
      file('top/file', 1234, 0o4751, 1_700_000_000_999),
      { type: 'link', path: 'top/link', target: 'file', mtimeMs: 86_400_000 },
      file('top/old', 1, 0o640, -5000),
    ];
    const lines = tar(['tvf', '-'], archiveOf(entries)).trim().split('\n');
    expect(lines.map((line) => line.replace(/ +/g, ' '))).toEqual([
      'drwxrwxrwt 0/0 0 1970-01-01 00:00 top/',
      '-rwxr-x--x 0/0 1234 2023-11-14 22:13 top/file',
      'lrwxrwxrwx 0/0 0 1970-01-02 00:00 top/link -> file',
      '-rw-r----- 0/0 1 1969-12-31 23:59 top/old',
    ]);
  });

  it.each([8 ** 11 - 1, 8 ** 11, 2 ** 40 + 7])('says a size of %d bytes so that tar reads it', (size) => {
    // Its content is missing, and tar says so afterwards.
    const { stdout } = spawnSync('tar', ['tvf', '-'], { input: tarHeader(file('huge', size), 'huge'), encoding: 'utf8' });
    expect(stdout.split(/ +/)[2]).toBe(String(size));
  });

  it('with any name of any bytes comes out as it went in', () => {
    const part = fc
      .uint8Array({ min: 1, minLength: 1, maxLength: 120 })
      .map((bytes) => nameFromBytes(bytes.filter((byte) => byte !== 0x2f)));
    fc.assert(
      fc.property(fc.uniqueArray(part, { minLength: 1, maxLength: 8 }), (found) => {
        const entries = found.filter((name) => !['', '.', '..'].includes(name)).map((name) => file(name, 3));
        const top = extracted(entries);
        expect(readdirSync(top, 'buffer').map(nameFromBytes).toSorted()).toEqual(entries.map(({ path }) => path).toSorted());
      }),
      { numRuns: 15 },
    );
  });

  it('that is only its end is one', () => {
    expect(tar(['tvf', '-'], Buffer.from(tarEnd))).toBe('');
    expect(tarEnd.length).toBe(2 * blockBytes);
  });
});

describe('a header', () => {
  it('is whole blocks', () => {
    for (const name of names) expect(tarHeader(file(name, 5), name).length % blockBytes).toBe(0);
    for (const bytes of [0, 1, 511, 512, 513]) expect((bytes + padding(bytes).length) % blockBytes).toBe(0);
    expect(padding(512).length).toBe(0);
  });

  it('counts the length of a record with its own digits', () => {
    for (let length = 101; length < 1200; length++) {
      const header = Buffer.from(tarHeader(file('x'.repeat(length), 0), 'x'.repeat(length)));
      const body = header.subarray(blockBytes);
      const stated = Number(body.subarray(0, body.indexOf(' ')).toString());
      expect(body[stated - 1]).toBe(0x0a);
      expect(body.subarray(0, stated).toString()).toBe(`${stated} path=${'x'.repeat(length)}\n`);
    }
  });
});
