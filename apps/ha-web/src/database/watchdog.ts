/** Fences a database that is open to clients when its agent has not been heard for a lease: a process of its own, for the agent may be what hangs. */
import type { Clock, Logger, Role } from '@lab/process';
import { leaseMs } from '../domain/database.ts';
import { agentSilentMs, isOpen, killAgent, killServer } from './fence.ts';
import { pidFile } from './folders.ts';
import type { Door } from './port.ts';

export interface WatchdogParts {
  readonly door: Door;
  readonly primaryFile: string;
  readonly aliveFile: string;
  readonly clock: Clock;
  readonly log: Logger;
}

const lookMs = 500;

export class Watchdog implements Role {
  readonly #parts: WatchdogParts;
  #stop: () => void = () => undefined;
  #looking: Promise<void> | undefined;

  constructor(parts: WatchdogParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    this.#stop = this.#parts.clock.every(lookMs, () => {
      this.#looking ??= this.#look()
        .catch((err: unknown) => this.#parts.log.error({ err }, 'cannot look'))
        .finally(() => (this.#looking = undefined));
    });
  }

  async stop(): Promise<void> {
    this.#stop();
    await this.#looking;
  }

  async #look(): Promise<void> {
    const { door, primaryFile, aliveFile, log } = this.#parts;
    if (!(await isOpen(primaryFile))) return;
    const silentMs = await agentSilentMs(aliveFile);
    if (!(silentMs > leaseMs)) return;
    log.error({ silentMs }, 'the agent is silent: the database is fenced');
    await door.close();
    await killServer(pidFile);
    // Its session is lost; another one starts.
    await killAgent(aliveFile);
  }
}
