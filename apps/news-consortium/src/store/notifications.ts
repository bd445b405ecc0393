/**
 * LISTEN on a connection of its own. What was notified while there was none is lost, so `onRenewed` says when to look for oneself; and a connection that does
 * not answer a question every so often is replaced: a database that was cut off never says so.
 */
import { retry, type Clock, type Logger } from '@lab/process';
import type pg from 'pg';
import { answerMs, Contact } from './contact.ts';
import { connectAlone } from './database.ts';

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
const againMs = 200;

export class Notifications {
  readonly #options: NotificationsOptions;
  readonly #over = new AbortController();
  readonly #contact: Contact;
  #client: pg.Client | undefined;
  /** It probes, or makes another connection. */
  #busy = false;

  constructor(options: NotificationsOptions) {
    this.#options = options;
    this.#contact = new Contact(options.clock);
  }

  /** Whether the database has answered lately. */
  get healthy(): boolean {
    return this.#contact.isThere;
  }

  /** Resolves with the first connection, however long that takes. */
  async start(): Promise<void> {
    await this.#connect();
    const stopProbing = this.#options.clock.every(probeMs, () => void this.#keep());
    this.#over.signal.addEventListener('abort', stopProbing);
  }

  async stop(): Promise<void> {
    this.#over.abort();
    await this.#client?.end().catch(() => undefined);
  }

  /** Makes another connection where this one does not answer. */
  async #keep(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      await this.#probe();
    } catch (error) {
      if (this.#over.signal.aborted) return;
      this.#options.log.warn({ err: error }, 'the listening connection does not answer; making another');
      // Rejects only when it is stopped.
      await this.#connect().catch(() => undefined);
    } finally {
      this.#busy = false;
    }
  }

  #connect(): Promise<void> {
    const { clock, log } = this.#options;
    const warn = (error: unknown): void => log.warn({ err: error }, 'the database cannot be listened to; trying again');
    // Without it a role has nothing to say, so it waits for as long as it lives.
    const limits = { withinMs: Infinity, pauseMs: againMs, signal: this.#over.signal };
    return retry(() => this.#listen(), { clock, ...limits, onRetry: warn });
  }

  async #listen(): Promise<void> {
    const { url, channels, onRenewed } = this.#options;
    void this.#client?.end().catch(() => undefined);
    const client = await connectAlone(url, 'news-consortium listener', answerMs);
    client.on('notification', ({ channel, payload }) => channels[channel]?.(payload ?? ''));
    this.#client = client;
    if (this.#over.signal.aborted) return void client.end().catch(() => undefined);
    for (const channel of Object.keys(channels)) await client.query(`LISTEN ${client.escapeIdentifier(channel)}`);
    onRenewed();
    await this.#probe();
  }

  async #probe(): Promise<void> {
    const { probe, onProbe } = this.#options;
    const client = this.#client!;
    const { rows } = await this.#contact.ask(() => client.query<Record<string, unknown>>(probe.text, [...probe.values]));
    onProbe(rows);
  }
}
