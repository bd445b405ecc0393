export { systemClock, type Clock } from './clock.ts';
export { ConfigError, readConfig, type ConfigSource } from './config.ts';
export { makeLogger, silentLogger, type Logger, type LoggerOptions } from './logger.ts';
export type { Role } from './role.ts';
export * from './run-process.ts';
