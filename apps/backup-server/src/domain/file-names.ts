/**
 * A file name is bytes; a string is not. Names that are UTF-8, as nearly all are, stand for themselves. A byte that is no part
 * of UTF-8 becomes a lone surrogate, U+DC00 and its value: Python's "surrogateescape" (PEP 383). Nothing is lost on the way
 * there and back, and JSON carries it.
 */

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const toUtf8 = new TextEncoder();
const escaped = /[\udc80-\udcff]/u;

export function nameFromBytes(bytes: Uint8Array): string {
  return decoded(bytes) ?? escapeBytes(bytes);
}

/** The bytes of a name; a string that `nameFromBytes` cannot have made gives bytes all the same. */
export function bytesFromName(name: string): Uint8Array {
  if (!escaped.test(name)) return toUtf8.encode(name);
  const bytes = [...name].flatMap((character) =>
    escaped.test(character) ? [character.charCodeAt(0) - 0xdc00] : [...toUtf8.encode(character)],
  );
  return Uint8Array.from(bytes);
}

/** Whether a name is text, which it may be given to the system as. */
export const isText = (name: string): boolean => !escaped.test(name);

/**
 * For a terminal. What is no text, or would move the cursor or turn the line around, is shown as a byte, `\xNN`, or as a character,
 * `\u{N}`; a backslash is two. So `unprinted` has the name again.
 */
export const printable = (name: string): string => printableText(name.replaceAll('\\', '\\\\'));

/** As `printable`, of sentences: they are not read back. */
export function printableText(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (character) => {
    const code = character.codePointAt(0)!;
    if (code < 0x80) return `\\x${code.toString(16).padStart(2, '0')}`;
    return escaped.test(character) ? `\\x${(code - 0xdc00).toString(16)}` : `\\u{${code.toString(16)}}`;
  });
}

/** The name that was printed so. */
export function unprinted(text: string): string {
  return text.replace(
    /\\(?:\\|x([0-9a-f]{2})|u\{(10[0-9a-f]{4}|[0-9a-f]{1,5})\})/g,
    (_, byte: string | undefined, character: string | undefined) => {
      if (character !== undefined) return String.fromCodePoint(Number.parseInt(character, 16));
      if (byte === undefined) return '\\';
      const code = Number.parseInt(byte, 16);
      return String.fromCharCode(code < 0x80 ? code : 0xdc00 + code);
    },
  );
}

function decoded(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

function escapeBytes(bytes: Uint8Array): string {
  let name = '';
  for (let at = 0; at < bytes.length;) {
    const length = [1, 2, 3, 4].find(
      (count) => at + count <= bytes.length && decoded(bytes.subarray(at, at + count)) !== undefined,
    );
    name += length === undefined ? String.fromCharCode(0xdc00 + bytes[at]!) : decoded(bytes.subarray(at, at + length));
    at += length ?? 1;
  }
  return name;
}
