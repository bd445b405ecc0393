/** Processes: one role on RabbitMQ, all of them on the memory broker, a node, a content creator. */
import { randomUUID } from 'node:crypto';
import { appendFile, mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { connectRabbitmq, makeMemoryServer, type Broker } from '@lab/middleware';
import { ExitError, exitCodes, makeLogger, runProcess, systemClock, type HostedRole, type Logger, type Role } from '@lab/process';
import { Registry } from 'prom-client';
import { AuthenticationError, connectChannel, listenChannels, type Credentials, type Listening } from './channel/channel.ts';
import {
  roleNames,
  splitAddress,
  type ContentCreatorConfig,
  type NodeConfig,
  type RoleConfig,
  type StandaloneConfig,
} from './config.ts';
import { credentialsOf } from './channel/credentials.ts';
import { ContentCreatorRole } from './roles/content-creator.ts';
import { NodeRole } from './roles/node.ts';
import { FileCache } from './tree/file-cache.ts';
import { Tree } from './tree/tree.ts';
import { openStore, type BackupStore } from './versions.ts';
import { wire, type Host, type StoreTimes } from './wiring.ts';

/** A server's connections, of admins or requesters: each may hold a few megabytes. */
const connectionsMax = 50;

const onRefused = (log: Logger) => (error: Error) => log.warn({ reason: error.message }, 'connection refused');

/** What the roles on a store share in every host. */
function makeHost(parts: {
  broker: Broker;
  store: BackupStore;
  log: Logger;
  credentials: Credentials;
  listen: string;
  end: () => void;
}): Host {
  const { credentials, log, listen } = parts;
  const listening: Listening = {
    ...splitAddress(listen),
    name: 'server',
    identity: 'server',
    asker: 'admin',
    credentials,
    connectionsMax,
    onRefused: onRefused(log),
  };
  return {
    ...parts,
    clock: systemClock,
    nowMs: Date.now,
    newId: randomUUID,
    listen: (serve) => listenChannels(listening, serve),
    async connect({ node, address }) {
      const channel = await connectChannel({ ...splitAddress(address), identity: `node-${node}` }, 'requester', credentials);
      if (channel.peer === node) return channel;
      channel.destroy();
      throw new AuthenticationError(`at ${address} is a node called ${channel.peer}, not ${node}`);
    },
  };
}

/** As if the process had been asked to stop from outside. */
const endProcess = (): void => void process.kill(process.pid, 'SIGTERM');

/** Store, broker and the named roles, in the order to start them; stopped in reverse. */
export function hostedRoles(
  names: readonly string[],
  parts: {
    settings: StoreTimes & { store: string; listen: string };
    log: Logger;
    credentials: Credentials;
    connect: () => Promise<Broker>;
    end: () => void;
  },
): HostedRole[] {
  const { settings, log, credentials, connect, end } = parts;
  let store: BackupStore | undefined;
  const opening: Role = {
    start: async () => void (store = await opened(settings.store)),
    stop: async () => store?.close(),
  };
  const running = names.flatMap((name) => {
    let broker: Broker | undefined;
    const connection: Role = { start: async () => void (broker = await connect()), stop: async () => broker?.close() };
    const host = (): Host =>
      makeHost({ broker: broker!, store: store!, log: log.child({ role: name }), credentials, listen: settings.listen, end });
    return [
      { name: `connection of ${name}`, role: connection },
      { name, role: () => wire(name, host(), settings) },
    ];
  });
  return [{ name: 'store', role: opening }, ...running];
}

async function opened(directory: string): Promise<BackupStore> {
  try {
    return await openStore(directory);
  } catch (error) {
    throw new ExitError(`the store cannot be opened: ${(error as Error).message}`, exitCodes.failed, { cause: error });
  }
}

/** Server, nodes manager and backup requester in one process: for one machine, without RabbitMQ. */
export async function runStandalone(settings: StandaloneConfig): Promise<number> {
  const log = makeLogger({ name: 'standalone', level: settings.logLevel });
  const memory = makeMemoryServer();
  const credentials = credentialsOf(settings);
  const connect = (): Promise<Broker> => Promise.resolve(memory.connect());
  return runProcess(hostedRoles(roleNames, { settings, log, credentials, connect, end: endProcess }), { log });
}

export async function runRole(name: string, settings: RoleConfig): Promise<number> {
  const log = makeLogger({ name, level: settings.logLevel });
  const credentials = credentialsOf(settings);
  const connect = (): Promise<Broker> => connectRabbitmq({ url: settings.rabbitmqUrl, log });
  return runProcess(hostedRoles([name], { settings, log, credentials, connect, end: endProcess }), {
    log,
    ...(settings.healthPort !== undefined && { health: { port: settings.healthPort, registry: new Registry() } }),
  });
}

export function makeNode(
  settings: Pick<NodeConfig, 'name' | 'listen' | 'root'> & { cache: string | undefined },
  credentials: Credentials,
  log: Logger,
): Role {
  const { name, listen, root, cache } = settings;
  const identity = `node-${name}`;
  const listening: Listening = {
    ...splitAddress(listen),
    name,
    identity,
    asker: 'requester',
    credentials,
    connectionsMax,
    onRefused: onRefused(log),
  };
  const tree = new Tree(root, new FileCache(cache, root));
  return new NodeRole({ name, tree, clock: systemClock, log, listen: (serve) => listenChannels(listening, serve) });
}

export async function runNode(settings: NodeConfig): Promise<number> {
  const log = makeLogger({ name: settings.name, level: settings.logLevel });
  const cache = settings.cache ?? join(homedir(), '.cache', 'lab-backup-server', settings.name);
  const credentials = credentialsOf(settings);
  return runProcess([{ name: 'node', role: () => makeNode({ ...settings, cache }, credentials, log) }], {
    log,
    ...(settings.healthPort !== undefined && { health: { port: settings.healthPort, registry: new Registry() } }),
  });
}

export function makeContentCreator({ name, file, interval }: Omit<ContentCreatorConfig, 'logLevel'>, log: Logger): Role {
  const append = async (line: string): Promise<void> => {
    await mkdir(dirname(file), { recursive: true });
    await appendFile(file, line);
  };
  return new ContentCreatorRole({ name, clock: systemClock, log, append, intervalMs: interval });
}

export async function runContentCreator(settings: ContentCreatorConfig): Promise<number> {
  const log = makeLogger({ name: settings.name, level: settings.logLevel });
  return runProcess([{ name: 'content-creator', role: () => makeContentCreator(settings, log) }], { log });
}
