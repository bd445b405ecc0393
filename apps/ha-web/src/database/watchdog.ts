/**
 * Fences a database that is open to clients when its agent has not been heard for a lease, and starts keepalived again when the address is not where the
 * database is open: a process of its own, for either may be what hangs.
 */
import type { Clock, Logger, Role } from '@lab/process';
import { keepLooking } from '../looking.ts';
import { leaseMs } from './domain/next-step.ts';
import { agentSilentMs, isOpen, killAgent, killServer } from './fence.ts';
import type { FloatingAddress } from './floating-address.ts';
import { pidFile } from './folders.ts';
import type { Door } from './port.ts';

export interface WatchdogParts {
  readonly door: Door;
  readonly primaryFile: string;
  readonly aliveFile: string;
  readonly address: Pick<FloatingAddress, 'isHere' | 'reset'>;
  readonly clock: Clock;
  readonly log: Logger;
}

const lookMs = 500;
/** keepalived moves the address within half a second, takes one to start, and more on a busy machine. */
const misplacedMs = 3_000;

export class Watchdog implements Role {
  readonly #parts: WatchdogParts;
  #stop = async (): Promise<void> => undefined;
  #misplacedSinceMs: number | undefined;

  constructor(parts: WatchdogParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    const { clock, log } = this.#parts;
    this.#stop = keepLooking(clock, lookMs, () => this.#look().catch((err: unknown) => log.error({ err }, 'cannot look')));
  }

  stop(): Promise<void> {
    return this.#stop();
  }

  async #look(): Promise<void> {
    const { primaryFile } = this.#parts;
    if (await isOpen(primaryFile)) await this.#fenceIfSilent();
    await this.#place(await isOpen(primaryFile));
  }

  async #fenceIfSilent(): Promise<void> {
    const { door, aliveFile, log } = this.#parts;
    const silentMs = await agentSilentMs(aliveFile);
    if (silentMs <= leaseMs) return;
    log.error({ silentMs }, 'the agent is silent: the database is fenced');
    await door.close();
    await killServer(pidFile);
    // Its session is lost; another one starts.
    await killAgent(aliveFile);
  }

  async #place(open: boolean): Promise<void> {
    const { address, clock, log } = this.#parts;
    const nowMs = clock.nowMs();
    if (address.isHere === open) this.#misplacedSinceMs = undefined;
    else this.#misplacedSinceMs ??= nowMs;
    if (this.#misplacedSinceMs === undefined || nowMs - this.#misplacedSinceMs <= misplacedMs) return;
    log.error(
      { open },
      open ? 'the address has not come: keepalived is killed' : 'the address has not left: keepalived is killed',
    );
    this.#misplacedSinceMs = undefined;
    await address.reset();
  }
}
