import type { Message } from 'amqplib';

/** All that amqplib reads of a message that it acknowledges. */
export function withTag(deliveryTag: number): Message {
  return { fields: { deliveryTag } } as Message;
}

/** How acknowledgements reach the broker. */
export interface AckSink {
  /** One delivery, or all open ones up to and including it. */
  ack(tag: number, multiple: boolean): void;
  /** Gives deliveries back to their queue. */
  giveBack(tag: number, multiple: boolean): void;
}

/** With no more deliveries open than this, the search described at `AckWindow` costs the broker next to nothing. */
const fewOpen = 64;
/** What the late acknowledgements may cost the broker: so many deliveries walked over in every tick, about a sixth of its channel's time. */
const stepsPerTick = 100_000;
const tickMs = 100;

/**
 * Decides how outcomes become acknowledgements.
 *
 * RabbitMQ finds an acknowledged delivery by walking over all older ones that are open on the channel. To one that holds 20,000 and acknowledges
 * 20,000 newer ones one by one, it walks for a minute (measured on 3.10). So the outcomes of one turn of the event loop become one `multiple` for
 * everything below the oldest open delivery, and what has settled above it waits: for the oldest to settle, for the prefetch to run short, or for its
 * turn at a pace that the broker does not feel.
 */
export class AckWindow {
  readonly #sink: AckSink;
  readonly #prefetch: number;
  /** Open delivery tags. A set iterates in the order of insertion, so its first one is the oldest. */
  readonly #open = new Set<number>();
  /** Settled in this turn. */
  #fresh: number[] = [];
  /** Settled above the oldest open one, not acknowledged yet. */
  #late: number[] = [];
  #oldestOpen = 0;
  #tick: NodeJS.Timeout | undefined;
  #onEmpty: (() => void) | undefined;

  constructor(prefetch: number, sink: AckSink) {
    this.#prefetch = prefetch;
    this.#sink = sink;
  }

  /** Tags come in ascending order. */
  delivered(tag: number): void {
    this.#open.add(tag);
  }

  isOpen(tag: number): boolean {
    return this.#open.has(tag);
  }

  /** To be acknowledged. A tag that is not open means nothing. */
  settle(tag: number): void {
    if (!this.#open.delete(tag)) return;
    if (this.#fresh.push(tag) === 1) setImmediate(() => this.flush());
    if (this.#open.size === 0) this.#onEmpty?.();
  }

  /** Goes back to its queue at once. A tag that is not open means nothing. */
  giveBack(tag: number): void {
    if (!this.#open.delete(tag)) return;
    this.#sink.giveBack(tag, false);
    if (this.#open.size === 0) this.#onEmpty?.();
  }

  /** Sends what the turn settled; `settle` sees to it. */
  flush(): void {
    if (this.#fresh.length === 0) return;
    const settled = this.#fresh;
    this.#fresh = [];
    const [oldestOpen = Infinity] = this.#open;
    // While the same one is the oldest, all that settles is above it.
    if (oldestOpen !== this.#oldestOpen || oldestOpen === Infinity) this.#ackBelow(oldestOpen, settled);
    else for (const tag of settled) this.#late.push(tag);
    if (this.#late.length === 0) return;
    // The broker counts what waits here against the prefetch, so that much of it must be left free.
    const short = this.#open.size + this.#late.length - (this.#prefetch * 15) / 16;
    this.#ackLate(this.#open.size <= fewOpen ? Infinity : short);
    if (this.#late.length > 0)
      this.#tick ??= setInterval(() => this.#ackLate(Math.ceil(stepsPerTick / this.#open.size)), tickMs).unref();
  }

  /** Nothing below the oldest open delivery is open, so one acknowledgement covers all of it. */
  #ackBelow(oldestOpen: number, settled: number[]): void {
    this.#oldestOpen = oldestOpen;
    const above: number[] = [];
    let upTo = 0;
    for (const tags of [this.#late, settled]) {
      for (const tag of tags) {
        if (tag > oldestOpen) above.push(tag);
        else if (tag > upTo) upTo = tag;
      }
    }
    this.#late = above;
    if (upTo > 0) this.#sink.ack(upTo, true);
  }

  /** Acknowledges up to so many late ones, the oldest first: to these the broker's way is the shortest. */
  #ackLate(count: number): void {
    if (count < 1 || this.#late.length === 0) return;
    this.#late.sort((a, b) => a - b);
    for (const tag of this.#late.splice(0, Math.ceil(Math.min(count, this.#late.length)))) this.#sink.ack(tag, false);
    if (this.#late.length === 0) this.#stopTicking();
  }

  #stopTicking(): void {
    clearInterval(this.#tick);
    this.#tick = undefined;
  }

  /** Resolves when nothing is open. */
  empty(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#onEmpty = resolve));
  }

  /** Acknowledges all that has settled and gives the rest back, in the order of the tags: so each is the broker's oldest when its turn comes. */
  finish(): void {
    const outcomes = [...this.#open].map((tag) => ({ tag, settled: false }));
    for (const tag of [...this.#late, ...this.#fresh]) outcomes.push({ tag, settled: true });
    outcomes.sort((a, b) => a.tag - b.tag);
    outcomes.forEach(({ tag, settled }, index) => {
      // The last one of a run speaks for all of it.
      if (outcomes[index + 1]?.settled === settled) return;
      if (settled) this.#sink.ack(tag, true);
      else this.#sink.giveBack(tag, true);
    });
    this.abandon();
  }

  /** The channel is gone, and its tags with it: outcomes that come later mean nothing. */
  abandon(): void {
    this.#open.clear();
    this.#fresh = [];
    this.#late = [];
    this.#stopTicking();
    this.#onEmpty?.();
  }
}
