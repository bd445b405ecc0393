/**
 * What runs the services of a machine: starts them in order, starts again what ends, stops them in reverse order. The part of systemd that a
 * machine needs here; how services depend on each other is Erlang's `rest_for_one`: https://www.erlang.org/doc/system/sup_princ
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { sleep, type Clock, type Logger, type Role } from '@lab/process';

/** A program that is meant to run for ever. It gets the machine's environment, and is the leader of a process group of its own. */
export interface Service {
  readonly name: string;
  readonly command: readonly [file: string, ...args: string[]];
  /** Done before each start: files to write, leftovers to remove. If it fails, the service counts as ended. */
  readonly prepare?: () => Promise<void>;
  readonly stopSignal: NodeJS.Signals;
  /** How long it may take to end after that; then its process group is killed. */
  readonly stopMs: number;
}

/** Services of which each needs those before it: when one ends, those behind it are stopped at once, the last first, and start again with it. */
export type Unit = readonly Service[];

/** Units that start together and stop together. */
export type Stage = readonly Unit[];

/** Stages start in this order and stop in the reverse. A stage does not wait until the one before is ready: a service waits for what it needs. */
export type Machine = readonly Stage[];

export interface SupervisorParts {
  readonly machine: Machine;
  readonly clock: Clock;
  readonly log: Logger;
  /** Takes what services write, line by line. */
  readonly print: (service: string, line: string) => void;
}

/** Before a service that ended starts again. What fails at once must not eat a processor, and a balancer's HAProxy should not be away for long. */
const restartMs = 300;

export class Supervisor implements Role {
  readonly #stages: UnitRunner[][];

  constructor(parts: SupervisorParts) {
    this.#stages = parts.machine.map((stage) => stage.map((unit) => new UnitRunner(unit, parts)));
  }

  async start(): Promise<void> {
    for (const stage of this.#stages) await Promise.all(stage.map((unit) => unit.start()));
  }

  async stop(): Promise<void> {
    for (const stage of this.#stages.toReversed()) await Promise.all(stage.map((unit) => unit.stop()));
  }
}

/** The longest that stopping it takes. */
export function stopMsMax(machine: Machine): number {
  const unitMs = (unit: Unit): number => unit.reduce((sum, { stopMs }) => sum + stopMs, 0);
  return machine.reduce((sum, stage) => sum + Math.max(0, ...stage.map(unitMs)), 0);
}

class UnitRunner {
  readonly #unit: Unit;
  readonly #parts: SupervisorParts;
  /** Of the unit's first services, in their order; all of them, but while the unit comes up or goes down. */
  readonly #running: Running[] = [];
  readonly #stopping = Promise.withResolvers<void>();
  #stopped = false;
  #loop: Promise<void> = Promise.resolve();

  constructor(unit: Unit, parts: SupervisorParts) {
    this.#unit = unit;
    this.#parts = parts;
  }

  /** Resolves when every service was started once. */
  async start(): Promise<void> {
    await this.#startMissing();
    this.#loop = this.#keepUp();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stopping.resolve();
    await this.#loop;
    await this.#stopFrom(0);
  }

  async #keepUp(): Promise<void> {
    while (!this.#stopped) {
      await Promise.race([this.#stopping.promise, ...this.#running.map(({ ended }) => ended)]);
      const first = this.#running.findIndex((running) => running.hasEnded);
      if (first < 0) continue;
      await this.#stopFrom(first);
      await Promise.race([sleep(this.#parts.clock, restartMs), this.#stopping.promise]);
      await this.#startMissing();
    }
  }

  async #startMissing(): Promise<void> {
    for (const service of this.#unit.slice(this.#running.length)) {
      if (this.#stopped) return;
      this.#running.push(await start(service, this.#parts));
    }
  }

  async #stopFrom(first: number): Promise<void> {
    while (this.#running.length > first) {
      await this.#running.at(-1)!.stop();
      this.#running.pop();
    }
  }
}

async function start(service: Service, parts: SupervisorParts): Promise<Running> {
  const { log } = parts;
  try {
    await service.prepare?.();
    return new Running(service, parts);
  } catch (error) {
    log.error({ service: service.name, err: error }, 'cannot be prepared');
    return new Running({ ...service, command: ['false'] }, parts);
  }
}

/** One run of a service. */
class Running {
  readonly #service: Service;
  readonly #clock: Clock;
  readonly #child: ChildProcess;
  /** Resolves when its process has ended, or could not be started. */
  readonly ended: Promise<void>;
  hasEnded = false;

  constructor(service: Service, { clock, log, print }: SupervisorParts) {
    this.#service = service;
    this.#clock = clock;
    const [file, ...args] = service.command;
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    this.#child = child;
    log.info({ service: service.name, pid: child.pid }, 'started');
    for (const output of [child.stdout, child.stderr]) {
      createInterface({ input: output }).on('line', (line) => print(service.name, line));
    }
    const ended = Promise.withResolvers<void>();
    child.once('error', (err) => {
      log.error({ service: service.name, err }, 'cannot be started');
      ended.resolve();
    });
    child.once('exit', (code, signal) => {
      log.info({ service: service.name, code, signal }, 'ended');
      ended.resolve();
    });
    this.ended = ended.promise.then(() => {
      this.hasEnded = true;
      // What it has started ends with it: nothing half alive stays behind to hold a port or to write to a database.
      this.#killGroup();
    });
  }

  async stop(): Promise<void> {
    if (!this.hasEnded) this.#child.kill(this.#service.stopSignal);
    const cancel = this.#clock.after(this.#service.stopMs, () => this.#killGroup());
    await this.ended;
    cancel();
  }

  #killGroup(): void {
    if (this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, 'SIGKILL');
    } catch {
      // Nothing is left of it.
    }
  }
}
