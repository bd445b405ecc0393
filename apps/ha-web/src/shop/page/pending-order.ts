/**
 * An order on its way. It is written down with its key BEFORE it is first sent, and forgotten only when it was answered: whatever happens in between, a lost
 * answer, a reload, a closed window, it is sent again under the same key, and is one order.
 */
import type { Order, OrderRequest } from '../messages.ts';
import { RefusedError, type Client } from './client.ts';

export interface PendingOrder {
  key: string;
  /** Whose it is: on a shared machine it must not become somebody else's. */
  account: number;
  order: OrderRequest;
}

/** Part of the browser's `localStorage`. */
export interface Storage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

const storageKey = 'pending-order';

export class OrderDesk {
  readonly #client: Client;
  readonly #storage: Storage;
  readonly #newKey: () => string;

  constructor(client: Client, storage: Storage, newKey: () => string) {
    this.#client = client;
    this.#storage = storage;
    this.#newKey = newKey;
  }

  pending(account: number): PendingOrder | undefined {
    const text = this.#storage.getItem(storageKey);
    const pending = text === null ? undefined : (JSON.parse(text) as PendingOrder);
    return pending?.account === account ? pending : undefined;
  }

  /** Writes the order down; `send` is to follow. */
  write(account: number, order: OrderRequest): PendingOrder {
    const pending = { key: this.#newKey(), account, order };
    this.#storage.setItem(storageKey, JSON.stringify(pending));
    return pending;
  }

  /** Rejects with a `RefusedError` where the API will not have it, and forgets it unless a login is missing; with another error it may be sent again. */
  async send({ key, order }: PendingOrder): Promise<Order> {
    try {
      const placed = await this.#client.send<Order>('POST', '/orders', order, { 'idempotency-key': key });
      this.#storage.removeItem(storageKey);
      return placed;
    } catch (error) {
      // After logging in it can be sent.
      if (error instanceof RefusedError && error.status !== 401) this.#storage.removeItem(storageKey);
      throw error;
    }
  }
}
