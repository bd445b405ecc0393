/** Values out of the bytes of fields. What is usual is read by a few comparisons, what is unusual by the careful way of a regular expression. */

const msPerDay = 86_400_000;
const zero = 0x30;
const nine = 0x39;
const minus = 0x2d;
const point = 0x2e;
const colon = 0x3a;
const space = 0x20;

const dateBytes = 10;
/** With the time: ` HH:MM:SS`. */
const dateTimeBytes = 19;
/** Nothing that is a number or a time is longer. */
const textBytesMax = 64;

const timePattern = /^[ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?$/;
const numberPattern = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const monthDays = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

function asciiOf(bytes: Uint8Array, from: number, to: number): string {
  return String.fromCharCode(...bytes.subarray(from, Math.min(to, from + textBytesMax + 1)));
}

function isDigit(byte: number): boolean {
  return byte >= zero && byte <= nine;
}

function twoDigits(bytes: Uint8Array, at: number): number {
  return isDigit(bytes[at]!) && isDigit(bytes[at + 1]!) ? (bytes[at]! - zero) * 10 + bytes[at + 1]! - zero : NaN;
}

/** Reads dates; of neighbours with the same date only the first costs anything. */
export class DateReader {
  #years = 0;
  #monthsAndDays = 0;
  #day: number | undefined;

  /**
   * Days since 1970-01-01 of `YYYY-MM-DD`, years 0100 to 9999, which a time may follow, `HH:MM`, `HH:MM:SS` or with a fraction; undefined if
   * there is no such day or time.
   */
  read(bytes: Uint8Array, from: number, to: number): number | undefined {
    if (to - from < dateBytes || bytes[from + 4] !== minus || bytes[from + 7] !== minus || !isTime(bytes, from + dateBytes, to))
      return undefined;
    const years = (bytes[from]! << 24) | (bytes[from + 1]! << 16) | (bytes[from + 2]! << 8) | bytes[from + 3]!;
    const monthsAndDays = (bytes[from + 5]! << 24) | (bytes[from + 6]! << 16) | (bytes[from + 8]! << 8) | bytes[from + 9]!;
    if (years !== this.#years || monthsAndDays !== this.#monthsAndDays) {
      this.#years = years;
      this.#monthsAndDays = monthsAndDays;
      this.#day = dayOf(
        twoDigits(bytes, from) * 100 + twoDigits(bytes, from + 2),
        twoDigits(bytes, from + 5),
        twoDigits(bytes, from + 8),
      );
    }
    return this.#day;
  }
}

function dayOf(year: number, month: number, day: number): number | undefined {
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const days = month === 2 && isLeap ? 29 : (monthDays[month - 1] ?? 0);
  // The engine takes years below 100 for those of the 20th century.
  return year >= 100 && day >= 1 && day <= days ? Date.UTC(year, month - 1, day) / msPerDay : undefined;
}

function isTime(bytes: Uint8Array, from: number, to: number): boolean {
  if (from === to) return true;
  const isUsual =
    to - from === dateTimeBytes - dateBytes &&
    bytes[from] === space &&
    bytes[from + 3] === colon &&
    bytes[from + 6] === colon &&
    twoDigits(bytes, from + 1) < 24 &&
    twoDigits(bytes, from + 4) < 60 &&
    twoDigits(bytes, from + 7) < 60;
  return isUsual || timePattern.test(asciiOf(bytes, from, to));
}

/** The number; undefined if it is none, or not finite. A missing value, `-999.0`, is a number. */
export function readNumber(bytes: Uint8Array, from: number, to: number): number | undefined {
  const text = asciiOf(bytes, from, to);
  if (text.length > textBytesMax || !numberPattern.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

/** A year of four digits; undefined if it is none. */
export function readYear(bytes: Uint8Array, from: number, to: number): number | undefined {
  const year = to - from === 4 ? twoDigits(bytes, from) * 100 + twoDigits(bytes, from + 2) : NaN;
  return Number.isNaN(year) ? undefined : year;
}

const secondsMax = 2 ** 31;
const microsPerSecond = 1_000_000;
/** So many digits fit into 32 bits. */
const digitsMax = 9;

/** Reads durations in seconds, rounded to the microsecond, as `seconds` + `micros` / 1,000,000. */
export class DurationReader {
  /** Rounded down: -1 for -0.25, of which the micros are 750,000. */
  seconds = 0;
  /** 0 to 999,999. */
  micros = 0;

  /** False, if this is no number or not within 2^31 seconds. */
  read(bytes: Uint8Array, from: number, to: number): boolean {
    let value = 0;
    let at = from;
    for (; at < to && isDigit(bytes[at]!); at++) value = value * 10 + bytes[at]! - zero;
    const digits = at - from;
    const isWhole = at === to || (at === to - 2 && bytes[at] === point && bytes[at + 1] === zero);
    if (!isWhole || digits === 0 || digits > digitsMax) return this.#readUnusual(bytes, from, to);
    this.seconds = value;
    this.micros = 0;
    return true;
  }

  #readUnusual(bytes: Uint8Array, from: number, to: number): boolean {
    const value = readNumber(bytes, from, to);
    if (value === undefined) return false;
    const micros = Math.round(value * microsPerSecond);
    const seconds = Math.floor(micros / microsPerSecond);
    if (seconds < -secondsMax || seconds >= secondsMax) return false;
    this.seconds = seconds;
    this.micros = micros - seconds * microsPerSecond;
    return true;
  }
}
