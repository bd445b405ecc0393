/** What a server tells the group of itself: where it is, and how many clients it serves. */
import { retry, type Clock, type Logger } from '@lab/process';
import type { CatalogEvent } from '../domain/catalog.ts';
import type { GroupCatalog } from '../group-catalog.ts';

export interface PresenceParts {
  readonly members: GroupCatalog;
  readonly clock: Clock;
  readonly log: Logger;
  /** HOST:PORT at which clients find this server, which listens when it is in the group. */
  readonly address: () => string;
}

/** Between two tries to tell a group that does not answer. */
const againMs = 1_000;

export class Presence {
  readonly #parts: PresenceParts;
  readonly #stopping = new AbortController();
  #self: string | undefined;
  #clients = 0;
  #told: number | undefined;
  #telling = false;

  constructor(parts: PresenceParts) {
    this.#parts = parts;
  }

  stop(): void {
    this.#stopping.abort();
  }

  /** This server is in the group under this id: a new one is unknown to the others. */
  isIn(self: string | undefined): void {
    if (self === undefined || self === this.#self) return;
    this.#self = self;
    this.#told = undefined;
    void this.#tellUntilTold({ type: 'server-started', address: this.#parts.address() }).then(() => this.#tellClients());
  }

  /** Calls that begin and end. */
  count(change: 1 | -1): void {
    this.#clients += change;
    this.#tellClients();
  }

  /** Tells the group how many clients are being served, once more whenever that has changed meanwhile. */
  #tellClients(): void {
    const { aborted } = this.#stopping.signal;
    if (this.#telling || this.#told === this.#clients || this.#self === undefined || aborted) return;
    const count = this.#clients;
    this.#told = count;
    this.#telling = true;
    void this.#tellUntilTold({ type: 'clients-counted', count }).then(() => {
      this.#telling = false;
      this.#tellClients();
    });
  }

  /** A group that is silent for long is told when it speaks again. */
  async #tellUntilTold(event: CatalogEvent): Promise<void> {
    const { members, clock, log } = this.#parts;
    const { signal } = this.#stopping;
    await retry(() => members.tell(event), {
      ...{ clock, withinMs: Infinity, pauseMs: againMs, signal, worthwhile: () => !signal.aborted },
      onRetry: (error) => log.warn({ err: error, event: event.type }, 'the group does not answer, telling it again'),
    }).catch(() => {});
  }
}
