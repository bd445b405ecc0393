/** A sequence of chances that its seed fixes. */
export interface Random {
  /** From 0 up to, but not including, 1. */
  next(): number;
  /** A whole number from `min` to `max`, both included. */
  integer(min: number, max: number): number;
  /** One of the items; there must be one. */
  pick<T>(items: readonly T[]): T;
  /** True once in `1 / probability` times. */
  chance(probability: number): boolean;
  /** A sequence of its own, so that one part's use of chance does not change another's. */
  fork(): Random;
}

/** Mulberry32 (Tommy Ettinger): 32 bits of state, passes the usual tests, plenty for choosing faults. Not for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const integer = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1));
  return {
    next,
    integer,
    pick: (items) => items[integer(0, items.length - 1)]!,
    chance: (probability) => next() < probability,
    fork: () => seededRandom(integer(0, 0xffffffff)),
  };
}
