import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { formatProblem } from './format.ts';

test.each<[Uint8Array, string | undefined]>([
  [gzipSync('a,b\n1,2\n'), 'is compressed by gzip: unpack it'],
  [Buffer.from('\uFEFFa,b\n1,2\n', 'utf16le'), 'is UTF-16: save it as UTF-8'],
  [Buffer.from('\uFEFFa,b\n1,2\n', 'utf16le').swap16(), 'is UTF-16: save it as UTF-8'],
  [Buffer.from('PK\u0003\u0004'), 'is a zip archive: unpack it'],
  [Buffer.from('a;b\n1,0;2\n'), 'separates its fields by ";": a comma is expected'],
  [Buffer.from('a\tb\n1\t2\n'), String.raw`separates its fields by "\t": a comma is expected`],
  [Buffer.from('a,b\r1,2\r'), 'has lines that end with CR alone, as old Macs wrote them: convert them'],
  [Buffer.from('a,b\r\n1,2;3\r\n'), undefined],
  [Buffer.from(''), undefined],
])('%j: %s', (bytes, problem) => {
  expect(formatProblem(bytes)).toBe(problem);
});
