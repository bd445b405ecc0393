/** Values out of the bytes of fields. */

const zero = 0x30;
const two = 0x32;
const minus = 0x2d;
const colon = 0x3a;
const space = 0x20;

/** `YYYY-MM-DD`. */
export const dateBytes = 10;
/** ` HH:MM:SS`. */
const timeBytes = 9;
/** Nothing that is a number or a time is longer. */
const textBytesMax = 64;

const timePattern = /^[ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?$/;
const numberPattern = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const monthDays = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** One character for each byte, and one more than allowed of a field that is too long. */
function textOf(bytes: Uint8Array, from: number, to: number): string {
  return String.fromCharCode(...bytes.subarray(from, Math.min(to, from + textBytesMax + 1)));
}

export function isDigit(byte: number): boolean {
  return (byte - zero) >>> 0 <= 9;
}

/** If one of them is no digit, a number so far below zero that no sum with others makes it a value. */
function twoDigits(bytes: Uint8Array, at: number): number {
  const tens = bytes[at]! - zero;
  const ones = bytes[at + 1]! - zero;
  // What is less than "0" is a large number without a sign.
  return tens >>> 0 <= 9 && ones >>> 0 <= 9 ? tens * 10 + ones : -100_000;
}

/** Reads dates; of neighbours with the same date only the first costs anything. */
export class DateReader {
  #years = 0;
  #monthsAndDays = 0;
  #day: number | undefined;

  /**
   * Days since 1970-01-01 of a date, years 0001 to 9999, which a time may follow, `HH:MM`, `HH:MM:SS` or with a fraction; undefined if there is
   * no such day or time.
   */
  read(bytes: Uint8Array, from: number, to: number): number | undefined {
    return to - from >= dateBytes && isTime(bytes, from + dateBytes, to) ? this.readDate(bytes, from) : undefined;
  }

  /** The same, of a date alone. */
  readDate(bytes: Uint8Array, at: number): number | undefined {
    if (bytes[at + 4] !== minus || bytes[at + 7] !== minus) return undefined;
    const years = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
    const monthsAndDays = (bytes[at + 5]! << 24) | (bytes[at + 6]! << 16) | (bytes[at + 8]! << 8) | bytes[at + 9]!;
    if (years !== this.#years || monthsAndDays !== this.#monthsAndDays) {
      this.#years = years;
      this.#monthsAndDays = monthsAndDays;
      this.#day = dayOf(
        twoDigits(bytes, at) * 100 + twoDigits(bytes, at + 2),
        twoDigits(bytes, at + 5),
        twoDigits(bytes, at + 8),
      );
    }
    return this.#day;
  }
}

function dayOf(year: number, month: number, day: number): number | undefined {
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const days = month === 2 && isLeap ? 29 : (monthDays[month - 1] ?? 0);
  return year >= 1 && day >= 1 && day <= days ? daysSinceEpoch(year, month, day) : undefined;
}

/** Hinnant's `days_from_civil`: years begin in March, so that the leap day is the last; 153 days are any five months from March on. */
function daysSinceEpoch(year: number, month: number, day: number): number {
  const marchYear = month > 2 ? year : year - 1;
  const marchMonth = (month + 9) % 12;
  const leapDays = Math.floor(marchYear / 4) - Math.floor(marchYear / 100) + Math.floor(marchYear / 400);
  return 365 * marchYear + leapDays + Math.floor((153 * marchMonth + 2) / 5) + day - 1 - 719_468;
}

function isTime(bytes: Uint8Array, from: number, to: number): boolean {
  return to === from || timeEnd(bytes, from) === to || timePattern.test(textOf(bytes, from, to));
}

/** Where ` HH:MM:SS` ends that begins here; `at` itself if there is none. */
export function timeEnd(bytes: Uint8Array, at: number): number {
  if (bytes[at] !== space || bytes[at + 3] !== colon || bytes[at + 6] !== colon) return at;
  const hours = isDigitUpTo(2, bytes[at + 1]!) && isDigitUpTo(bytes[at + 1] === two ? 3 : 9, bytes[at + 2]!);
  const minutes = isDigitUpTo(5, bytes[at + 4]!) && isDigitUpTo(9, bytes[at + 5]!);
  const seconds = isDigitUpTo(5, bytes[at + 7]!) && isDigitUpTo(9, bytes[at + 8]!);
  return hours && minutes && seconds ? at + timeBytes : at;
}

function isDigitUpTo(most: number, byte: number): boolean {
  return (byte - zero) >>> 0 <= most;
}

/** The number; undefined if it is none, or not finite. */
export function readNumber(bytes: Uint8Array, from: number, to: number): number | undefined {
  const text = textOf(bytes, from, to);
  if (text.length > textBytesMax || !numberPattern.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

/** Bytes of a year. */
export const yearBytes = 4;

/** A year of four digits; undefined if it is none. */
export function readYear(bytes: Uint8Array, from: number, to: number): number | undefined {
  const year = twoDigits(bytes, from) * 100 + twoDigits(bytes, from + 2);
  return to - from === yearBytes && year >= 0 ? year : undefined;
}

const secondsMax = 2 ** 31;
const microsPerSecond = 1_000_000;

/** Seconds and microseconds of a duration in seconds, rounded to the microsecond; undefined if it is no number, or not within 2^31 seconds. */
export function readDuration(bytes: Uint8Array, from: number, to: number): { seconds: number; micros: number } | undefined {
  const value = readNumber(bytes, from, to);
  if (value === undefined) return undefined;
  const allMicros = Math.round(value * microsPerSecond);
  const seconds = Math.floor(allMicros / microsPerSecond);
  const fits = seconds >= -secondsMax && seconds < secondsMax;
  return fits ? { seconds, micros: allMicros - seconds * microsPerSecond } : undefined;
}
