import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { idProblem, keywordsProblem, uploadProblem, type UploadRequest } from './limits.ts';

const good: UploadRequest = {
  key: 'a-key-of-16-char',
  fileName: 'harbour.jpg',
  bytes: 1_000,
  sha256: '0'.repeat(64),
  keywords: ['harbour'],
};
const problemOf = (changes: Partial<UploadRequest>): string | undefined => uploadProblem({ ...good, ...changes }, 1_000);

describe('the limits of an upload', () => {
  it.each<[string, Partial<UploadRequest>]>([
    ['all of it at its smallest', {}],
    ['a key of 200 characters', { key: 'A.z_9-'.repeat(40).slice(0, 200) }],
    ['no file name', { fileName: '' }],
    ['a path as file name, which nobody uses as one', { fileName: '../../x' }],
    ['a name in another script, with a smile', { fileName: 'гавань 😀.jpg' }],
    ['100 keywords of 100 characters of two units each', { keywords: Array.from({ length: 100 }, () => '😀'.repeat(100)) }],
    ['one byte', { bytes: 1 }],
  ])('take %s', (_, changes) => expect(problemOf(changes)).toBeUndefined());

  it.each<[string, Partial<UploadRequest>, RegExp]>([
    ['a key of 15 characters', { key: 'k'.repeat(15) }, /^the key is "k{15}": it must be 16 to 200/],
    ['a key with a slash', { key: 'aaaaaaaa/aaaaaaaa' }, /^the key/],
    ['a key with a line behind it', { key: `${good.key}\n` }, /^the key/],
    [
      'a file name of 256 characters',
      { fileName: 'x'.repeat(256) },
      /^the file's name is "x{60}"\.\.\.: it must have at most 255/,
    ],
    ['a file name with NUL', { fileName: 'a\0b' }, /^the file's name is "a\\u0000b"/],
    ['a short hash', { sha256: '00' }, /^the SHA-256 must have 32 bytes/],
    ['an empty file', { bytes: 0 }, /^the file is empty/],
    ['a byte too many', { bytes: 1_001 }, /^the file has 1001 bytes: at most 1000 are taken/],
    ['a negative size', { bytes: -1 }, /^the file has -1 bytes/],
    ['half a byte', { bytes: 0.5 }, /^the file has 0.5 bytes/],
    ['a size that is no number', { bytes: NaN }, /^the file has NaN bytes/],
    ['a size that no double holds', { bytes: 2 ** 60 }, /^the file has 1152921504606847000 bytes/],
    ['no keywords', { keywords: [] }, /^there are no keywords/],
    ['101 keywords', { keywords: Array.from({ length: 101 }, String) }, /^there are 101 keywords: at most 100/],
    ['an empty keyword', { keywords: ['a', ''] }, /^a keyword is ""/],
    ['a keyword of spaces of all kinds', { keywords: ['\u00a0\u3000 '] }, /^a keyword is/],
    ['a keyword of 101 characters', { keywords: ['😀'.repeat(101)] }, /^a keyword is .*\.\.\.: it must have 1 to 100/],
    ['a keyword with an escape', { keywords: ['\u001b[2J'] }, /^a keyword is "\\u001b\[2J"/],
    ['a keyword with a line separator', { keywords: ['a\u2028b'] }, /^a keyword is/],
  ])('refuse %s', (_, changes, sentence) => expect(problemOf(changes)).toMatch(sentence));

  it('say in a line that fits a terminal what is wrong, whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 500 }), (text) => {
        for (const problem of [
          problemOf({ key: text }),
          problemOf({ fileName: text }),
          keywordsProblem([text]),
          idProblem(text),
        ]) {
          if (problem !== undefined && (problem.length >= 600 || /[\u0000-\u001f]/.test(problem)))
            expect.fail(`no line: ${JSON.stringify(problem)}`);
        }
      }),
    );
  });
});

describe('an id', () => {
  it('is 20 letters and digits, and nothing that means something in a path', () => {
    expect(idProblem('abcdefghijklmnopqr27')).toBeUndefined();
    for (const id of [
      '',
      '..',
      'abcdefghijklmnopqr2',
      'abcdefghijklmnopqr278',
      'ABCDEFGHIJKLMNOPQR27',
      '../defghijklmnopqr27',
      'abcdefghijklmnopqr27\n',
    ])
      expect(idProblem(id)).toMatch(/^the id is ".*": ids have 20 characters/);
  });

  it('that passes has no other characters, whatever it is', () => {
    fc.assert(
      fc.property(fc.string(), (id) => {
        if (idProblem(id) === undefined) expect(id).toMatch(/^[a-z2-7]+$/);
      }),
    );
  });
});
