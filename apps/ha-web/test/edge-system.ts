/**
 * The edge of the system in containers: two balancers and three ZooKeeper servers on networks of their own. Web servers are this process' own: it has an address
 * on the internal network, as its host is the networks' bridge, and likewise it is a client on the external one. That takes an engine on the same Linux.
 */
import { once } from 'node:events';
import { createServer, request, type Agent, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connectZookeeper, UnavailableError, type Announcement, type Discovery } from '@lab/discovery';
import { retry, systemClock } from '@lab/process';
import { Container } from '@lab/testing/containers';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { appImage, serviceImage } from '../../../docker/images.ts';
import type { StatusReport } from '../src/edge/status/report.ts';

const execute = promisify(execFile);
export const docker = async (...args: readonly string[]): Promise<string> => (await execute('docker', args)).stdout.trim();

const project = 'ha-web-edge';
const externalPrefix = '10.91.0';
const internalPrefix = '10.91.1';
const bridge = `${internalPrefix}.1`;
export const floatingAddress = `${externalPrefix}.200`;
const zookeeperAddresses = [31, 32, 33].map((host) => `${internalPrefix}.${host}`);
const servers = zookeeperAddresses.map((address) => `${address}:2181`).join(',');
const balancers = [
  { name: 'lb-1', host: 11, peer: 12, priority: 150 },
  { name: 'lb-2', host: 12, peer: 11, priority: 100 },
];

/** Two ZooKeeper servers that were killed need a second to start, and minutes on a very busy machine. */
const announceMs = 100_000;

export class EdgeSystem implements AsyncDisposable {
  readonly discovery: Discovery;
  readonly #servers: WebServer[] = [];

  private constructor(discovery: Discovery) {
    this.discovery = discovery;
  }

  /** Starts it anew; resolves when the containers run and ZooKeeper serves. */
  static async start(): Promise<EdgeSystem> {
    await removeAll();
    try {
      return await EdgeSystem.#bringUp();
    } catch (error) {
      await removeAll();
      throw error;
    }
  }

  static async #bringUp(): Promise<EdgeSystem> {
    await docker('network', 'create', '--label', project, '--subnet', `${externalPrefix}.0/24`, `${project}-external`);
    await docker(
      'network',
      'create',
      '--label',
      project,
      '--internal',
      '--subnet',
      `${internalPrefix}.0/24`,
      `${project}-internal`,
    );
    await Promise.all(zookeeperAddresses.map(runZookeeper));
    const image = await appImage('ha-web');
    await Promise.all(balancers.map((balancer) => runBalancer(image, balancer)));
    return new EdgeSystem(await connectZookeeper({ servers, sessionTimeoutMs: 2_000 }));
  }

  container(name: string): Container {
    return new Container(`${project}-${name}`);
  }

  /** Runs a script in a container; what it prints. */
  inside(name: string, script: string): Promise<string> {
    return docker('exec', `${project}-${name}`, 'bash', '-c', script);
  }

  async status(balancer: string): Promise<StatusReport> {
    const { host } = balancers.find(({ name }) => name === balancer)!;
    const response = await fetch(`http://${externalPrefix}.${host}:8404/status.json`, { signal: AbortSignal.timeout(2_000) });
    return (await response.json()) as StatusReport;
  }

  /** The names of those that say that they hold the floating address, as a balancer that runs has heard. */
  async active(observer: string): Promise<string[]> {
    const { balancers } = await this.status(observer);
    return balancers.filter(({ state }) => state?.active).map(({ name }) => name);
  }

  /** A web machine: pages and API, announced. */
  async addWebServer(name: string): Promise<WebServer> {
    const server = await WebServer.start(name, this.discovery);
    this.#servers.push(server);
    return server;
  }

  /** What a container that has only the external network can open; it knows the way by either balancer, too. */
  async openFromOutside(targets: readonly string[]): Promise<string[]> {
    const tries = targets.map((target) => {
      const [host, port] = target.split(':');
      return `timeout 1 bash -c ': </dev/tcp/${host}/${port}' 2>/dev/null && echo ${target}`;
    });
    const script = [
      tries.join('\n'),
      `ip route add ${internalPrefix}.0/24 via ${externalPrefix}.11`,
      tries.join('\n'),
      'true',
    ].join('\n');
    const args = ['--rm', '--label', project, '--cap-add', 'NET_ADMIN', '--user', 'root', '--network', `${project}-external`];
    const said = await docker('run', ...args, '--entrypoint', 'bash', await appImage('ha-web'), '-c', script);
    return said.split('\n').filter(Boolean);
  }

  /** Where something listens: behind the balancers, and in front. */
  get listening(): { inside: string[]; outside: string } {
    return {
      inside: [...zookeeperAddresses.map((address) => `${address}:2181`), `${internalPrefix}.12:80`],
      outside: `${floatingAddress}:80`,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop()));
    await this.discovery.close();
    await removeAll();
  }
}

async function removeAll(): Promise<void> {
  const label = ['--filter', `label=${project}`, '--quiet'];
  const containers = await docker('ps', '--all', ...label);
  if (containers !== '') await docker('rm', '--force', '--volumes', ...containers.split('\n'));
  const networks = await docker('network', 'ls', ...label);
  if (networks !== '') await docker('network', 'rm', ...networks.split('\n'));
}

async function runZookeeper(address: string, index: number): Promise<void> {
  const env = ['--env', `ZOO_MY_ID=${index + 1}`, '--env', `ZOO_SERVERS=${zookeeperAddresses.join(' ')}`];
  const place = ['--network', `${project}-internal`, '--ip', address];
  const name = `${project}-zookeeper-${index + 1}`;
  await docker('run', '--detach', '--name', name, '--label', project, ...place, ...env, await serviceImage('zookeeper'));
}

async function runBalancer(image: string, { name, host, peer, priority }: (typeof balancers)[number]): Promise<void> {
  const environment = {
    NAME: name,
    EXTERNAL_ADDRESS: `${externalPrefix}.${host}`,
    PEER_ADDRESS: `${externalPrefix}.${peer}`,
    FLOATING_ADDRESS: floatingAddress,
    PRIORITY: String(priority),
    ZOOKEEPER: servers,
    BALANCERS: balancers.map((each) => `${each.name}=${externalPrefix}.${each.host}:8404`).join(','),
  };
  const env = Object.entries(environment).flatMap(([key, value]) => ['--env', `${key}=${value}`]);
  const rights = ['--user', 'root', '--init', '--cap-add', 'NET_ADMIN', '--sysctl', 'net.ipv4.ip_forward=0'];
  const place = ['--network', `${project}-external`, '--ip', `${externalPrefix}.${host}`];
  const id = `${project}-${name}`;
  await docker('create', '--name', id, '--label', project, ...rights, ...place, ...env, image, 'machine', 'lb');
  await docker('network', 'connect', '--ip', `${internalPrefix}.${host}`, `${project}-internal`, id);
  await docker('start', id);
}

/** A web machine of this process: answers with its name, and as its tests say. */
export class WebServer {
  readonly name: string;
  readonly #servers: Readonly<Record<'web' | 'api', Server>>;
  readonly #discovery: Discovery;
  #announcements: Announcement[] = [];
  /** What its health check answers. */
  health = 200;
  /** It takes requests, and answers none. */
  hangs = false;

  /** Requests that it was sent, by method, without health checks. */
  readonly asked = new Map<string, number>();

  private constructor(name: string, discovery: Discovery) {
    this.name = name;
    this.#discovery = discovery;
    const answer = (service: string) =>
      createServer({ keepAliveTimeout: 60_000 }, (incoming, response) => {
        const { url, method = '' } = incoming.resume();
        if (url === '/health') response.statusCode = this.health;
        else this.asked.set(method, (this.asked.get(method) ?? 0) + 1);
        if (this.hangs) return;
        response.end(`${service} ${name}`);
      });
    this.#servers = { web: answer('web'), api: answer('api') };
  }

  static async start(name: string, discovery: Discovery): Promise<WebServer> {
    const server = new WebServer(name, discovery);
    for (const each of Object.values(server.#servers)) await once(each.listen(0, bridge), 'listening');
    await server.announce();
    return server;
  }

  /** However long it takes until ZooKeeper serves again. */
  async announce(): Promise<void> {
    const announce = (service: string, port: number): Promise<Announcement> =>
      retry(() => this.#discovery.announce(service, { name: this.name, address: bridge, port }), {
        ...{ clock: systemClock, withinMs: announceMs },
        worthwhile: (error) => error instanceof UnavailableError,
      });
    const { web, api } = this.ports;
    this.#announcements = await Promise.all([announce('web-servers', web), announce('api-servers', api)]);
  }

  get ports(): { web: number; api: number } {
    const portOf = (server: Server): number => (server.address() as AddressInfo).port;
    return { web: portOf(this.#servers.web), api: portOf(this.#servers.api) };
  }

  async withdraw(): Promise<void> {
    await Promise.all(this.#announcements.splice(0).map((announcement) => announcement.withdraw()));
  }

  /** At once, and with all connections. */
  async stop(): Promise<void> {
    for (const server of Object.values(this.#servers)) server.close().closeAllConnections();
    await this.withdraw();
  }
}

export interface Answer {
  readonly status: number;
  readonly balancer: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

/** A request through the floating address, on a connection of its own without an agent. Rejects when there is no answer within the deadline. */
export async function ask(
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: Buffer; agent?: Agent; timeoutMs?: number } = {},
): Promise<Answer> {
  const { method = 'GET', headers = {}, body, agent = false, timeoutMs = 5_000 } = options;
  const signal = AbortSignal.timeout(timeoutMs);
  const sent = request({ host: floatingAddress, path, method, headers, agent, signal }).end(body);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  let text = '';
  for await (const part of response.setEncoding('utf8')) text += part as string;
  const balancer = response.headers['x-balancer'] as string | undefined;
  return { status: response.statusCode!, balancer, headers: response.headers, text };
}
