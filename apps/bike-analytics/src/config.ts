/**
 * All settings of the system, in one place. Values come from flags and the environment, passed in by main.ts: `tripsSolvers` is `--trips-solvers`
 * or `TRIPS_SOLVERS`.
 */
import { join } from 'node:path';
import { address, demoSettings, duration, path, rabbitmqUrl, roleSettings, wholeNumber } from '@lab/process';
import type { Limits } from '@lab/protocol';
import { z } from 'zod';
import { settingSchemas } from './messages.ts';
import { shardsMax } from './topology.ts';

const MiB = 1024 * 1024;

const replicas = wholeNumber(1, shardsMax);
const once = (why: string) => {
  const one = z.coerce.number().refine((count) => count === 1, `runs once: ${why}`);
  return one.default(1).describe('fixed');
};

/** How many replicas each role has. Only stateless roles and the shards' solvers replicate; another count for the rest is refused. */
export const replicaSettings = {
  brokers: replicas.default(1).describe('replicas of each broker'),
  filters: replicas.default(1).describe('replicas of each filter'),
  tripsSolvers: replicas.default(1).describe('replicas of each trips-solver; trips are split over so many shards'),
  entryPoints: once('clients keep their session with one entry point, and its window counts what that one lets in'),
  solvers: once('one solver sees all parts of an answer'),
  eofListeners: once('a barrier counts only what it sees, so one sees all'),
  eofTripsListeners: once('a barrier counts only what it sees, so one sees all'),
};

export const systemSettings = {
  ...replicaSettings,
  // Roles renew a session twelve times in it. RabbitMQ takes up to 10 s to notice that a process is gone, and only then others get what it held: a lease has to
  // outlive that three times.
  sessionTimeout: duration({ min: 30_000 })
    .prefault('60s')
    .describe('how long a session waits for a client that has gone (60, 90s, 2m)'),
  windowBytes: wholeNumber(MiB, 1024 * MiB)
    .default(64 * MiB)
    .describe('bytes of batches under way, over all sessions'),
  sessionsMax: wholeNumber(1, 1000).default(100).describe('sessions at once; more are refused'),
};
/** `batchesMax`: of all sessions, not through, half of them of one. It is no setting: only a test has another than RabbitMQ's. */
export type SystemConfig = z.infer<z.ZodObject<typeof systemSettings>> & { batchesMax?: number };

/** A role in a process of its own, on RabbitMQ. */
export const roleConfig = z.object({
  ...systemSettings,
  ...roleSettings,
  rabbitmqUrl,
  listen: address.default('0.0.0.0:7400').describe('where the entry point takes clients'),
});
export type RoleConfig = z.infer<typeof roleConfig>;

/** Of the client, whatever it asks. */
export const clientSettings = {
  data: path.describe('folder with montreal, toronto and washington, each with weather.csv, stations.csv and trips.csv'),
  output: path.optional().describe('JSON file for the answers'),
  batchRows: wholeNumber(1, 100_000)
    .optional()
    .describe('rows in a batch; without it about 64 batches for each topic, of at most 65,536 rows'),
  weatherOffsetDays: wholeNumber(-366, 366)
    .default(-1)
    .describe('days from the date of a weather row to the day that it describes'),
  progress: z.boolean().default(false).describe('show the answers so far while the system is at work'),
  connectTimeout: duration({ min: 0 })
    .prefault('2m')
    .describe('how long to try until the entry point takes it in, at first and again'),
  allowEmpty: z.boolean().default(false).describe('take a file of which no row can be used for one without rows'),
};

// As the others are of all queries, TypeScript does not know their names.
const readingSettings = { ...clientSettings, ...(settingSchemas as object) };

export const fileReaderConfig = z.object({
  ...readingSettings,
  entryPoint: address.describe('where the entry point is'),
});
export type FileReaderConfig = z.infer<typeof fileReaderConfig>;

export const demoConfig = z.object({
  ...systemSettings,
  ...readingSettings,
  ...demoSettings,
  data: readingSettings.data.default(join(import.meta.dirname, '../data')),
});
export type DemoConfig = z.infer<typeof demoConfig>;

export const generateConfig = z.object({
  output: path.describe('folder to write; made when missing'),
  trips: wholeNumber(0, 1_000_000_000).default(100_000).describe('trips over the three cities'),
  seed: wholeNumber(0, 0xffffffff).default(1).describe('the same seed makes the same data'),
});
export type GenerateConfig = z.infer<typeof generateConfig>;

/** Connections of clients. The idle limit is below the session timeout: who hangs is cut off and may come back. */
export const entryPointLimits = (sessionTimeoutMs: number): Partial<Limits> => ({
  idleTimeoutMs: sessionTimeoutMs / 2,
  frameTimeoutMs: sessionTimeoutMs,
});

/** Connections to the entry point. It gives a sign of life every twelfth of a session timeout, but may not read for as long as its window is full. */
export const clientLimits: Partial<Limits> = { sendTimeoutMs: Infinity, idleTimeoutMs: 20_000 };
