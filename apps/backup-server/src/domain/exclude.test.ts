import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { excluding, problemOf } from './exclude.ts';

describe('a pattern', () => {
  it.each<[pattern: string, meant: string[], others: string[]]>([
    ['node_modules', ['node_modules', 'a/node_modules', 'a/b/node_modules'], ['node_modules2', 'a/node_modules/b']],
    ['*.o', ['x.o', 'a/.o', 'a/b.c.o'], ['x.obj', 'o', 'a.o/b']],
    ['/tmp', ['tmp'], ['a/tmp', 'tmp/a']],
    ['/var/*/cache', ['var/lib/cache'], ['var/cache', 'var/a/b/cache', 'x/var/lib/cache']],
    ['/var/**/cache', ['var/cache', 'var/a/cache', 'var/a/b/cache'], ['x/var/cache', 'var/a/caches']],
    ['build/**/x', ['build/x', 'a/build/b/x'], ['build/xy', 'x']],
    ['a/b', ['a/b', 'x/a/b'], ['xa/b', 'a/b/c', 'b']],
    ['?', ['a', 'x/é', 'x/\udce9'], ['ab', 'x/ab']],
    ['[a-c]x', ['ax', 'd/cx'], ['dx', 'x', '-x']],
    ['[!a-c]x', ['dx', '-x'], ['ax', 'x']],
    ['[]-]', [']', '-'], ['a']],
    ['[a', ['[a', 'b/[a'], ['a']],
    ['\\*', ['*', 'a/*'], ['a']],
    ['*', ['a', 'a/b'], []],
    ['caf\udce9', ['caf\udce9'], ['cafe']],
  ])('%j means what it says', (pattern, meant, others) => {
    const isExcluded = excluding([pattern]);
    expect(meant.filter((path) => !isExcluded(path))).toEqual([]);
    expect(others.filter(isExcluded)).toEqual([]);
  });

  it('is one of several, and of none there is nothing', () => {
    expect(['a', 'b', 'c'].filter(excluding(['a', '/c']))).toEqual(['a', 'c']);
    expect(['a', 'b'].filter(excluding([]))).toEqual([]);
  });

  it('of stars means what a regular expression of them does', () => {
    const text = (letters: string[]) => fc.string({ unit: fc.constantFrom(...letters), minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(text(['a', 'b', '*', '?']), text(['a', 'b']), (pattern, name) => {
        const expression = new RegExp(`^${pattern.replaceAll('*', '.*').replaceAll('?', '.')}$`);
        expect(excluding([pattern])(name)).toBe(pattern === '**' || expression.test(name));
      }),
    );
  });

  it('takes no more than the time of its length, whatever it is', () => {
    expect(excluding([`${'*a'.repeat(100)}b`])('a'.repeat(255))).toBe(false);
    expect(excluding([`${'**/a/'.repeat(100)}b`])('a/'.repeat(2000))).toBe(false);
  });

  it('has limits, which are named', () => {
    expect(problemOf(['a', 'b'])).toBeUndefined();
    expect(problemOf(Array.from({ length: 101 }, () => 'a'))).toBe('101 patterns; at most 100 are allowed');
    expect(problemOf(['a'.repeat(4097)])).toBe('patterns of 4097 characters; at most 4096 are allowed');
    expect(problemOf(['//'])).toBe('a pattern is empty');
  });
});
