import type { FramedSocket } from '@lab/protocol';
import { queries } from '../domain/queries.ts';
import type { Values } from '../domain/query.ts';
import { topics, type Topic } from '../domain/terms.ts';
import { encodeParts, type Head } from '../messages.ts';

/** The client did what the protocol does not allow; the reason is for its user. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  /** A new session from the start may do better. */
  readonly again: boolean;
  constructor(reason: string, again = false) {
    super(reason);
    this.again = again;
  }
}

/** What the entry point knows of one session: how far its client has come, and what it is to receive. */
export class ClientSession {
  readonly id: string;
  /** Batches of each topic whose end is acknowledged. */
  readonly acknowledged = new Map<Topic, number>();
  /** Batches of each topic that were taken, without a gap. */
  readonly received = new Map<Topic, number>();
  readonly answers = new Map<number, unknown>();
  /** What its client asked for. */
  asked: { settings: Values; progress: boolean } | undefined;
  /** Resolves when the session has ended here, for whatever reason: its answers need not be held any longer. */
  readonly over: Promise<void>;
  /** Resolves when nothing of the session is known here any more, its failure included: its dead letters need not be held any longer. */
  readonly forgotten: Promise<void>;
  readonly forget: () => void;
  failure: RefusedError | undefined;
  absentSinceMs: number;
  /** When the roles were last told to keep it. */
  renewedMs: number;
  /** When anything of it came or went last. */
  movedMs: number;
  readonly #endWaiting: () => void;
  readonly #publishing = new Set<Promise<void>>();
  #socket: FramedSocket | undefined;
  #left: Promise<void> = Promise.resolve();

  constructor(id: string, nowMs: number) {
    this.id = id;
    this.absentSinceMs = nowMs;
    this.renewedMs = nowMs;
    this.movedMs = nowMs;
    ({ promise: this.over, resolve: this.#endWaiting } = Promise.withResolvers<void>());
    ({ promise: this.forgotten, resolve: this.forget } = Promise.withResolvers<void>());
  }

  get connected(): boolean {
    return this.#socket !== undefined;
  }

  /** The topic whose batches come next, in the order weather, stations, trips; none when all are through. */
  get currentTopic(): Topic | undefined {
    return topics.find((topic) => !this.acknowledged.has(topic));
  }

  /** Makes this the session's connection. An older one, of which its client may know less than we, is cut and has left before this resolves. */
  async join(socket: FramedSocket): Promise<() => void> {
    this.#socket?.destroy();
    await this.#left;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#left = promise;
    this.#socket = socket;
    return () => {
      this.#socket = undefined;
      resolve();
    };
  }

  /** Keeps count of a batch on its way to the broker; what fails is told to `onFailure`. */
  track(publishing: Promise<void>, onFailure: (error: unknown) => void): void {
    const settled = publishing.catch(onFailure).finally(() => this.#publishing.delete(settled));
    this.#publishing.add(settled);
  }

  /** Resolves when all batches taken so far are safe. */
  async published(): Promise<void> {
    await Promise.all(this.#publishing);
  }

  /** Refuses what does not fit: a topic before its turn or after its end, a gap in the numbers. */
  checkBatch({ topic, number }: Head<'batch'>): void {
    if (topic !== this.currentTopic) throw new RefusedError(this.#outOfOrder(topic));
    const expected = this.received.get(topic) ?? 0;
    if (number !== expected) throw new RefusedError(`batch ${number} of ${topic} came where batch ${expected} was due`);
  }

  /** Says whether this end is a repeat; refuses one that does not fit. */
  checkEnd({ topic, batches }: Head<'eof'>): boolean {
    const before = this.acknowledged.get(topic);
    if (before === batches) return true;
    if (before !== undefined || topic !== this.currentTopic) throw new RefusedError(this.#outOfOrder(topic));
    const received = this.received.get(topic) ?? 0;
    if (batches !== received) throw new RefusedError(`${topic} ends after ${batches} batches, but ${received} came`);
    return false;
  }

  #outOfOrder(topic: Topic): string {
    return `${topic} came where ${this.currentTopic ?? 'nothing more'} was due: topics are sent one after the other, ${topics.join(', ')}`;
  }

  /** Queries without an answer yet, by number. */
  get unanswered(): number[] {
    return queries.map(({ number }) => number).filter((number) => !this.answers.has(number));
  }

  get complete(): boolean {
    return this.unanswered.length === 0;
  }

  /** Batches of all topics so far. */
  get batches(): number {
    return topics.reduce((sum, topic) => sum + (this.acknowledged.get(topic) ?? this.received.get(topic) ?? 0), 0);
  }

  /** Sends if a client is there; one that has gone comes back and asks. */
  async send(head: Head, ...body: readonly Uint8Array[]): Promise<void> {
    const socket = this.#socket;
    try {
      await socket?.send(...encodeParts(head, ...body));
    } catch {
      socket?.destroy();
    }
  }

  /** Resolves `over`; a client that is still there is told why, once, and cut off. */
  async end(reason?: string, again = false): Promise<void> {
    this.#endWaiting();
    if (reason === undefined || this.failure !== undefined) return;
    this.failure = new RefusedError(reason, again);
    await this.send({ kind: 'refused', reason, again });
    await this.#socket?.close().catch(() => {});
  }
}
