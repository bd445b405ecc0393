import { pino, destination, type Logger as PinoLogger } from 'pino';
import pretty from 'pino-pretty';

/** What a role tells its story with: pino's calls, an object of fields first, then the words. */
export type Logger = PinoLogger;

export interface LoggerOptions {
  /** Of the process or role; stands in every line. */
  name: string;
  /** Least important level that is written. Default `info`. */
  level?: 'debug' | 'info' | 'warn' | 'error';
  /** For people instead of machines. Default: whether stderr is a terminal. */
  forPeople?: boolean;
}

/** A log on stderr, one JSON object a line: stdout is for results. Written at once, so that a crash loses none. */
export function makeLogger({ name, level = 'info', forPeople = process.stderr.isTTY }: LoggerOptions): Logger {
  const stderr = destination({ dest: 2, sync: true });
  const options = { name, level, base: { name }, timestamp: () => `,"time":"${new Date().toISOString()}"` };
  return forPeople ? pino(options, pretty({ destination: stderr, ignore: 'pid,hostname', sync: true })) : pino(options, stderr);
}

/** Says nothing. */
export const silentLogger: Logger = pino({ level: 'silent' });
