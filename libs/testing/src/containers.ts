/**
 * Real services for tests, in containers that go with the test. Apart from `@lab/testing`, so that a unit test loads nothing of Docker.
 *
 * Testcontainers' own reaper stays off: its image comes from a registry that tests must not depend on. Instead each container carries the
 * process that it belongs to, and whoever starts one removes those whose process is gone.
 */
import { connect } from 'node:net';
import { hostname } from 'node:os';
import { text } from 'node:stream/consumers';
import { GenericContainer, Wait } from 'testcontainers';
import { rabbitmqRelease, serviceImage, type DebianRelease } from '../../../docker/images.ts';
import { Container, docker } from '../../../docker/container.ts';
import { freePort } from './free-port.ts';

export { ComposeSystem, testEnvironment } from './compose-system.ts';
export { Container, docker } from '../../../docker/container.ts';

process.env['TESTCONTAINERS_RYUK_DISABLED'] = 'true';

const ownerLabel = 'lab.test-owner';
const owner = `${hostname()}:${process.pid}`;
/** Cold, on two busy cores, RabbitMQ takes 15 s; its image is built before this begins. */
const startMs = 120_000;

/** A server of a test: its own, empty, with all faults of a container. Dispose of it (`await using`) and its data is gone too. */
class Server extends Container implements AsyncDisposable {
  /** Stays the same through `stop`, `kill` and `start`. */
  readonly port: number;
  constructor(id: string, port: number) {
    super(id);
    this.port = port;
  }

  /** Processor time of all its processes so far. */
  async cpuSeconds(): Promise<number> {
    const stats = await docker('exec', this.id, 'sh', '-c', 'cat /proc/[0-9]*/stat');
    const ticksPerSecond = 100;
    const ticks = stats
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split(') ').at(-1)!.split(' '));
    return ticks.reduce((sum, fields) => sum + Number(fields[11]) + Number(fields[12]), 0) / ticksPerSecond;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await docker('rm', '--force', '--volumes', this.id);
  }
}

/** What runs in a server's container. */
interface Service {
  /** The folder of its Dockerfile in docker/. */
  readonly name: string;
  /** That it listens at, in the container. */
  readonly port: number;
  readonly env?: Record<string, string>;
  /** Default: that of all images. */
  readonly release?: DebianRelease;
}

/** Starts a server at a port of this machine; resolves when it takes connections. Its image is built when it is not there. */
async function startServer<S extends Server>(
  Kind: new (id: string, port: number) => S,
  service: Service,
  place: (container: GenericContainer) => GenericContainer = (container) => container,
): Promise<S> {
  // A port that Docker chooses is another one after each start; clients under test must find the server where it was.
  const port = await freePort();
  const container = new GenericContainer(await serviceImage(service.name, service.release))
    .withEnvironment(service.env ?? {})
    .withExposedPorts({ container: service.port, host: port })
    .withLabels({ [ownerLabel]: owner })
    .withWaitStrategy(Wait.forHealthCheck())
    .withStartupTimeout(startMs);
  return new Kind((await place(container).start()).getId(), port);
}

/** Where a RabbitMQ keeps everything. */
export const rabbitmqFolder = '/var/lib/rabbitmq';

export class RabbitmqServer extends Server {
  /** For amqplib, with an account that may do everything. */
  get url(): string {
    return `amqp://lab:lab@127.0.0.1:${this.port}`;
  }

  /** It dies, and comes back with an empty disk. */
  async loseDisk(): Promise<void> {
    await this.kill();
    await this.empty(rabbitmqFolder);
    await this.start();
  }
}

/** Starts a RabbitMQ, of another Debian release another version; resolves when it takes connections. */
export async function startRabbitmq(release = rabbitmqRelease()): Promise<RabbitmqServer> {
  await removeLeftovers();
  const env = { RABBITMQ_DEFAULT_USER: 'lab', RABBITMQ_DEFAULT_PASS: 'lab' };
  return startServer(RabbitmqServer, { name: 'rabbitmq', port: 5672, env, release });
}

/** Messages in the queues of a RabbitMQ in a container, those that consumers hold included, by queue. */
export async function queueDepths(rabbitmq: Container): Promise<Map<string, number>> {
  const list = await docker(
    'exec',
    rabbitmq.id,
    'rabbitmqctl',
    '--quiet',
    '--no-table-headers',
    'list_queues',
    'name',
    'messages',
  );
  const rows = list.split('\n').filter(Boolean);
  return new Map(rows.map((row) => row.split('\t')).map(([name, count]) => [name!, Number(count)]));
}

export class ZookeeperServer extends Server {
  /** For clients. */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** What it says of itself; `undefined` while it serves no clients. */
  async mode(): Promise<'standalone' | 'leader' | 'follower' | undefined> {
    const socket = connect({ port: this.port, host: '127.0.0.1', timeout: 1_000 }).on('timeout', () => socket.destroy());
    socket.write('srvr');
    const answer = await text(socket).catch(() => '');
    return /^Mode: (standalone|leader|follower)$/m.exec(answer)?.[1] as 'standalone' | 'leader' | 'follower' | undefined;
  }
}

/** Starts a ZooKeeper of one server; resolves when it serves clients. */
export async function startZookeeper(): Promise<ZookeeperServer> {
  await removeLeftovers();
  return startServer(ZookeeperServer, { name: 'zookeeper', port: 2181 });
}

/** Several ZooKeeper servers that are one, on a network of their own. */
export class ZookeeperEnsemble implements AsyncDisposable {
  readonly servers: readonly ZookeeperServer[];
  readonly #network: string;
  constructor(servers: readonly ZookeeperServer[], network: string) {
    this.servers = servers;
    this.#network = network;
  }

  /** All servers, for clients. */
  get address(): string {
    return this.servers.map(({ address }) => address).join(',');
  }

  /** The one that leads; `undefined` while there is none. */
  async leader(): Promise<ZookeeperServer | undefined> {
    const modes = await Promise.all(this.servers.map((server) => server.mode()));
    return this.servers[modes.indexOf('leader')];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.servers.map((server) => server[Symbol.asyncDispose]()));
    await docker('network', 'rm', this.#network);
  }
}

/** Starts a ZooKeeper of three servers; resolves when all of them serve clients. */
export async function startZookeeperEnsemble(): Promise<ZookeeperEnsemble> {
  await removeLeftovers();
  const network = `lab-zookeeper-${crypto.randomUUID().slice(0, 8)}`;
  await docker('network', 'create', '--label', `${ownerLabel}=${owner}`, network);
  const names = [1, 2, 3].map((id) => `${network}-${id}`);
  const start = (name: string, index: number): Promise<ZookeeperServer> => {
    const env = { ZOO_MY_ID: String(index + 1), ZOO_SERVERS: names.join(' ') };
    return startServer(ZookeeperServer, { name: 'zookeeper', port: 2181, env }, (container) =>
      container.withName(name).withNetworkMode(network),
    );
  };
  return new ZookeeperEnsemble(await Promise.all(names.map(start)), network);
}

/** Removes containers and networks of test processes of this machine that have ended without doing so: killed ones, mostly. */
async function removeLeftovers(): Promise<void> {
  const containers = await leftovers('ps', '--all');
  // Another process may remove the same ones at this moment.
  if (containers.length > 0) await docker('rm', '--force', '--volumes', ...containers).catch(() => undefined);
  const networks = await leftovers('network', 'ls');
  if (networks.length > 0) await docker('network', 'rm', ...networks).catch(() => undefined);
}

/** The ids of what belongs to no living process of this machine, of that which the command lists. */
async function leftovers(...list: readonly string[]): Promise<string[]> {
  const labelled = await docker(...list, '--filter', `label=${ownerLabel}`, '--format', `{{.ID}} {{.Label "${ownerLabel}"}}`);
  return labelled.split('\n').flatMap((line) => {
    const [id, owner = ''] = line.split(' ');
    const [machine, pid] = owner.split(':');
    return id && machine === hostname() && !isAlive(Number(pid)) ? [id] : [];
  });
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
