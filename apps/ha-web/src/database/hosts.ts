/** Processes of the database machines. */
import { randomBytes } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { connectZookeeper, UnavailableError } from '@lab/discovery';
import { exitCodes, ExitError, makeLogger, runProcess, systemClock, type HostedRole, type Logger } from '@lab/process';
import type { AgentConfig, MariadbdConfig, NewMasterConfig, WatchdogConfig } from '../config.ts';
import type { AgentEvent } from './agent-status.ts';
import { Fence } from './fence.ts';
import { FloatingAddress } from './floating-address.ts';
import { foldersOf } from './folders.ts';
import { connectMariadb } from './mariadb.ts';
import { MariadbServer } from './mariadbd.ts';
import { Operator } from '../operate/operator.ts';
import { NetworkPeer } from './peer.ts';
import type { DatabaseServer } from './port.ts';
import { AgentStatusServer } from './status-server.ts';
import { Watchdog } from './watchdog.ts';
import { DatabaseAgent } from './roles/db-agent.ts';
import { connectDiscovery } from '../discovery.ts';

export async function runMariadbd(settings: MariadbdConfig): Promise<number> {
  const { name, internalAddress, dataFolder } = settings;
  const log = makeLogger({ name: 'mariadbd', level: settings.logLevel });
  const role = new MariadbServer({
    ...{ name, log, address: internalAddress, folders: foldersOf(dataFolder), accounts: settings, door: new Fence(settings) },
    newId: () => randomBytes(6).toString('hex'),
  });
  return runProcess([{ name: 'mariadbd', role }], { log });
}

export async function runWatchdog(settings: WatchdogConfig): Promise<number> {
  const log = makeLogger({ name: 'db-watchdog', level: settings.logLevel });
  const role = new Watchdog({
    ...{ ...settings, door: new Fence(settings), clock: systemClock, log },
    address: new FloatingAddress(settings.floatingAddress),
  });
  return runProcess([{ name: 'db-watchdog', role }], { log });
}

export async function runAgent(settings: AgentConfig): Promise<number> {
  const { name, peerName, internalAddress, peerAddress, agentPort, founder } = settings;
  const log = makeLogger({ name: 'db-agent', level: settings.logLevel });
  const server = await connectPatiently(settings, log);
  const peer = new NetworkPeer({ ...settings, url: `http://${peerAddress}:${agentPort}/status`, clock: systemClock });
  const agent = new DatabaseAgent({
    ...{ name, peerName, agentPort, founder, server, peer, log, address: internalAddress },
    discovery: connectDiscovery(settings.zookeeper, log),
    door: new Fence(settings),
    clock: systemClock,
    nowMs: Date.now,
    before: await savedBefore(foldersOf(settings.dataFolder).diverged),
  });
  const roles: HostedRole[] = [
    { name: 'peer', role: peer },
    {
      name: 'status',
      role: new AgentStatusServer({ port: agentPort, status: () => agent.status(), takeOver: () => agent.ask() }),
    },
    { name: 'agent', role: agent },
  ];
  return runProcess(roles, { log, drainMs: 2_000 });
}

/** What earlier agents have saved is to be seen until somebody has taken it away. */
async function savedBefore(folder: string): Promise<AgentEvent[]> {
  const names = (await readdir(folder).catch(() => [])).map((name) => join(folder, name));
  const events = names.map(async (file) => ({
    at: (await stat(file)).mtimeMs,
    text: `had transactions of its own, saved in ${file}`,
  }));
  return (await Promise.all(events)).sort((a, b) => b.at - a.at);
}

/** Crash recovery may take minutes; meanwhile the database is closed, and there is nothing for an agent to do. */
async function connectPatiently(settings: AgentConfig, log: Logger): Promise<DatabaseServer> {
  const { dataFolder, peerName, peerAddress, replicationPassword, databaseName } = settings;
  const options = {
    folders: foldersOf(dataFolder),
    peerName,
    peerAddress,
    replicationPassword,
    databaseName,
    clock: systemClock,
  };
  let told = '';
  for (;;) {
    try {
      return await connectMariadb(options);
    } catch (error) {
      const { message, code } = error as Error & { code?: string };
      if (code === 'ER_ACCESS_DENIED_ERROR') throw new ExitError(message, undefined, { cause: error });
      if (message !== told) log.info({ err: message }, 'waits for the server');
      told = message;
      await new Promise<void>((resolve) => void systemClock.after(100, resolve));
    }
  }
}

/** An operator's command on a database machine. */
async function operate(settings: AgentConfig, work: (operator: Operator) => Promise<void>): Promise<number> {
  const { name, peerName, peerAddress, agentPort, dataFolder, zookeeper } = settings;
  const discovery = connectZookeeper({ servers: zookeeper, connectTimeoutMs: operatorMs });
  discovery.catch(() => undefined);
  const operator = new Operator({
    ...{ name, peerName, discovery, folders: foldersOf(dataFolder), clock: systemClock },
    ownAgent: `http://127.0.0.1:${agentPort}`,
    peerAgent: `http://${peerAddress}:${agentPort}`,
    print: (line) => void process.stdout.write(`${line}\n`),
  });
  try {
    await work(operator);
    return exitCodes.ok;
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error;
    throw new ExitError(`ZooKeeper does not answer: ${error.message}`, exitCodes.unavailable, { cause: error });
  } finally {
    await discovery.then(
      (connected) => connected.close(),
      () => undefined,
    );
  }
}
/** An operator would rather know soon that ZooKeeper is away. */
const operatorMs = 10_000;

export const runVerify = (settings: AgentConfig): Promise<number> => operate(settings, (operator) => operator.verify());
export const runTakeover = (settings: AgentConfig): Promise<number> => operate(settings, (operator) => operator.takeover());
export const runNewMaster = (settings: NewMasterConfig): Promise<number> =>
  operate(settings, (operator) => operator.newMaster(settings.force));
export const runNewSlave = (settings: AgentConfig): Promise<number> => operate(settings, (operator) => operator.newSlave());
export const runInitSlave = (settings: AgentConfig): Promise<number> => operate(settings, (operator) => operator.initSlave());
