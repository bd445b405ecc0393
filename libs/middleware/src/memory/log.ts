/** An ordered log in memory. Entries before `#first` were dropped, oldest first, to stay within `retentionBytes`. */
import type { Log, LogEntry } from '../port.ts';

export class MemoryLog {
  readonly options: Readonly<Log>;
  #entries: Buffer[] = [];
  #first = 0;
  #bytes = 0;
  #readers = new Set<MemoryLogReader>();

  constructor(options: Readonly<Log>) {
    this.options = options;
  }

  append(body: Buffer): void {
    this.#entries.push(body);
    this.#bytes += body.length;
    const { retentionBytes = Infinity } = this.options;
    let dropped = 0;
    while (this.#bytes > retentionBytes) this.#bytes -= this.#entries[dropped++]!.length;
    if (dropped > 0) this.#entries = this.#entries.slice(dropped);
    this.#first += dropped;
    for (const reader of this.#readers) reader.wake();
  }

  get end(): number {
    return this.#first + this.#entries.length;
  }

  /** The entry at an offset, or the oldest one there is after it. */
  at(offset: number): LogEntry | undefined {
    const found = Math.max(offset, this.#first);
    const body = this.#entries[found - this.#first];
    return body === undefined ? undefined : { offset: found, body };
  }

  read(from: 'first' | 'next' | number, onEnd: () => void): MemoryLogReader {
    const offset = from === 'first' ? 0 : from === 'next' ? this.end : from;
    const reader = new MemoryLogReader(this, offset, () => {
      this.#readers.delete(reader);
      onEnd();
    });
    this.#readers.add(reader);
    return reader;
  }

  /** The log is gone: its readers end. */
  destroy(): void {
    for (const reader of this.#readers) reader.end();
  }
}

/** A place in a log that moves on with every entry handed out. */
export class MemoryLogReader implements AsyncIterableIterator<LogEntry> {
  readonly #log: MemoryLog;
  readonly #onEnd: () => void;
  #offset: number;
  #ended = false;
  #waiting: ((result: IteratorResult<LogEntry>) => void)[] = [];

  constructor(log: MemoryLog, offset: number, onEnd: () => void) {
    this.#log = log;
    this.#offset = offset;
    this.#onEnd = onEnd;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<LogEntry>> {
    const result = this.#take();
    return result ? Promise.resolve(result) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  return(): Promise<IteratorResult<LogEntry>> {
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  wake(): void {
    while (this.#waiting.length > 0) {
      const result = this.#take();
      if (result === undefined) return;
      this.#waiting.shift()?.(result);
    }
  }

  end(): void {
    this.#ended = true;
    this.#onEnd();
    this.wake();
  }

  #take(): IteratorResult<LogEntry> | undefined {
    if (this.#ended) return { done: true, value: undefined };
    const entry = this.#log.at(this.#offset);
    if (entry === undefined) return undefined;
    this.#offset = entry.offset + 1;
    return { done: false, value: entry };
  }
}
