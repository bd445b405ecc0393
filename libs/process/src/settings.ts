/** Pieces of settings that programs share, as zod schemas for `readConfig`. */
import type { TraceMode } from '@lab/tracing/start';
import { z } from 'zod';

/** `60s`, `1500ms`, `2m`, `12h` or `7d`, as milliseconds; `min` and `max` are milliseconds, too. A default is a `.prefault('60s')`. */
export const duration = ({ min, max }: { min: number; max?: number }) =>
  z
    .string()
    .regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, {
      error: 'a time as 200ms, 10s, 2m, 12h or 7d',
      abort: true,
    })
    .transform((text) => Number.parseFloat(text) * unitMs[/[a-z]+$/.exec(text)![0]]!)
    .refine((ms) => ms >= min && ms <= (max ?? Infinity), {
      error: max === undefined ? `at least ${inWords(min)}` : `from ${inWords(min)} to ${inWords(max)}`,
    });
const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** As somebody would type it: in the largest unit that it is a whole number of. */
function inWords(ms: number): string {
  const [unit, size] = Object.entries(unitMs).findLast(([, each]) => ms % each === 0) ?? ['ms', 1];
  return `${ms / size}${unit}`;
}

/** `HOST:PORT`; an IPv6 address stands in brackets. */
export const address = z
  .string()
  .regex(/^(\[[0-9a-f:]+\]|[^:\s]+):\d{1,5}$/i, { error: 'HOST:PORT', abort: true })
  .refine((text) => splitAddress(text).port <= 65_535, 'HOST:PORT, with a port up to 65535');

/** The parts of an `address`, the host without brackets. */
export function splitAddress(text: string): { host: string; port: number } {
  const at = text.lastIndexOf(':');
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(text.slice(at + 1)) };
}

/** A file or a folder that somebody names: absolute, from the folder in which the command was given. A default stays as it is. */
export const path = z.string().meta({ path: true });

/** A whole number in a range, both ends included. */
export const wholeNumber = (min: number, max: number) => z.coerce.number().int().min(min).max(max);

/** Of TCP. */
export const port = wholeNumber(1, 65_535);

/** What every process of a role has: spread it into the role's schema, and give the settings to `runRole`. */
export const roleSettings = {
  healthPort: port.optional().describe('port of /healthz and /metrics; without it there are none'),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('least important level that is logged'),
  labTrace: z
    .string()
    .regex(/^(off|faults|all|(100|\d{1,2})(\.\d+)?%)$/, 'off, faults, all, or a share as 1%')
    .transform((text) => text as TraceMode)
    .optional()
    .describe('which spans are told: off (default), faults, all, or a share besides as 1%'),
  otelExporterOtlpEndpoint: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe('collector that gets them; without it stdout'),
};

/** What every demo has whose roles run in one process. */
export const demoSettings = {
  watch: z.boolean().default(false).describe('shows the run on a page, whose buttons break it; it stays until Ctrl-C'),
};

/** For a role that talks to RabbitMQ. The default is RabbitMQ's own port on this machine. */
export const rabbitmqUrl = z
  .string()
  .regex(/^amqps?:\/\/./, 'amqp://USER:PASSWORD@HOST:PORT')
  .default('amqp://lab:lab@127.0.0.1:5672')
  .describe('where RabbitMQ is');
