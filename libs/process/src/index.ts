export * from './time.ts';
export { ConfigError, readConfig, type ConfigSource } from './config.ts';
export { ExitError, exitCodeOf, exitCodes, pathError } from './exit-codes.ts';
export { interruptible } from './interruptible.ts';
export { makeLogger, silentLogger, type Logger, type LoggerOptions, type PlainLogger } from './logger.ts';
export type { Role } from './role.ts';
export {
  command,
  commandGroup,
  runCommand,
  runMain,
  runProgram,
  type Command,
  type Commands,
  type MainIo,
  type ProgramProcess,
} from './program.ts';
export { runProcess, type HealthOptions, type HostedRole, type OsProcess, type RunOptions } from './run-process.ts';
export { openTracing, runRole, type RoleHost, type RoleOptions } from './run-role.ts';
export * from './settings.ts';
