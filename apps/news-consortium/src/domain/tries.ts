/** How long a name waits after wrong passwords. Failures count, not tries, and each one more makes the wait twice as long. */

/** So many wrong passwords cost nothing: people mistype. */
export const freeFailures = 5;
/** From all addresses together, but for those where the user has been. */
export const freeFailuresOfAll = 50;
const firstMs = 1_000;
const mostMs = 300_000;

/** Since the last failure, in ms. */
export function waitAfter(failures: number, free = freeFailures): number {
  return failures < free ? 0 : Math.min(mostMs, firstMs * 2 ** (failures - free));
}
