import { unavailable } from './outcome.ts';

/** A transfer without a byte for so long is begun anew elsewhere. */
const stallMs = 12_000;

/** Ends a call in which nothing moves for too long, with an error that says so. */
export class Stall {
  #movedMs = performance.now();
  #limitMs = stallMs;
  readonly #timer: NodeJS.Timeout;

  constructor(call: { destroy(error: Error): unknown; cancel(): void }) {
    this.#timer = setInterval(() => {
      if (performance.now() - this.#movedMs <= this.#limitMs) return;
      this.stop();
      call.destroy(unavailable(`nothing has moved for ${this.#limitMs / 1000} s`));
      call.cancel();
    }, 500);
    this.#timer.unref();
  }

  moved(limitMs = this.#limitMs): void {
    this.#movedMs = performance.now();
    this.#limitMs = limitMs;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
