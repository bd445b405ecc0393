export * from './time.ts';
export { ConfigError, readConfig, type ConfigSource } from './config.ts';
export { ExitError, exitCodeOf, exitCodes } from './exit-codes.ts';
export { makeLogger, silentLogger, type Logger, type LoggerOptions } from './logger.ts';
export type { Role } from './role.ts';
export {
  command,
  commandGroup,
  runMain,
  runProcess,
  type Command,
  type HealthOptions,
  type HostedRole,
  type MainIo,
  type OsProcess,
  type RunOptions,
} from './run-process.ts';
export { runRole, type RoleHost, type RoleOptions } from './run-role.ts';
export * from './settings.ts';
