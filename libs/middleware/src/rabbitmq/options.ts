import type { PlainLogger } from '@lab/process';

export interface RabbitmqOptions {
  /** `amqp://user:password@host:port/vhost`, or `amqps:`. The password never appears in a log. The account needs all rights for the stream `lab.incarnation`, too. */
  url: string;
  /** Default: silence. */
  log?: PlainLogger;
  /** The name that RabbitMQ's own list of connections shows. Default `lab`. */
  name?: string;
  /** A peer that is silent for twice as long is given up. Default 5, for a seat is free again only when its holder's death was noticed. */
  heartbeatSeconds?: number;
  /** How long calls wait for a connection, the first one included, before they fail with `UnavailableError`. Publishes wait on. Default 60,000. */
  connectTimeoutMs?: number;
  /** When a confirm stays out for so long, the broker is asked whether it is lost or late, by one message; if it is lost, all are published again. Default 15,000. */
  confirmTimeoutMs?: number;
  /**
   * How long `close` waits for confirms; what has none by then fails, and a line says how many. Default 4,000: half of what a process has for its stop,
   * and longer than a connection that was cut takes to come back.
   */
  closeTimeoutMs?: number;
  /** Most bytes published and not confirmed; `publish` waits above. Default 64 MiB. */
  unconfirmedBytesMax?: number;
  /** For the jitter of the back-off: a number in 0..1. Default `Math.random`. */
  random?: () => number;
}

const silent = { info: () => {}, warn: () => {}, error: () => {} };

/** The options with their defaults, checked. */
export function normalizeOptions(options: RabbitmqOptions): Required<RabbitmqOptions> {
  const normal = {
    log: silent,
    name: 'lab',
    heartbeatSeconds: 5,
    connectTimeoutMs: 60_000,
    confirmTimeoutMs: 15_000,
    closeTimeoutMs: 4_000,
    unconfirmedBytesMax: 64 * 1024 * 1024,
    random: Math.random,
    ...options,
  };
  for (const field of [
    'heartbeatSeconds',
    'connectTimeoutMs',
    'confirmTimeoutMs',
    'closeTimeoutMs',
    'unconfirmedBytesMax',
  ] as const) {
    if (!(normal[field] > 0)) throw new RangeError(`connectRabbitmq: ${field} must be positive, not ${normal[field]}`);
  }
  if (!URL.canParse(normal.url) || !/^amqps?:$/.test(new URL(normal.url).protocol)) {
    throw new RangeError('connectRabbitmq: url must look like amqp://user:password@host:5672/vhost');
  }
  return normal;
}
