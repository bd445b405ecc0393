import type { BrokerLostError } from './errors.ts';

/** An adapter's `lost`: each loss rejects the promise that is there by then, and another takes its place. */
export class Loss {
  #next = pending();

  get lost(): Promise<never> {
    return this.#next.promise;
  }

  happen(error: BrokerLostError): void {
    this.#next.reject(error);
    this.#next = pending();
  }
}

function pending(): PromiseWithResolvers<never> {
  const next = Promise.withResolvers<never>();
  // Whoever does not look at it does not want to die of it.
  next.promise.catch(() => {});
  return next;
}
