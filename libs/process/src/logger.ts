import { createRequire } from 'node:module';
import { destination, pino, type Logger as PinoLogger } from 'pino';

/** What a role tells its story with: pino's calls, an object of fields first, then the words. */
export type Logger = PinoLogger;

/** What a library tells its story with: of a `Logger` the calls that a test can write itself. Fields first, then the words. */
export interface PlainLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface LoggerOptions {
  /** Of the process or role; stands in every line. */
  name: string;
  /** Least important level that is written. Default `info`. */
  level?: 'debug' | 'info' | 'warn' | 'error';
  /** Lines for people instead of JSON for machines. Default: whether stderr is a terminal. */
  pretty?: boolean;
}

/** A log on stderr, one JSON object a line: stdout is for results. Each line is written before the call returns, so that a crash loses none. */
export function makeLogger({ name, level = 'info', pretty = process.stderr.isTTY }: LoggerOptions): Logger {
  const stderr = destination({ dest: 2, sync: true });
  // The process id and the host's name, which pino would add, say nothing in a container.
  const options = { level, base: { name }, timestamp: () => `,"time":"${new Date().toISOString()}"` };
  return pino(options, pretty ? prettyStream(stderr) : stderr);
}

/** Loaded for people only: a role in a container starts sooner without. */
function prettyStream(stderr: ReturnType<typeof destination>): NodeJS.WritableStream {
  const pretty = createRequire(import.meta.url)('pino-pretty') as typeof import('pino-pretty');
  return pretty({ destination: stderr, sync: true });
}

/** Says nothing. */
export const silentLogger: Logger = pino({ level: 'silent' });
