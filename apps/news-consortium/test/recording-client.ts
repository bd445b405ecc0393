/** Clients whose operations are written down, and watches. */
import { randomUUID } from 'node:crypto';
import type { ConnectionOptions } from 'node:tls';
import { systemClock } from '@lab/process';
import { FramingError, type FramedSocket } from '@lab/protocol';
import { eventually } from '@lab/testing';
import { ask, connectTo, type Ask } from '../src/wire/asking.ts';
import { askOver } from '../src/wire/tls.ts';
import { Consortium, NoAnswerError } from '../src/client/consortium.ts';
import { silenceMs, watch, type WatchOptions } from '../src/client/watch.ts';
import { type Body, type Change, type Item, type Replies } from '../src/messages.ts';
import { decodeReply } from '../src/wire/encoding.ts';
import { Refusal } from '../src/wire/refusal.ts';
import type { Operation, Outcome, RecordedKind, Watched } from './history.ts';

export interface RecordingOptions {
  readonly name: string;
  readonly password: string;
  readonly agents: () => Promise<string[]>;
  /** Where the operations go when they are over. */
  readonly record: (operation: Operation) => void;
  readonly tls?: ConnectionOptions | undefined;
}

/** Nobody may have to wait so long; a client that does has an unknown outcome. */
const patienceMs = 15_000;

/** One client of a user, which does one thing after another. */
export class RecordingClient {
  readonly user: string;
  readonly consortium: Consortium;
  /** What it trusts; without it peers do not speak TLS. */
  readonly tls?: ConnectionOptions | undefined;
  /** What became of the last operation. */
  last: Outcome<RecordedKind> = { is: 'unknown' };
  /** Closed ones too. */
  readonly tokens: string[] = [];
  readonly #options: RecordingOptions;
  /** Who was asked last, and whether nobody knows what an earlier try did. */
  #tries = { kind: '', address: undefined as string | undefined, unsure: false };

  constructor(options: RecordingOptions) {
    this.#options = options;
    this.user = options.name;
    this.tls = options.tls;
    const asking = askOver(this.#ask, options.tls);
    this.consortium = new Consortium({ agents: options.agents, ask: asking, clock: systemClock, patienceMs });
  }

  /** Of the session that was opened last. */
  get token(): string {
    return this.tokens.at(-1) ?? '';
  }

  async login(): Promise<void> {
    const { name, password } = this.#options;
    const session = await this.#recorded(
      'login',
      '',
      {},
      () => this.consortium.ask('login', { name, password, key: randomUUID() }),
      '',
    );
    if (session !== undefined) this.tokens.push(session.token);
  }

  logout(): Promise<unknown> {
    return this.#recorded('logout', '', {}, () => this.consortium.ask('logout', { token: this.token }));
  }

  /** With no area where the operation has none. Resolves with the reply, or with undefined where there was none or it was a refusal. Rejects with what is neither. */
  node<K extends Exclude<RecordedKind, 'login' | 'logout'>>(
    kind: K,
    area: string,
    asked: Omit<Body<K>, 'token' | 'area' | 'key'> & { key?: string },
    token = this.token,
  ): Promise<Replies[K] | undefined> {
    const key = randomUUID();
    return this.#recorded(
      kind,
      area,
      asked,
      () => this.consortium.ask(kind, { token, ...(area !== '' && { area }), key, ...asked } as unknown as Body<K>),
      token,
    );
  }

  async #recorded<K extends RecordedKind>(
    kind: K,
    area: string,
    asked: object,
    work: () => Promise<Replies[K]>,
    token = this.token,
  ): Promise<Replies[K] | undefined> {
    const invokedMs = Date.now();
    this.#tries = { kind, address: undefined, unsure: false };
    const outcome = await this.#outcome(kind, work);
    this.last = outcome;
    const completedMs = outcome.is === 'unknown' ? Infinity : Date.now();
    const { user } = this;
    this.#options.record({ kind, user, session: token, area, asked, invokedMs, completedMs, outcome } as unknown as Operation);
    return outcome.is === 'ok' ? outcome.result : undefined;
  }

  async #outcome<K extends RecordedKind>(kind: K, work: () => Promise<Replies[K]>): Promise<Outcome<K>> {
    try {
      const result = await work();
      return { is: 'ok', result, node: kind === 'login' || kind === 'logout' ? undefined : this.#tries.address };
    } catch (error) {
      if (error instanceof NoAnswerError) return { is: 'unknown' };
      if (!(error instanceof Refusal)) throw error;
      // What one try was refused an earlier one may have done.
      return this.#tries.unsure ? { is: 'unknown' } : { is: 'refused', code: error.code };
    }
  }

  readonly #ask: Ask = async (address, kind, body, options) => {
    if (kind === this.#tries.kind) this.#tries.address = address;
    try {
      return await ask(address, kind, body, options);
    } catch (error) {
      const definite = error instanceof FramingError ? error.definite : error instanceof Refusal && error.code !== 'unavailable';
      if (kind === this.#tries.kind && !definite) this.#tries.unsure = true;
      throw error;
    }
  };
}

/** Watches an area from now on, and keeps what came. */
export class Watch {
  readonly items: Item[] = [];
  readonly changes: Change[] = [];
  /** Why it ended, where it was not stopped. */
  refusal: unknown;
  /** Connections so far. */
  connections = 0;
  readonly #user: string;
  readonly #area: string;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  /** The number from which on it watches. */
  #after: number | undefined;
  #fromMs = Infinity;

  constructor(client: Pick<RecordingClient, 'user' | 'token' | 'consortium' | 'tls'>, area: string) {
    const { user, token, consortium, tls } = client;
    this.#user = user;
    this.#area = area;
    const options: WatchOptions = {
      ...{ consortium, token, areas: [area], clock: systemClock, signal: this.#stopping.signal },
      connect: (address) => this.#connect(address, tls),
      onItem: (_, item) => void this.items.push(item),
      onChange: (_, change) => void this.changes.push(change),
    };
    this.#running = watch(options).catch((error: unknown) => (this.refusal = error)) as Promise<void>;
  }

  /** Resolves when it watches, or has ended. */
  async begun(): Promise<void> {
    await eventually(() => this.connections > 0 || this.refusal !== undefined, { timeoutMs: patienceMs });
  }

  has(number: number): boolean {
    return this.items.some((item) => item.number === number);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** For the history; undefined where it never began. */
  get watched(): Watched | undefined {
    if (this.#after === undefined) return undefined;
    const through = this.refusal === undefined ? Infinity : (this.items.at(-1)?.number ?? this.#after);
    return {
      ...{ user: this.#user, area: this.#area, after: this.#after, through },
      ...{ items: this.items, changes: this.changes, fromMs: this.#fromMs },
    };
  }

  /** A connection whose first reply is looked at: it says where the watch begins. */
  async #connect(address: string, tls: ConnectionOptions | undefined): Promise<FramedSocket> {
    const socket = await connectTo(address, { idleTimeoutMs: silenceMs, tls });
    const request = socket.request.bind(socket);
    socket.request = async (...args) => {
      const frame = await request(...args);
      const { after } = decodeReply('watch', frame);
      if (this.#after === undefined) [this.#after, this.#fromMs] = [after, Date.now()];
      this.connections++;
      return frame;
    };
    return socket;
  }
}
