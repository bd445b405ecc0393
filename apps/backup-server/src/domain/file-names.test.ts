import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytesFromName, isText, nameFromBytes, printable, printableText, unprinted } from './file-names.ts';

/** Of bytes that are often nearly UTF-8. */
const nearlyText = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 4 }),
    ),
    { maxLength: 6 },
  )
  .map((parts) => Buffer.concat(parts));

describe('a name', () => {
  it('of any bytes comes back as it was', () => {
    fc.assert(
      fc.property(
        fc.uint8Array(),
        (bytes) => void expect(Buffer.from(bytesFromName(nameFromBytes(bytes)))).toEqual(Buffer.from(bytes)),
      ),
    );
    fc.assert(fc.property(nearlyText, (bytes) => void expect(Buffer.from(bytesFromName(nameFromBytes(bytes)))).toEqual(bytes)));
  });

  it('of other bytes is another', () => {
    fc.assert(
      fc.property(nearlyText, nearlyText, (a, b) => void expect(nameFromBytes(a) === nameFromBytes(b)).toBe(a.equals(b))),
    );
  });

  it('that is text stands for itself', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(nameFromBytes(Buffer.from(text))).toBe(text);
        expect(isText(text)).toBe(true);
      }),
    );
  });

  it.each([
    ['a byte that is none of UTF-8', [0x61, 0xff], 'a\udcff'],
    ['UTF-8 that is cut off', [0xe2, 0x82], '\udce2\udc82'],
    ['a zero in two bytes', [0xc0, 0x80], '\udcc0\udc80'],
    ['half of a surrogate pair', [0xed, 0xb2, 0x80], '\udced\udcb2\udc80'],
    ['a mark of byte order', [0xef, 0xbb, 0xbf, 0x61], '\ufeffa'],
    ['the sign for what was lost', [0xef, 0xbf, 0xbd], '\ufffd'],
    ['what lies beyond Unicode', [0xf4, 0x90, 0x80, 0x80], '\udcf4\udc90\udc80\udc80'],
  ])('of %s is kept', (_, bytes, name) => {
    expect(nameFromBytes(Uint8Array.from(bytes))).toBe(name);
    expect([...bytesFromName(name)]).toEqual(bytes);
  });

  it('travels through JSON', () => {
    fc.assert(
      fc.property(
        nearlyText,
        (bytes) => void expect(JSON.parse(JSON.stringify(nameFromBytes(bytes)))).toBe(nameFromBytes(bytes)),
      ),
    );
  });

  it('that nothing can have made gives bytes all the same, and never a slash or a zero that is not in it', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.integer({ min: 1, max: 0xffff }).map((code) => String.fromCharCode(code)) }), (name) => {
        const bytes = [...bytesFromName(name)];
        expect(bytes.includes(0x2f)).toBe(name.includes('/'));
        expect(bytes.includes(0)).toBe(false);
      }),
      { numRuns: 500 },
    );
  });

  it('that was printed can be read back', () => {
    const names = fc.oneof(
      nearlyText.map(nameFromBytes),
      fc.string({ unit: fc.constantFrom('\\', 'x', 'u', '{', '}', '4', '1', '\u202e', '\udcff', '\n') }),
    );
    fc.assert(
      fc.property(names, (name) => void expect(unprinted(printable(name))).toBe(name)),
      { numRuns: 1000 },
    );
  });

  it('on a terminal moves no cursor and sets no colour', () => {
    expect(printable('a\u001b[31m\n\u0085\udcffä😀')).toBe('a\\x1b[31m\\x0a\\u{85}\\xffä😀');
    expect(printable('\u202egpj.\u2066\u{e0041}\\')).toBe('\\u{202e}gpj.\\u{2066}\\u{e0041}\\\\');
    expect(printableText('\u202ea\\b')).toBe('\\u{202e}a\\b');
    fc.assert(
      fc.property(nearlyText, (bytes) => {
        expect(printable(nameFromBytes(bytes))).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/);
        expect(printable(nameFromBytes(bytes)).isWellFormed()).toBe(true);
      }),
    );
  });
});
