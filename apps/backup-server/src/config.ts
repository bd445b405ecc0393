/**
 * All settings of the system, in one place; passed in by main.ts from flags and the environment. Admins' commands have flags
 * only.
 */
import { address, duration, rabbitmqUrl, roleSettings, wholeNumber } from '@lab/process';
import { z } from 'zod';
import { nodeNamePattern } from './domain/paths.ts';

const nodeName = z.string().regex(nodeNamePattern, 'letters, digits, ".", "_" and "-", at most 64');

const keyFile = z.string().describe("file with a key: the master key for the server and requesters, else one's own");
const { logLevel } = roleSettings;

const storeSettings = {
  store: z.string().describe('folder of the store; made when missing'),
  scrubCycle: duration({ min: 60_000 }).prefault('7d').describe('in which every stored byte is read again and checked'),
  sweepInterval: duration({ min: 1_000 })
    .prefault('10m')
    .describe('how long after new versions packs are looked through for what no version needs; what is younger stays'),
};

export const standaloneConfig = z.object({
  listen: address.describe('where admins are taken'),
  ...storeSettings,
  keyFile,
  logLevel,
});
export type StandaloneConfig = z.infer<typeof standaloneConfig>;

export const roleNames = ['backup-requester', 'nodes-manager', 'server'];

/** Server, nodes manager and backup requester, each in a process of its own, on RabbitMQ. */
export const roleConfig = z.object({
  ...storeSettings,
  keyFile,
  rabbitmqUrl,
  listen: address.default('0.0.0.0:7500').describe('where the server takes admins'),
  ...roleSettings,
});
export type RoleConfig = z.infer<typeof roleConfig>;

export const nodeConfig = z.object({
  name: nodeName.describe('what the node is called'),
  listen: address.describe('where requesters are taken'),
  root: z.string().describe('folder that is served; nothing outside of it'),
  cache: z.string().optional().describe('folder for what is known of unchanged files; default ~/.cache/lab-backup-server/NAME'),
  keyFile,
  ...roleSettings,
});
export type NodeConfig = z.infer<typeof nodeConfig>;

export const contentCreatorConfig = z.object({
  name: z.string().default('creator').describe('stands in each line'),
  file: z.string().describe('file that grows; made when missing'),
  interval: duration({ min: 10 }).prefault('1s').describe('time from line to line'),
  logLevel,
});
export type ContentCreatorConfig = z.infer<typeof contentCreatorConfig>;

export const demoConfig = z.object({
  seconds: wholeNumber(3, 600).default(6).describe('how long content changes'),
});
export type DemoConfig = z.infer<typeof demoConfig>;

export const keyConfig = z
  .object({
    output: z.string().describe('file that is made; one that exists stays'),
    master: z.string().optional().describe('file with the master key; without it, a new one is made'),
    of: z.string().optional().describe('whose key: node-NAME or admin-NAME'),
  })
  .meta({ environment: false });
export type KeyConfig = z.infer<typeof keyConfig>;

// Admin.

const admin = {
  server: address.default('127.0.0.1:7500').describe('where the server is'),
  keyFile,
  json: z.boolean().default(false).describe('answer for programs'),
};
const flagsOnly = <S extends z.ZodRawShape>(shape: S) => z.object({ ...admin, ...shape }).meta({ environment: false });
const node = nodeName.describe('name of the node');
const path = z.string().describe('path below the root of the node');
const version = wholeNumber(1, Number.MAX_SAFE_INTEGER).optional().describe('number of the version; default the newest');
const partial = z.boolean().default(false).describe('of a damaged version, what is whole');

export const adminConfigs = {
  register: flagsOnly({
    node,
    address: address.describe('where the node listens'),
    path,
    every: z.string().describe('30, 30s, 5m, 1h, 1d or a cron expression'),
    keep: wholeNumber(1, 1_000_000).optional().describe('newest versions to keep; default all'),
  }),
  unregister: flagsOnly({ node, path, forget: z.boolean().default(false).describe('remove its versions, too') }),
  backup: flagsOnly({ node, path }),
  query: flagsOnly({
    node,
    path,
    saveTo: z.string().describe('FILE.tgz to write; one that exists is replaced'),
    version,
    partial,
  }),
  restore: flagsOnly({
    node,
    path,
    to: z.string().describe('folder, empty or not there, that gets what was in the path'),
    version,
    partial,
  }),
  plain: flagsOnly({}),
};
export type AdminConfig = z.infer<typeof adminConfigs.plain>;
