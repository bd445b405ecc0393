/** All settings of the system, in one place; passed in by main.ts from flags and the environment. Admins' commands have flags only. */
import { z } from 'zod';
import { nodeNamePattern } from './domain/paths.ts';

/** `60`, `60s`, `1500ms`, `2m`, `7d`, as milliseconds. */
const duration = z
  .string()
  .regex(/^\d+(\.\d+)?(ms|s|m|h|d)?$/, 'a number of seconds, or a number with ms, s, m, h or d behind it')
  .transform((text) => Number.parseFloat(text) * unitMs[/[a-z]+$/.exec(text)?.[0] ?? 's']!);
const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const address = z
  .string()
  .regex(/^(\[[0-9a-f:]+\]|[^:\s]+):\d{1,5}$/i, { error: 'HOST:PORT', abort: true })
  .refine((text) => Number(text.slice(text.lastIndexOf(':') + 1)) <= 65_535, 'HOST:PORT, with a port up to 65535');

export function splitAddress(text: string): { host: string; port: number } {
  const at = text.lastIndexOf(':');
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(text.slice(at + 1)) };
}

const nodeName = z.string().regex(nodeNamePattern, 'letters, digits, ".", "_" and "-", at most 64');

const credentials = {
  secretFile: z.string().optional().describe('file with the shared secret, at least 16 characters'),
  tls: z.string().optional().describe('folder with certificates ("certificates" makes one), in place of the secret'),
};
const logLevel = z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('least important level that is logged');
const healthPort = z.coerce
  .number()
  .int()
  .min(1)
  .max(65_535)
  .optional()
  .describe('port of /healthz and /metrics; without it there are none');

const storeSettings = {
  store: z.string().describe('folder of the store; made when missing'),
  scrubCycle: duration
    .refine((ms) => ms >= 60_000, 'at least 1m')
    .prefault('7d')
    .describe('in which every stored byte is read again and checked'),
  sweepInterval: duration
    .refine((ms) => ms >= 1_000, 'at least 1s')
    .prefault('10m')
    .describe('how long after new versions packs are looked through for what no version needs; what is younger stays'),
};

export const standaloneConfig = z.object({
  listen: address.describe('where admins are taken'),
  ...storeSettings,
  ...credentials,
  logLevel,
});
export type StandaloneConfig = z.infer<typeof standaloneConfig>;

export const roleNames = ['backup-requester', 'nodes-manager', 'server'];

/** Server, nodes manager and backup requester, each in a process of its own, on RabbitMQ. */
export const roleConfig = z.object({
  ...storeSettings,
  ...credentials,
  rabbitmqUrl: z.string().default('amqp://lab:lab@127.0.0.1:5672').describe('where RabbitMQ is'),
  listen: address.default('0.0.0.0:7500').describe('where the server takes admins'),
  healthPort,
  logLevel,
});
export type RoleConfig = z.infer<typeof roleConfig>;

export const nodeConfig = z.object({
  name: nodeName.describe('what the node is called'),
  listen: address.describe('where requesters are taken'),
  root: z.string().describe('folder that is served; nothing outside of it'),
  cache: z.string().optional().describe('folder for what is known of unchanged files; default ~/.cache/lab-backup-server/NAME'),
  ...credentials,
  healthPort,
  logLevel,
});
export type NodeConfig = z.infer<typeof nodeConfig>;

export const contentCreatorConfig = z.object({
  name: z.string().default('creator').describe('stands in each line'),
  file: z.string().describe('file that grows; made when missing'),
  interval: duration
    .refine((ms) => ms >= 10, 'at least 10ms')
    .prefault('1s')
    .describe('time from line to line'),
  logLevel,
});
export type ContentCreatorConfig = z.infer<typeof contentCreatorConfig>;

export const demoConfig = z.object({
  seconds: z.coerce.number().int().min(3).max(600).default(6).describe('how long content changes'),
});
export type DemoConfig = z.infer<typeof demoConfig>;

export const certificatesConfig = z
  .object({
    output: z.string().describe('folder for authority, keys and certificates; made when missing'),
    nodes: z.array(nodeName).default([]).describe('names of nodes'),
  })
  .meta({ environment: false });

export const secretConfig = z
  .object({ output: z.string().describe('file that is made; one that exists stays') })
  .meta({ environment: false });

// Admin.

const admin = {
  server: address.default('127.0.0.1:7500').describe('where the server is'),
  ...credentials,
  json: z.boolean().default(false).describe('answer for programs'),
};
const flagsOnly = <S extends z.ZodRawShape>(shape: S) => z.object({ ...admin, ...shape }).meta({ environment: false });
const node = nodeName.describe('name of the node');
const path = z.string().describe('path below the root of the node');
const version = z.coerce.number().int().min(1).optional().describe('number of the version; default the newest');
const partial = z.boolean().default(false).describe('of a damaged version, what is whole');

export const adminConfigs = {
  register: flagsOnly({
    node,
    address: address.describe('where the node listens'),
    path,
    every: z.string().describe('30, 30s, 5m, 1h, 1d or a cron expression'),
    keep: z.coerce.number().int().min(1).max(1_000_000).optional().describe('newest versions to keep; default all'),
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
