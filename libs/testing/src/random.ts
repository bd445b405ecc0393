/** A sequence of chances that its seed fixes. Not for secrets. */
export interface Random {
  /** From 0 up to, but not including, 1. */
  next(): number;
  /** A whole number from `min` to `max`, both included; they span 2^32 values at the most. */
  integer(min: number, max: number): number;
  /** One of the items; there must be one. */
  pick<T>(items: readonly T[]): T;
  /** The items in another order, each order as likely as any. The given list stays as it is. */
  shuffle<T>(items: readonly T[]): T[];
  /** True with this probability, 0 to 1. */
  chance(probability: number): boolean;
  /**
   * A sequence of its own, fixed by this one's seed and the label, whatever was drawn before: so that one part's use of chance does not change
   * another's.
   */
  fork(label: string): Random;
}

/**
 * Mulberry32 by Tommy Ettinger (gist.github.com/tommyettinger/46a874533244883189143505d203312c): 32 bits of state, two multiplications a
 * number. It is not equidistributed (some of the 2^32 values never come), which matters to statistics, not to choosing faults.
 * The seed is a whole number; its lower 32 bits count.
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const integer = (min: number, max: number): number => {
    if (!(max >= min)) throw new RangeError(`there is no whole number from ${min} to ${max}`);
    return min + Math.floor(next() * (max - min + 1));
  };
  return {
    next,
    integer,
    pick(items) {
      if (items.length === 0) throw new RangeError('there is nothing to pick from');
      return items[integer(0, items.length - 1)]!;
    },
    shuffle: (items) => shuffled(items, integer),
    chance: (probability) => next() < probability,
    fork: (label) => seededRandom(hash(`${seed} ${label}`)),
  };
}

/** Fisher and Yates, in Durstenfeld's form. */
function shuffled<T>(items: readonly T[], integer: (min: number, max: number) => number): T[] {
  const order = [...items];
  for (let last = order.length - 1; last > 0; last--) {
    const other = integer(0, last);
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}

/** FNV-1a, 32 bits, over UTF-16 units. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  return value >>> 0;
}
