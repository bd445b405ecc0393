/** A place in a stream that outlives the connections over which it is read. */
import { BackOff } from '@lab/process/time';
import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib';
import { Fifo } from '@lab/process/fifo';
import type { LogEntry } from '../port.ts';
import { withTag } from './acks.ts';
import { ignoringClosed, isGone, readRefusal } from './reply.ts';

export interface LogReaderOptions {
  log: string;
  from: 'first' | 'next' | number;
  random: () => number;
  onEnd(reader: LogReader): void;
}

/** Entries under way to the reader. RabbitMQ sends whole chunks, so some more may arrive. */
const prefetch = 256;
/** Acknowledgements only grant credit here, so one for a quarter of it will do. */
const ackEvery = prefetch / 4;
/** More than a chunk holds. */
const chunkEntriesMax = 65_535;
/** For the last chunk of a log to arrive; from an empty log nothing does. */
const lastChunkTimeoutMs = 500;

const offsetOf = ({ properties }: ConsumeMessage): number => Number(properties.headers?.['x-stream-offset']);

export class LogReader implements AsyncIterableIterator<LogEntry> {
  readonly #options: LogReaderOptions;
  readonly #backOff: BackOff;
  readonly #buffer = new Fifo<{ entry: LogEntry; tag: number; channel: Channel }>();
  readonly #waiting: ((result: IteratorResult<LogEntry>) => void)[] = [];
  /** Where a new connection goes on. */
  #from: 'first' | 'next' | number;
  #connection: ChannelModel | undefined;
  #channel: Channel | undefined;
  #handedOut = 0;
  #ended = false;

  constructor(options: LogReaderOptions) {
    this.#options = options;
    this.#from = options.from;
    this.#backOff = new BackOff({ random: options.random });
  }

  /** Begins to read; rejects with the port's error. */
  async attach(connection: ChannelModel): Promise<void> {
    this.#connection = connection;
    const { log } = this.#options;
    try {
      if (this.#from === 'next') this.#from = await endOf(log, connection);
      const channel = await connection.createChannel();
      channel.on('error', () => {});
      channel.on('close', () => this.#onChannelClosed(channel, connection));
      await channel.prefetch(prefetch);
      this.#buffer.drain();
      this.#channel = channel;
      const onMessage = (message: ConsumeMessage | null) =>
        message === null ? this.#onCancelled(channel) : this.#take(message, channel);
      await channel.consume(log, onMessage, { arguments: { 'x-stream-offset': this.#from } });
    } catch (error) {
      throw readRefusal(`read "${log}"`, log, error);
    }
    // Nothing came before the end of an empty log: what a later connection finds is all new.
    if (this.#from === 'next') this.#from = 'first';
    if (this.#ended) await this.#channel.close();
  }

  /** Reads on over a new connection. */
  resume(connection: ChannelModel): void {
    this.#connection = connection;
    this.#retry(connection);
  }

  #retry(connection: ChannelModel): void {
    if (this.#ended || this.#connection !== connection) return;
    this.attach(connection).then(
      () => this.#backOff.reset(),
      (error: unknown) => {
        if (error instanceof Error && isGone(error.cause)) return this.end();
        setTimeout(() => this.#retry(connection), this.#backOff.nextMs()).unref();
      },
    );
  }

  #onCancelled(channel: Channel): void {
    channel.close().catch(() => {});
  }

  #onChannelClosed(channel: Channel, connection: ChannelModel): void {
    if (this.#channel !== channel) return;
    this.#channel = undefined;
    setTimeout(() => this.#retry(connection), this.#backOff.nextMs()).unref();
  }

  #take(message: ConsumeMessage, channel: Channel): void {
    if (this.#channel !== channel) return;
    const offset = offsetOf(message);
    const tag = message.fields.deliveryTag;
    // RabbitMQ starts at a chunk's beginning where it cannot start within it.
    if (typeof this.#from === 'number' && offset < this.#from) return;
    this.#buffer.push({ entry: { offset, body: message.content }, tag, channel });
    this.#serve();
  }

  #serve(): void {
    while (this.#waiting.length > 0) {
      const result = this.#next();
      if (result === undefined) return;
      this.#waiting.shift()?.(result);
    }
  }

  #next(): IteratorResult<LogEntry> | undefined {
    if (this.#ended) return { done: true, value: undefined };
    const item = this.#buffer.shift();
    if (item === undefined) return undefined;
    const { entry, tag, channel } = item;
    this.#from = entry.offset + 1;
    const due = ++this.#handedOut % ackEvery === 0 || this.#buffer.length === 0;
    if (due && channel === this.#channel) ignoringClosed(() => channel.ack(withTag(tag), true));
    return { done: false, value: entry };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<LogEntry>> {
    const result = this.#next();
    return result ? Promise.resolve(result) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  async return(): Promise<IteratorResult<LogEntry>> {
    await this.stop();
    return { done: true, value: undefined };
  }

  async stop(): Promise<void> {
    const channel = this.#channel;
    this.end();
    await channel?.close().catch(() => {});
  }

  /** There is nothing more to read, or nobody who reads. */
  end(): void {
    this.#ended = true;
    this.#channel = undefined;
    this.#buffer.drain();
    this.#serve();
    this.#options.onEnd(this);
  }
}

/**
 * The offset after a log's last entry, or `next` if it is empty. A reader that starts at `next` needs the number: if it loses its connection before
 * the first entry, what is appended meanwhile is already part of what it must see.
 */
async function endOf(log: string, connection: ChannelModel): Promise<number | 'next'> {
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  let end: number | undefined;
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const timer = setTimeout(begin, lastChunkTimeoutMs);
  try {
    await channel.prefetch(chunkEntriesMax);
    const onMessage = (message: ConsumeMessage | null) => {
      if (message !== null) end = offsetOf(message) + 1;
      begin();
    };
    await channel.consume(log, onMessage, { arguments: { 'x-stream-offset': 'last' } });
    await begun;
    if (end === undefined) return 'next';
    // The last chunk is sent in one go, ahead of the answer to this.
    await channel.prefetch(chunkEntriesMax);
    return end;
  } finally {
    clearTimeout(timer);
    channel.close().catch(() => {});
  }
}
