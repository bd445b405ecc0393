/** Whether somebody answers, by questions that are asked now and then. */
import type { Clock } from '@lab/process';

/** Nobody waits longer for an answer to a small question. */
export const answerMs = 1_000;

export class Contact {
  readonly #clock: Pick<Clock, 'nowMs'>;
  /** Of the first question since the last answer: none, so far; Infinity where all were answered. */
  #askedMs = -Infinity;

  constructor(clock: Pick<Clock, 'nowMs'>) {
    this.#clock = clock;
  }

  /** No question has waited for too long. Answers that are slow, and come in time, are answers: who is slow for all must not be taken for gone. */
  get isThere(): boolean {
    return this.#clock.nowMs() - this.#askedMs < answerMs;
  }

  async ask<T>(question: () => Promise<T>): Promise<T> {
    this.#askedMs = Math.min(this.#askedMs, this.#clock.nowMs());
    const answer = await question();
    this.#askedMs = Infinity;
    return answer;
  }
}
