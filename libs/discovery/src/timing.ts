/** How the limits of both adapters follow from the one number that a user chooses. All in ms. */

/**
 * When a process must take its leaderships for lost, counted from when it sent what the registry answered last. The registry counts the whole timeout, but what it goes
 * by may be one sign of life older (`beatMs`); the rest is for clocks that run differently and for timers that run late.
 */
export const fenceMs = (sessionTimeoutMs: number): number => (sessionTimeoutMs * 3) / 4;

/** How often a sign of life is given. */
export const beatMs = (sessionTimeoutMs: number): number => sessionTimeoutMs / 6;

/**
 * How long one request may wait for its answer before the server is given up for another. A server that hangs is so noticed after half the timeout, and two more can be
 * tried before the session is lost.
 */
export const answerMs = (sessionTimeoutMs: number): number => Math.round(sessionTimeoutMs / 3);

/** How long a call is tried before it fails with `UnavailableError`: as long as the old session may last, and as long again for what follows. */
export const callMs = (sessionTimeoutMs: number): number => sessionTimeoutMs * 2;
