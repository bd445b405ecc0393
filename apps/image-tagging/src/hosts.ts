/** Processes: one role on the real parts. */
import { hostname } from 'node:os';
import { connectZookeeper, tracedDiscovery } from '@lab/discovery';
import { makeLogGroup, makeSpreadGroup, tracedGroup, type Group } from '@lab/group';
import { connectRabbitmq, type Broker } from '@lab/middleware';
import { traced } from '@lab/middleware/traced';
import { makeLogger, pathError, runRole, type RoleHost } from '@lab/process';
import { groupAddress, type ConfiguratorConfig, type RegistryConfig, type ServerConfig, type WorkerConfig } from './config.ts';
import { describeMessage } from './messages.ts';
import { PictureStore } from './store/picture-store.ts';
import { topologyOf } from './topology.ts';
import { makeRegistry, makeServer, makeWorker, type StoreHost } from './wiring.ts';

export const runRegistry = (settings: RegistryConfig): Promise<number> =>
  runRole(settings, async (host) => makeRegistry({ ...host, group: await openGroup(host, settings) }, settings));

export function runServer(settings: ServerConfig): Promise<number> {
  const address = (port: number): string => settings.address ?? `${hostname()}:${port}`;
  return runRole(settings, async (host) => makeServer(await withStore(host, settings), { ...settings, address }));
}

export const runWorker = (settings: WorkerConfig): Promise<number> =>
  runRole(settings, async (host) => makeWorker(await withStore(host, settings), settings));

async function withStore(host: RoleHost, settings: ServerConfig | WorkerConfig): Promise<StoreHost> {
  const store = await PictureStore.open(settings.store).catch((error: Error) => {
    throw pathError(error, 'the store cannot be opened: ');
  });
  const broker = await openBroker(host, settings);
  return { ...host, store, broker, group: await openGroup(host, settings, broker) };
}

type MemberSettings = Pick<RegistryConfig, 'group' | 'rabbitmqUrl' | 'zookeeper' | 'sessionTimeout' | 'name'>;

async function openBroker(host: RoleHost, { rabbitmqUrl, name }: MemberSettings): Promise<Broker> {
  const broker = await host.open(connectRabbitmq({ url: rabbitmqUrl, log: host.log, name }));
  return traced(broker, host.tracer, describeMessage);
}

/** A group of Spread needs neither RabbitMQ nor ZooKeeper. */
async function openGroup(host: RoleHost, settings: MemberSettings, jobs?: Broker): Promise<Group> {
  return tracedGroup(await makeGroup(host, settings, jobs), host.tracer, describeMessage);
}

async function makeGroup(host: RoleHost, settings: MemberSettings, jobs: Broker | undefined): Promise<Group> {
  const { log, clock } = host;
  const { daemon } = groupAddress(settings.group);
  if (daemon !== undefined) return host.open(makeSpreadGroup({ daemon, log }));
  const broker = jobs ?? (await openBroker(host, settings));
  const { zookeeper: servers, sessionTimeout: sessionTimeoutMs } = settings;
  const discovery = tracedDiscovery(await host.open(connectZookeeper({ servers, sessionTimeoutMs, log })), host.tracer);
  return host.open(makeLogGroup({ broker, discovery, clock, newToken: () => host.newId().slice(0, 13), log }));
}

/** Declares what servers and workers meet at; where it is there already, nothing happens. */
export async function runConfigurator({ rabbitmqUrl, ...names }: ConfiguratorConfig): Promise<void> {
  const log = makeLogger({ name: 'configurator', level: 'warn' });
  const broker = await connectRabbitmq({ url: rabbitmqUrl, log, name: 'configurator' });
  try {
    await broker.declare(topologyOf(names));
    const { exchange, queue, routingKey } = names;
    process.stdout.write(`exchange ${exchange} gives what has the routing key ${routingKey} to queue ${queue}\n`);
  } finally {
    await broker.close();
  }
}
