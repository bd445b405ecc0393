/** Looks at the whole system twice a second: balancers, servers, databases, ZooKeeper. It asks them directly, and needs none of them. */
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Clock, Role } from '@lab/process';
import type { AgentStatus } from '../../database/domain/agent-status.ts';
import type { RuntimeApi } from '../haproxy.ts';
import type { HeldServer } from '../domain/reconcile.ts';
import { askJson, keepLooking } from '../../looking.ts';
import { interfaceOf } from '../../operate/machine/template.ts';
import {
  changesBetween,
  eventsMax,
  mergeEvents,
  type BalancerState,
  type ServerReport,
  type StatusEvent,
  type StatusReport,
  type Topology,
  type ZookeeperReport,
} from './report.ts';

/** A machine and where it is asked. */
export interface Asked {
  readonly name: string;
  /** `HOST:PORT`. */
  readonly at: string;
}

export interface ObserverParts {
  readonly name: string;
  readonly floatingAddress: string;
  readonly balancers: readonly Asked[];
  readonly databases: readonly Asked[];
  /** `HOST:PORT` each. */
  readonly zookeeper: readonly string[];
  readonly haproxy: Pick<RuntimeApi, 'servers'>;
  readonly clock: Clock;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
}

const lookMs = 500;
/** Who takes longer does not answer. Looks that would come meanwhile are left out. */
const answerMs = 800;

export class Observer implements Role {
  readonly #parts: ObserverParts;
  #events: StatusEvent[] = [];
  #topology: Topology | undefined;
  #stopLooking = async (): Promise<void> => undefined;

  constructor(parts: ObserverParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    await this.#look();
    this.#stopLooking = keepLooking(this.#parts.clock, lookMs, () => this.#look());
  }

  stop(): Promise<void> {
    return this.#stopLooking();
  }

  /** From its start on. */
  get report(): StatusReport {
    const topology = this.#topology!;
    return { ...topology, events: mergeEvents(this.#events, topology.databases) };
  }

  /** What this balancer knows of itself, now. */
  async local(): Promise<BalancerState> {
    const active = interfaceOf(this.#parts.floatingAddress, networkInterfaces()) !== undefined;
    return { active, haproxy: (await this.#heldServers()) !== undefined };
  }

  async #look(): Promise<void> {
    const after = await this.#observe();
    const { at } = after;
    const texts = this.#topology === undefined ? [`${after.observer} began to look`] : changesBetween(this.#topology, after);
    this.#events = [...texts.map((text) => ({ at, text })), ...this.#events].slice(0, eventsMax);
    this.#topology = after;
  }

  async #observe(): Promise<Topology> {
    const { name, balancers, databases, zookeeper, nowMs } = this.#parts;
    const [held, states, statuses, modes] = await Promise.all([
      this.#heldServers(),
      Promise.all(
        balancers.map((each) =>
          each.name === name ? this.local() : askJson<BalancerState>(`http://${each.at}/local.json`, answerMs),
        ),
      ),
      Promise.all(databases.map((each) => askJson<AgentStatus>(`http://${each.at}/status`, answerMs))),
      Promise.all(zookeeper.map(modeOf)),
    ]);
    return {
      at: nowMs(),
      observer: name,
      balancers: balancers.map((each, index) => ({ name: each.name, page: `http://${each.at}/`, state: states[index] })),
      servers: (held ?? []).map(serverReport).sort((a, b) => (`${a.name} ${a.service}` < `${b.name} ${b.service}` ? -1 : 1)),
      databases: databases.map((each, index) => ({ name: each.name, status: statuses[index] })),
      zookeeper: zookeeper.map((server, index) => ({ server, mode: modes[index] })),
    };
  }

  #heldServers(): Promise<HeldServer[] | undefined> {
    return this.#parts.haproxy.servers().catch(() => undefined);
  }
}

function serverReport({ backend, name, address, port, state, draining }: HeldServer): ServerReport {
  return {
    // Without the sequence that lb-sync has put behind it.
    name: name.replace(/\.\d+$/, ''),
    service: backend === 'api-servers' ? 'api-servers' : 'web-servers',
    address: `${address}:${port}`,
    state: state === 'down' && draining ? 'draining' : state,
  };
}

/** By ZooKeeper's `srvr`, which only a server that serves clients answers with a mode. */
async function modeOf(server: string): Promise<ZookeeperReport['mode']> {
  const [host = '', port] = server.split(':');
  const socket = connect({ host, port: Number(port) }).setEncoding('utf8');
  const timer = setTimeout(() => socket.destroy(), answerMs);
  socket.end('srvr');
  let said = '';
  try {
    for await (const part of socket) said += part as string;
  } catch {
    // It does not serve.
  } finally {
    clearTimeout(timer);
  }
  return /^Mode: (leader|follower|standalone)$/m.exec(said)?.[1] as ZookeeperReport['mode'];
}
