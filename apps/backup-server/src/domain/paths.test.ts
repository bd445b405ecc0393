import { posix } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSafe, nodeNamePattern, normalPath, parentOf } from './paths.ts';

const anyPath = fc
  .array(fc.constantFrom('a', 'b c', '..', '.', '', '...', '..a', '\\', '\n'), { maxLength: 8 })
  .map((parts) => parts.join('/'));

describe('a path that an admin names', () => {
  it.each([
    ['a/b', 'a/b'],
    ['./a//b/', 'a/b'],
    ['.', '.'],
    ['./', '.'],
    ['./.', '.'],
    ['...', '...'],
    ['..a/b..', '..a/b..'],
    ['a\\..\\b', 'a\\..\\b'],
    [' ', ' '],
  ])('%j is %j', (path, normal) => {
    expect(normalPath(path)).toEqual({ path: normal });
  });

  it.each(['', '/', '/a', '//', '..', '../a', 'a/..', 'a/../b', './..', 'a/b/../..', 'a\0', 'x'.repeat(4097)])(
    '%j is none',
    (path) => {
      expect(normalPath(path)).toHaveProperty('problem');
    },
  );

  it('is in one spelling, stays below the root, and is its own normal form', () => {
    fc.assert(
      fc.property(anyPath, (path) => {
        const normal = normalPath(path);
        if ('problem' in normal) return;
        expect(normalPath(normal.path)).toEqual(normal);
        expect(posix.join('/root', normal.path)).toBe(posix.join('/root', path).replace(/\/$/, ''));
        expect(posix.join('/root', normal.path).startsWith('/root')).toBe(true);
        if (normal.path !== '.') expect(isSafe(normal.path)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

describe('a path in a manifest', () => {
  it('is safe if it is below the top, and in one spelling', () => {
    for (const path of ['', 'a', 'a/b', '...', '..a', 'a\n', '\udcff', '\\', 'x'.repeat(4096)]) expect(isSafe(path)).toBe(true);
    for (const path of ['/', '/a', 'a/', 'a//b', '.', './a', 'a/.', '..', '../a', 'a/..', 'a/../b', 'a\0b', 'x'.repeat(4097)])
      expect(isSafe(path)).toBe(false);
  });

  it('leads nowhere else, whatever it is', () => {
    fc.assert(
      fc.property(anyPath, (path) => !isSafe(path) || posix.join('/top', path) === (path === '' ? '/top' : `/top/${path}`)),
      { numRuns: 500 },
    );
  });

  it('has a parent, but for the top', () => {
    expect(['', 'a', 'a/b', 'a/b/c'].map(parentOf)).toEqual([undefined, '', 'a', 'a/b']);
  });
});

describe('the name of a node', () => {
  it('is letters, digits and a few signs, and no path', () => {
    for (const name of ['a', 'node-1', 'A.b_c', 'x'.repeat(64)]) expect(name).toMatch(nodeNamePattern);
    for (const name of ['', '.', '..', '-a', '.a', 'a/b', 'a b', 'ä', 'a\n', 'x'.repeat(65)])
      expect(name).not.toMatch(nodeNamePattern);
  });
});
