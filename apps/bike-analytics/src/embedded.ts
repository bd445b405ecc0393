/**
 * The whole system in one process: every role on its own connection to the memory broker. The demo, the simulation and the bench use it;
 * the roles, the barriers and the port are those of the containers.
 */
import { randomUUID } from 'node:crypto';
import { makeMemoryServer, type Broker } from '@lab/middleware';
import { makeLogger, systemClock, type Clock, type Logger, type Role } from '@lab/process';
import { listenFramed, type FramedServer } from '@lab/protocol';
import { entryPointLimits, type SystemConfig } from './config.ts';
import type { EntryPointParts } from './roles/entry-point.ts';
import { roles, wire } from './wiring.ts';

export interface EmbeddedParts {
  config: SystemConfig;
  clock: Clock;
  log: Logger;
  listen: EntryPointParts['listen'];
  newInstance(): string;
  /** A connection of its own for one role. */
  connect: (role: string) => Broker;
}

/** One running instance of a role. */
interface Instance {
  name: string;
  role: Role;
  broker: Broker;
  rows: number;
}

export class EmbeddedSystem {
  readonly #parts: EmbeddedParts;
  readonly #instances: Instance[] = [];

  constructor(parts: EmbeddedParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    for (const [name, { replicas }] of roles) {
      for (let replica = 0; replica < replicas(this.#parts.config); replica++) await this.startInstance(name);
    }
  }

  /** Starts one more instance of a role. */
  async startInstance(name: string): Promise<void> {
    const { config, connect, ...host } = this.#parts;
    const broker = connect(name);
    const countRows = (rows: number): void => void (instance.rows += rows);
    const role = wire(name, { ...host, broker, countRows }, config);
    const instance: Instance = { name, role, broker, rows: 0 };
    this.#instances.push(instance);
    role.failed?.catch((error: unknown) => this.#parts.log.error({ role: name, err: error }, 'role failed'));
    try {
      await role.start();
    } catch (error) {
      // It died before it was there: whoever took it out knows.
      if (this.#instances.includes(instance)) throw error;
    }
  }

  /** Takes an instance out as a crash would, without stopping its role; says what died. */
  abandon(index: number): { name: string; broker: Broker } | undefined {
    return this.#instances.splice(index, 1)[0];
  }

  /** The names of the running instances, in the order in which they started. */
  get instances(): readonly string[] {
    return this.#instances.map((instance) => instance.name);
  }

  /** Rows that each instance has worked on, by role. */
  rows(): Map<string, number[]> {
    const groups = Map.groupBy(this.#instances, (instance) => instance.name);
    return new Map([...groups].map(([name, instances]) => [name, instances.map((instance) => instance.rows)]));
  }

  async stop(): Promise<void> {
    for (const instance of this.#instances.reverse()) {
      await instance.role.stop();
      await instance.broker.close();
    }
  }
}

/** Starts the system on the host's clock, with its entry point at a free port of this machine. */
export async function startEmbedded(config: SystemConfig): Promise<{ system: EmbeddedSystem; port: number }> {
  const server = makeMemoryServer();
  let door: FramedServer | undefined;
  const system = new EmbeddedSystem({
    config,
    clock: systemClock,
    log: makeLogger({ name: 'demo', level: 'warn' }),
    newInstance: randomUUID,
    connect: () => server.connect(),
    listen: async (serve) =>
      (door = await listenFramed({ host: '127.0.0.1', port: 0, limits: entryPointLimits(config.sessionTimeout) }, serve)),
  });
  await system.start();
  return { system, port: door!.port };
}
