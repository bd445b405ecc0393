/** What a peer may cost us. Every field has a default; a value out of range is a `RangeError` that names field, value and range. */
export interface Limits {
  /** Largest payload, sent or received: an integer from 1 to 2^32 - 1 bytes. Default 16 MiB. */
  frameBytesMax: number;
  /** Largest payload received, where it is not that which may be sent: as a server has, whose replies are larger than what it is asked. */
  receivedBytesMax: number;
  /**
   * Most bytes that wait on either side of us: received and not yet read by us (above, the socket is paused), and sent but not yet taken by the
   * kernel (above, `send` waits). One frame may go over, and one piece of the stream (64 KiB as a rule). An integer from 1 byte on; default 1 MiB.
   */
  bufferedBytesMax: number;
  /** Longest silence of a peer while we wait for it. Time in which we do not read does not count. 10 ms on, `Infinity` for none; default 60 s. */
  idleTimeoutMs: number;
  /** Longest time from a frame's first byte to its last while we read. 10 ms on, `Infinity` for none; default 30 s. */
  frameTimeoutMs: number;
  /** Longest time in which a peer takes none of what waits to be sent. 10 ms on, `Infinity` for none; default 30 s. */
  sendTimeoutMs: number;
  /** How long `close` waits for the peer to take the rest and to close too. 10 ms on, finite; default 5 s. */
  closeTimeoutMs: number;
}

const defaults: Omit<Limits, 'receivedBytesMax'> = {
  frameBytesMax: 16 * 1024 * 1024,
  bufferedBytesMax: 1024 * 1024,
  idleTimeoutMs: 60_000,
  frameTimeoutMs: 30_000,
  sendTimeoutMs: 30_000,
  closeTimeoutMs: 5_000,
};

/** Below this a machine's ordinary hiccups would count as a peer's fault. */
const timeoutMsMin = 10;

/** The longest time that a timer of Node can wait, 24.8 days; it takes a longer one for 1 ms. */
export const timerMsMax = 2 ** 31 - 1;

/** The limits with defaults filled in. */
export function withDefaults(limits: Partial<Limits> = {}): Limits {
  const some = { ...defaults, ...limits };
  const all = { ...some, receivedBytesMax: limits.receivedBytesMax ?? some.frameBytesMax };
  for (const field of ['frameBytesMax', 'receivedBytesMax'] as const) checkInteger(field, all[field], 1, 2 ** 32 - 1);
  checkInteger('bufferedBytesMax', all.bufferedBytesMax, 1, Number.MAX_SAFE_INTEGER);
  for (const field of ['idleTimeoutMs', 'frameTimeoutMs', 'sendTimeoutMs'] as const)
    checkRange(field, all[field], timeoutMsMin, Infinity);
  checkRange('closeTimeoutMs', all.closeTimeoutMs, timeoutMsMin, timerMsMax);
  return all;
}

/** Throws a `RangeError` unless the value is in the range, its ends included. */
export function checkRange(field: string, value: number, min: number, max: number): void {
  if (!(value >= min && value <= max)) throw new RangeError(`${field} is ${value}; it must be from ${min} to ${max}`);
}

/** The same for whole numbers. */
export function checkInteger(field: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value)) throw new RangeError(`${field} is ${value}; it must be a whole number from ${min} to ${max}`);
  checkRange(field, value, min, max);
}

/** A time as an error says it: what is left of a deadline has many digits, and none of them helps. */
export const wholeMs = (ms: number): string => `${Math.max(0, Math.ceil(ms))} ms`;
