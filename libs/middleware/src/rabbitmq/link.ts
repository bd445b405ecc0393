/** One connection to RabbitMQ that comes back by itself. */
import type { PlainLogger } from '@lab/process';
import { BackOff } from '@lab/process/time';
import { connect, type ChannelModel } from 'amqplib';
import { UnavailableError } from '../errors.ts';

export interface LinkOptions {
  url: string;
  /** What the connection is for, as the log and RabbitMQ's own list of connections show it. */
  purpose: string;
  heartbeatSeconds: number;
  random: () => number;
  log: PlainLogger;
  /** Makes everything that lives on a connection. It counts as connected when this has resolved; when it rejects, it is tried again from the start. */
  restore: (connection: ChannelModel) => Promise<void>;
}

/** For TCP and the AMQP handshake; a broker that starts accepts connections before it answers. */
const handshakeTimeoutMs = 10_000;
/** A broker that hangs does not answer the close; it finds out from the heartbeats. */
const closeTimeoutMs = 2_000;

export class Link {
  readonly #options: LinkOptions;
  readonly #backOff: BackOff;
  readonly #stopped = Promise.withResolvers<void>();
  #up = Promise.withResolvers<ChannelModel>();
  #connection: ChannelModel | undefined;
  #lastError: unknown;
  #closed = false;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#backOff = new BackOff({ random: options.random });
    this.#up.promise.catch(() => {});
  }

  start(): void {
    void this.#run();
  }

  get address(): string {
    const { hostname, port } = new URL(this.#options.url);
    return `${hostname}:${port || 5672}`;
  }

  /** The connection, waited for at most so long. An `UnavailableError` says what was waited for. */
  async connection(timeoutMs: number): Promise<ChannelModel> {
    const { promise, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(this.#unreachable(timeoutMs)), timeoutMs);
    try {
      return await Promise.race([this.#up.promise, promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Resolves when there is a connection, however long it takes; rejects when this is closed. */
  async connected(): Promise<void> {
    await this.#up.promise;
  }

  #unreachable(timeoutMs: number): UnavailableError {
    const error = this.#lastError;
    const why = error instanceof Error ? error.message || error.name : 'no answer';
    return new UnavailableError(`RabbitMQ at ${this.address} was not reachable for ${Math.round(timeoutMs)} ms: ${why}`, error);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stopped.resolve();
    this.#up.reject(new UnavailableError(`the connection to RabbitMQ at ${this.address} was closed`));
    await this.#disconnect(this.#connection);
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      try {
        await this.#connectOnce();
      } catch (error) {
        this.#lastError = error;
        if (!this.#closed)
          this.#options.log.warn({ purpose: this.#options.purpose, err: error }, `waiting for RabbitMQ at ${this.address}`);
      }
      await this.#pause(this.#backOff.nextMs());
    }
  }

  /** Connects, restores, and returns when the connection is lost. */
  async #connectOnce(): Promise<void> {
    const { purpose, log, restore } = this.#options;
    const connection = await this.#open();
    const lost = Promise.withResolvers<Error | undefined>();
    connection.on('close', (error) => lost.resolve(error));
    try {
      const closed = this.#stopped.promise.then(() => Promise.reject(new Error('closed while connecting')));
      const gone = lost.promise.then((error) => Promise.reject(error ?? new Error('connection closed')));
      // An outcome that nobody waits for any more is none of the process'.
      for (const each of [closed, gone]) each.catch(() => {});
      // Whoever closes this leaves nothing behind, however far it had come.
      await Promise.race([closed, gone, restore(connection).then(() => undefined)]);
      if (this.#closed) await closed;
    } catch (error) {
      void this.#disconnect(connection);
      throw error;
    }
    this.#backOff.reset();
    this.#connection = connection;
    this.#up.resolve(connection);
    log.info({ purpose }, `connected to RabbitMQ at ${this.address}`);
    const error = await lost.promise;
    this.#connection = undefined;
    if (this.#closed) return;
    this.#lastError = error;
    this.#up = Promise.withResolvers();
    this.#up.promise.catch(() => {});
    log.warn({ purpose, err: error }, `lost the connection to RabbitMQ at ${this.address}`);
  }

  async #open(): Promise<ChannelModel> {
    const { url, heartbeatSeconds, purpose } = this.#options;
    const target = new URL(url);
    target.searchParams.set('heartbeat', String(heartbeatSeconds));
    const clientProperties = { connection_name: purpose };
    const connection = await connect(target.href, { noDelay: true, timeout: handshakeTimeoutMs, clientProperties });
    // What an error means is told by the 'close' that follows it. Without a listener it would end the process.
    connection.on('error', () => {});
    return connection;
  }

  async #disconnect(connection: ChannelModel | undefined): Promise<void> {
    if (connection === undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, closeTimeoutMs);
    // A connection that is closed already refuses to be closed.
    await Promise.race([connection.close().catch(() => {}), promise]);
    clearTimeout(timer);
  }

  async #pause(delayMs: number): Promise<void> {
    if (this.#closed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, delayMs);
    await Promise.race([promise, this.#stopped.promise]);
    clearTimeout(timer);
  }
}
