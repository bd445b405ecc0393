/** One role in a process of its own: what nearly every main does. */
import { randomUUID } from 'node:crypto';
import type { Tracer } from '@lab/tracing';
import type { TraceMode, Tracing } from '@lab/tracing/start';
import type { Registry } from 'prom-client';
import { makeLogger, type Logger, type LoggerOptions } from './logger.ts';
import { StartGivenUp, type Role } from './role.ts';
import { runProcess, type RunOptions } from './run-process.ts';
import { systemClock, type Clock } from './time.ts';

/** What a process gives to its role. */
export interface RoleHost {
  readonly log: Logger;
  readonly clock: Clock;
  /** Milliseconds since 1970, on a clock that may be set. */
  nowMs(this: void): number;
  /** A random UUID. */
  newId(this: void): string;
  /** The role's own metrics are registered here; `/metrics` shows them. */
  readonly registry: Registry;
  /** For what the role does with others; undefined where nothing is traced. */
  readonly tracer: Tracer | undefined;
  /**
   * Waits for something that the role needs: a connection, a store. It is closed when the role has stopped, or could not start; what was opened last
   * is closed first.
   */
  open<T extends { close(): Promise<unknown> }>(this: void, opening: T | Promise<T>): Promise<T>;
  /** Something that the role cannot do without is lost for good: the role has failed. */
  fail(this: void, reason: unknown): void;
}

export interface RoleOptions extends Pick<RunOptions, 'drainMs' | 'os'> {
  /** Stands in each line of the log. */
  name: string;
  /** Least important level that is logged. */
  logLevel: NonNullable<LoggerOptions['level']>;
  /** Port of `/healthz` and `/metrics`; without it there are none. */
  healthPort?: number | undefined;
  /** Default `off`. */
  labTrace?: TraceMode | undefined;
  otelExporterOtlpEndpoint?: string | undefined;
}

/** The tracing of a process by its settings; undefined where it tells nothing, and then nothing of it is loaded. Who began it stops it. */
export async function openTracing(
  name: string,
  { labTrace: mode = 'off', otelExporterOtlpEndpoint: endpoint }: Pick<RoleOptions, 'labTrace' | 'otelExporterOtlpEndpoint'>,
  log: Logger,
): Promise<Tracing | undefined> {
  if (mode === 'off') return undefined;
  const { startTracing } = await import('@lab/tracing/start');
  return startTracing({ service: name, mode, endpoint, log });
}

/** Makes a role, runs it until a signal comes or it fails, and resolves with the exit code (`runProcess`). */
export async function runRole(options: RoleOptions, make: (host: RoleHost) => Role | Promise<Role>): Promise<number> {
  const { name, logLevel, healthPort: port, labTrace, otelExporterOtlpEndpoint, ...runOptions } = options;
  const log = makeLogger({ name, level: logLevel });
  const tracing = await openTracing(name, { labTrace, otelExporterOtlpEndpoint }, log);
  // Not for programs that are no role: it takes as long to load as all of the rest.
  const { Registry } = await import('prom-client');
  const registry = new Registry();
  const role = new OpeningRole({ log, registry, tracer: tracing?.tracer }, make);
  const health = port !== undefined && { health: { port, registry } };
  const code = await runProcess([{ name, role }], { log, ...runOptions, ...health });
  await tracing?.stop();
  return code;
}

/** Opens what its role needs as a part of its start, and closes it as a part of its stop. */
class OpeningRole implements Role {
  readonly failed: Promise<never>;
  readonly #fail: (reason: unknown) => void;
  readonly #parts: Pick<RoleHost, 'log' | 'registry' | 'tracer'>;
  readonly #make: (host: RoleHost) => Role | Promise<Role>;
  readonly #givenUp = Promise.withResolvers<never>();
  readonly #opened: { close(): Promise<unknown> }[] = [];
  #role: Role | undefined;

  constructor(parts: Pick<RoleHost, 'log' | 'registry' | 'tracer'>, make: (host: RoleHost) => Role | Promise<Role>) {
    this.#parts = parts;
    this.#make = make;
    ({ promise: this.failed, reject: this.#fail } = Promise.withResolvers<never>());
    this.#givenUp.promise.catch(() => undefined);
  }

  async start(): Promise<void> {
    const time = { clock: systemClock, nowMs: Date.now };
    const host = { ...this.#parts, ...time, newId: randomUUID, open: this.#open, fail: this.#fail };
    const role = await Promise.race([this.#make(host), this.#givenUp.promise]);
    this.#role = role;
    role.failed?.catch(this.#fail);
    await role.start();
  }

  isHealthy(): boolean {
    return this.#role?.isHealthy?.() ?? true;
  }

  interrupt(): void {
    this.#givenUp.reject(new StartGivenUp());
  }

  readonly #open: RoleHost['open'] = async (opening) => {
    const opened = await opening;
    this.#opened.push(opened);
    return opened;
  };

  async stop(): Promise<void> {
    try {
      await this.#role?.stop();
    } finally {
      for (let last = this.#opened.pop(); last !== undefined; last = this.#opened.pop()) await last.close();
    }
  }
}
