/**
 * LISTEN on a connection of its own. What was notified while there was none is lost, so `onRenewed` says when to look for oneself; and a connection that does
 * not answer a question every so often is replaced: a database that was cut off never says so.
 */
import type { Clock, Logger } from '@lab/process';
import pg from 'pg';

export interface NotificationsOptions {
  readonly url: string;
  /** Asked every `probeMs`; its rows go to `onProbe`. Cheap, for it is asked as long as the process lives. */
  readonly probe: { readonly text: string; readonly values: readonly unknown[] };
  readonly channels: Readonly<Record<string, (payload: string) => void>>;
  /** A connection listens, again or for the first time: what happened before may have gone unheard. */
  readonly onRenewed: () => void;
  readonly onProbe: (rows: readonly Record<string, unknown>[]) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

const probeMs = 500;
const answerMs = 1_000;
const againMs = 200;

export class Notifications {
  readonly #options: NotificationsOptions;
  #client: pg.Client | undefined;
  #stopped = false;
  #heardMs = -Infinity;
  #cancel: () => void = () => undefined;

  constructor(options: NotificationsOptions) {
    this.#options = options;
  }

  /** Whether the database has answered lately. */
  get healthy(): boolean {
    return this.#options.clock.nowMs() - this.#heardMs < probeMs + answerMs;
  }

  /** Resolves with the first connection, however long that takes, or when it is stopped. */
  async start(): Promise<void> {
    while (!this.#stopped && !(await this.#connect())) await this.#pause(againMs);
    if (!this.#stopped) void this.#keep();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#client?.end().catch(() => undefined);
  }

  async #keep(): Promise<void> {
    while (!this.#stopped) {
      await this.#pause(probeMs);
      while (!this.#stopped && !(await this.#probe()) && !(await this.#connect())) await this.#pause(againMs);
    }
  }

  async #connect(): Promise<boolean> {
    const { url, channels, onRenewed, log } = this.#options;
    void this.#client?.end().catch(() => undefined);
    const client = new pg.Client({
      connectionString: url,
      connectionTimeoutMillis: answerMs,
      query_timeout: answerMs,
      keepAlive: true,
      application_name: 'news-consortium listener',
    });
    client.on('error', (error) => log.debug({ err: error }, 'lost the listening connection'));
    client.on('notification', ({ channel, payload }) => channels[channel]?.(payload ?? ''));
    this.#client = client;
    try {
      await client.connect();
      for (const channel of Object.keys(channels)) await client.query(`LISTEN ${client.escapeIdentifier(channel)}`);
    } catch (error) {
      log.warn({ err: error }, 'the database cannot be listened to; trying again');
      return false;
    }
    this.#heardMs = this.#options.clock.nowMs();
    onRenewed();
    return this.#probe();
  }

  async #probe(): Promise<boolean> {
    const { probe, onProbe, clock, log } = this.#options;
    const askedMs = clock.nowMs();
    try {
      const { rows } = await this.#client!.query<Record<string, unknown>>(probe.text, [...probe.values]);
      this.#heardMs = askedMs;
      onProbe(rows);
      return true;
    } catch (error) {
      log.warn({ err: error }, 'the listening connection does not answer; making another');
      return false;
    }
  }

  #pause(ms: number): Promise<void> {
    const over = Promise.withResolvers<void>();
    const cancel = this.#options.clock.after(ms, over.resolve);
    this.#cancel = () => {
      cancel();
      over.resolve();
    };
    return over.promise;
  }
}
