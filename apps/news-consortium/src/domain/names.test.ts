import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { skeleton } from './confusables.ts';
import { meantName, normalName, typedName } from './names.ts';

/** Letters of several scripts, digits of several systems, marks, what is wide, and what is not seen. */
const letters = [...'abmnoxzAZñßıİ019._-', ...'абвсеорӏЖ', ...'αβορΣς', ...'օուհ', ...'אבס', ...'ابه٣', ...'คน๓', ...'कि३'];
const others = [
  ...'東京のラー한국ㄅ',
  ...'ＡｚﬁⅧ²ªʰ',
  '\u0301',
  '\u0307',
  '\u0327',
  '\u034f',
  '\u200d',
  '\u202e',
  '\u3164',
  '\ufe0f',
  '\u00ad',
];
const text = fc.array(fc.constantFrom(...letters, ...others), { minLength: 1, maxLength: 6 }).map((parts) => parts.join(''));
const anyText = fc.oneof({ weight: 3, arbitrary: text }, { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 8 }) });
const anyName = anyText.map(normalName).filter((name) => name !== undefined);

const holds = (check: (name: string) => unknown): void =>
  fc.assert(
    fc.property(anyName, (name) => void check(name)),
    { numRuns: 2_000 },
  );

describe('a name', () => {
  it('is what it is stored as: once more it stays as it is', () => {
    holds((name) => expect(normalName(name)).toBe(name));
  });

  it('is one name in upper case, in each of its Unicode forms, and wide', () => {
    const wide = (name: string): string =>
      name.replace(/[!-~]/g, (letter) => String.fromCharCode(letter.charCodeAt(0) - 0x21 + 0xff01));
    holds((name) => {
      for (const form of ['NFC', 'NFD'] as const) expect(normalName(name.normalize(form))).toBe(name);
      expect(normalName(wide(name))).toBe(name);
      // Upper case forgets which small letter it was: of ς and σ, of ı and i, of ß and ss.
      if (name.toUpperCase().toLowerCase() === name) expect(normalName(name.toUpperCase())).toBe(name);
    });
  });

  it('holds nothing that is not seen, and nothing that stands for another text', () => {
    holds((name) => {
      expect(name).not.toMatch(/\p{Default_Ignorable_Code_Point}|\p{C}|\p{Z}|\p{Lu}/u);
      expect(name.normalize('NFKC')).toBe(name);
    });
  });

  it('is of one script, in the whole and in each part', () => {
    const scripts = ['Latin', 'Cyrillic', 'Greek', 'Armenian', 'Hebrew', 'Arabic', 'Thai', 'Devanagari'];
    holds((name) => {
      const found = scripts.filter((script) => new RegExp(`\\p{Script=${script}}`, 'u').test(name));
      expect(found.length).toBeLessThan(2);
    });
  });

  it.each([
    ['Ana', 'ana'],
    ['Ａｎａ', 'ana'],
    ['ΣΑΣ', 'σας'],
    ['東京ラーメンtokyo', '東京ラーメンtokyo'],
    ['한국news', '한국news'],
    ['ñandú-2', 'ñandú-2'],
    ['שלום1', 'שלום1'],
    ['ي', 'ي'],
  ])('may be %s, which is %s', (typed, stored) => {
    expect(normalName(typed)).toBe(stored);
  });

  it.each([
    ['Latin and Cyrillic', 'аna'],
    ['Latin and Greek', 'οscar'],
    ['Hangul and Kana', '한の'],
    ['two systems of digits', '१2'],
    ['Arabic digits of two kinds', '٣۴'],
    ['a ligature', 'ﬁn'],
    ['a Roman numeral', 'Ⅷ'],
    ['a soft hyphen', 'an\u00ada'],
    ['a filler', 'a\u3164'],
    ['a variation selector', 'a\ufe0f'],
    ['a mark twice', 'a\u0301\u0301'],
    ['a heap of marks', 'a\u0300\u0301\u0302\u0303\u0304'],
    ['a lengthened letter', 'س\u0640س'],
    ['right to left behind a digit', '1ש'],
    ['right to left before a hyphen', 'ש-'],
    ['a script of the past', '𐌀𐌁'],
  ])('is not of %s', (_, typed) => {
    expect(normalName(typed)).toBeUndefined();
  });
});

describe('a skeleton', () => {
  it.each([
    ['ace', 'асе'],
    ['scope', 'ѕсоре'],
    ['oo', 'οο'],
    ['mod0', 'rnodo'],
    ['all1', 'a11l'],
    ['istanbul', 'i\u0307stanbul'],
    ['ia', 'ı\u0307a'],
    ['ana', 'ɑnɑ'],
  ])('of %s is that of %s', (one, other) => {
    expect(normalName(other)).toBe(other);
    expect(skeleton(one)).toBe(skeleton(other));
  });

  it.each([
    ['ana', 'anna'],
    ['reader-1', 'reader-2'],
    ['café', 'cafe'],
    ['жанна', 'hanna'],
    ['東京', '京東'],
  ])('of %s is not that of %s', (one, other) => {
    expect(skeleton(one)).not.toBe(skeleton(other));
  });

  it('is its own', () => {
    holds((name) => expect(skeleton(skeleton(name))).toBe(skeleton(name)));
  });
});

describe('an old name', () => {
  const old = new Map([
    ['Ana', 'Ana'],
    ['ana', 'Ana'],
    ['Ben', 'Ben'],
    ['aсe', 'aсe'],
  ]);

  it.each([
    ['Ana', 'Ana'],
    ['ANA', 'Ana'],
    ['Ben', 'Ben'],
    ['BEN', 'ben'],
    ['aсe', 'aсe'],
    ['aсes', undefined],
  ])('typed as %s means %s', (typed, meant) => {
    expect(meantName(typed, old)).toBe(meant);
  });

  it('may be typed by who does not know which there are', () => {
    for (const name of ['Ana', 'aсe', 'x²']) expect(typedName(name)).toBe(name);
    for (const none of ['', 'a b', '-a', 'a/b', '\u200b']) expect(typedName(none)).toBeUndefined();
  });
});
