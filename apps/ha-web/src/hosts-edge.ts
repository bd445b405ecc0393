/** Processes of the machines and of the balancers, on the real parts. */
import { readFile, writeFile } from 'node:fs/promises';
import { connectZookeeper } from '@lab/discovery';
import { makeLogger, runProcess, systemClock } from '@lab/process';
import type {
  BalancerMachineConfig,
  DatabaseMachineConfig,
  LbSyncConfig,
  PlainMachineConfig,
  StatusConfig,
} from './config-edge.ts';
import { makeRuntimeApi } from './haproxy/runtime-api.ts';
import { backupMachine, balancerMachine, databaseMachine, webMachine } from './machine/machines.ts';
import { adminSocket, readyFile } from './machine/paths.ts';
import { Supervisor, type Machine } from './machine/supervisor.ts';
import { LbSync } from './roles/lb-sync.ts';
import { Observer, type Asked } from './status/observer.ts';
import { StatusServer } from './status/server.ts';

export const runBalancerMachine = (settings: BalancerMachineConfig): Promise<number> =>
  runMachine(balancerMachine(settings), settings);
export const runWebMachine = (settings: PlainMachineConfig): Promise<number> => runMachine(webMachine(), settings);
export const runDatabaseMachine = (settings: DatabaseMachineConfig): Promise<number> =>
  runMachine(databaseMachine(settings), settings);
export const runBackupMachine = (settings: PlainMachineConfig): Promise<number> => runMachine(backupMachine(), settings);

async function runMachine(machine: Machine, { logLevel }: { logLevel: PlainMachineConfig['logLevel'] }): Promise<number> {
  const log = makeLogger({ name: 'machine', level: logLevel, pretty: false });
  const supervisor = new Supervisor({ machine, clock: systemClock, log, print: printLine });
  // Killing what does not end in time takes no time.
  const drainMs = supervisor.stopMsMax + 500;
  return runProcess([{ name: 'supervisor', role: supervisor }], { log, drainMs });
}

/** Our own programs' lines are JSON and name themselves. */
const printLine = (service: string, line: string): void =>
  void process.stdout.write(line.startsWith('{') ? `${line}\n` : `${service}: ${line}\n`);

/** With ticks of 200 ms in ZooKeeper a dead machine's announcement is gone after 2.2 s. */
const sessionTimeoutMs = 2_000;

export async function runLbSync(settings: LbSyncConfig): Promise<number> {
  const log = makeLogger({ name: 'lb-sync', level: settings.logLevel });
  const role = new LbSync({
    connect: () => connectZookeeper({ servers: settings.zookeeper, sessionTimeoutMs, log }),
    haproxy: makeRuntimeApi(adminSocket),
    services: ['api-servers', 'web-servers'],
    tell: tellKeepalived,
    clock: systemClock,
    log,
  });
  return runProcess([{ name: 'lb-sync', role }], { log });
}

/** keepalived looks whenever the file is written, so that is done only if there is something new; and its own start may have changed it. */
async function tellKeepalived(canServe: boolean): Promise<void> {
  const told = canServe ? '0\n' : '1\n';
  if ((await readFile(readyFile, 'utf8').catch(() => '')) !== told) await writeFile(readyFile, told);
}

export async function runStatus(settings: StatusConfig): Promise<number> {
  const { name, floatingAddress, logLevel } = settings;
  const log = makeLogger({ name: 'status', level: logLevel });
  const observer = new Observer({
    ...{ name, floatingAddress, clock: systemClock, nowMs: Date.now },
    balancers: settings.balancers.map(asked),
    databases: settings.databases.map(asked),
    zookeeper: settings.zookeeper.split(','),
    haproxy: makeRuntimeApi(adminSocket),
  });
  const server = new StatusServer(observer, { host: settings.externalAddress, port: settings.statusPort });
  const roles = [
    { name: 'observer', role: observer },
    { name: 'server', role: server },
  ];
  return runProcess(roles, { log });
}

function asked(setting: string): Asked {
  const [name = '', at = ''] = setting.split('=');
  return { name, at };
}
