/**
 * Follows areas over as many connections as it takes. A node says every half a second that it is there; one that breaks or falls silent is left for another,
 * which goes on behind what was handed out, item and change: so nothing is missed, and nothing is shown twice.
 */
import type { Clock } from '@lab/process';
import type { FramedSocket } from '@lab/protocol';
import type { Change, Item } from '../messages.ts';
import { decodeReply, decodeWatchFrame, encode, encodeRequest } from '../wire/encoding.ts';
import { Refusal } from '../wire/refusal.ts';
import { triesAgain, type Consortium } from './consortium.ts';
import { listMyAreas } from './lists.ts';

/** Two signs of life and a bit: with the time to notice it and to reach another node, less than 2 s. */
export const silenceMs = 1_200;
const aliveMs = 500;
/** Until subscriptions that were made or ended elsewhere are noticed. */
const reviewMs = 5_000;
const alive = encode({ alive: true });

export interface WatchOptions {
  readonly consortium: Pick<Consortium, 'ask' | 'withNode'>;
  /** Opens a connection that breaks when the peer says nothing for `silenceMs`. */
  readonly connect: (address: string) => Promise<FramedSocket>;
  readonly clock: Clock;
  readonly token: string;
  /** Those to follow; with none, all that the user is subscribed to, as they come and go. */
  readonly areas: readonly string[];
  /** Gets the items of each area in the order of their numbers, one at a time; while it takes its time, the node waits. */
  readonly onItem: (area: string, item: Item) => void | Promise<void>;
  /** Gets what was edited and deleted, between the items and as they. */
  readonly onChange?: (area: string, change: Change) => void | Promise<void>;
  /** An area is watched: what is posted from now on comes. */
  readonly onBegin?: (area: string) => void;
  /** Ends it in good order. */
  readonly signal: AbortSignal;
}

/**
 * Hands out every item that is posted from now on, until it is aborted. Rejects with the refusal (of a session that is over, of a named area that may not, or
 * no longer, be read), with `NoAnswerError`, or with what `onItem` threw.
 */
export async function watch(options: WatchOptions): Promise<void> {
  const failure = new AbortController();
  const over = AbortSignal.any([options.signal, failure.signal]);
  const watching = new Watching(options, (error) => failure.abort(error));
  const ended = new Promise((resolve) => over.addEventListener('abort', resolve));
  if (!over.aborted) {
    watching.start();
    await ended;
  }
  watching.stop();
  if (failure.signal.aborted) throw failure.signal.reason;
}

class Watching {
  readonly #options: WatchOptions;
  readonly #fail: (error: unknown) => void;
  readonly #followed = new Map<string, Following>();
  /** Also of areas that were left, for they may come back. */
  readonly #last = new Map<string, number>();
  #stopped = false;
  #cancelReview: () => void = () => undefined;

  constructor(options: WatchOptions, fail: (error: unknown) => void) {
    this.#options = options;
    this.#fail = fail;
  }

  start(): void {
    if (this.#options.areas.length === 0) this.#review(() => undefined).catch(this.#fail);
    else for (const area of this.#options.areas) this.#follow(area, undefined, this.#fail);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelReview();
    for (const following of this.#followed.values()) following.stop();
  }

  /** Looks which areas there are. The first time they begin now, later with the first item since they were subscribed to. */
  async #review(beginOf: (since: number) => number | undefined): Promise<void> {
    const { consortium, clock, token } = this.#options;
    const areas = await listMyAreas(consortium, token, 0);
    if (this.#stopped) return;
    const names = new Set(areas.map(({ area }) => area));
    for (const [area, following] of this.#followed) if (!names.has(area)) following.stop();
    for (const { area, since } of areas) this.#follow(area, beginOf(since), (error) => this.#lost(error));
    this.#cancelReview = clock.after(reviewMs, () => void this.#review((since) => since).catch(this.#fail));
  }

  /** Whoever watches all of his areas goes on without one that is gone. */
  #lost(error: unknown): void {
    const gone = error instanceof Refusal && (error.code === 'not-subscribed' || error.code === 'unknown-area');
    if (!gone) this.#fail(error);
  }

  #follow(area: string, after: number | undefined, onError: (error: unknown) => void): void {
    if (this.#followed.has(area)) return;
    const last = this.#last.get(area);
    const following = new Following(this.#options, area, last === undefined ? after : Math.max(last, after ?? 0));
    this.#followed.set(area, following);
    following
      .run()
      .catch((error: unknown) => this.#stopped || onError(error))
      .finally(() => {
        this.#followed.delete(area);
        if (following.last !== undefined) this.#last.set(area, following.last);
      });
  }
}

interface Stream {
  readonly address: string;
  readonly socket: FramedSocket;
}

/** One area, over one connection after the other. */
class Following {
  /** The number that everything was handed out up to; undefined before the first connection says where "now" is. */
  last: number | undefined;
  /** The same for changes. */
  #lastChange: number | undefined;
  readonly #options: WatchOptions;
  readonly #area: string;
  #stopped = false;
  #begun = false;
  #socket: FramedSocket | undefined;

  constructor(options: WatchOptions, area: string, after: number | undefined) {
    this.#options = options;
    this.#area = area;
    this.last = after;
  }

  stop(): void {
    this.#stopped = true;
    this.#socket?.destroy();
  }

  /** Resolves when it was stopped. */
  async run(): Promise<void> {
    let broken: { readonly address: string; readonly error: Error } | undefined;
    while (!this.#stopped) {
      // The consortium learns how the last connection ended as the outcome of a try with that node: it goes to the others first.
      const tellOnce = (address: string): void => {
        const told = broken;
        broken = undefined;
        if (told?.address === address) throw told.error;
      };
      const stream = await this.#options.consortium.withNode(this.#area, async (address, timeoutMs) => {
        if (this.#stopped) return undefined;
        tellOnce(address);
        return this.#open(address, timeoutMs);
      });
      if (stream !== undefined) broken = { address: stream.address, error: await this.#read(stream.socket) };
    }
  }

  async #open(address: string, timeoutMs: number): Promise<Stream> {
    const { connect, token } = this.#options;
    const socket = await connect(address);
    this.#socket = socket;
    if (this.#stopped) socket.destroy();
    try {
      const request = encodeRequest('watch', timeoutMs, {
        ...{ token, area: this.#area },
        ...{ after: this.last, change: this.#lastChange },
      });
      const { after, change } = decodeReply('watch', await socket.request(request, { timeoutMs }));
      if (!this.#begun) this.#options.onBegin?.(this.#area);
      this.#begun = true;
      this.last ??= after;
      this.#lastChange ??= change;
      return { address, socket };
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }

  /** Hands out what comes; resolves with what ended the connection, where another one may go on. */
  async #read(socket: FramedSocket): Promise<Error> {
    const stopAlive = this.#options.clock.every(aliveMs, () => void socket.send(alive).catch(() => undefined));
    try {
      for await (const frame of socket) {
        const message = decodeWatchFrame(frame);
        if ('news' in message) await this.#handOut(message.news);
        if (this.#stopped) break;
      }
      return new Refusal('unavailable', 'the node ended the connection');
    } catch (error) {
      if (!triesAgain(error)) throw error;
      return error;
    } finally {
      stopAlive();
      socket.destroy();
    }
  }

  async #handOut(news: readonly (Item | Change)[]): Promise<void> {
    const { onItem, onChange } = this.#options;
    for (const told of news) {
      if (this.#stopped) return;
      if ('change' in told) {
        if (told.change <= (this.#lastChange ?? 0)) continue;
        this.#lastChange = told.change;
        await onChange?.(this.#area, told);
      } else {
        if (told.number <= (this.last ?? 0)) continue;
        this.last = told.number;
        await onItem(this.#area, told);
      }
    }
  }
}
