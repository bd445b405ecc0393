import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Entry } from './manifest.ts';
import { chosen, difference, selecting } from './selection.ts';

const folder = (path: string, mode = 0o755): Entry => ({ type: 'folder', path, mode, mtimeMs: 0 });
const file = (path: string, content = 'a', mode = 0o644, mtimeMs = 0): Entry => ({
  ...{ type: 'file', path, mode, mtimeMs },
  ...{ size: 1, sha256: content.repeat(64) },
});
const link = (path: string, target: string): Entry => ({ type: 'link', path, target, mtimeMs: 0 });
const selected = (entries: readonly Entry[], only: string[]): Entry[] => [
  ...chosen(entries, selecting(entries, only).isSelected),
];
const pathsOf = (entries: readonly Entry[]): string[] => entries.map(({ path }) => path);

const tree = [folder(''), folder('a'), folder('a/b'), file('a/b/c'), file('a/bc'), file('d')];

describe('a selection', () => {
  it.each([
    [['a/b'], ['', 'a', 'a/b', 'a/b/c']],
    [['./a//b/c'], ['', 'a', 'a/b', 'a/b/c']],
    [
      ['a/bc', 'd'],
      ['', 'a', 'a/bc', 'd'],
    ],
    [['.'], pathsOf(tree)],
  ])('of %j has what is there and below, and the folders on the way', (only, paths) => {
    expect(selecting(tree, only).unknown).toEqual([]);
    expect(pathsOf(selected(tree, only))).toEqual(paths);
  });

  it('takes names as they are shown, and as they are', () => {
    const odd = [folder(''), file('caf\udce9'), file('a\nb'), file('\\x41'), file('A'), file('\u202ex')];
    for (const [typed, path] of [
      ['caf\\xe9', 'caf\udce9'],
      ['caf\udce9', 'caf\udce9'],
      ['a\\x0ab', 'a\nb'],
      ['\\\\x41', '\\x41'],
      ['\\x41', 'A'],
      ['\\u{202e}x', '\u202ex'],
    ])
      expect(pathsOf(selected(odd, [typed!]))).toEqual(['', path]);
    expect(pathsOf(selected([folder(''), file('\\x41')], ['\\x41']))).toEqual(['', '\\x41']);
  });

  it('names what is not there, and what leads out', () => {
    expect(selecting(tree, ['a/x', '../d', 'd']).unknown).toEqual(['a/x', '../d']);
  });
});

describe('a difference', () => {
  it('names each change as what it is, and none of times', () => {
    const after = [folder('', 0o700), file('a', 'a'), file('d', 'b', 0o600), file('e'), link('l', 'y'), file('t', 'a', 0o644, 9)];
    const before = [...tree, link('l', 'x'), file('t')];
    expect(difference(before, after)).toEqual([
      { path: '', change: 'mode' },
      { path: 'a', change: 'type' },
      { path: 'a/b', change: 'removed' },
      { path: 'a/b/c', change: 'removed' },
      { path: 'a/bc', change: 'removed' },
      { path: 'd', change: 'content' },
      { path: 'e', change: 'added' },
      { path: 'l', change: 'content' },
    ]);
  });

  it('is empty between a tree and itself, and the other way round has the same paths', () => {
    const entries = fc.uniqueArray(
      fc.record({ path: fc.constantFrom('a', 'b', 'c', 'd'), content: fc.constantFrom('1', '2'), mode: fc.constantFrom(1, 2) }),
      { selector: ({ path }) => path },
    );
    const treeOf = entries.map((each) => each.map(({ path, content, mode }) => file(path, content, mode)));
    fc.assert(
      fc.property(treeOf, treeOf, (one, other) => {
        expect(difference(one, one)).toEqual([]);
        const there = difference(one, other).map(({ path }) => path);
        expect(difference(other, one).map(({ path }) => path)).toEqual(there);
      }),
    );
  });
});
