/** Processes: one role on RabbitMQ, all of them on the memory broker, a node, a content creator. */
import { appendFile, mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { beginRabbitmq, connectRabbitmq, makeMemoryServer, type Broker } from '@lab/middleware';
import { traced } from '@lab/middleware/traced';
import { ExitError, exitCodes, pathError, runRole, splitAddress, type Logger, type Role, type RoleHost } from '@lab/process';
import type { FramedServer } from '@lab/protocol';
import { connectChannel, listenChannels, tcp, type Network } from './channel/channel.ts';
import { isAdmin, keyFor, readKey, type Key } from './channel/keys.ts';
import { roleNames, type ContentCreatorConfig, type NodeConfig, type RoleConfig, type StandaloneConfig } from './config.ts';
import { printable } from './domain/file-names.ts';
import { describeMessage } from './message-words.ts';
import { ContentCreatorRole } from './roles/content-creator.ts';
import { NodeRole } from './roles/node.ts';
import { bundleAside } from './transfer/bundling.ts';
import { FileCache } from './tree/file-cache.ts';
import { PathError, Tree } from './tree/tree.ts';
import { openNamed } from './versions.ts';
import { wire, type Host, type StoreSettings } from './wiring.ts';

/** A server's connections, of admins or requesters: each may hold a few megabytes. */
const connectionsMax = 50;

const onRefused = (log: Logger) => (error: Error) => log.warn({ reason: error.message }, 'connection refused');

interface RolesParts extends Pick<RoleHost, 'log' | 'clock' | 'nowMs' | 'newId'>, Pick<Host, 'measure'> {
  settings: StoreSettings & { store: string; listen: string };
  master: Key;
  connect: (role: string) => Promise<Broker>;
  end: () => void;
}

/** Roles that listen, the server among them. */
export interface ServingRole extends Role {
  /** The port that it listens at, from its start on. */
  readonly port: number;
}

/** The named roles on one store, each with a connection of its own: they start in this order, and stop in reverse. */
export function makeRoles(names: readonly string[], { settings, connect, ...parts }: RolesParts): ServingRole {
  const stack = new AsyncDisposableStack();
  const { promise: failed, reject: fail } = Promise.withResolvers<never>();
  let server: FramedServer | undefined;
  return {
    failed,
    get port() {
      return server?.port ?? 0;
    },
    async start() {
      const onDamage = (what: string): void => parts.log.error({ what }, 'damage found');
      const store = await openNamed(settings.store, { onDamage });
      stack.defer(() => store.close());
      for (const name of names) {
        const broker = await connect(name);
        broker.lost.catch(fail);
        stack.defer(() => broker.close());
        const host = makeHost({ ...parts, fail, log: parts.log.child({ role: name }), broker, store }, settings);
        const listen: Host['listen'] = async (serve) => (server = await host.listen(serve));
        const role = wire(name, { ...host, listen }, settings);
        stack.defer(() => role.stop());
        await role.start();
      }
    },
    stop: () => stack.disposeAsync(),
  };
}

/** What the roles on a store share in every host. */
export function makeHost(
  { master, ...parts }: Omit<Host, 'listen' | 'connect'> & { master: Key },
  { listen }: { listen: string },
  network: Network = tcp,
): Host {
  const keyOfAdmin = (identity: string): Buffer | undefined => (isAdmin(identity) ? keyFor(master, identity) : undefined);
  const listening = { ...splitAddress(listen), keyOf: keyOfAdmin, connectionsMax, onRefused: onRefused(parts.log) };
  return {
    ...parts,
    listen: (serve) => listenChannels(listening, serve, network),
    connect({ node, address }) {
      const identity = `node-${node}`;
      return connectChannel({ ...splitAddress(address), identity, key: keyFor(master, identity) }, network);
    },
  };
}

/** Of who has to know everybody. */
export function readMaster(file: string): Key {
  const key = readKey(file);
  if (key.identity === 'master') return key;
  throw new ExitError(`${file} has the key of ${key.identity}; the server and requesters need the master key`, exitCodes.usage);
}

/** A gauge for each number, with the path that it is of; read when somebody asks. */
export async function measuring({ registry }: Pick<RoleHost, 'registry'>): Promise<NonNullable<Host['measure']>> {
  const { Gauge } = await import('prom-client');
  return (name, help, read) =>
    void new Gauge({
      ...{ name, help, labelNames: ['node', 'path'], registers: [registry] },
      collect() {
        this.reset();
        for (const { node, path, value } of read()) this.set({ node, path: printable(path) }, value);
      },
    });
}

let isEnding = false;
/** As if the process had been asked to stop from outside: once, for a second signal would hurry it. */
function end(): void {
  if (!isEnding) process.kill(process.pid, 'SIGTERM');
  isEnding = true;
}

/** Server, nodes manager and backup requester in one process: for one machine, without RabbitMQ. */
export function runStandalone(settings: StandaloneConfig): Promise<number> {
  const master = readMaster(settings.keyFile);
  const memory = makeMemoryServer();
  return runRole({ ...settings, name: 'standalone' }, async (host) => {
    const connect = async (): Promise<Broker> => traced(memory.connect(), host.tracer, describeMessage);
    return makeRoles(roleNames, { ...host, measure: await measuring(host), settings, master, connect, end });
  });
}

export function runOnRabbitmq(name: string, settings: RoleConfig): Promise<number> {
  const master = readMaster(settings.keyFile);
  return runRole({ ...settings, name }, async (host) => {
    const options = { url: settings.rabbitmqUrl, log: host.log };
    // The server lists and restores without it.
    const connection = async (): Promise<Broker> => (name === 'server' ? beginRabbitmq(options) : connectRabbitmq(options));
    const connect = async (): Promise<Broker> => traced(await connection(), host.tracer, describeMessage);
    return makeRoles([name], { ...host, measure: await measuring(host), settings, master, connect, end });
  });
}

export function makeNode(
  settings: Pick<NodeConfig, 'name' | 'listen' | 'root'> & { cache: string },
  key: Key,
  { log, clock }: Pick<RoleHost, 'log' | 'clock'>,
): ServingRole {
  const { name, listen, root, cache } = settings;
  const own = keyFor(key, `node-${name}`);
  const keyOfNode = (identity: string): Buffer | undefined => (identity === `node-${name}` ? own : undefined);
  const listening = { ...splitAddress(listen), keyOf: keyOfNode, connectionsMax, onRefused: onRefused(log) };
  const tree = treeOf(root, cache);
  return new NodeRole({ name, tree, clock, log, bundle: bundleAside(), listen: (serve) => listenChannels(listening, serve) });
}

function treeOf(root: string, cache: string): Tree {
  try {
    return new Tree(root, new FileCache(cache, root));
  } catch (error) {
    throw error instanceof PathError
      ? new ExitError(error.message, exitCodes.usage, { cause: error })
      : pathError(error, 'the cache cannot be used: ');
  }
}

export function runNode(settings: NodeConfig): Promise<number> {
  const cache = settings.cache ?? join(homedir(), '.cache', 'lab-backup-server', settings.name);
  const key = readKey(settings.keyFile);
  return runRole(settings, (host) => makeNode({ ...settings, cache }, key, host));
}

export function makeContentCreator(
  { name, file, interval }: Omit<ContentCreatorConfig, 'logLevel' | 'healthPort'>,
  { log, clock }: Pick<RoleHost, 'log' | 'clock'>,
): Role {
  const append = async (line: string): Promise<void> => {
    try {
      await mkdir(dirname(file), { recursive: true });
      await appendFile(file, line);
    } catch (error) {
      throw pathError(error, 'the content cannot be written: ');
    }
  };
  return new ContentCreatorRole({ name, clock, log, append, intervalMs: interval });
}

export const runContentCreator = (settings: ContentCreatorConfig): Promise<number> =>
  runRole(settings, (host) => makeContentCreator(settings, host));
