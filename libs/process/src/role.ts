/**
 * One part of a system: an entry point, a filter, a solver. It gets its collaborators when it is made and does
 * nothing before `start`; who hosts it (a process of its own, a demo with all roles, a simulation) is not its business.
 */
export interface Role {
  /** Resolves when the role takes work. */
  start(): Promise<void>;
  /** Takes no new work, ends the work in hand, resolves. Called at most once, after `start` has resolved or rejected. */
  stop(): Promise<void>;
  /** Rejects when the role cannot go on (never resolves otherwise): its host stops it and exits with an error. */
  readonly failed?: Promise<never>;
}
