/** Processes of the database machines, on the real parts. */
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { connectZookeeper, type Discovery } from '@lab/discovery';
import { exitCodes, ExitError, makeLogger, runProcess, systemClock, type HostedRole, type Logger } from '@lab/process';
import { Cron } from 'croner';
import { Archive } from './backup/archive.ts';
import { restore } from './backup/restore.ts';
import { dump, fetchChanges, lastIn, primaryOf } from './backup/source.ts';
import type {
  AgentConfig,
  BackupConfig,
  BackupListConfig,
  BackupNowConfig,
  MariadbdConfig,
  NewMasterConfig,
  RestoreConfig,
  WatchdogConfig,
} from './config-database.ts';
import { ended } from './database/command.ts';
import { Fence } from './database/fence.ts';
import { foldersOf } from './database/folders.ts';
import { connectMariadb } from './database/mariadb.ts';
import { MariadbServer } from './database/mariadbd.ts';
import { Operator } from './database/operator.ts';
import { NetworkPeer } from './database/peer.ts';
import type { DatabaseServer } from './database/port.ts';
import { AgentStatusServer } from './database/status-server.ts';
import { Watchdog } from './database/watchdog.ts';
import { sequenceOf } from './domain/database-history.ts';
import { DatabaseAgent } from './roles/db-agent.ts';
import { DatabaseBackup } from './roles/db-backup.ts';

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
  const role = new Watchdog({ ...settings, door: new Fence(settings), clock: systemClock, nowMs: Date.now, log });
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

/** With ticks of 200 ms in ZooKeeper a dead machine's announcement is gone after 2.2 s. */
const sessionTimeoutMs = 2_000;

/** For as long as it takes: the agent works without. */
const connectDiscovery = (servers: string, log: Logger): Promise<Discovery> =>
  connectZookeeper({ servers, sessionTimeoutMs, connectTimeoutMs: 2 ** 31 - 1, log });

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
  const discovery = await connectZookeeper({ servers: zookeeper, connectTimeoutMs: operatorMs });
  const operator = new Operator({
    ...{ name, peerName, discovery, folders: foldersOf(dataFolder), clock: systemClock },
    ownAgent: `http://127.0.0.1:${agentPort}`,
    peerAgent: `http://${peerAddress}:${agentPort}`,
    print: (line) => void process.stdout.write(`${line}\n`),
  });
  try {
    await work(operator);
    return exitCodes.ok;
  } finally {
    await discovery.close();
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

export async function runBackup(settings: BackupConfig): Promise<number> {
  const log = makeLogger({ name: 'db-backup', level: settings.logLevel });
  const archive = new Archive(settings.dataFolder);
  const role = new DatabaseBackup({
    dump: () => makeDump(archive, settings, log),
    hasDump: async () => (await archive.list()).length > 0,
    follow: () => followChanges(archive, settings, log),
    daily: (run) => {
      const [hour, minute] = settings.backupTime.split(':');
      const job = new Cron(`${Number(minute)} ${Number(hour)} * * *`, { timezone: settings.backupTimeZone }, run);
      return () => job.stop();
    },
    clock: systemClock,
    log,
  });
  return runProcess([{ name: 'db-backup', role }], { log });
}

async function makeDump(archive: Archive, settings: BackupNowConfig, log: Logger): Promise<void> {
  const { name, source, position, bytes } = await dump(archive, { ...settings, clock: systemClock }, Date.now());
  log.info({ dump: name, source, position, bytes }, 'dumped');
  await archive.retain(settings.keep);
}

/** How old changes may be that are lost with a primary that was cut off, beside what it takes to promote another. */
const primaryMs = 5_000;

/** The changes of the present primary, from where the archive ends. */
function followChanges(archive: Archive, settings: BackupConfig, log: Logger): { ended: Promise<void>; stop: () => void } {
  let child: ChildProcess | undefined;
  let stopped = false;
  const follow = async (): Promise<void> => {
    const primary = await primaryOf(settings);
    if (primary === undefined) throw new Error('there is no primary');
    const newest = (await archive.changes()).flat().at(-1);
    const dumped = (await archive.list()).at(-1);
    const after = Math.max(
      newest === undefined ? 0 : await lastIn(newest),
      dumped === undefined ? 0 : sequenceOf(dumped.position),
    );
    const name = `${new Date().toISOString().replaceAll(':', '-')}-${primary}`;
    child = await fetchChanges(primary, after, () => archive.beginChanges(name), settings);
    if (stopped) child.kill();
    log.info({ primary, after }, 'receives changes');
    // From a machine that was cut off nothing comes, not even the end of the connection.
    const leave = async (): Promise<void> => {
      const present = await primaryOf(settings);
      if (present !== undefined && present !== primary) child?.kill();
    };
    const cancel = systemClock.every(primaryMs, () => void leave());
    await ended(child, 'mariadb-binlog').finally(cancel);
  };
  const stop = (): void => {
    stopped = true;
    child?.kill();
  };
  return { ended: follow(), stop };
}

export async function runBackupNow(settings: BackupNowConfig): Promise<number> {
  const log = makeLogger({ name: 'backup', level: settings.logLevel });
  await makeDump(new Archive(settings.dataFolder), settings, log);
  return exitCodes.ok;
}

export async function runBackupList({ dataFolder }: BackupListConfig): Promise<number> {
  const archive = new Archive(dataFolder);
  for (const { name, source, position, bytes } of await archive.list()) {
    process.stdout.write(`${name}  ${String(bytes).padStart(12)} bytes  from ${source} at ${position}\n`);
  }
  process.stdout.write(`${(await archive.changes()).flat().length} logs of changes\n`);
  return exitCodes.ok;
}

/** Prints, as JSON, what was restored: with the checksums of its tables. */
export async function runRestore({ dataFolder, databaseName, toTime, into }: RestoreConfig): Promise<number> {
  const toMs = toTime === undefined ? undefined : Date.parse(toTime);
  const restored = await restore(new Archive(dataFolder), { into, toMs, databaseName, clock: systemClock });
  process.stdout.write(`${JSON.stringify(restored)}\n`);
  return exitCodes.ok;
}
