/** What users, areas and news may be called and contain. Checked where it is typed, and again where it arrives. */

/** Of users and areas: letters and digits of any script, and inside also `.`, `_` and `-`. Nothing invisible, nothing that a shell, a terminal or a path reads as its own. */
const namePattern = /^[\p{L}\p{N}][\p{L}\p{M}\p{N}._-]{0,63}$/u;

export const nameRule = '1 to 64 letters and digits, and inside also ".", "_" and "-"';

/** A name in the one form in which it is stored and compared (NFC), or undefined where it is none. */
export function normalName(text: string): string | undefined {
  const normal = text.normalize('NFC');
  return namePattern.test(normal) ? normal : undefined;
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
  const area = normalName(written);
  return area === undefined ? undefined : { area, number: Number(digits) };
}
