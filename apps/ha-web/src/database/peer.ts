/** What else tells how the other database's machine is: its agent, and VRRP. */
import { readFile } from 'node:fs/promises';
import type { Clock, Role } from '@lab/process';
import { askJson } from '../looking.ts';
import type { AgentStatus } from './domain/agent-status.ts';
import type { PeerStatus } from './domain/timing.ts';
import type { Peer } from './port.ts';

export interface PeerOptions {
  /** Of its agent's status. */
  readonly url: string;
  /** Written by keepalived: see deploy/keepalived-db.conf. */
  readonly presenceFile: string;
  readonly clock: Clock;
}

/** Twice in a round of what the answer decides, which is the lag of seconds. */
const askMs = 500;
const answerMs = 400;

export class NetworkPeer implements Peer, Role {
  readonly #options: PeerOptions;
  #last: { atMs: number; status: PeerStatus } | undefined;
  #stop: () => void = () => undefined;

  constructor(options: PeerOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    this.#stop = this.#options.clock.every(askMs, () => void this.#ask());
  }

  async stop(): Promise<void> {
    this.#stop();
  }

  async missed(): Promise<boolean> {
    return (await readFile(this.#options.presenceFile, 'utf8').catch(() => '')).trim() === 'MASTER';
  }

  status(): PeerStatus | undefined {
    if (this.#last === undefined || this.#options.clock.nowMs() - this.#last.atMs > 2 * askMs + answerMs) return undefined;
    return this.#last.status;
  }

  async #ask(): Promise<void> {
    const status = await askJson<AgentStatus>(this.#options.url, answerMs);
    // Where it is not there, after a while its last answer counts no more.
    if (status !== undefined) this.#last = { atMs: this.#options.clock.nowMs(), status };
  }
}
