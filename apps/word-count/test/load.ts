/** `npx nx load word-count`: readers, each with one text after another. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { connectRabbitmq, type Broker } from '@lab/middleware';
import { inTime, silentLogger, systemClock } from '@lab/process';
import { seededRandom } from '@lab/testing';
import { Promised, type LoadClient, type Workload } from '@lab/testing/load';
import { loadProgram } from '@lab/testing/load-program';
import { batches, decodeBatch } from '../src/messages.ts';
import { countWords } from '../src/roles/reader.ts';
import { plainLoop } from './simulated-system.ts';

/** Longer than a fault of `npx nx break` lasts by default. */
const answerMs = 90_000;
/** Jobs without an answer that are asked for again in the end; more are counted as unknown, and no more. */
const unansweredMax = 1_000;

export interface WordCountLoadOptions {
  readonly url: string;
  /** Of each text. */
  readonly lines: number;
  /** Called before a reader sends the last batch of its job, which waits for it: so a job can be held in its middle. */
  readonly beforeLast?: () => Promise<void>;
}

export class WordCountLoad implements Workload {
  readonly #once = new Promised('each word of each job is counted once', 'jobs counted as a plain loop counts them');
  readonly promises = [this.#once];
  readonly #options: WordCountLoadOptions;
  /** The name of a job is that of its text, for good. */
  readonly #run = randomUUID().slice(0, 8);
  #jobs = 0;
  readonly #unanswered = new Set<number>();

  constructor(options: WordCountLoadOptions) {
    this.#options = options;
  }

  async connect(): Promise<LoadClient> {
    let broker: Broker | undefined = await this.#broker();
    const end = async (): Promise<void> => {
      const ended = broker;
      broker = undefined;
      await ended?.close();
    };
    const operate = async (): Promise<void> => {
      const job = ++this.#jobs;
      try {
        broker ??= await this.#broker();
        await this.#count(job, broker, 'next');
      } catch (error) {
        if (this.#unanswered.size < unansweredMax) this.#unanswered.add(job);
        // With it ends the wait for an answer.
        await end();
        throw error;
      }
    };
    return { operate, [Symbol.asyncDispose]: end };
  }

  /** Asks again for what had no answer: it gets the one that there is. */
  async check(): Promise<void> {
    const broker = await this.#broker();
    try {
      for (const job of this.#unanswered) {
        await this.#count(job, broker, 'first');
        this.#unanswered.delete(job);
      }
    } finally {
      await broker.close();
    }
  }

  #broker(): Promise<Broker> {
    return connectRabbitmq({ url: this.#options.url, log: silentLogger });
  }

  async #count(job: number, broker: Broker, from: 'first' | 'next'): Promise<void> {
    const name = `load-${this.#run}-${job}`;
    const lines = this.#lines(job);
    // The log grows with the load: of a new job no answer is in what is there already.
    const reader: Pick<Broker, 'declare' | 'read' | 'publish'> = {
      declare: (topology) => broker.declare(topology),
      read: (log) => broker.read(log, from),
      publish: async (message) => {
        if (message.routingKey === batches && isLast(decodeBatch(Buffer.from(message.body)))) await this.#options.beforeLast?.();
        await broker.publish(message);
      },
    };
    const late = (): Error => new Error(`no answer within ${answerMs / 1_000} s`);
    const counts = await inTime(systemClock, answerMs, countWords({ broker: reader, job: name, lines }), late);
    if (isDeepStrictEqual(counts, plainLoop(lines))) this.#once.holds();
    else this.#once.breaks(`job ${name}: ${JSON.stringify(counts)} instead of ${JSON.stringify(plainLoop(lines))}`);
  }

  #lines(job: number): string[] {
    const random = seededRandom(job);
    const word = (): string => random.pick(['error', 'info', 'here', 'there']);
    return Array.from({ length: this.#options.lines }, () => `${word()} ${word()}, ${word()}`);
  }
}

const isLast = ({ number, total }: { number: number; total: number }): boolean => number === total - 1;

if (import.meta.main) {
  const program = {
    directory: join(import.meta.dirname, '..'),
    operation: 'has a text of 2,000 lines counted',
    ...{ rate: 5, clients: 3 },
    open: ({ port }: { port: number }) => new WordCountLoad({ url: `amqp://lab:lab@127.0.0.1:${port}`, lines: 2_000 }),
  };
  process.exit(await loadProgram(program, process));
}
