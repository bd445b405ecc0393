/**
 * The port on an ordered log and a registry of the living: with RabbitMQ's streams and ZooKeeper it is what runs across machines, in memory it is the same protocol in one
 * process. What is decided is decided in `member.ts`; here it is carried out.
 *
 * All four services coincide: an entry is in the log, safe on as many machines as the log is kept on, and in its place for ever, before anybody reads it. So `safe` costs
 * nothing more than `fifo`, and `fifo` gives all of `safe`.
 */
import { UnavailableError, type Announcement, type Discovery, type Instance } from '@lab/discovery';
import { TopologyError, type Broker, type LogEntry } from '@lab/middleware';
import { retry, type Clock } from '@lab/process/time';
import { decodeEntry, memberId } from './entries.ts';
import { EventQueue } from './event-queue.ts';
import { Member, type Action } from './member.ts';
import {
  checkName,
  IndefiniteError,
  silentGroup,
  type Features,
  type Group,
  type GroupEvent,
  type GroupLogger,
  type Membership,
  type Service,
} from './port.ts';

export interface LogGroupOptions {
  readonly broker: Broker;
  readonly discovery: Discovery;
  readonly clock: Clock;
  /** Different at each call, in any process: 8 or more random letters and digits. */
  readonly newToken: () => string;
  readonly log?: GroupLogger;
  /** What a newcomer reads at most besides the state, unless the state is larger: then as much again. Default 256 KiB. */
  readonly closeBytes?: number;
}

const features: Features = { history: true, primaryPartition: true, uniqueIds: true, bodyBytesMax: 16 * 1024 * 1024 };
/** Also how soon what was missed is noticed. */
const tickMs = 200;
const probeMs = 2_000;
const silentMs = 5_000;
/** At most, between two tries of a call that failed. */
const retryMs = 500;
/** Of multicasts: what a broker that is gone for a while may cost this process. */
const unsettledBytesMax = 64 * 1024 * 1024;
/** About what a multicast takes beside its body. */
const multicastBytes = 256;
/** For the goodbye to be written. */
const leaveMs = 2_000;
const closeBytesDefault = 256 * 1024;

export function makeLogGroup(options: LogGroupOptions): Group {
  const memberships = new Set<LogMembership>();
  return {
    features,
    async join(group, name) {
      checkName('group', group);
      checkName('member', name);
      const membership = new LogMembership(group, name, options, () => memberships.delete(membership));
      memberships.add(membership);
      membership.start();
      return membership;
    },
    async close() {
      await Promise.all([...memberships].map((membership) => membership.leave()));
    },
  };
}

class LogMembership implements Membership {
  readonly #options: LogGroupOptions;
  readonly #log: GroupLogger;
  readonly #name: string;
  readonly #token: string;
  /** Of the group's service, role and record in the registry, and of its logs. */
  readonly #scope: string;
  readonly #member: Member;
  readonly #events = new EventQueue();
  readonly #unsettled = new Map<number, { bytes: number; resolve: () => void; reject: (error: Error) => void }>();
  #unsettledBytes = 0;
  readonly #onEnd: () => void;
  readonly #iterators = new Set<AsyncIterator<unknown>>();
  #stopTicks = (): void => {};
  #reader: { readonly log: string; entries?: AsyncIterator<LogEntry> } | undefined;
  #lastAppend: Promise<unknown> = Promise.resolve();
  #places = Promise.resolve();
  /** Grows with each change of mind about having a place. */
  #wish = 0;
  #held: { readonly announcement: Announcement; readonly stop: AbortController; readonly campaign: Promise<void> } | undefined;
  #logs = 0;
  #left: Promise<void> | undefined;

  constructor(group: string, name: string, options: LogGroupOptions, onEnd: () => void) {
    const { newToken, log = silentGroup, closeBytes = closeBytesDefault } = options;
    this.#options = options;
    this.#log = log;
    this.#name = name;
    this.#token = newToken();
    this.#scope = `group.${group}`;
    this.#onEnd = onEnd;
    this.#member = new Member({ token: this.#token, probeMs, silentMs, closeBytes });
  }

  start(): void {
    const { discovery, clock } = this.#options;
    const record = discovery.record(this.#scope);
    this.#stopTicks = clock.every(tickMs, () => this.#tell(() => this.#member.tick(clock.nowMs())));
    void this.#untilDone(
      () => this.#left !== undefined,
      async () => {
        // Only who finds no record at all begins the group's first log; the watch says nothing of that.
        if ((await record.read()) === undefined) this.#tell(() => this.#member.pointer(undefined));
        void this.#follow(record.watch(), ({ text }) => this.#member.pointer(logsOf(text).present));
      },
    );
  }

  multicast(body: Uint8Array, service: Service = 'agreed'): Promise<void> {
    if (this.#left) return Promise.reject(new IndefiniteError('this member has left the group'));
    if (body.length > features.bodyBytesMax) {
      return Promise.reject(new RangeError(`multicast: the body has ${body.length} bytes, more than ${features.bodyBytesMax}`));
    }
    const bytes = body.length + multicastBytes;
    if (this.#unsettledBytes + bytes > unsettledBytesMax) {
      const what = `multicast: more than ${unsettledBytesMax} bytes have not settled; this one was not taken`;
      return Promise.reject(new RangeError(`${what}: await some of the others first`));
    }
    this.#unsettledBytes += bytes;
    return new Promise((resolve, reject) => {
      this.#unsettled.set(this.#member.multicast(body, service), { bytes, resolve, reject });
      this.#act();
    });
  }

  leave(): Promise<void> {
    return (this.#left ??= this.#leave());
  }

  [Symbol.asyncIterator](): AsyncIterator<GroupEvent> {
    return this.#events[Symbol.asyncIterator]();
  }

  async #leave(): Promise<void> {
    this.#stopTicks();
    this.#member.leave();
    this.#act();
    await this.#places;
    void this.#reader?.entries?.return?.();
    this.#reader = undefined;
    this.#iterators.forEach((iterator) => this.#unfollow(iterator));
    this.#events.end();
    this.#onEnd();
  }

  #tell(news: () => void): void {
    if (this.#left) return;
    news();
    this.#act();
  }

  async #follow<T>(iterator: AsyncIterableIterator<T>, tell: (news: T) => void): Promise<void> {
    this.#iterators.add(iterator);
    for await (const news of iterator) this.#tell(() => this.#iterators.has(iterator) && tell(news));
  }

  #unfollow(iterator: AsyncIterator<unknown>): void {
    this.#iterators.delete(iterator);
    void iterator.return?.();
  }

  #act(): void {
    for (const action of this.#member.takeActions()) this.#carryOut(action);
  }

  #carryOut(action: Action): void {
    switch (action.type) {
      case 'append':
        // What is lost is written again by whoever waits for it.
        this.#lastAppend = this.#options.broker.append(action.log, action.bytes).catch(() => {});
        return;
      case 'open':
        return this.#open(action.log);
      case 'switch':
        return void this.#switch(action.previous, action.head);
      case 'place':
        return this.#changePlace((wish) => this.#takePlace(wish));
      case 'unplace':
        return this.#changePlace(() => this.#giveUpPlace());
      case 'base':
        return this.#events.push({ type: 'base', state: action.state });
      case 'deliver':
        return this.#events.push(action.event);
      case 'checkpoint':
        return this.#events.push({
          type: 'checkpoint',
          save: (state) => this.#tell(() => this.#member.saved(action.log, Buffer.from(state))),
        });
      case 'settle': {
        const { bytes, resolve, reject } = this.#unsettled.get(action.ticket)!;
        this.#unsettled.delete(action.ticket);
        this.#unsettledBytes -= bytes;
        if (action.indefinite === undefined) resolve();
        else reject(new IndefiniteError(action.indefinite));
      }
    }
  }

  /** Reads a log to its end; whatever was read before is given up. */
  #open(log: string): void {
    void this.#reader?.entries?.return?.();
    const reader: { readonly log: string; entries?: AsyncIterator<LogEntry> } = { log };
    this.#reader = reader;
    const read = async (): Promise<void> => {
      const entries = await this.#options.broker.read(log, 'first');
      reader.entries = entries;
      if (this.#reader !== reader) return void (await entries.return?.());
      for await (const { body } of entries) {
        const entry = decodeEntry(body);
        if (this.#reader !== reader) return;
        if (entry !== undefined) this.#tell(() => this.#member.entry(log, entry, body.length));
        if (this.#events.isFull) await this.#events.room();
      }
    };
    void this.#untilDone(
      () => this.#reader !== reader,
      () => read().catch((error: unknown) => (error instanceof TopologyError ? undefined : Promise.reject(error as Error))),
    ).then(() => {
      if (this.#reader === reader) this.#tell(() => this.#member.logGone(log));
    });
  }

  /** A new log, and the record moved to it; of those before, the last one stays for whoever has not read it to its end. */
  async #switch(previous: string | undefined, head: Buffer): Promise<void> {
    const { broker, discovery } = this.#options;
    const record = discovery.record(this.#scope);
    const log = `${this.#scope}.${this.#token}-${++this.#logs}`;
    const isOver = async (): Promise<boolean> => {
      const before = await record.read();
      const logs = before && logsOf(before.text);
      if (logs?.present === log || logs?.previous === log) return true;
      if (logs?.present !== previous) {
        await broker.remove({ log });
        return true;
      }
      await broker.declare({ logs: [{ name: log }] });
      await broker.append(log, head);
      // Before the record forgets it. Whoever has not read it to its end begins anew, as it would a moment later.
      if (logs?.previous !== undefined) await broker.remove({ log: logs.previous });
      const text = JSON.stringify({ present: log, previous });
      if ((await record.write(text, before?.version)) === undefined) return false;
      this.#log.info({ log, previous, headBytes: head.length }, 'a new log of the group begins');
      return true;
    };
    let over = false;
    await this.#untilDone(
      () => over || this.#left !== undefined,
      async () => {
        while (!over && !this.#left) over = await isOver();
      },
    );
  }

  /** One change at a time, each one after the one before has ended. */
  #changePlace(change: (wish: number) => Promise<void>): void {
    const wish = ++this.#wish;
    this.#places = this.#places.then(() => change(wish));
  }

  async #takePlace(wish: number): Promise<void> {
    await this.#untilDone(
      () => this.#wish !== wish,
      async () => {
        const placed = (sequence: number): void => this.#tell(() => this.#member.placed(sequence));
        const endpoint = { name: this.#name, token: this.#token };
        const announcement = await this.#options.discovery.announce(this.#scope, endpoint, { onRenewed: placed });
        const stop = new AbortController();
        this.#held = { announcement, stop, campaign: this.#campaign(stop.signal) };
        placed(announcement.sequence);
      },
    );
  }

  async #giveUpPlace(): Promise<void> {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    // The goodbye is to be read before the place is seen empty.
    if (this.#left) await this.#within(leaveMs, this.#lastAppend);
    held.stop.abort();
    await held.campaign;
    await held.announcement.withdraw().catch(() => {});
  }

  /** Stands for the writing of views until the signal. */
  async #campaign(signal: AbortSignal): Promise<void> {
    const { discovery } = this.#options;
    const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    await this.#untilDone(
      () => signal.aborted,
      async () => {
        while (!signal.aborted) {
          const leadership = await discovery.elect(this.#scope, `${this.#name}#${this.#token}`, { signal });
          // Begun now, so that the first set is one that was read after the epoch was raised.
          const instances = discovery.watch(this.#scope);
          try {
            void this.#follow(instances, (set) => this.#member.elected(leadership.epoch, idsOf(set)));
            await Promise.race([leadership.lost, aborted]);
          } finally {
            this.#unfollow(instances);
            this.#tell(() => this.#member.deposed());
            await leadership.resign().catch(() => {});
          }
        }
      },
    );
  }

  /** Resolves with the work, or after so long. */
  async #within(limitMs: number, work: Promise<unknown>): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const cancel = this.#options.clock.after(limitMs, resolve);
    await Promise.race([work, late]);
    cancel();
  }

  /** Tries again after each failure, until it succeeds or there is no use. Nothing replaces the order, so it goes on as long as the member does. */
  async #untilDone(isVain: () => boolean, run: () => Promise<void>): Promise<void> {
    const pauses = { clock: this.#options.clock, withinMs: Infinity, pauseMs: retryMs };
    const onRetry = (error: unknown): void => {
      if (!(error instanceof UnavailableError)) this.#log.warn({ err: error }, 'trying again');
    };
    try {
      await retry(() => (isVain() ? undefined : run()), { ...pauses, worthwhile: () => !isVain(), onRetry });
    } catch (error) {
      if (!isVain()) throw error;
    }
  }
}

/** The record: the log that is written now, and the one before it. */
function logsOf(text: string): { present: string; previous?: string } {
  return JSON.parse(text) as { present: string; previous?: string };
}

/** Announced by members; whatever else somebody put there is no member. */
function idsOf(instances: readonly Instance[]): string[] {
  return instances.flatMap(({ sequence, endpoint: { name, token } }) =>
    typeof name === 'string' && typeof token === 'string' ? [memberId(name, token, sequence)] : [],
  );
}
