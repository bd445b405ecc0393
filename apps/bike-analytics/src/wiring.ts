/** Which role is made of what. The only place that knows every role, and the same for every host: a process, the demo, a simulation. */
import type { Role } from '@lab/process';
import { filters, queries } from './domain/queries.ts';
import { topics } from './domain/terms.ts';
import type { replicaSettings, SystemConfig } from './config.ts';
import { brokerRole } from './roles/broker.ts';
import { EntryPointRole, type EntryPointParts } from './roles/entry-point.ts';
import { eofListenerRole, eofListenerGates, eofTripsListenerGates } from './roles/eof-listeners.ts';
import { filterRole } from './roles/filter.ts';
import type { RoleParts, SessionParts } from './roles/stages.ts';
import { solverRole } from './roles/solver.ts';
import { TripsSolverRole } from './roles/trips-solver.ts';
import { beatsPerTimeout, encode } from './messages.ts';
import { queueOf, sessionExchange, topology } from './topology.ts';

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
const batchesMaxDefault = 60_000;

const sessionParts = (host: Host, config: SystemConfig): SessionParts => ({
  ...host,
  instance: host.newInstance(),
  // Two beats longer than the entry point waits: who is renewed on its last beat is still here.
  leaseMs: config.sessionTimeout * (1 + 2 / beatsPerTimeout),
  exchange: sessionExchange,
  tellKeeper: (session) => host.broker.publish({ routingKey: queueOf.answers, body: encode({ kind: 'lapsed', session }) }),
});

function entryPoint(host: Host, config: SystemConfig): Role {
  const { tripsSolvers: shards, sessionTimeout, windowBytes, sessionsMax, batchesMax = batchesMaxDefault } = config;
  const limits = { windowBytes, batchesMax, sessionsMax };
  return new EntryPointRole({ ...host, instance: host.newInstance(), shards, sessionTimeoutMs: sessionTimeout, limits });
}

const row = (name: string, replicas: Row['replicas'], make: Row['make']): [string, Row] => [name, { replicas, make }];

/** Every role by name, the last stage first: who starts them in this order has someone at each queue before it fills. */
export const roles: ReadonlyMap<string, Row> = new Map([
  ...queries.map((query) => row(`solver-${query.number}`, 'solvers', (...host) => solverRole(sessionParts(...host), query))),
  ...queries.map((query) =>
    row(`trips-solver-${query.number}`, 'tripsSolvers', (host, config) => {
      return new TripsSolverRole(sessionParts(host, config), query, config.tripsSolvers);
    }),
  ),
  row('eof-trips-listener', 'eofTripsListeners', (...host) => eofListenerRole(sessionParts(...host), eofTripsListenerGates)),
  row('eof-listener', 'eofListeners', (...host) => eofListenerRole(sessionParts(...host), eofListenerGates)),
  ...filters.map((filter) => row(`filter-${filter.name}`, 'filters', (host) => filterRole(host, filter))),
  ...topics.map((topic) => row(`broker-${topic}`, 'brokers', (host) => brokerRole(host, topic))),
  row('entry-point', 'entryPoints', entryPoint),
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
