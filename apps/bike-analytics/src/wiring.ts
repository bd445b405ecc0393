/** Which role is made of what. The only place that knows every role, and the same for every host: a process, the demo, a simulation. */
import type { Role } from '@lab/process';
import { filterNames, queries, topics, type FilterName, type Query, type Topic } from './domain/terms.ts';
import type { SystemConfig } from './config.ts';
import { brokerRole } from './roles/broker.ts';
import { EntryPointRole, beatsPerTimeout, type EntryPointParts } from './roles/entry-point.ts';
import { eofListenerRole, eofListenerGates, eofTripsListenerGates } from './roles/eof-listeners.ts';
import { filterRole } from './roles/filter.ts';
import type { RoleParts } from './roles/stages.ts';
import { solverRole } from './roles/solver.ts';
import { TripsSolverRole } from './roles/trips-solver.ts';
import { topology } from './topology.ts';

/** What a host gives to every role. */
export interface Host extends RoleParts {
  /** A name that no other instance has. */
  newInstance(): string;
  /** Only the entry point listens. */
  listen: EntryPointParts['listen'];
}

type Make = (host: Host, config: SystemConfig) => Role;

/** Deliveries that one consumer may hold are 65,535; ends, and redeliveries under way, take a little of that. */
const batchesMax = 60_000;

const sessionParts = (host: Host, config: SystemConfig) => ({
  ...host,
  instance: host.newInstance(),
  // Two beats longer than the entry point waits: who is renewed on its last beat is still here.
  leaseMs: config.sessionTimeout * (1 + 2 / beatsPerTimeout),
});

const makeEntryPoint: Make = (host, { tripsSolvers, sessionTimeout, windowBytes, sessionsMax }) =>
  new EntryPointRole({
    ...host,
    shards: tripsSolvers,
    sessionTimeoutMs: sessionTimeout,
    limits: { windowBytes, batchesMax, sessionsMax },
  });

const makeBroker =
  (topic: Topic): Make =>
  (host) =>
    brokerRole(host, topic);
const makeFilter =
  (filter: FilterName): Make =>
  (host) =>
    filterRole(host, filter);
const makeTripsSolver =
  (query: Query): Make =>
  (host, config) =>
    new TripsSolverRole(sessionParts(host, config), query, config.tripsSolvers);
const makeSolver =
  (query: Query): Make =>
  (host, config) =>
    solverRole(sessionParts(host, config), query);

/** Every role by name, the last stage first: who starts them in this order has someone at each queue before it fills. */
export const roles: ReadonlyMap<string, { make: Make; replicas: (config: SystemConfig) => number }> = new Map([
  ...queries.map((query) => [`solver-${query}`, { make: makeSolver(query), replicas: () => 1 }] as const),
  ...queries.map(
    (query) =>
      [
        `trips-solver-${query}`,
        { make: makeTripsSolver(query), replicas: (config: SystemConfig) => config.tripsSolvers },
      ] as const,
  ),
  [
    'eof-trips-listener',
    { make: (host, config) => eofListenerRole(sessionParts(host, config), eofTripsListenerGates), replicas: () => 1 },
  ],
  ['eof-listener', { make: (host, config) => eofListenerRole(sessionParts(host, config), eofListenerGates), replicas: () => 1 }],
  ...filterNames.map(
    (filter) => [`filter-${filter}`, { make: makeFilter(filter), replicas: (config: SystemConfig) => config.filters }] as const,
  ),
  ...topics.map(
    (topic) => [`broker-${topic}`, { make: makeBroker(topic), replicas: (config: SystemConfig) => config.brokers }] as const,
  ),
  ['entry-point', { make: makeEntryPoint, replicas: () => 1 }],
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
