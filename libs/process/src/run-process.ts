/** Hosts roles in a process: starts them in order, stops them in reverse on SIGTERM or SIGINT, and turns what happens into an exit code. */
import { createServer, type RequestListener } from 'node:http';
import type { Registry } from 'prom-client';
import { exitCodeOf, exitCodeOfSignal, ExitError, exitCodes } from './exit-codes.ts';
import type { Logger } from './logger.ts';
import { StartGivenUp, type Role } from './role.ts';

/** The part of `process` that a host needs; an argument, so that a test can be the operating system. */
export interface OsProcess {
  on(event: string, listener: (argument: unknown) => void): unknown;
  off(event: string, listener: (argument: unknown) => void): unknown;
  /** Called only where something will not stop. */
  exit(code: number): void;
}

/** A role and its name in the log. A role given as a function is made when those before it have started, from what they have by then. */
export interface HostedRole {
  name: string;
  role: Role | (() => Role);
}

export interface RunOptions {
  log: Logger;
  /** Default `process`. */
  os?: OsProcess;
  /** Most time that stopping may take, all roles together. Default 8 s: Docker kills a container 10 s after it asked it to stop. */
  drainMs?: number;
  /** Serves `/healthz` (200 when all roles have started, are healthy, and none has to stop, otherwise 503) and, of this registry, `/metrics`. */
  health?: HealthOptions;
}

export interface HealthOptions {
  port: number;
  /** Address to listen at. Default: all of the machine's, as whoever asks is outside of the container. */
  host?: string;
  /** The app's own metrics; those of the process and of Node are added. */
  registry: Registry;
}

/**
 * Runs the roles until a signal comes or one of them fails, stops in reverse order those that had begun to start, and resolves with the exit code.
 * What is not done by the deadline, or by a second signal, is left: then the process exits at once. One that listens for failure never
 * rejects. The process stays alive meanwhile, even if no role keeps it so.
 */
export async function runProcess(roles: readonly HostedRole[], options: RunOptions): Promise<number> {
  const host = new ProcessHost(options);
  const release = host.listen();
  const keepAlive = setInterval(() => {}, timerMsMax);
  try {
    return await host.run(roles);
  } finally {
    clearInterval(keepAlive);
    release();
  }
}

/** The longest interval that Node takes. */
const timerMsMax = 2 ** 31 - 1;

/** Under npm one Ctrl-C comes twice, from the terminal and from npm, which passes it on; whoever means it again takes longer. */
export const echoMs = 500;

export type StopSignal = 'SIGTERM' | 'SIGINT';
type Started = { name: string; role: Role };

class ProcessHost {
  readonly #options: RunOptions;
  readonly #log: Logger;
  readonly #os: OsProcess;
  readonly #begun: Started[] = [];
  readonly #ended = Promise.withResolvers<void>();
  readonly #hurried = Promise.withResolvers<void>();
  #starting: Role | undefined;
  /** A start was given up: what it waited for may keep the process alive. */
  #givenUp = false;
  #ending = false;
  #working = false;
  #failureCode: number | undefined;
  #signal: StopSignal | undefined;
  #signalledMs = 0;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#os = options.os ?? process;
  }

  /** Hears signals and what nobody handles; the returned function ends that. */
  listen(): () => void {
    const onSignal = (signal: unknown): void => this.#interrupt(signal as StopSignal);
    const onUnhandled = (error: unknown): void => this.#fail('process', error, exitCodes.internal);
    const listeners = [
      ['SIGTERM', onSignal],
      ['SIGINT', onSignal],
      ['uncaughtException', onUnhandled],
      ['unhandledRejection', onUnhandled],
    ] as const;
    for (const [event, listener] of listeners) this.#os.on(event, listener);
    return () => {
      for (const [event, listener] of listeners) this.#os.off(event, listener);
    };
  }

  async run(roles: readonly HostedRole[]): Promise<number> {
    const { health } = this.#options;
    const starting = this.#startAll(
      health === undefined ? roles : [{ name: 'health', role: this.#healthRole(health) }, ...roles],
    );
    await this.#ended.promise;
    const cutShort = await this.#stopInTime(starting);
    const signalCode = cutShort && this.#signal !== undefined ? exitCodeOfSignal(this.#signal) : exitCodes.ok;
    const code = this.#failureCode ?? signalCode;
    this.#log.info({ code }, 'ended');
    if (cutShort || this.#givenUp) this.#os.exit(code);
    return code;
  }

  #interrupt(signal: StopSignal): void {
    if (this.#signal === undefined) {
      this.#log.info({ signal }, 'stopping');
      this.#signal = signal;
      this.#signalledMs = performance.now();
      this.#end();
      this.#starting?.interrupt?.();
    } else if (performance.now() - this.#signalledMs > echoMs) {
      this.#log.warn({ signal }, 'second signal: not waiting for work in hand');
      this.#hurried.resolve();
    }
  }

  /** The first failure decides the exit code; later ones may follow from it. */
  #fail(role: string, error: unknown, code = exitCodeOf(error) ?? exitCodes.failed): void {
    // What its user has to set right is told in a sentence; anything else may need its stack.
    const told = code === exitCodes.usage && error instanceof Error ? { reason: error.message } : { err: error };
    this.#log.error({ role, ...told }, 'failed');
    this.#failureCode ??= code;
    this.#end();
  }

  #end(): void {
    this.#ending = true;
    this.#working = false;
    this.#ended.resolve();
  }

  async #startAll(roles: readonly HostedRole[]): Promise<void> {
    for (const { name, role } of roles) {
      if (this.#ending) return;
      try {
        await this.#start(name, typeof role === 'function' ? role() : role);
      } catch (error) {
        if (!(error instanceof StartGivenUp)) return this.#fail(name, error);
        this.#givenUp = true;
      }
    }
    this.#working = !this.#ending;
  }

  async #start(name: string, role: Role): Promise<void> {
    this.#log.info({ role: name }, 'starting');
    role.failed?.catch((error: unknown) => this.#fail(name, error));
    this.#begun.push({ name, role });
    this.#starting = role;
    await role.start();
    this.#starting = undefined;
    this.#log.info({ role: name }, 'started');
  }

  /** Whether the deadline or a second signal came first. */
  async #stopInTime(starting: Promise<void>): Promise<boolean> {
    const { drainMs = 8_000 } = this.#options;
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      this.#log.error({ drainMs, roles: this.#begun.map(({ name }) => name) }, 'not stopped in time');
      late.resolve();
    }, drainMs);
    const cut = Promise.race([late.promise, this.#hurried.promise]).then(() => true);
    const stopped = this.#stopAll(starting).then(() => false);
    try {
      return await Promise.race([stopped, cut]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** A role may be stopped when its start has settled, not before. */
  async #stopAll(starting: Promise<void>): Promise<void> {
    await starting;
    for (let last = this.#begun.at(-1); last !== undefined; last = this.#begun.at(-1)) {
      this.#log.info({ role: last.name }, 'stopping');
      try {
        await last.role.stop();
        this.#log.info({ role: last.name }, 'stopped');
      } catch (error) {
        this.#fail(last.name, error);
      }
      this.#begun.pop();
    }
  }

  /** First to start and last to stop, so that the states between can be asked for too. */
  #healthRole({ port, host, registry }: HealthOptions): Role {
    const server = createServer(this.#answerHealth(registry));
    // A few that ask, at intervals; more are none of theirs.
    server.maxConnections = 32;
    return {
      async start() {
        // Not for programs that have no such port: it takes as long to load as all of the rest.
        const { collectDefaultMetrics } = await import('prom-client');
        collectDefaultMetrics({ register: registry });
        const listening = Promise.withResolvers<void>();
        server.once('error', listening.reject).listen({ port, host }, listening.resolve);
        try {
          await listening.promise;
        } catch (error) {
          throw new ExitError(`the health port ${port} cannot be opened: ${String(error)}`, exitCodes.usage, { cause: error });
        }
      },
      async stop() {
        const closed = new Promise((resolve) => server.close(resolve));
        server.closeAllConnections();
        await closed;
      },
    };
  }

  #answerHealth(registry: Registry): RequestListener {
    return (request, response) => {
      if (request.url === '/healthz') {
        const isHealthy = this.#working && this.#begun.every(({ role }) => role.isHealthy?.() ?? true);
        response.writeHead(isHealthy ? 200 : 503).end(isHealthy ? 'ok\n' : 'not ready\n');
      } else if (request.url === '/metrics') {
        registry.metrics().then(
          (text) => response.setHeader('content-type', registry.contentType).end(text),
          (error: unknown) => response.writeHead(500).end(`${String(error)}\n`),
        );
      } else response.writeHead(404).end('there are /healthz and /metrics\n');
    };
  }
}
