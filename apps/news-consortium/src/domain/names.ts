/** What users, areas and news may be called and contain. Checked where it is typed, and again where it arrives. */

/** Nothing that a shell, a terminal or a path reads as its own. Upper case is none of these: names are lower case. */
const namePattern = /^[\p{Ll}\p{Lo}\p{Lm}\p{Nd}][\p{Ll}\p{Lo}\p{Lm}\p{M}\p{Nd}._-]{0,63}$/u;
/** Most names, which need no further look. */
const plainPattern = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** Letters that are not seen, that only make others longer, or that are parts of syllables which have a letter of their own: RFC 5892 refuses them. */
const unseen =
  /[\p{Default_Ignorable_Code_Point}\p{Me}\u0640\u1100-\u11ff\u302e\u302f\u3031-\u3035\u303b\ua960-\ua97c\ud7b0-\ud7fb]/u;
/** In NFD: a mark twice, which looks like one, or a heap of marks. */
const heapedMarks = /(\p{Mn})\1|\p{Mn}{5}/u;

/** The scripts that UAX 31 recommends, as they are written today. */
const scripts = [
  ...['Latin', 'Arabic', 'Armenian', 'Bengali', 'Bopomofo', 'Cyrillic', 'Devanagari', 'Ethiopic', 'Georgian', 'Greek'],
  ...['Gujarati', 'Gurmukhi', 'Hangul', 'Han', 'Hebrew', 'Hiragana', 'Kannada', 'Katakana', 'Khmer', 'Lao', 'Malayalam'],
  ...['Myanmar', 'Oriya', 'Sinhala', 'Tamil', 'Telugu', 'Thaana', 'Thai', 'Tibetan'],
];
/** What may stand together, beside what belongs to no script: one script, or those in which Japanese, Chinese and Korean are written ("Highly Restrictive" of UTS 39). */
const writings = [
  ...scripts.map((script) => [script]),
  ...[
    ['Han', 'Hiragana', 'Katakana', 'Latin'],
    ['Han', 'Bopomofo', 'Latin'],
    ['Han', 'Hangul', 'Latin'],
  ],
].map((together) => {
  const letters = ['Common', 'Inherited', ...together].map((script) => `\\p{Script_Extensions=${script}}`);
  return new RegExp(`^[${letters.join('')}]*$`, 'u');
});

const rightToLeft = /[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Thaana}]/u;
/** Among left-to-right text it stays in one piece: a simple case of RFC 5893. */
const rightToLeftPattern = /^\p{L}(?:.*[\p{L}\p{Nd}])?\p{M}*$/u;

export const nameRule = '1 to 64 letters and digits of one script, and inside also ".", "_" and "-"';

/**
 * A new name as it is stored and compared: that of RFC 8265 (UsernameCaseMapped), of ordinary width, in lower case and NFC. Undefined where the text is none:
 * what it may hold besides is less than there, so that what one sees is what it is.
 */
export function normalName(text: string): string | undefined {
  if (plainPattern.test(text)) return text;
  const name = mapped(text);
  return namePattern.test(name) && isPlain(name) ? name : undefined;
}

/** Of ordinary width, lower case, and in one of its Unicode forms. */
export const mapped = (text: string): string =>
  text
    .replace(/[\uff01-\uffef]/g, (wide) => wide.normalize('NFKC'))
    .toLowerCase()
    .normalize('NFC');

function isPlain(name: string): boolean {
  if (unseen.test(name) || heapedMarks.test(name.normalize('NFD')) || name.normalize('NFKC') !== name) return false;
  if (rightToLeft.test(name) && !rightToLeftPattern.test(name)) return false;
  return writings.some((writing) => writing.test(name)) && hasDigitsOfOneSystem(name);
}

/** Each system of digits is ten code points in a row. */
function hasDigitsOfOneSystem(name: string): boolean {
  const digits = Array.from(name.matchAll(/\p{Nd}/gu), ([digit]) => digit.codePointAt(0)!);
  return Math.max(...digits) - Math.min(...digits) < 10;
}

/** What was a name before there was the rule above: all letters and digits of any script, in NFC. */
const oldNamePattern = /^[\p{L}\p{N}][\p{L}\p{M}\p{N}._-]{0,63}$/u;

/** How names may be spelled that are older than the rule and none by it, and how they are stored: they are names still. */
export type OldNames = ReadonlyMap<string, string>;

/** The name that is meant, as it is stored: an old one, or else as `normalName`. */
export function meantName(text: string, old: OldNames): string | undefined {
  return old.get(text.normalize('NFC')) ?? old.get(mapped(text)) ?? normalName(text);
}

/** What somebody types who does not know which old names there are, in NFC; undefined where it cannot be a name. */
export function typedName(text: string): string | undefined {
  const typed = text.normalize('NFC');
  return oldNamePattern.test(typed) || normalName(text) !== undefined ? typed : undefined;
}

/** Most bytes of an item, as UTF-8: a page of a hundred stays well inside a frame. */
export const textBytesMax = 16 * 1024;

/** Control characters but tab and line feed, and halves of a character: they would act on the reader's terminal, or cannot be stored at all. */
const forbiddenInText = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]|\p{Surrogate}/u;

/** Why a text cannot be an item; undefined where it can. */
export function textProblem(text: string): string | undefined {
  if (text.trim() === '') return 'an item needs a text';
  const bytes = utf8Bytes(text);
  if (bytes > textBytesMax) return `an item of ${bytes} bytes; at most ${textBytesMax} are allowed`;
  const found = forbiddenInText.exec(text)?.[0];
  if (found === undefined) return undefined;
  const code = found.charCodeAt(0).toString(16).padStart(4, '0').toUpperCase();
  return `an item may have no control character but tab and line feed, and this has U+${code} at position ${text.search(forbiddenInText)}`;
}

const encoder = new TextEncoder();
const utf8Bytes = (text: string): number => encoder.encode(text).byteLength;

export const passwordRule = '8 to 256 characters';
export function isPassword(text: string): boolean {
  const { length } = text.normalize('NFC');
  return length >= 8 && length <= 256;
}

/** An item as users name it. */
export interface ItemName {
  readonly area: string;
  /** Counts the area's posts, from 1 on; never given twice, not even after the area was removed and added again. */
  readonly number: number;
}

export const itemName = ({ area, number }: ItemName): string => `${area}/${number}`;

/** Reads `sports/42`; undefined where it is no such name. */
export function parseItemName(text: string): ItemName | undefined {
  const [, written = '', digits = ''] = /^([^/]+)\/([1-9]\d{0,14})$/.exec(text) ?? [];
  const area = typedName(written);
  return area === undefined ? undefined : { area, number: Number(digits) };
}
