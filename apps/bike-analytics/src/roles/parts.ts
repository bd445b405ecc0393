import type { Broker } from '@lab/middleware';
import type { Clock, Logger } from '@lab/process';

/** What every role is given: its connection to the broker, time, a log, and the meter of its rows. */
export interface RoleParts {
  broker: Broker;
  clock: Clock;
  log: Logger;
  /** Counts rows that this role has worked on (a trips-solver: trips); shown as `bike_rows_total` on /metrics. */
  countRows(rows: number): void;
}

/** What a role that keeps sessions is given besides. */
export interface SessionParts extends RoleParts {
  /** Names this instance among its like, so that its own queue has a name; new at every start. */
  instance: string;
  /** After so long without news of a session it is forgotten. */
  leaseMs: number;
}
