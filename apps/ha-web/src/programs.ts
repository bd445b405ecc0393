/** Every program of the machines: a line for each, with its settings. The hosts of a topic are loaded when one of its programs is chosen. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { command, commandGroup, ExitError, exitCodes, runProgram, type Command, type ProgramProcess } from '@lab/process';
import { z } from 'zod';
import * as config from './config.ts';

type Host<Settings> = (settings: Settings) => Promise<number | void>;

/** Programs whose hosts stand in one module under the same names. */
function programs<Hosts extends { readonly [Name in keyof Hosts]: Host<never> }>(
  load: () => Promise<{ readonly hosts: Hosts }>,
  table: { readonly [Name in keyof Hosts]: readonly [summary: string, settings: SettingsOf<Hosts[Name]>] },
): Record<keyof Hosts, Command> {
  const rows = Object.entries<readonly [string, z.ZodObject]>(table).map(([name, [summary, settings]]) => [
    name,
    command({ summary, settings, run: async (values) => (await load()).hosts[name as keyof Hosts](values as never) }),
  ]);
  return Object.fromEntries(rows) as Record<keyof Hosts, Command>;
}
type SettingsOf<H> = H extends Host<infer Settings> ? z.ZodObject & z.ZodType<Settings> : never;

const machines = programs(() => import('./operate/machine/hosts.ts'), {
  lb: ['a balancer: HAProxy, keepalived, lb-sync and the status page', config.balancerMachine],
  web: ['a web server: the frontend, the API and the announcer', config.plainMachine],
  db: ['a database: MariaDB, keepalived, db-agent and its watchdog', config.databaseMachine],
  backup: ['backups of the database', config.plainMachine],
});

const edge = programs(() => import('./edge/hosts.ts'), {
  'lb-sync': ["keeps HAProxy's servers as they are in discovery", config.lbSync],
  status: ['the status page', config.status],
  announcer: ["announces the machine's servers in discovery", config.announcer],
});

const database = programs(() => import('./database/hosts.ts'), {
  mariadbd: ['MariaDB, which starts read-only and closed to clients', config.mariadbd],
  'db-agent': ['makes the database primary or replica, by the record in ZooKeeper', config.agent],
  'db-watchdog': ['closes the database when its agent says nothing', config.watchdog],
});

const shop = programs(() => import('./shop/hosts.ts'), {
  frontend: ['serves the page', config.frontend],
  api: ['serves the REST API', config.api],
});

/** What the original's scripts did, by hand. They run on a database's machine. */
const operations = programs(() => import('./operate/operator.ts'), {
  verify: ['says what the record, this database and the other one are', config.agent],
  takeover: ['makes this database the primary, if it is in sync', config.agent],
  newMaster: ['the same; with --force also where acknowledged orders may be lost', config.newMaster],
  newSlave: ['waits until this database, a former primary, is the replica', config.agent],
  initSlave: ['empties this replica, and fills it anew from the primary', config.agent],
});

const { 'db-backup': backup, ...backups } = programs(() => import('./operate/backup/hosts.ts'), {
  'db-backup': ['a backup each night, and every change as it comes', config.backup],
  now: ['makes a backup', config.backupNow],
  list: ['lists the backups, and up to when each can be restored', config.backupList],
  restore: ['restores into a new database, as it was at a moment', config.restore],
});

/** It handles machines from outside, with what the repository has beside this app and a machine has not. */
async function demo(settings: config.DemoConfig): Promise<void> {
  if (existsSync(join(import.meta.dirname, '../../../docker'))) return (await import('./demo.ts')).demo(settings);
  throw new ExitError(
    'the demo does not run in a machine, as it starts them: npx nx demo ha-web, in the repository',
    exitCodes.usage,
  );
}

const commands: Record<string, Command> = {
  demo: command({
    summary: 'all machines, people who order, and one machine after the other that is lost; needs a Docker engine',
    settings: config.demo,
    run: demo,
  }),
  machine: commandGroup({ summary: 'all that runs on one machine', commands: machines }),
  ...edge,
  ...database,
  db: commandGroup({ summary: 'for operators: what the databases are, and changes by hand', commands: operations }),
  'db-backup': backup,
  backup: commandGroup({ summary: 'backups by hand', commands: backups }),
  ...shop,
};

export const main = (host: ProgramProcess): Promise<number> => runProgram(commands, host);
