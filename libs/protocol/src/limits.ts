/** What a peer may cost us. Every field has a default; a value out of range is an error that names it. */
export interface Limits {
  /** Largest payload, sent or received: 1 to 2^32 - 1 bytes. Default 16 MiB. */
  frameBytesMax: number;
  /** Most bytes received and not yet read by us; above, the socket is paused. One frame more may be in the making. At least 1; default 1 MiB. */
  bufferedBytesMax: number;
  /** Longest silence of a peer while we wait for it. Time in which we do not read does not count. Default 60 s; `Infinity` for none. */
  idleTimeoutMs: number;
  /** Longest time from a frame's first byte to its last while we read. Default 30 s. */
  frameTimeoutMs: number;
  /** Longest time in which a peer takes none of what we send. Default 30 s. */
  sendTimeoutMs: number;
  /** How long `close` waits for the peer to close too. Default 5 s. */
  closeTimeoutMs: number;
}

const defaults: Limits = {
  frameBytesMax: 16 * 1024 * 1024,
  bufferedBytesMax: 1024 * 1024,
  idleTimeoutMs: 60_000,
  frameTimeoutMs: 30_000,
  sendTimeoutMs: 30_000,
  closeTimeoutMs: 5_000,
};

/** Below this a machine's ordinary hiccups would count as a peer's fault. */
const timeoutMsMin = 10;

/** The limits with defaults filled in. Throws a `RangeError` that names field, value and range. */
export function withDefaults(limits: Partial<Limits> = {}): Limits {
  const all = { ...defaults, ...limits };
  for (const [field, value] of Object.entries(all)) {
    const [min, max] = field.endsWith('Ms')
      ? [timeoutMsMin, Infinity]
      : [1, field === 'frameBytesMax' ? 0xffff_ffff : Number.MAX_SAFE_INTEGER];
    if (!(value >= min && value <= max)) throw new RangeError(`${field} is ${value}; it must be from ${min} to ${max}`);
  }
  return all;
}
