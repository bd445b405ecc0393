/**
 * Counts the words of each job. The queue is its memory: it acknowledges a job's batches when it has read the job's answer in the log, not before. If
 * it dies, the broker gives all of them to the counter that stands by. A batch that comes after the answer is a repeat, and goes.
 */
import { PoisonError, type Broker, type Consumer, type Delivery } from '@lab/middleware';
import type { Logger, Role } from '@lab/process';
import { WordCount } from '../domain/word-count.ts';
import { answers, batches, decodeAnswer, decodeBatch, encode, topology, type Batch } from '../messages.ts';

export class Counter implements Role {
  readonly #failure = Promise.withResolvers<never>();
  readonly failed = this.#failure.promise;
  readonly #parts: { broker: Broker; log: Logger };
  /** Jobs without an answer; `answered` resolves when it is in the log. */
  readonly #jobs = new Map<string, { words: WordCount; answered: PromiseWithResolvers<void> }>();
  readonly #answered = new Set<string>();
  #consumer: Consumer | undefined;

  constructor(parts: { broker: Broker; log: Logger }) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    await this.#parts.broker.declare(topology);
    this.#followAnswers().catch(this.#failure.reject);
    // All that one consumer may hold: a job's batches are held until it is answered.
    const options = { prefetch: 65_535, failureLimit: 3 };
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
      this.#jobs.get(job)?.answered.resolve();
      this.#jobs.delete(job);
    }
  }

  /** Returning acknowledges. */
  async #take({ body }: Delivery): Promise<void> {
    const batch = decodeBatch(body);
    if (this.#answered.has(batch.job)) return;
    const { words, answered } = this.#job(batch);
    try {
      words.add(batch.number, batch.lines);
    } catch (cause) {
      throw new PoisonError(`batch ${batch.number} of job ${batch.job} cannot be counted`, { cause });
    }
    if (words.complete) {
      await this.#parts.broker.append(answers, encode({ job: batch.job, counts: words.counts }));
      this.#parts.log.info({ job: batch.job }, 'answered');
    }
    await answered.promise;
  }

  #job({ job: name, total }: Batch) {
    const job = this.#jobs.get(name) ?? { words: new WordCount(total), answered: Promise.withResolvers<void>() };
    this.#jobs.set(name, job);
    return job;
  }
}
