export { Barrier } from './barrier.ts';
export { Held, heldMax, isSpareCopy } from './held.ts';
export { consumeAlone, type PatternParts } from './alone.ts';
export { Seats, type SeatsOptions } from './seats.ts';
export { followLeases, Leases, tellHolders, type FollowOptions } from './leases.ts';
