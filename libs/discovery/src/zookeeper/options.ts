import type { PlainLogger } from '@lab/process';

export interface ZookeeperOptions {
  /** `host:port,host:port`: servers of one ensemble. Which of them comes first is left to chance, so that clients spread over them. */
  servers: string;
  /** The node below which all is kept: what has another root sees nothing of it. Default `/lab`. */
  root?: string;
  /**
   * How long a process may be silent before it is taken for dead. The servers may change it within limits of their own. Default 4,000; below six of the servers'
   * ticks `lost` may come too late.
   */
  sessionTimeoutMs?: number;
  /** How long to wait for the first session before failing with `UnavailableError`. Default 60,000. */
  connectTimeoutMs?: number;
  /** Default: silence. */
  log?: PlainLogger;
  /** For the choice of a server: a number in 0..1. Default `Math.random`. */
  random?: () => number;
}

const silent = { info: () => {}, warn: () => {}, error: () => {} };
const serverPattern = /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?:\d{1,5}$/;
const rootPattern = /^(\/[A-Za-z0-9][A-Za-z0-9._-]*)+$/;

export type NormalOptions = Required<Omit<ZookeeperOptions, 'servers'>> & { servers: readonly string[] };

/** The options with their defaults, checked. */
export function normalizeOptions(options: ZookeeperOptions): NormalOptions {
  const normal = {
    root: '/lab',
    sessionTimeoutMs: 4_000,
    connectTimeoutMs: 60_000,
    log: silent,
    random: Math.random,
    ...options,
    servers: options.servers.split(','),
  };
  for (const field of ['sessionTimeoutMs', 'connectTimeoutMs'] as const) {
    if (!(normal[field] > 0)) throw new RangeError(`connectZookeeper: ${field} must be positive, not ${normal[field]}`);
  }
  for (const server of normal.servers) {
    if (!serverPattern.test(server) || Number(server.split(':')[1]) > 65_535) {
      throw new RangeError(
        `connectZookeeper: servers must look like host:2181,host:2181, not ${JSON.stringify(options.servers)}`,
      );
    }
  }
  if (!rootPattern.test(normal.root))
    throw new RangeError(`connectZookeeper: root must look like /lab, not ${JSON.stringify(normal.root)}`);
  return normal;
}
