/** A place in a stream that outlives the connections over which it is read. */
import { BackOff } from '@lab/process/time';
import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib';
import { Fifo } from '@lab/process/fifo';
import { UnavailableError } from '../errors.ts';
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

/** An entry, by its place and by the id that it was published with, which no other entry has. */
interface Mark {
  readonly offset: number;
  readonly id: unknown;
}

const markOf = ({ properties }: ConsumeMessage): Mark => ({
  offset: Number(properties.headers?.['x-stream-offset']),
  id: properties.messageId,
});

/**
 * A place in a log. A log that was removed and made anew has the same name and the same offsets, but other entries: a reader that comes back looks
 * for the last entry that it had. Where that is another one, or the log ends before it, the log that was read is gone.
 */
export class LogReader implements AsyncIterableIterator<LogEntry> {
  readonly #options: LogReaderOptions;
  readonly #backOff: BackOff;
  readonly #buffer = new Fifo<{ entry: LogEntry; mark: Mark; tag: number; channel: Channel }>();
  readonly #waiting: ((result: IteratorResult<LogEntry>) => void)[] = [];
  /** Where to begin, as long as nothing was read. */
  #from: 'first' | 'next' | number;
  /** The last entry before what is still to be read: a new connection goes on behind it. */
  #before: Mark | undefined;
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
      if (this.#before !== undefined || this.#from === 'next') {
        const last = await lastOf(log, connection);
        if (this.#isAnotherLog(last)) return this.end();
        if (this.#from === 'next') this.#before = last;
      }
      const channel = await connection.createChannel();
      channel.on('error', () => {});
      channel.on('close', () => this.#onChannelClosed(channel, connection));
      await channel.prefetch(prefetch);
      this.#buffer.drain();
      this.#channel = channel;
      const onMessage = (message: ConsumeMessage | null) =>
        message === null ? this.#onCancelled(channel) : this.#take(message, channel);
      await channel.consume(log, onMessage, { arguments: { 'x-stream-offset': this.#before?.offset ?? this.#from } });
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

  /** Throws while nothing is known: a log in which something was read has a last entry, or is another one that is still empty. */
  #isAnotherLog(last: Mark | undefined): boolean {
    const before = this.#before;
    if (before === undefined) return false;
    if (last === undefined) throw new UnavailableError(`read "${this.#options.log}": no entry came, though there were some`);
    return last.offset < before.offset || (last.offset === before.offset && last.id !== before.id);
  }

  #take(message: ConsumeMessage, channel: Channel): void {
    if (this.#channel !== channel) return;
    const mark = markOf(message);
    const { offset } = mark;
    const tag = message.fields.deliveryTag;
    const before = this.#before;
    if (before?.offset === offset && before.id !== mark.id) return void this.stop();
    // RabbitMQ starts at a chunk's beginning where it cannot start within it.
    if (before !== undefined ? offset <= before.offset : typeof this.#from === 'number' && offset < this.#from) return;
    this.#buffer.push({ entry: { offset, body: message.content }, mark, tag, channel });
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
    const { entry, mark, tag, channel } = item;
    this.#before = mark;
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
 * A log's last entry, if one comes within a moment. A reader that starts at `next` needs it: if it loses its connection before the first entry, what is
 * appended meanwhile is already part of what it must see.
 */
async function lastOf(log: string, connection: ChannelModel): Promise<Mark | undefined> {
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  let last: Mark | undefined;
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const timer = setTimeout(begin, lastChunkTimeoutMs);
  try {
    await channel.prefetch(chunkEntriesMax);
    const onMessage = (message: ConsumeMessage | null) => {
      if (message !== null) last = markOf(message);
      begin();
    };
    await channel.consume(log, onMessage, { arguments: { 'x-stream-offset': 'last' } });
    await begun;
    // The last chunk is sent in one go, ahead of the answer to this.
    if (last !== undefined) await channel.prefetch(chunkEntriesMax);
    return last;
  } finally {
    clearTimeout(timer);
    channel.close().catch(() => {});
  }
}
