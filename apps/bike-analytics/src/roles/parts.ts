import { Held, Leases, type Broker } from '@lab/middleware';
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

/** What a role holds of each session: parts by name, each acknowledged together. Sessions are leases, which the entry point keeps. */
export class Sessions<State> extends Leases<Map<string, Held<State>>> {
  readonly #make: (part: string) => State;

  constructor(parts: SessionParts, make: (part: string) => State) {
    super(
      parts,
      () => new Map(),
      (held) => held.forEach((part) => part.settle()),
    );
    this.#make = make;
  }

  /** The part, made when it is new. */
  part(session: string, name: string): Held<State> {
    const held = this.of(session);
    const part = held.get(name) ?? new Held(this.#make(name));
    held.set(name, part);
    return part;
  }
}
