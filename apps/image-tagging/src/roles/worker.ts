/** Takes jobs, marks pictures with their keywords, and tells the group. Any number of workers share the queue. */
import { PoisonError, type Broker, type Consumer, type Delivery } from '@lab/middleware';
import { retry, type Clock, type Logger, type Role } from '@lab/process';
import type { Upload } from '../domain/catalog.ts';
import type { GroupCatalog } from '../group-catalog.ts';
import { extensionOf } from '../pictures/inspect.ts';
import { decodeJob, encodeJob, resultEvent, type Result, type TagPicture } from '../messages.ts';
import type { PictureStore } from '../store/picture-store.ts';
import { queuesOf } from '../topology.ts';

export interface WorkerParts {
  readonly members: GroupCatalog;
  readonly broker: Broker;
  readonly store: PictureStore;
  readonly queue: string;
  /** Jobs in hand at a time. */
  readonly prefetch: number;
  readonly tag: (input: string, output: string, keywords: readonly string[]) => Promise<{ bytes: number; sha256: string }>;
  /** The sentence of an error that is the picture's own fault; `undefined` for any other error. */
  readonly faultOf: (error: unknown) => string | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A picture at which so many workers have died, or been killed, is not tried again: it may be what kills them. */
const deathsMax = 10;
/** Files are tagged in memory. */
const tagBytesMax = 512 * 1024 ** 2;
/** After a failure that is not the picture's: the folder or the group is away, and trying harder brings neither back. */
const pauseMs = 1_000;
/** For jobs in hand when the worker is told to stop; what takes longer is done again by another. */
const drainMs = 5_000;

export class WorkerRole implements Role {
  readonly #parts: WorkerParts;
  readonly failed: Promise<never>;
  readonly #fail: (reason: unknown) => void;
  #consumer: Consumer | undefined;
  readonly #stopping = new AbortController();

  constructor(parts: WorkerParts) {
    this.#parts = parts;
    ({ promise: this.failed, reject: this.#fail } = Promise.withResolvers<never>());
    parts.members.failed.catch(this.#fail);
  }

  async start(): Promise<void> {
    const { members, broker, queue } = this.#parts;
    await broker.declare({ queues: queuesOf(queue) });
    await members.start();
    await this.#consume();
  }

  async #consume(): Promise<void> {
    const { broker, queue, prefetch } = this.#parts;
    this.#consumer = await broker.consume(queue, (delivery) => this.#handle(delivery), { prefetch });
    this.#consumer.closed.catch((error: unknown) => this.#replace(error).catch(this.#fail));
  }

  /** The queue is gone, with all jobs: there is another, with those of all pictures that are pending. Each worker may do so, for a picture is tagged once. */
  async #replace(error: unknown): Promise<void> {
    const { members, broker, queue, log } = this.#parts;
    const { pending } = members.catalog;
    log.warn({ err: error, jobs: pending.length }, 'the queue of jobs is gone: making it again');
    await broker.declare({ queues: queuesOf(queue) });
    for (const id of pending) {
      const keywords = members.catalog.picture(id)?.keywords ?? [];
      await broker.publish({ routingKey: queue, body: encodeJob({ id, keywords: [...keywords] }) });
    }
    await this.#consume();
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('this worker is stopping'));
    await this.#consumer?.stop({ drainMs });
    await this.#parts.members.stop();
  }

  async #handle(delivery: Delivery): Promise<void> {
    const { log, clock } = this.#parts;
    const job = decodeJob(delivery.body);
    if (job === undefined) throw new PoisonError('this is no job');
    // Kept in hand through troubles that are not the picture's, however long, so that the broker's count is one of deaths.
    await retry(() => this.#work(job, delivery.deliveryCount ?? 0), {
      ...{ clock, withinMs: Infinity, pauseMs, signal: this.#stopping.signal },
      worthwhile: (error) => !(error instanceof PoisonError),
      onRetry: (error) => log.warn({ err: error, id: job.id }, 'a job could not be done, trying again'),
    });
  }

  /** The result is safe, and known to the group, before the job is acknowledged. */
  async #work(job: TagPicture, deaths: number): Promise<void> {
    const { members, store, log } = this.#parts;
    const upload = await store.stored(job.id);
    if (upload === undefined) throw new PoisonError(`there is no picture ${job.id}`);
    const result = (await store.result(job.id)) ?? (await this.#decide(job, upload, deaths));
    await members.tell(resultEvent(job.id, result));
    log.info({ id: job.id, ...result }, 'tagged' in result ? 'tagged' : 'cannot be tagged');
  }

  #decide({ id, keywords }: TagPicture, { mediaType, bytes }: Upload, deaths: number): Promise<Result> {
    const { store, tag, faultOf } = this.#parts;
    if (deaths >= deathsMax) return store.fail(id, `${deaths} workers have died at it`);
    if (bytes > tagBytesMax)
      return store.fail(id, `the file has ${bytes} bytes: those above ${tagBytesMax} are kept, and not tagged`);
    return store.makeResult(id, extensionOf(mediaType), (input, output) => tag(input, output, keywords), faultOf);
  }
}
