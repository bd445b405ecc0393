/** What comes of an upload, and a limit on how long nothing comes. */
import type { Clock } from '@lab/process';
import type { UploadRequest } from '../domain/limits.ts';
import { Refusal } from '../refusal.ts';

export type UploadPart = { readonly header: UploadRequest } | { readonly chunk: Uint8Array };

/** A client that sends nothing for so long is given up. */
const idleMs = 60_000;
/** The parts of a call, as long as they keep coming. */
export class Incoming {
  readonly #iterator: AsyncIterator<UploadPart>;
  readonly #clock: Clock;
  readonly #stopWatching: () => void;
  #askedMs = Infinity;
  #giveUp: (error: Error) => void = () => {};

  constructor(parts: AsyncIterable<UploadPart>, clock: Clock) {
    this.#iterator = parts[Symbol.asyncIterator]();
    this.#clock = clock;
    this.#stopWatching = clock.every(idleMs / 10, () => {
      if (clock.nowMs() - this.#askedMs >= idleMs)
        this.#giveUp(new Refusal('too-slow', `the client sent nothing for ${idleMs / 1000} s; what came is kept`));
    });
  }

  /** A promise of its own for each part: one for all, in a race, would hold on to every part until the end. */
  async next(): Promise<UploadPart | undefined> {
    this.#askedMs = this.#clock.nowMs();
    const result = await new Promise<IteratorResult<UploadPart>>((resolve, reject) => {
      this.#giveUp = reject;
      this.#iterator.next().then(resolve, reject);
    });
    this.#askedMs = Infinity;
    return result.done === true ? undefined : result.value;
  }

  stop(): void {
    this.#stopWatching();
  }
}
