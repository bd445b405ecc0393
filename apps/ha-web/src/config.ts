/** Settings of every program, as flags or in the environment. */
import { isIPv4 } from 'node:net';
import { port, roleSettings, wholeNumber } from '@lab/process';
import { z } from 'zod';

const { logLevel, labTrace, otelExporterOtlpEndpoint } = roleSettings;
const tracing = { labTrace, otelExporterOtlpEndpoint };

// What several programs have.

const address = z.string().refine(isIPv4, 'an IPv4 address');
const name = z.string().regex(/^[a-z0-9-]{1,40}$/, 'lower-case letters, digits and hyphens');
const password = z.string().regex(/^[^'"\\\s]{1,64}$/, 'no quotes, backslashes or blanks');
const zookeeper = z
  .string()
  .regex(/^[\w.-]+:\d+(,[\w.-]+:\d+)*$/, 'HOST:PORT,HOST:PORT')
  .default('127.0.0.1:2181')
  .describe("ZooKeeper's servers");
const named = z.array(z.string().regex(/^[a-z0-9-]+=\S+:\d{1,5}$/, 'NAME=HOST:PORT each')).default([]);

const databaseName = z
  .string()
  .regex(/^\w{1,60}$/)
  .default('marketplace')
  .describe("the application's database");
const databasePassword = password.default('app').describe('of the account `app`');
const replicationPassword = password.default('repl').describe('of the account `repl`');
const backupPassword = password.default('backup').describe('of the account `backup`');

/** What a machine needs that has a share in a floating address. */
const floating = {
  name: name.describe('of this machine'),
  peerAddress: address.describe('of the other machine that may hold the floating address, on the same network'),
  floatingAddress: address.describe('the one that moves'),
};

export const demo = z.object({
  watch: z.boolean().default(false).describe('shows the run on a page, which stays until Ctrl-C'),
});
export type DemoConfig = z.infer<typeof demo>;

// Balancers.

export const balancerMachine = z.object({
  ...floating,
  externalAddress: address.describe("this machine's own, on the network that is reached from outside"),
  priority: wholeNumber(61, 254).describe('of two balancers that can serve the greater holds the floating address'),
  logLevel,
});

export const lbSync = z.object({ zookeeper, logLevel });

export const status = z.object({
  name: name.describe('of this machine'),
  externalAddress: address.default('127.0.0.1').describe('where the page is served'),
  statusPort: port.default(8404).describe('port of the page'),
  floatingAddress: address.describe('the one that the active balancer holds'),
  balancers: named.describe('the balancers and where their status is asked'),
  databases: named.describe('the databases and where their agents tell their status'),
  zookeeper,
  logLevel,
});

// Databases.

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

const presenceFile = z
  .string()
  .default('/run/ha-web-presence')
  .describe('where keepalived writes whether it hears a better one: MASTER if not');

export const databaseMachine = z.object({
  ...floating,
  internalAddress: address.describe("this machine's own, on the internal network"),
  primaryFile: files.primaryFile,
  presenceFile,
  logLevel,
});

export const mariadbd = z.object({
  name: name.describe('of this machine'),
  internalAddress: address.describe("this machine's own, on the internal network"),
  ...admitted,
  ...files,
  databaseName,
  databasePassword,
  replicationPassword,
  backupPassword,
  logLevel,
});

export const watchdog = z.object({ ...admitted, ...files, floatingAddress: floating.floatingAddress, logLevel });

export const agent = z.object({
  name: name.describe('of this machine'),
  peerName: name.describe('of the other database'),
  founder: z.boolean().default(false).describe('is the first primary where there never was one'),
  internalAddress: address.describe("this machine's own, on the internal network"),
  ...admitted,
  ...files,
  presenceFile,
  agentPort: port.default(3307).describe("port of the agents' status"),
  databaseName,
  zookeeper,
  replicationPassword,
  ...tracing,
  logLevel,
});

export const newMaster = agent.extend({
  force: z
    .boolean()
    .default(false)
    .describe('also where it is not in sync: rows that only the other one has are lost to clients'),
});

// Backups.

const backups = {
  databases: z
    .array(address)
    .min(1)
    .describe('addresses of the databases; a dump is of the first replica among them, or of the primary'),
  backupPassword,
  databaseName,
  dataFolder: z.string().default('/data').describe('folder of the backups'),
  keep: wholeNumber(1, 1_000).default(14).describe('how many dumps are kept, with all changes since the oldest'),
  logLevel,
};

export const backup = z.object({
  ...backups,
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

export const backupNow = z.object(backups);

export const backupList = z.object({ dataFolder: backups.dataFolder });

export const restore = z.object({
  dataFolder: backups.dataFolder,
  databaseName: backups.databaseName,
  toTime: z.iso
    .datetime({ offset: true, error: 'a time with its zone, as 2026-01-31T14:05:00Z' })
    .optional()
    .describe('changes up to this second; default: all that there are'),
  into: z.string().describe('folder of the new instance; it must not exist'),
});

// Web machines.

/** Machines that need no settings of their own: their programs read theirs. */
export const plainMachine = z.object({ logLevel });

const program = {
  name: z.string().optional().describe("what the machine is called; default its host's name"),
  logLevel,
};

const serving = {
  listen: z.string().default('0.0.0.0').describe('address to listen at'),
  lameDuckMs: wholeNumber(0, 60_000)
    // Two checks of the balancers, 200 ms each, that must fail; the rest is for a busy machine.
    .default(1_500)
    .describe('how long requests are taken after /health says that it drains'),
  ...program,
};

export const api = z.object({
  apiPort: port.default(8081).describe('port of the API'),
  databaseHost: z.string().default('127.0.0.1').describe('address of the primary database: the floating one'),
  databasePort: port.default(3306).describe('port of the database'),
  databaseUser: z.string().default('app').describe('account of the database'),
  databasePassword,
  databaseName,
  ...tracing,
  ...serving,
});

export const frontend = z.object({
  frontendPort: port.default(8080).describe('port of the page'),
  ...serving,
});

export const announcer = z.object({
  zookeeper,
  address: z
    .string()
    .optional()
    .describe('where balancers find this machine; default the address that it speaks to discovery from'),
  frontendPort: port.default(8080).describe('port of the page'),
  apiPort: port.default(8081).describe('port of the API'),
  ...program,
});

function isTimeZone(text: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}
