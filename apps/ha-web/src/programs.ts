/** Every program of the machines. Each loads what it needs when it is chosen. */
import { command, commandGroup, runMain, type Command, type ConfigSource } from '@lab/process';
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

const commands: Record<string, Command> = {
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
