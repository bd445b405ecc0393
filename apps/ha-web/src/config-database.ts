/** Settings of the database machines' programs, and of the backup. */
import { isIPv4 } from 'node:net';
import { z } from 'zod';

const address = z.string().refine(isIPv4, 'an IPv4 address');
const name = z.string().regex(/^[a-z0-9-]{1,40}$/, 'lower-case letters, digits and hyphens');
const password = z.string().regex(/^[^'"\\\s]{1,64}$/, 'no quotes, backslashes or blanks');
const port = z.coerce.number().int().min(1).max(65_535);
const logLevel = z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('least important level that is logged');

const files = {
  dataFolder: z.string().default('/data').describe('folder of all that must survive: MariaDB in mysql, and what was saved'),
  primaryFile: z
    .string()
    .default('/run/ha-web-primary')
    .describe('tells keepalived whether this machine is to hold the floating address: 0, otherwise 1'),
  aliveFile: z.string().default('/run/ha-web-agent-alive').describe('touched by db-agent in each of its rounds'),
};

/** Who still reaches the database while it is closed to clients. */
const admitted = {
  peerAddress: address.describe('of the other database, on the internal network'),
  backupAddress: address.optional().describe('of the backup machine, on the internal network'),
};

const replicationPassword = password.default('repl').describe('of the account `repl`');
const backupPassword = password.default('backup').describe('of the account `backup`');

export const mariadbdConfig = z.object({
  name: name.describe('of this machine'),
  internalAddress: address.describe("this machine's own, on the internal network"),
  ...admitted,
  ...files,
  databaseName: z
    .string()
    .regex(/^\w{1,60}$/)
    .default('marketplace')
    .describe("the application's database"),
  databasePassword: password.default('app').describe('of the account `app`'),
  replicationPassword,
  backupPassword,
  logLevel,
});
export type MariadbdConfig = z.infer<typeof mariadbdConfig>;

export const watchdogConfig = z.object({ ...admitted, ...files, logLevel });
export type WatchdogConfig = z.infer<typeof watchdogConfig>;

export const agentConfig = z.object({
  name: name.describe('of this machine'),
  peerName: name.describe('of the other database'),
  founder: z.boolean().default(false).describe('is the first primary where there never was one'),
  internalAddress: address.describe("this machine's own, on the internal network"),
  ...admitted,
  ...files,
  presenceFile: z
    .string()
    .default('/run/ha-web-presence')
    .describe('where keepalived writes whether it hears a better one: MASTER if not'),
  agentPort: port.default(3307).describe("port of the agents' status"),
  databaseName: mariadbdConfig.shape.databaseName,
  zookeeper: z
    .string()
    .regex(/^[\w.-]+:\d+(,[\w.-]+:\d+)*$/, 'HOST:PORT,HOST:PORT')
    .default('127.0.0.1:2181')
    .describe("ZooKeeper's servers"),
  replicationPassword,
  logLevel,
});
export type AgentConfig = z.infer<typeof agentConfig>;

/** Of an operator's commands: what the agent of the machine has. */
export const operatorConfig = agentConfig;
export const newMasterConfig = agentConfig.extend({
  force: z
    .boolean()
    .default(false)
    .describe('also where it is not in sync: rows that only the other one has are lost to clients'),
});
export type NewMasterConfig = z.infer<typeof newMasterConfig>;

const backup = {
  databases: z
    .array(address)
    .min(1)
    .describe('addresses of the databases; a dump is of the first replica among them, or of the primary'),
  backupPassword,
  databaseName: mariadbdConfig.shape.databaseName,
  dataFolder: z.string().default('/data').describe('folder of the backups'),
  keep: z.coerce
    .number()
    .int()
    .min(1)
    .max(1_000)
    .default(14)
    .describe('how many dumps are kept, with all changes since the oldest'),
  logLevel,
};

export const backupConfig = z.object({
  ...backup,
  backupTime: z
    .string()
    .regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'HH:MM')
    .default('02:00')
    .describe('time of the daily dump'),
  backupTimeZone: z
    .string()
    .refine(isTimeZone, 'the name of a time zone, as Europe/Lisbon')
    .default('Europe/Lisbon')
    .describe('where it is that time'),
});
export type BackupConfig = z.infer<typeof backupConfig>;

export const backupNowConfig = z.object(backup);
export type BackupNowConfig = z.infer<typeof backupNowConfig>;

export const backupListConfig = z.object({ dataFolder: backup.dataFolder });
export type BackupListConfig = z.infer<typeof backupListConfig>;

export const restoreConfig = z.object({
  dataFolder: backup.dataFolder,
  databaseName: backup.databaseName,
  toTime: z.iso
    .datetime({ offset: true, error: 'a time with its zone, as 2026-01-31T14:05:00Z' })
    .optional()
    .describe('changes up to this second; default: all that there are'),
  into: z.string().describe('folder of the new instance; it must not exist'),
});
export type RestoreConfig = z.infer<typeof restoreConfig>;

function isTimeZone(text: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}
