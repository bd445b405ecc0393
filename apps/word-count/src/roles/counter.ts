/**
 * Counts the words of each job. The queue is its memory: it acknowledges a job's batches when it has read the job's answer in the log, not before. If
 * it dies, the broker gives all of them to the counter that stands by. A batch that comes after the answer is a repeat, and goes.
 */
import { Held, heldMax, PoisonError, type Broker, type Consumer, type Delivery } from '@lab/middleware';
import type { Logger, Role } from '@lab/process';
import { WordCount } from '../domain/word-count.ts';
import { answers, batches, decodeAnswer, decodeBatch, encode, topology } from '../messages.ts';

export class Counter implements Role {
  readonly #failure = Promise.withResolvers<never>();
  readonly failed = this.#failure.promise;
  readonly #parts: { broker: Broker; log: Logger };
  /** Jobs without an answer, each with its batches. */
  readonly #jobs = new Map<string, Held<WordCount>>();
  readonly #answered = new Set<string>();
  #consumer: Consumer | undefined;

  constructor(parts: { broker: Broker; log: Logger }) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    await this.#parts.broker.declare(topology);
    this.#followAnswers().catch(this.#failure.reject);
    // All that one consumer may hold: a job's batches are held until it is answered.
    const options = { prefetch: heldMax, failureLimit: 3 };
    this.#consumer = await this.#parts.broker.consume(batches, (delivery) => this.#take(delivery), options);
    this.#consumer.closed.catch(this.#failure.reject);
  }

  async stop(): Promise<void> {
    await this.#consumer?.stop();
  }

  async #followAnswers(): Promise<void> {
    for await (const { body } of await this.#parts.broker.read(answers, 'first')) {
      const { job } = decodeAnswer(body);
      this.#answered.add(job);
      this.#jobs.get(job)?.settle();
      this.#jobs.delete(job);
    }
  }

  /** Returning acknowledges. */
  async #take({ body }: Delivery): Promise<void> {
    const batch = decodeBatch(body);
    if (this.#answered.has(batch.job)) return;
    const held = this.#jobs.get(batch.job) ?? new Held(new WordCount(batch.total));
    this.#jobs.set(batch.job, held);
    try {
      held.state.add(batch.number, batch.lines);
    } catch (cause) {
      throw new PoisonError(`batch ${batch.number} of job ${batch.job} cannot be counted`, { cause });
    }
    if (held.state.complete) await held.settleAfter(() => this.#answer(batch.job, held.state.counts));
    await held.settled;
  }

  async #answer(job: string, counts: Record<string, number>): Promise<void> {
    await this.#parts.broker.append(answers, encode({ job, counts }));
    this.#parts.log.info({ job }, 'answered');
  }
}
