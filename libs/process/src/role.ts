/**
 * One part of a system: an entry point, a filter, a solver. It gets its collaborators when it is made and does
 * nothing before `start`; who hosts it (a process of its own, a demo with all roles, a simulation) is not its business.
 */
export interface Role {
  /** Resolves when the role takes work. */
  start(): Promise<void>;
  /** Takes no new work, ends the work in hand, resolves. Called at most once, after `start` has resolved or rejected. */
  stop(): Promise<void>;
  /**
   * For a role whose `start` waits for others: called when the process has to end meanwhile. `start` then rejects at once with `StartGivenUp`, if it
   * still waits; what it waited for is left, and goes with the process.
   */
  interrupt?(): void;
  /** Whether what its users ask of it works at present; without it, from its start to its stop. Asked for by `/healthz`, often. */
  isHealthy?(): boolean;
  /** Rejects when the role cannot go on (never resolves otherwise): its host stops it and exits with an error. */
  readonly failed?: Promise<never>;
}

/** A role was asked to end before it had what it needs. No failure. */
export class StartGivenUp extends Error {
  override readonly name = 'StartGivenUp';
}
