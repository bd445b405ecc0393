/** The port to the HAProxy of this machine: which servers it has, and changes of them while it runs. */
import type { Change, HeldServer } from './domain/reconcile.ts';

/** HAProxy refused what it was told, and the message has its own words; or it did not answer. */
export class HaproxyError extends Error {
  override readonly name = 'HaproxyError';
  readonly answered: boolean;
  constructor(message: string, options: ErrorOptions & { answered: boolean }) {
    super(message, options);
    this.answered = options.answered;
  }
}

export interface RuntimeApi {
  /** All servers of all back ends. Rejects with a `HaproxyError` when HAProxy is not there or does not answer within 300 ms. */
  servers(): Promise<HeldServer[]>;
  /** Rejects with a `HaproxyError` when it is refused, or as `servers` does; then it may be done in part. */
  apply(change: Change): Promise<void>;
}
