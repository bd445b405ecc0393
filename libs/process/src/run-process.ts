/**
 * Hosts roles in a process of the operating system: starts them in order, stops them in reverse order on SIGTERM or SIGINT, and turns
 * what happens into an exit code.
 */
import { createServer, type Server } from 'node:http';
import { collectDefaultMetrics, type Registry } from 'prom-client';
import type { z } from 'zod';
import { closest, ConfigError, describeConfig, readConfig } from './config.ts';
import type { Logger } from './logger.ts';
import type { Role } from './role.ts';

/** What an exit code says. Codes above 128 are of processes that a signal killed. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  /** Wrong flags or settings; nothing was done. */
  usage: 2,
  /** Something that is needed did not answer in time; later it may. */
  unavailable: 3,
  /** Stopped by Ctrl-C. */
  interrupted: 130,
} as const;

/** An error that a user can do something about: shown without a stack, with an exit code of its own. */
export class ExitError extends Error {
  override readonly name = 'ExitError';
  readonly exitCode: number;
  constructor(message: string, exitCode: number = exitCodes.failed, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** The part of `process` that a host needs; an argument, so that a test can be the operating system. */
export interface OsProcess {
  on(event: string, listener: (argument: unknown) => void): unknown;
  off(event: string, listener: (argument: unknown) => void): unknown;
}

export interface RunOptions {
  log: Logger;
  os?: OsProcess;
  /** Most time that stopping may take. Default 8 s: containers are killed after 10. */
  drainMs?: number;
  /** Serves `/healthz` (200 when all roles have started, otherwise 503) and `/metrics`. */
  health?: { port: number; registry: Registry };
}

/** Runs the roles until a signal comes or one of them fails; resolves with the exit code. A second signal does not wait for the drain. */
export async function runProcess(roles: readonly { name: string; role: Role }[], options: RunOptions): Promise<number> {
  const { log, os = process, drainMs = 8_000 } = options;
  const end = Promise.withResolvers<number>();
  const again = Promise.withResolvers<void>();
  let ending = false;
  const onSignal = (signal: unknown): void => {
    log.info({ signal }, ending ? 'second signal: not waiting' : 'stopping');
    if (ending) again.resolve();
    ending = true;
    end.resolve(exitCodes.ok);
  };
  const onFailure = (role: string) => (error: unknown) => {
    log.error({ role, err: error }, 'failed');
    end.resolve(exitCodeOf(error));
  };
  const listeners = {
    SIGTERM: onSignal,
    SIGINT: onSignal,
    uncaughtException: onFailure('process'),
    unhandledRejection: onFailure('process'),
  };
  for (const [event, listener] of Object.entries(listeners)) os.on(event, listener);
  const health = await serveHealth(options.health);
  const started: { name: string; role: Role }[] = [];
  const startAll = async (): Promise<void> => {
    for (const { name, role } of roles) {
      if (ending) return;
      started.push({ name, role });
      role.failed?.catch(onFailure(name));
      try {
        await role.start();
      } catch (error) {
        return onFailure(name)(error);
      }
      log.info({ role: name }, 'started');
    }
    health?.setHealthy(true);
  };
  try {
    void startAll();
    const code = await end.promise;
    ending = true;
    health?.setHealthy(false);
    await Promise.race([again.promise, stopAll(started, log, drainMs)]);
    log.info({ code }, 'stopped');
    return code;
  } finally {
    health?.server.close();
    for (const [event, listener] of Object.entries(listeners)) os.off(event, listener);
  }
}

async function stopAll(started: readonly { name: string; role: Role }[], log: Logger, drainMs: number): Promise<void> {
  const deadline = new Promise<'late'>((resolve) => setTimeout(resolve, drainMs, 'late').unref());
  for (const { name, role } of [...started].reverse()) {
    try {
      if ((await Promise.race([role.stop(), deadline])) === 'late')
        return log.warn({ role: name, drainMs }, 'did not stop in time');
      log.info({ role: name }, 'role stopped');
    } catch (error) {
      log.error({ role: name, err: error }, 'stopping failed');
    }
  }
}

function exitCodeOf(error: unknown): number {
  return error instanceof ExitError ? error.exitCode : exitCodes.failed;
}

interface Health {
  server: Server;
  setHealthy(healthy: boolean): void;
}

async function serveHealth(options: RunOptions['health']): Promise<Health | undefined> {
  if (options === undefined) return undefined;
  const { port, registry } = options;
  let healthy = false;
  collectDefaultMetrics({ register: registry });
  const server = createServer((request, response) => {
    if (request.url === '/healthz') response.writeHead(healthy ? 200 : 503).end(healthy ? 'ok\n' : 'not ready\n');
    else if (request.url === '/metrics') {
      void registry.metrics().then((text) => response.setHeader('content-type', registry.contentType).end(text));
    } else response.writeHead(404).end();
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, resolve));
  server.unref();
  return { server, setHealthy: (value) => (healthy = value) };
}

/** One subcommand of a program. */
export interface Command<S extends z.ZodObject = z.ZodObject> {
  summary: string;
  settings: S;
  /** Does the work; resolves with the exit code, 0 if with nothing. */
  run(config: z.infer<S>): Promise<number | void>;
}

/** Makes a command with its settings' type known to `run`. */
export function command<S extends z.ZodObject>(command: Command<S>): Command {
  return command as unknown as Command;
}

export interface MainIo {
  /** `process.argv` without node and the file. */
  args: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  stdout(text: string): void;
  stderr(text: string): void;
}

/** A program with subcommands: `--help` for all and for each, wrong usage explained; resolves with the exit code. */
export async function runMain(program: string, commands: Readonly<Record<string, Command>>, io: MainIo): Promise<number> {
  const [name = '--help', ...args] = io.args;
  const chosen = commands[name];
  if (chosen === undefined) return explainCommands(program, commands, name, io);
  if (args.includes('--help') || args.includes('-h')) {
    io.stdout(`${chosen.summary}\n\nUsage: ${program} ${name} [--name VALUE ...]\n\n${describeConfig(chosen.settings)}\n`);
    return exitCodes.ok;
  }
  try {
    return (await chosen.run(readConfig(chosen.settings, { args, env: io.env }))) ?? exitCodes.ok;
  } catch (error) {
    if (error instanceof ConfigError) {
      io.stderr(`${error.problems.join('\n')}\n${program} ${name} --help lists the settings\n`);
      return exitCodes.usage;
    }
    io.stderr(error instanceof ExitError ? `${error.message}\n` : `${error instanceof Error ? error.stack : String(error)}\n`);
    return exitCodeOf(error);
  }
}

function explainCommands(program: string, commands: Readonly<Record<string, Command>>, name: string, io: MainIo): number {
  const width = Math.max(...Object.keys(commands).map((each) => each.length));
  const list = Object.entries(commands).map(([each, { summary }]) => `  ${each.padEnd(width)}  ${summary}`);
  const help = `Usage: ${program} COMMAND [--name VALUE ...]\n\n${list.join('\n')}\n\n${program} COMMAND --help lists a command's settings\n`;
  if (name === '--help' || name === '-h' || name === 'help') {
    io.stdout(help);
    return exitCodes.ok;
  }
  const suggestion = closest(name, Object.keys(commands));
  io.stderr(`there is no command "${name}"${suggestion === undefined ? '' : `; did you mean ${suggestion}?`}\n\n${help}`);
  return exitCodes.usage;
}
