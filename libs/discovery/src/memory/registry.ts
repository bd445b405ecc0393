/** A registry in this process, for demos, tests and simulations: time is its clock's, chance has no part in it. */
import type { Clock } from '@lab/process/time';
import type { Discovery } from '../port.ts';
import { MemoryConnection } from './connection.ts';
import { RegistryState } from './state.ts';

export interface MemoryRegistryOptions {
  clock: Pick<Clock, 'after'>;
  /** How long a session lasts without contact. Calls wait twice as long for contact before they fail with `UnavailableError`. */
  sessionTimeoutMs: number;
}

/** The registry as its processes' fate sees it. What is done to one of them does nothing to the others. */
export interface MemoryRegistry {
  /** What another process would get. */
  connect(): Discovery;
  /** Nothing passes from now on: calls wait, and after the session's timeout the session is lost. */
  cut(discovery: Discovery): void;
  /** Ends a cut: what waits goes on, and if the session was lost a new one begins. */
  heal(discovery: Discovery): void;
  /** What a SIGKILL is: the registry notices after the session's timeout, and of what the process waits for nothing settles anymore. */
  crash(discovery: Discovery): void;
}

export function makeMemoryRegistry({ clock, sessionTimeoutMs }: MemoryRegistryOptions): MemoryRegistry {
  if (!(sessionTimeoutMs > 0))
    throw new RangeError(`makeMemoryRegistry: sessionTimeoutMs must be positive, not ${sessionTimeoutMs}`);
  const state = new RegistryState();
  const connections = new WeakMap<Discovery, MemoryConnection>();
  const own = (discovery: Discovery): MemoryConnection => {
    const connection = connections.get(discovery);
    if (connection === undefined) throw new RangeError('this discovery was not connected to this registry');
    return connection;
  };
  return {
    connect() {
      const connection = new MemoryConnection({ state, clock, sessionTimeoutMs });
      connections.set(connection, connection);
      return connection;
    },
    cut: (discovery) => own(discovery).cut(),
    heal: (discovery) => own(discovery).heal(),
    crash: (discovery) => own(discovery).crash(),
  };
}
