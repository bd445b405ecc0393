import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blobBytesMax, hashOf } from '@lab/store/bundle';
import { checksumOf } from '../messages.ts';
import { nameFromBytes } from './file-names.ts';
import {
  checksumLine,
  chunkBytesMax,
  chunksOf,
  comparePaths,
  entriesMax,
  MalformedManifestError,
  manifestLine,
  ManifestReader,
  totalsOf,
  type Entry,
  type FileEntry,
  type FolderEntry,
  type LinkEntry,
} from './manifest.ts';

const manifestText = (entries: readonly unknown[]): string => entries.map((entry) => manifestLine(entry as Entry)).join('');
const sorted = (entries: readonly Entry[]): Entry[] => [...entries].sort((a, b) => comparePaths(a.path, b.path));
const checksumText = (entries: readonly Entry[]): string => entries.map(checksumLine).join('');

/** In pieces of so many bytes. */
function parseManifest(text: string, pieceBytes = 1e6): Entry[] {
  const [reader, bytes, entries] = [new ManifestReader(), Buffer.from(text), [] as Entry[]];
  for (let at = 0; at < bytes.length; at += pieceBytes) entries.push(...reader.push(bytes.subarray(at, at + pieceBytes)));
  reader.end();
  return entries;
}

const hash = 'a'.repeat(64);
const other = 'b'.repeat(64);
const folder = (path: string, mode = 0o755): FolderEntry => ({ type: 'folder', path, mode, mtimeMs: 1.5 });
const file = (path: string, rest: Partial<FileEntry> = {}): FileEntry => ({
  type: 'file',
  path,
  mode: 0o644,
  mtimeMs: 2,
  size: 3,
  sha256: hash,
  ...rest,
});
const link = (path: string, target = 'x'): LinkEntry => ({ type: 'link', path, target, mtimeMs: 3 });

/** A tree of random shape: each name is in a folder that is there too. */
const name = fc.oneof(
  fc.constantFrom('a', 'a-b', 'a!', 'b', '\u{1f600}', '\uffee', '\udcff', 'x\ny', '...'),
  fc
    .uint8Array({ minLength: 1, maxLength: 4 })
    .map((bytes) => nameFromBytes(bytes.filter((byte) => byte !== 0 && byte !== 0x2f && byte !== 0x2e)) || 'c'),
);
const tree = fc
  .array(fc.tuple(fc.nat(), name, fc.constantFrom('file', 'folder', 'link')), { maxLength: 25 })
  .map((parts): Entry[] => {
    const entries = new Map<string, Entry>([['', folder('')]]);
    for (const [at, each, type] of parts) {
      const folders = [...entries.values()].filter((entry) => entry.type === 'folder');
      const parent = folders[at % folders.length]!.path;
      const path = parent === '' ? each : `${parent}/${each}`;
      if (!entries.has(path)) entries.set(path, { file, folder, link }[type](path));
    }
    return sorted([...entries.values()]);
  });

const refused = (entries: readonly unknown[]): void =>
  expect(() => parseManifest(manifestText(entries))).toThrow(MalformedManifestError);

describe('a manifest', () => {
  it('says what was put in, of any tree, in whatever pieces it comes', () => {
    fc.assert(
      fc.property(
        tree,
        fc.integer({ min: 1, max: 200 }),
        (entries, bytes) => void expect(parseManifest(manifestText(entries), bytes)).toEqual(entries),
      ),
    );
  });

  it('may be of one file, one link, or nothing', () => {
    for (const entries of [[file('')], [link('')], [folder('')], []])
      expect(parseManifest(manifestText(entries))).toEqual(entries);
  });

  it('has a folder before what is in it, whatever the names', () => {
    fc.assert(
      fc.property(tree, (entries) => {
        const at = new Map(sorted(entries).map(({ path }, index) => [path, index]));
        for (const { path } of entries) {
          const slash = path.lastIndexOf('/');
          if (path !== '') expect(at.get(path.slice(0, Math.max(0, slash)))!).toBeLessThan(at.get(path)!);
        }
      }),
    );
  });

  it('knows what content it needs', () => {
    const entries = [
      folder(''),
      file('a'),
      file('b', { size: 0, sha256: hashOf(Buffer.alloc(0)) }),
      file('c', {
        size: 9,
        sha256: other,
        chunks: [
          [hash, 4],
          ['c'.repeat(64), 5],
        ],
      }),
      link('d'),
    ];
    expect(chunksOf(entries[1] as FileEntry)).toEqual([[hash, 3]]);
    expect(chunksOf(entries[2] as FileEntry)).toEqual([]);
    expect(totalsOf(entries)).toEqual({ files: 3, bytes: 12 });
  });
});

describe('a hostile manifest', () => {
  it.each(['..', '../a', 'a/..', '/etc/passwd', '/', 'a//b', './a', 'a/', 'a\0b', '.'])('with a path %j is refused', (path) => {
    refused([folder(''), folder('a'), file(path)]);
    refused([folder(''), folder('a'), folder(path)]);
    refused([folder(''), folder('a'), link(path)]);
  });

  it('with anything below a link, a file or nothing is refused', () => {
    refused([folder(''), link('a', '/etc'), file('a/passwd')]);
    refused([folder(''), link('a', '/etc'), folder('a/b'), file('a/b/c')]);
    refused([folder(''), file('a'), file('a/b')]);
    refused([folder(''), file('a/b')]);
    refused([folder(''), folder('a'), file('a/b/c')]);
    refused([link('', '/etc'), file('passwd')]);
    refused([file(''), file('b')]);
  });

  it('out of order, or with an entry twice, is refused', () => {
    refused([folder(''), file('b'), file('a')]);
    refused([folder(''), file('a'), file('a')]);
    refused([folder(''), folder('a'), link('a')]);
    refused([folder(''), folder('')]);
    refused([file('a')]);
    refused([folder('a'), folder('')]);
  });

  it.each<[string, unknown]>([
    ['a negative size', file('a', { size: -1 })],
    ['half a byte', file('a', { size: 1.5 })],
    ['a size beyond counting', file('a', { size: 2 ** 60 })],
    ['a size that is a text', { ...file('a'), size: '3' }],
    ['no hash', { ...file('a'), sha256: undefined }],
    ['a hash that is a path', file('a', { sha256: '../'.repeat(20) })],
    ['a hash in capitals', file('a', { sha256: 'A'.repeat(64) })],
    ['a chunk that is too large', file('a', { size: chunkBytesMax + 1 })],
    ['chunks that are less than its size', file('a', { size: 9, chunks: [[hash, 4]] })],
    ['chunks that are more than its size', file('a', { size: 3, chunks: [[hash, 4]] })],
    [
      'an empty chunk',
      file('a', {
        size: 3,
        chunks: [
          [hash, 3],
          [hash, 0],
        ],
      }),
    ],
    [
      'a negative chunk',
      file('a', {
        size: 3,
        chunks: [
          [hash, 4],
          [hash, -1],
        ],
      }),
    ],
    ['a chunk beyond counting', file('a', { size: 3, chunks: [[hash, 1e300]] })],
    ['a huge chunk', file('a', { size: 2 ** 40, chunks: [[hash, 2 ** 40]] })],
    ['chunks that are none', { ...file('a'), chunks: 'x' }],
    ['chunks of nothing', { ...file('a'), chunks: [null] }],
    ['a mode with more bits', file('a', { mode: 0o10000 })],
    ['a mode that is none', { ...file('a'), mode: '644' }],
    ['a time that is none', { ...file('a'), mtimeMs: null }],
    ['a kind that is none', { ...file('a'), type: 'device' }],
    ['an inherited kind', { ...file('a'), type: 'constructor' }],
    ['a path that is none', { ...file('a'), path: 3 }],
    ['a link to nothing', link('a', '')],
    ['a link with a zero', link('a', 'x\0y')],
    ['a link that is too long', link('a', 'x'.repeat(4097))],
    ['a link to a number', { ...link('a'), target: 1 }],
    ['a list', []],
    ['null', null],
    ['a number', 5],
  ])('with %s is refused', (_, entry) => {
    refused([folder(''), entry]);
  });

  it('that is no text of lines, or too long, is refused', () => {
    for (const text of [
      '{',
      '\n',
      ' \n',
      JSON.stringify(folder('')),
      `${JSON.stringify(folder(''))}\n\n`,
      'null\n',
      '[]\n',
      '"\n"\n',
    ])
      expect(() => parseManifest(text)).toThrow(MalformedManifestError);
    expect(() => parseManifest('\n'.repeat(entriesMax + 1), entriesMax + 1)).toThrow('more than 1000000 entries');
  });

  it('is refused with an error that names the place, and is short', () => {
    const error = ((): Error => {
      try {
        parseManifest(`${JSON.stringify(folder(''))}\n${JSON.stringify(file('x'.repeat(10_000)))}\n`);
      } catch (caught) {
        return caught as Error;
      }
      throw new Error('it was taken');
    })();
    expect(error.message).toContain('line 2');
    expect(error.message.length).toBeLessThan(300);
  });

  it('of any text is read or refused', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.json(), fc.string()), { maxLength: 4 }), (lines) => {
        try {
          parseManifest(lines.map((line) => `${line}\n`).join(''));
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedManifestError);
        }
      }),
    );
  });
});

describe('the checksum of a tree', () => {
  const base = [folder(''), file('a'), folder('b'), link('c')];

  it('is the same after a mere touch', () => {
    expect(checksumText(base.map((entry) => ({ ...entry, mtimeMs: 99 })))).toBe(checksumText(base));
  });

  it('is another when a name, a mode, a kind, a target or a content is', () => {
    const changed: Entry[][] = [
      [folder(''), file('A'), folder('b'), link('c')],
      [folder(''), file('a', { mode: 0o755 }), folder('b'), link('c')],
      [folder(''), file('a', { sha256: other }), folder('b'), link('c')],
      [folder(''), file('a'), folder('b', 0o700), link('c')],
      [folder(''), file('a'), folder('b'), link('c', 'y')],
      [folder(''), file('a'), file('b'), link('c')],
      [folder(''), file('a'), folder('b')],
      [folder('', 0o711), file('a'), folder('b'), link('c')],
      [],
    ];
    const sums = new Set([base, ...changed].map(checksumOf));
    expect(sums.size).toBe(changed.length + 1);
  });

  it('is another for names that differ in a byte that is no text', () => {
    expect(checksumOf([folder(''), file('\udc80')])).not.toBe(checksumOf([folder(''), file('\udc81')]));
    expect(checksumOf([folder(''), link('a', '\udc80')])).not.toBe(checksumOf([folder(''), link('a', '\ufffd')]));
  });

  it('of two trees is one only if they are', () => {
    const bare = (entries: readonly Entry[]): string => JSON.stringify(entries.map((entry) => ({ ...entry, mtimeMs: 0 })));
    fc.assert(
      fc.property(tree, tree, (a, b) => void expect(checksumOf(a) === checksumOf(b)).toBe(bare(a) === bare(b))),
      { numRuns: 300 },
    );
  });
});

it('has chunks as large as the store has blobs', () => expect(chunkBytesMax).toBe(blobBytesMax));
