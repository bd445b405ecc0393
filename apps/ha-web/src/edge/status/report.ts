/** What is known of the whole system at one moment, as the status page shows it and `GET /status.json` gives it. */
import type { AgentStatus } from '../../database/domain/agent-status.ts';

export interface StatusReport {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** The balancer that looked. */
  readonly observer: string;
  /** As the settings name them, whether they answer or not. So for databases and ZooKeeper's servers. */
  readonly balancers: readonly BalancerReport[];
  /** As the observer's HAProxy has them; empty while it does not answer. By name. */
  readonly servers: readonly ServerReport[];
  readonly databases: readonly DatabaseReport[];
  readonly zookeeper: readonly ZookeeperReport[];
  /** What changed, newest first, at most 100: as this observer saw it, and as the databases' agents tell it. */
  readonly events: readonly StatusEvent[];
}

/** What a balancer knows of itself: `GET /local.json`. */
export interface BalancerState {
  /** Holds the floating address. */
  readonly active: boolean;
  /** HAProxy answers. */
  readonly haproxy: boolean;
}

export interface BalancerReport {
  readonly name: string;
  /** URL of its status page. */
  readonly page: string;
  /** Undefined when it does not answer. */
  readonly state: BalancerState | undefined;
}

export interface ServerReport {
  /** As it is announced. */
  readonly name: string;
  readonly service: 'web-servers' | 'api-servers';
  readonly address: string;
  readonly state: 'up' | 'down' | 'draining' | 'maintenance';
}

export interface DatabaseReport {
  readonly name: string;
  /** Undefined when its agent does not answer. */
  readonly status: AgentStatus | undefined;
}

export interface ZookeeperReport {
  readonly server: string;
  /** Undefined when it does not answer, or serves no clients as there is no majority. */
  readonly mode: 'leader' | 'follower' | 'standalone' | undefined;
}

export interface StatusEvent {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly text: string;
}

export type Topology = Omit<StatusReport, 'events'>;

/** Most that is shown, and kept. */
export const eventsMax = 100;

/** What has changed from one look to the next, in words. */
export function changesBetween(before: Topology, after: Topology): string[] {
  return [
    ...different(before.balancers, after.balancers, ({ name }) => name, balancerWords),
    ...different(before.servers, after.servers, serverName, serverWords),
    ...different(before.databases, after.databases, ({ name }) => name, databaseWords),
    ...different(before.zookeeper, after.zookeeper, ({ server }) => server, zookeeperWords),
  ];
}

function different<T>(
  before: readonly T[],
  after: readonly T[],
  nameOf: (thing: T) => string,
  wordsOf: (thing: T) => string,
): string[] {
  const then = new Map(before.map((thing) => [nameOf(thing), wordsOf(thing)]));
  const now = new Map(after.map((thing) => [nameOf(thing), wordsOf(thing)]));
  const changed = [...now].filter(([name, words]) => then.get(name) !== words).map(([name, words]) => `${name} ${words}`);
  return [...changed, ...[...then.keys()].filter((name) => !now.has(name)).map((name) => `${name} has left`)];
}

export const serverName = ({ name, service }: ServerReport): string => `${name} (${service === 'api-servers' ? 'API' : 'pages'})`;

export const serverWords = ({ state }: ServerReport): string => (state === 'maintenance' ? 'is in maintenance' : `is ${state}`);

export function balancerWords({ state }: BalancerReport): string {
  if (state === undefined) return 'does not answer';
  return `${state.active ? 'is active' : 'is passive'}${state.haproxy ? '' : ', without HAProxy'}`;
}

export function databaseWords({ status }: DatabaseReport): string {
  return status === undefined ? 'does not answer' : `is ${status.role}`;
}

export function zookeeperWords({ mode }: ZookeeperReport): string {
  return mode === undefined ? 'does not serve' : `is ${mode}`;
}

/** The events of all agents and the observer's own, newest first. An agent is another machine's: it may be of a version that tells none. */
export function mergeEvents(own: readonly StatusEvent[], databases: readonly DatabaseReport[]): StatusEvent[] {
  const eventsOf = (status: Partial<AgentStatus> | undefined): readonly StatusEvent[] => status?.events ?? [];
  const told = databases.flatMap(({ name, status }) => eventsOf(status).map(({ at, text }) => ({ at, text: `${name} ${text}` })));
  return [...own, ...told].sort((a, b) => b.at - a.at).slice(0, eventsMax);
}
