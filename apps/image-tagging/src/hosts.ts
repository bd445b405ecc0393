/** Processes: one role on the real parts. */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { connectZookeeper, type Discovery } from '@lab/discovery';
import { makeLogGroup, makeSpreadGroup, type Group } from '@lab/group';
import { connectRabbitmq, type Broker } from '@lab/middleware';
import {
  ExitError,
  exitCodes,
  makeLogger,
  runProcess,
  systemClock,
  type HostedRole,
  type Logger,
  type Role,
  type RunOptions,
} from '@lab/process';
import { groupAddress, type ConfiguratorConfig, type RegistryConfig, type ServerConfig, type WorkerConfig } from './config.ts';
import { Registry } from 'prom-client';
import { PictureStore } from './store/picture-store.ts';
import { topologyOf } from './topology.ts';
import { makeRegistry, makeServer, makeWorker, type Host } from './wiring.ts';

type MemberSettings = Pick<RegistryConfig, 'group' | 'rabbitmqUrl' | 'zookeeper' | 'sessionTimeout' | 'name'>;

/** What a role needs of the world, connected in the order in which it is needed. */
class Connections {
  readonly #settings: MemberSettings;
  readonly #log: Logger;
  #broker: Broker | undefined;
  #discovery: Discovery | undefined;
  #group: Group | undefined;
  #store: PictureStore | undefined;

  constructor(settings: MemberSettings, log: Logger) {
    this.#settings = settings;
    this.#log = log;
  }

  /** In Spread's case the group needs neither RabbitMQ nor ZooKeeper; servers and workers need RabbitMQ for the jobs. */
  hosted(options: { broker: boolean }): HostedRole[] {
    const { rabbitmqUrl, zookeeper, sessionTimeout, group, name } = this.#settings;
    const log = this.#log;
    const { daemon } = groupAddress(group);
    const connect: Role = {
      start: async () => {
        if (options.broker || daemon === undefined) this.#broker = await connectRabbitmq({ url: rabbitmqUrl, log, name });
        if (daemon === undefined) {
          this.#discovery = await connectZookeeper({ servers: zookeeper, sessionTimeoutMs: sessionTimeout * 1_000, log });
          const newToken = (): string => randomUUID().slice(0, 13);
          this.#group = makeLogGroup({ broker: this.#broker!, discovery: this.#discovery, clock: systemClock, newToken, log });
        } else this.#group = makeSpreadGroup({ daemon, log });
      },
      stop: async () => {
        await this.#group?.close();
        await Promise.all([this.#discovery?.close(), this.#broker?.close()]);
      },
    };
    return [{ name: 'connections', role: connect }];
  }

  store(folder: string): HostedRole {
    return {
      name: 'store',
      role: {
        start: async () => {
          this.#store = await PictureStore.open(folder).catch((error: Error) => {
            throw new ExitError(`the store cannot be opened: ${error.message}`, exitCodes.failed, { cause: error });
          });
        },
        stop: async () => {},
      },
    };
  }

  get host(): Host {
    return { group: this.#group!, clock: systemClock, nowMs: Date.now, newId: randomUUID, log: this.#log };
  }

  get withStore(): Host & { store: PictureStore; broker: Broker } {
    return { ...this.host, store: this.#store!, broker: this.#broker! };
  }
}

function options({ healthPort }: Pick<RegistryConfig, 'healthPort'>, log: Logger): RunOptions {
  return { log, ...(healthPort !== undefined && { health: { port: healthPort, registry: new Registry() } }) };
}

export async function runRegistry(settings: RegistryConfig): Promise<number> {
  const log = makeLogger({ name: settings.name, level: settings.logLevel });
  const connections = new Connections(settings, log);
  const registry = { name: 'registry', role: () => makeRegistry(connections.host, settings) };
  return runProcess([...connections.hosted({ broker: false }), registry], options(settings, log));
}

export async function runServer(settings: ServerConfig): Promise<number> {
  const log = makeLogger({ name: settings.name, level: settings.logLevel });
  const connections = new Connections(settings, log);
  const address = settings.address ?? `${hostname()}:${settings.listen.slice(settings.listen.lastIndexOf(':') + 1)}`;
  const server = { name: 'server', role: () => makeServer(connections.withStore, { ...settings, address }) };
  return runProcess([connections.store(settings.store), ...connections.hosted({ broker: true }), server], options(settings, log));
}

export async function runWorker(settings: WorkerConfig): Promise<number> {
  const log = makeLogger({ name: settings.name, level: settings.logLevel });
  const connections = new Connections(settings, log);
  const worker = { name: 'worker', role: () => makeWorker(connections.withStore, settings) };
  return runProcess([connections.store(settings.store), ...connections.hosted({ broker: true }), worker], options(settings, log));
}

/** Declares what servers and workers meet at; where it is there already, nothing happens. */
export async function runConfigurator({ rabbitmqUrl, ...names }: ConfiguratorConfig): Promise<void> {
  const broker = await connectRabbitmq({
    url: rabbitmqUrl,
    log: makeLogger({ name: 'configurator', level: 'warn' }),
    name: 'configurator',
  });
  try {
    await broker.declare(topologyOf(names));
    const { exchange, queue, routingKey } = names;
    process.stdout.write(`exchange ${exchange} gives what has the routing key ${routingKey} to queue ${queue}\n`);
  } finally {
    await broker.close();
  }
}
