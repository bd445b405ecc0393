/**
 * All settings of the system, in one place. Values come from flags and the environment, passed in by main.ts: `tripsSolvers` is `--trips-solvers`
 * or `TRIPS_SOLVERS`.
 */
import { join } from 'node:path';
import type { Limits } from '@lab/protocol';
import { z } from 'zod';

const MiB = 1024 * 1024;

/** `60`, `60s`, `1500ms` or `2m`, as milliseconds. */
const duration = z
  .string()
  .regex(/^\d+(\.\d+)?(ms|s|m)?$/, 'a number of seconds, or a number with ms, s or m behind it')
  .transform((text) => Number.parseFloat(text) * (text.endsWith('ms') ? 1 : text.endsWith('m') ? 60_000 : 1000));

const address = z
  .string()
  .regex(/^(\[[0-9a-f:]+\]|[^:\s]+):\d{1,5}$/i, 'HOST:PORT')
  .refine((text) => Number(text.slice(text.lastIndexOf(':') + 1)) <= 65_535, 'HOST:PORT, with a port up to 65535');

const replicas = z.coerce.number().int().min(1).max(32);
const once = (why: string) => z.coerce.number().refine((count) => count === 1, `runs once: ${why}`);

/** How many replicas each role has. Only stateless roles and the shards' solvers replicate; another count for the rest is refused. */
export const replicaSettings = {
  brokers: replicas.default(1).describe('replicas of each broker'),
  filters: replicas.default(1).describe('replicas of each filter'),
  tripsSolvers: replicas.default(1).describe('replicas of each trips-solver; trips are split over so many shards'),
  entryPoints: once('clients keep their session with one entry point, and its window counts what that one lets in')
    .default(1)
    .describe('fixed'),
  solvers: once('one solver sees all parts of an answer').default(1).describe('fixed'),
  eofListeners: once('a barrier counts only what it sees, so one sees all').default(1).describe('fixed'),
  eofTripsListeners: once('a barrier counts only what it sees, so one sees all').default(1).describe('fixed'),
};

const sessionTimeout = duration
  .refine((ms) => ms >= 1_000, 'at least 1 s: roles renew a session twelve times in it')
  .prefault('60s')
  .describe('how long a session waits for a client that has gone (60, 1500ms, 2m)');

export const systemSettings = {
  ...replicaSettings,
  sessionTimeout,
  windowBytes: z.coerce
    .number()
    .int()
    .min(MiB)
    .max(1024 * MiB)
    .default(64 * MiB)
    .describe('bytes of batches under way, over all sessions'),
  sessionsMax: z.coerce.number().int().min(1).max(1000).default(100).describe('sessions at once; more are refused'),
};
export type SystemConfig = z.infer<z.ZodObject<typeof systemSettings>>;

/** A role in a process of its own, on RabbitMQ. */
export const roleConfig = z.object({
  ...systemSettings,
  rabbitmqUrl: z.string().default('amqp://lab:lab@127.0.0.1:5672').describe('where RabbitMQ is'),
  listen: address.default('0.0.0.0:7400').describe('where the entry point takes clients'),
  healthPort: z.coerce
    .number()
    .int()
    .min(1)
    .max(65_535)
    .optional()
    .describe('port of /healthz and /metrics; without it there are none'),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('least important level that is logged'),
});
export type RoleConfig = z.infer<typeof roleConfig>;

const readingSettings = {
  data: z.string().describe('folder with montreal, toronto and washington, each with weather.csv, stations.csv and trips.csv'),
  output: z.string().optional().describe('JSON file for the answers'),
  batchRows: z.coerce
    .number()
    .int()
    .min(1)
    .max(100_000)
    .optional()
    .describe('rows in a batch; without it about 64 batches for each topic, of at most 65,536 rows'),
  weatherOffsetDays: z.coerce
    .number()
    .int()
    .min(-366)
    .max(366)
    .default(-1)
    .describe('days from the date of a weather row to the day that it describes'),
};

export const fileReaderConfig = z.object({
  ...readingSettings,
  entryPoint: address.describe('where the entry point is'),
  connectTimeout: duration.prefault('60s').describe('how long to try to reach the entry point'),
});
export type FileReaderConfig = z.infer<typeof fileReaderConfig>;

export const demoConfig = z.object({
  ...systemSettings,
  ...readingSettings,
  data: readingSettings.data.default(join(import.meta.dirname, '../data')),
});
export type DemoConfig = z.infer<typeof demoConfig>;

export const generateConfig = z.object({
  output: z.string().describe('folder to write; made when missing'),
  trips: z.coerce.number().int().min(0).max(1_000_000_000).default(100_000).describe('trips over the three cities'),
  seed: z.coerce.number().int().min(0).max(0xffffffff).default(1).describe('the same seed makes the same data'),
});
export type GenerateConfig = z.infer<typeof generateConfig>;

/** Connections of clients. The idle limit is below the session timeout: who hangs is cut off and may come back. */
export const entryPointLimits = (sessionTimeoutMs: number): Partial<Limits> => ({
  idleTimeoutMs: sessionTimeoutMs / 2,
  frameTimeoutMs: sessionTimeoutMs,
});

/** Connections to the entry point. It gives a sign of life every twelfth of a session timeout, but may not read for as long as its window is full. */
export const clientLimits: Partial<Limits> = { sendTimeoutMs: Infinity, idleTimeoutMs: 20_000 };
