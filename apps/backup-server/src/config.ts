/**
 * All settings of the system, in one place; passed in by main.ts from flags and the environment. Admins' commands have flags
 * only.
 */
import { address, demoSettings, duration, rabbitmqUrl, roleSettings, wholeNumber } from '@lab/process';
import { z } from 'zod';
import { problemOf } from './domain/exclude.ts';
import { nodeNamePattern, normalPath } from './domain/paths.ts';
import { parseSchedule } from './schedule.ts';

const nodeName = z.string().regex(nodeNamePattern, 'letters, digits, ".", "_" and "-", at most 64');

const keyFile = z.string().describe("file with a key: the master key for the server and requesters, else one's own");

const storeSettings = {
  store: z.string().describe('folder of the store; made when missing'),
  scrubCycle: duration({ min: 60_000 }).prefault('7d').describe('in which every stored byte is read again and checked'),
  sweepInterval: duration({ min: 1_000 })
    .prefault('10m')
    .describe('how long after new versions packs are looked through for what no version needs; what is younger stays'),
  nodeQuota: wholeNumber(1, Number.MAX_SAFE_INTEGER)
    .optional()
    .describe('bytes of the store that the versions of each node may take; without it, any'),
};

export const standaloneConfig = z.object({
  listen: address.describe('where admins are taken'),
  ...storeSettings,
  keyFile,
  ...roleSettings,
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
  ...roleSettings,
});
export type ContentCreatorConfig = z.infer<typeof contentCreatorConfig>;

export const demoConfig = z.object({
  seconds: wholeNumber(3, 600).default(6).describe('how long content changes'),
  ...demoSettings,
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

const json = z.boolean().default(false).describe('answer for programs');
const flagsOnly = <S extends z.ZodRawShape>(shape: S) => z.object(shape).meta({ environment: false });
const node = nodeName.describe('name of the node');
const path = z
  .string()
  .transform((text, context) => {
    const normal = normalPath(text);
    if ('path' in normal) return normal.path;
    context.addIssue(normal.problem);
    return z.NEVER;
  })
  .describe('path below the root of the node');
const oneVersion = wholeNumber(1, Number.MAX_SAFE_INTEGER);
const version = oneVersion.optional().describe('number of the version; default the newest');
const keep = wholeNumber(1, 1_000_000).optional();
const wanted = {
  node,
  path,
  version,
  only: z
    .array(z.string())
    .default([])
    .meta({ commas: false })
    .describe('path in the version, as "files" shows it: only this, and what is below; repeated, each of them'),
  partial: z.boolean().default(false).describe('of a damaged version, what is whole; the exit code is 1 where that is not all'),
};

/** Of commands that read versions, with a server or without. */
const reading = {
  list: {
    node: node.optional(),
    path: path.optional(),
    last: wholeNumber(1, 1_000_000).optional().describe('only the newest so many versions of each path'),
  },
  files: { node, path, version },
  diff: { node, path, versions: z.array(oneVersion).length(2, 'two versions are needed: diff V1 V2').describe('two numbers') },
  query: { ...wanted, saveTo: z.string().describe('FILE.tgz to write; one that exists is replaced') },
  restore: { ...wanted, to: z.string().describe('folder, new or empty, or of this restore when it was broken off') },
  verify: {},
};

const admin = { server: address.default('127.0.0.1:7500').describe('where the server is'), keyFile, json };

export const adminConfigs = {
  register: flagsOnly({
    ...admin,
    node,
    address: address.describe('where the node listens'),
    path,
    every: z
      .string()
      .superRefine((text, context) => {
        try {
          parseSchedule(text);
        } catch (error) {
          context.addIssue((error as Error).message);
        }
      })
      .describe('30, 30s, 5m, 1h, 1d or a cron expression'),
    exclude: z
      .array(z.string())
      .superRefine((patterns, context) => {
        const problem = problemOf(patterns);
        if (problem !== undefined) context.addIssue(problem);
      })
      .default([])
      .meta({ commas: false })
      .describe('pattern of what is left out: NAME, *.o, /below/the/path, a/**/b; repeated, all of them'),
    oneFileSystem: z.boolean().default(true).describe('leave out what is mounted below the path'),
    keep: keep.describe('newest versions to keep; without any --keep, all'),
    keepHourly: keep.describe('the newest of each of so many hours (UTC) that have one, beside what others keep'),
    keepDaily: keep.describe('likewise of days'),
    keepWeekly: keep.describe('likewise of weeks'),
    keepMonthly: keep.describe('likewise of months'),
  }),
  unregister: flagsOnly({ ...admin, node, path, forget: z.boolean().default(false).describe('remove its versions, too') }),
  backup: flagsOnly({ ...admin, node, path }),
  forget: flagsOnly({ ...admin, node, path, version: oneVersion.describe('number of the version that goes') }),
  status: flagsOnly({
    ...admin,
    check: z.boolean().default(false).describe('exit 1 if a path is failing, damaged, or later than two intervals'),
  }),
  plain: flagsOnly(admin),
  list: flagsOnly({ ...admin, ...reading.list }),
  files: flagsOnly({ ...admin, ...reading.files }),
  diff: flagsOnly({ ...admin, ...reading.diff }).meta({ environment: false, operand: 'versions' }),
  query: flagsOnly({ ...admin, ...reading.query }),
  restore: flagsOnly({ ...admin, ...reading.restore }),
  verify: flagsOnly({ ...admin, ...reading.verify }),
};
export type AdminConfig = z.infer<typeof adminConfigs.plain>;

const opened = { store: z.string().describe('folder of the store; nothing is written to it'), json };

/** The same without a server. */
export const openConfigs = {
  list: flagsOnly({ ...opened, ...reading.list }),
  files: flagsOnly({ ...opened, ...reading.files }),
  diff: flagsOnly({ ...opened, ...reading.diff }).meta({ environment: false, operand: 'versions' }),
  query: flagsOnly({ ...opened, ...reading.query }),
  restore: flagsOnly({ ...opened, ...reading.restore }),
  verify: flagsOnly({ ...opened, ...reading.verify }),
};
export type ReadingConfigs = { [K in keyof typeof openConfigs]: Omit<z.infer<(typeof openConfigs)[K]>, 'store'> };
