/** Every program of the machines. Each loads what it needs when it is chosen. */
import { command, commandGroup, runMain, type Command, type ConfigSource } from '@lab/process';
import { z } from 'zod';
import * as database from './config-database.ts';
import * as edge from './config-edge.ts';
import * as shop from './config-shop.ts';

const edgeHosts = (): Promise<typeof import('./hosts-edge.ts')> => import('./hosts-edge.ts');
const databaseHosts = (): Promise<typeof import('./hosts-database.ts')> => import('./hosts-database.ts');
const shopHosts = (): Promise<typeof import('./hosts-shop.ts')> => import('./hosts-shop.ts');

const machines: Record<string, Command> = {
  lb: command({
    summary: 'a balancer: HAProxy, keepalived, lb-sync and the status page',
    settings: edge.balancerMachineConfig,
    run: async (settings) => (await edgeHosts()).runBalancerMachine(settings),
  }),
  web: command({
    summary: 'a web server: the frontend, the API and the announcer',
    settings: edge.plainMachineConfig,
    run: async (settings) => (await edgeHosts()).runWebMachine(settings),
  }),
  db: command({
    summary: 'a database: MariaDB, keepalived, db-agent and its watchdog',
    settings: edge.databaseMachineConfig,
    run: async (settings) => (await edgeHosts()).runDatabaseMachine(settings),
  }),
  backup: command({
    summary: 'backups of the database',
    settings: edge.plainMachineConfig,
    run: async (settings) => (await edgeHosts()).runBackupMachine(settings),
  }),
};

/** What the original's scripts did, by hand. They run on a database's machine. */
const operations: Record<string, Command> = {
  verify: command({
    summary: 'says what the record, this database and the other one are',
    settings: database.operatorConfig,
    run: async (settings) => (await databaseHosts()).runVerify(settings),
  }),
  takeover: command({
    summary: 'makes this database the primary, if it is in sync',
    settings: database.operatorConfig,
    run: async (settings) => (await databaseHosts()).runTakeover(settings),
  }),
  newMaster: command({
    summary: 'the same; with --force also where acknowledged orders may be lost',
    settings: database.newMasterConfig,
    run: async (settings) => (await databaseHosts()).runNewMaster(settings),
  }),
  newSlave: command({
    summary: 'makes this database a replica again',
    settings: database.operatorConfig,
    run: async (settings) => (await databaseHosts()).runNewSlave(settings),
  }),
  initSlave: command({
    summary: 'fills this database anew from the primary',
    settings: database.operatorConfig,
    run: async (settings) => (await databaseHosts()).runInitSlave(settings),
  }),
};

const backups: Record<string, Command> = {
  now: command({
    summary: 'makes a backup',
    settings: database.backupNowConfig,
    run: async (settings) => (await databaseHosts()).runBackupNow(settings),
  }),
  list: command({
    summary: 'lists the backups, and up to when each can be restored',
    settings: database.backupListConfig,
    run: async (settings) => (await databaseHosts()).runBackupList(settings),
  }),
  restore: command({
    summary: 'restores into a new database, as it was at a moment',
    settings: database.restoreConfig,
    run: async (settings) => (await databaseHosts()).runRestore(settings),
  }),
};

const commands: Record<string, Command> = {
  demo: command({
    summary: 'all machines, people who order, and one machine after the other that is lost; needs a Docker engine',
    settings: z.object({}),
    run: async () => (await import('./demo.ts')).demo(),
  }),
  machine: commandGroup({ summary: 'all that runs on one machine', commands: machines }),
  'lb-sync': command({
    summary: "keeps HAProxy's servers as they are in discovery",
    settings: edge.lbSyncConfig,
    run: async (settings) => (await edgeHosts()).runLbSync(settings),
  }),
  status: command({
    summary: 'the status page',
    settings: edge.statusConfig,
    run: async (settings) => (await edgeHosts()).runStatus(settings),
  }),
  mariadbd: command({
    summary: 'MariaDB, which starts read-only and closed to clients',
    settings: database.mariadbdConfig,
    run: async (settings) => (await databaseHosts()).runMariadbd(settings),
  }),
  'db-agent': command({
    summary: 'makes the database primary or replica, by the record in ZooKeeper',
    settings: database.agentConfig,
    run: async (settings) => (await databaseHosts()).runAgent(settings),
  }),
  'db-watchdog': command({
    summary: 'closes the database when its agent says nothing',
    settings: database.watchdogConfig,
    run: async (settings) => (await databaseHosts()).runWatchdog(settings),
  }),
  db: commandGroup({ summary: 'for operators: what the databases are, and changes by hand', commands: operations }),
  'db-backup': command({
    summary: 'a backup each night, and every change as it comes',
    settings: database.backupConfig,
    run: async (settings) => (await databaseHosts()).runBackup(settings),
  }),
  backup: commandGroup({ summary: 'backups by hand', commands: backups }),
  frontend: command({
    summary: 'serves the page',
    settings: shop.frontendConfig,
    run: async (settings) => (await shopHosts()).runFrontend(settings),
  }),
  api: command({
    summary: 'serves the REST API',
    settings: shop.apiConfig,
    run: async (settings) => (await shopHosts()).runApi(settings),
  }),
  announcer: command({
    summary: "announces the machine's servers in discovery",
    settings: shop.announcerConfig,
    run: async (settings) => (await shopHosts()).runAnnouncer(settings),
  }),
};

export const main = ({ args, env }: ConfigSource): Promise<number> =>
  runMain('main.ts', commands, {
    args,
    env,
    stdout: (text) => process.stdout.write(text),
    stderr: (text) => process.stderr.write(text),
  });
