/** Every program of the machines. Each loads what it needs when it is chosen. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { command, commandGroup, ExitError, exitCodes, runMain, type Command, type ConfigSource } from '@lab/process';
import { z } from 'zod';
import * as config from './config.ts';

const machineHosts = (): Promise<typeof import('./operate/hosts.ts')> => import('./operate/hosts.ts');
const balancerHosts = (): Promise<typeof import('./edge/hosts.ts')> => import('./edge/hosts.ts');
const webHosts = (): Promise<typeof import('./shop/hosts.ts')> => import('./shop/hosts.ts');
const databaseHosts = (): Promise<typeof import('./database/hosts.ts')> => import('./database/hosts.ts');
const backupHosts = (): Promise<typeof import('./operate/backup/hosts.ts')> => import('./operate/backup/hosts.ts');

/** It handles machines from outside, with what the repository has beside this app and a machine has not. */
async function demoHost(): Promise<typeof import('./demo.ts')> {
  if (existsSync(join(import.meta.dirname, '../../../docker'))) return import('./demo.ts');
  throw new ExitError(
    'the demo does not run in a machine, as it starts them: npx nx demo ha-web, in the repository',
    exitCodes.usage,
  );
}

const machines: Record<string, Command> = {
  lb: command({
    summary: 'a balancer: HAProxy, keepalived, lb-sync and the status page',
    settings: config.balancerMachineConfig,
    run: async (settings) => (await machineHosts()).runBalancerMachine(settings),
  }),
  web: command({
    summary: 'a web server: the frontend, the API and the announcer',
    settings: config.plainMachineConfig,
    run: async (settings) => (await machineHosts()).runWebMachine(settings),
  }),
  db: command({
    summary: 'a database: MariaDB, keepalived, db-agent and its watchdog',
    settings: config.databaseMachineConfig,
    run: async (settings) => (await machineHosts()).runDatabaseMachine(settings),
  }),
  backup: command({
    summary: 'backups of the database',
    settings: config.plainMachineConfig,
    run: async (settings) => (await machineHosts()).runBackupMachine(settings),
  }),
};

/** What the original's scripts did, by hand. They run on a database's machine. */
const operations: Record<string, Command> = {
  verify: command({
    summary: 'says what the record, this database and the other one are',
    settings: config.operatorConfig,
    run: async (settings) => (await databaseHosts()).runVerify(settings),
  }),
  takeover: command({
    summary: 'makes this database the primary, if it is in sync',
    settings: config.operatorConfig,
    run: async (settings) => (await databaseHosts()).runTakeover(settings),
  }),
  newMaster: command({
    summary: 'the same; with --force also where acknowledged orders may be lost',
    settings: config.newMasterConfig,
    run: async (settings) => (await databaseHosts()).runNewMaster(settings),
  }),
  newSlave: command({
    summary: 'waits until this database, a former primary, is the replica',
    settings: config.operatorConfig,
    run: async (settings) => (await databaseHosts()).runNewSlave(settings),
  }),
  initSlave: command({
    summary: 'empties this replica, and fills it anew from the primary',
    settings: config.operatorConfig,
    run: async (settings) => (await databaseHosts()).runInitSlave(settings),
  }),
};

const backups: Record<string, Command> = {
  now: command({
    summary: 'makes a backup',
    settings: config.backupNowConfig,
    run: async (settings) => (await backupHosts()).runBackupNow(settings),
  }),
  list: command({
    summary: 'lists the backups, and up to when each can be restored',
    settings: config.backupListConfig,
    run: async (settings) => (await backupHosts()).runBackupList(settings),
  }),
  restore: command({
    summary: 'restores into a new database, as it was at a moment',
    settings: config.restoreConfig,
    run: async (settings) => (await backupHosts()).runRestore(settings),
  }),
};

const commands: Record<string, Command> = {
  demo: command({
    summary: 'all machines, people who order, and one machine after the other that is lost; needs a Docker engine',
    settings: z.object({}),
    run: async () => (await demoHost()).demo(),
  }),
  machine: commandGroup({ summary: 'all that runs on one machine', commands: machines }),
  'lb-sync': command({
    summary: "keeps HAProxy's servers as they are in discovery",
    settings: config.lbSyncConfig,
    run: async (settings) => (await balancerHosts()).runLbSync(settings),
  }),
  status: command({
    summary: 'the status page',
    settings: config.statusConfig,
    run: async (settings) => (await balancerHosts()).runStatus(settings),
  }),
  mariadbd: command({
    summary: 'MariaDB, which starts read-only and closed to clients',
    settings: config.mariadbdConfig,
    run: async (settings) => (await databaseHosts()).runMariadbd(settings),
  }),
  'db-agent': command({
    summary: 'makes the database primary or replica, by the record in ZooKeeper',
    settings: config.agentConfig,
    run: async (settings) => (await databaseHosts()).runAgent(settings),
  }),
  'db-watchdog': command({
    summary: 'closes the database when its agent says nothing',
    settings: config.watchdogConfig,
    run: async (settings) => (await databaseHosts()).runWatchdog(settings),
  }),
  db: commandGroup({ summary: 'for operators: what the databases are, and changes by hand', commands: operations }),
  'db-backup': command({
    summary: 'a backup each night, and every change as it comes',
    settings: config.backupConfig,
    run: async (settings) => (await backupHosts()).runBackup(settings),
  }),
  backup: commandGroup({ summary: 'backups by hand', commands: backups }),
  frontend: command({
    summary: 'serves the page',
    settings: config.frontendConfig,
    run: async (settings) => (await webHosts()).runFrontend(settings),
  }),
  api: command({
    summary: 'serves the REST API',
    settings: config.apiConfig,
    run: async (settings) => (await webHosts()).runApi(settings),
  }),
  announcer: command({
    summary: "announces the machine's servers in discovery",
    settings: config.announcerConfig,
    run: async (settings) => (await webHosts()).runAnnouncer(settings),
  }),
};

export const main = ({ args, env }: ConfigSource): Promise<number> =>
  runMain('main.ts', commands, {
    args,
    env,
    stdout: (text) => process.stdout.write(text),
    stderr: (text) => process.stderr.write(text),
  });
