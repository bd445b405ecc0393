/** Which role is made of what. The only place that knows every role, and the same for every host: a process, the demo, a simulation. */
import type { Role } from '@lab/process';
import { filters, queries, type Filter } from './domain/queries.ts';
import type { AnyQuery } from './domain/query.ts';
import { topics, type Topic } from './domain/terms.ts';
import type { replicaSettings, SystemConfig } from './config.ts';
import { brokerRole } from './roles/broker.ts';
import { EntryPointRole, type EntryPointParts } from './roles/entry-point.ts';
import { eofListenerRole, eofListenerGates, eofTripsListenerGates, type Gate } from './roles/eof-listeners.ts';
import { filterRole } from './roles/filter.ts';
import type { RoleParts, SessionParts } from './roles/stages.ts';
import { solverRole } from './roles/solver.ts';
import { TripsSolverRole } from './roles/trips-solver.ts';
import { beatsPerTimeout } from './messages.ts';
import { topology } from './topology.ts';

/** What a host gives to every role. */
export interface Host extends RoleParts {
  /** A name that no other instance has. */
  newInstance(): string;
  /** Only the entry point listens. */
  listen: EntryPointParts['listen'];
}

interface Row {
  make(host: Host, config: SystemConfig): Role;
  /** The setting that says how many there are. */
  replicas: keyof typeof replicaSettings;
}

/** Deliveries that one consumer may hold are 65,535; ends, and redeliveries under way, take a little of that. */
const batchesMax = 60_000;

const sessionParts = (host: Host, config: SystemConfig): SessionParts => ({
  ...host,
  instance: host.newInstance(),
  // Two beats longer than the entry point waits: who is renewed on its last beat is still here.
  leaseMs: config.sessionTimeout * (1 + 2 / beatsPerTimeout),
});

function makeEntryPoint(host: Host, { tripsSolvers, sessionTimeout, windowBytes, sessionsMax }: SystemConfig): Role {
  const limits = { windowBytes, batchesMax, sessionsMax };
  return new EntryPointRole({
    ...host,
    instance: host.newInstance(),
    shards: tripsSolvers,
    sessionTimeoutMs: sessionTimeout,
    limits,
  });
}

const solver = (query: AnyQuery): Row => ({
  make: (host, config) => solverRole(sessionParts(host, config), query),
  replicas: 'solvers',
});
const tripsSolver = (query: AnyQuery): Row => ({
  make: (host, config) => new TripsSolverRole(sessionParts(host, config), query, config.tripsSolvers),
  replicas: 'tripsSolvers',
});
const eofListener = (gates: readonly Gate[], replicas: Row['replicas']): Row => ({
  make: (host, config) => eofListenerRole(sessionParts(host, config), gates),
  replicas,
});
const filterOf = (filter: Filter): Row => ({
  make: (host) => filterRole(host, filter),
  replicas: 'filters',
});
const broker = (topic: Topic): Row => ({
  make: (host) => brokerRole(host, topic),
  replicas: 'brokers',
});

/** Every role by name, the last stage first: who starts them in this order has someone at each queue before it fills. */
export const roles: ReadonlyMap<string, Row> = new Map([
  ...queries.map((query) => [`solver-${query.number}`, solver(query)] as const),
  ...queries.map((query) => [`trips-solver-${query.number}`, tripsSolver(query)] as const),
  ['eof-trips-listener', eofListener(eofTripsListenerGates, 'eofTripsListeners')],
  ['eof-listener', eofListener(eofListenerGates, 'eofListeners')],
  ...filters.map((filter) => [`filter-${filter.name}`, filterOf(filter)] as const),
  ...topics.map((topic) => [`broker-${topic}`, broker(topic)] as const),
  ['entry-point', { make: makeEntryPoint, replicas: 'entryPoints' }],
]);

/** A role that declares the system's topology before it starts: whoever comes first makes it, for the others it is there. */
export function wire(name: string, host: Host, config: SystemConfig): Role {
  const entry = roles.get(name);
  if (entry === undefined) throw new RangeError(`no role is called "${name}"; there are ${[...roles.keys()].join(', ')}`);
  const role = entry.make(host, config);
  return {
    async start() {
      await host.broker.declare(topology(config.tripsSolvers));
      await role.start();
    },
    stop: () => role.stop(),
    ...(role.failed === undefined ? {} : { failed: role.failed }),
  };
}
