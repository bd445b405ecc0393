/**
 * RabbitMQ as its clients live with it: connections are lost and come back, what was not confirmed is sent again, what was not acknowledged comes again. It stands over the memory broker,
 * whose contract is that of the real one.
 */
import {
  BrokerLostError,
  Loss,
  makeMemoryServer,
  QueueLockedError,
  SimulatedCrash,
  TopologyError,
  UnavailableError,
  type Broker,
  type ConsumeOptions,
  type Consumer,
  type Delivery,
  type Handler,
  type LogEntry,
  type MemoryServer,
  type Publication,
  type Topology,
} from '@lab/middleware';
import { sleep } from '@lab/process';
import { atOf } from './faults.ts';
import type { Life, World } from './world.ts';

/** What a message says, in a few words of the app: the same words are the same message, wherever it goes. */
export type Describe = (body: Uint8Array) => string;

export class SimulatedBroker {
  readonly server: MemoryServer;
  /** What has been sent is on its way, whatever becomes of its sender. */
  readonly #network: Broker;
  readonly world: World;
  readonly describe: Describe;
  readonly #connections = new Set<Connection>();
  #backMs = 0;
  /** How many it has lost. */
  disks = 0;
  /** Messages were lost that nobody had acknowledged. */
  hasLost = false;

  constructor(world: World, describe: Describe) {
    this.world = world;
    this.describe = describe;
    this.server = makeMemoryServer({ clock: world.clock });
    this.#network = this.server.connect();
  }

  /** A connection for this life: it ends with it. */
  connect(life: Life): Broker {
    const connection = new Connection(life, this);
    this.#connections.add(connection);
    life.onEnd(() => this.#connections.delete(connection));
    if (this.awayMs > 0) connection.lose(this.awayMs);
    return connection;
  }

  /** How long it will be away from now. */
  get awayMs(): number {
    return Math.max(0, this.#backMs - this.world.clock.nowMs());
  }

  /** Carries what is under way, if it finds anybody. */
  async carry(run: (broker: Broker) => Promise<void>): Promise<void> {
    if (this.awayMs === 0) await run(this.#network);
  }

  /** Faults of the broker itself, where somebody calls it. */
  strike(life: Life, place: string, message: string): void {
    const awayMs = life.strikes('broker away', place, message);
    if (awayMs !== undefined) this.#leave(awayMs);
    const wipedMs = life.strikes('broker loses disk', place, message);
    if (wipedMs === undefined) return;
    this.#leave(wipedMs);
    this.disks++;
    this.hasLost = true;
    this.server.loseDisk();
  }

  /** Somebody may delete the queue. */
  strikeQueue(queue: string, life: Life, place: string, message: string, share = 1): void {
    if (life.strikes('queue deleted', place, message, share) === undefined) return;
    this.hasLost = true;
    void this.#network.remove({ queue });
  }

  #leave(forMs: number): void {
    this.#backMs = Math.max(this.#backMs, this.world.clock.nowMs() + forMs);
    for (const connection of this.#connections) connection.lose(forMs);
  }
}

/** Consumers that another has replaced while they were away give up after so long. */
const reclaimMs = 10_000;
const reclaimPauseMs = 500;
/** Deliveries are very many: one in so many is a place where the queue may be deleted. */
const deliveryShare = 0.1;

const incarnationOf = (disks: number): string => `disk-${disks}`;
/** The broker gives up who stands still for so long. */
const heartbeatMs = 20_000;

class Connection implements Broker {
  readonly features = { durable: false, shared: false };
  readonly life: Life;
  readonly host: SimulatedBroker;
  inner: Broker;
  #disks: number;
  /** Until it is connected again. */
  #away: PromiseWithResolvers<void> | undefined;
  #topologies: Topology[] = [];
  /** The exclusive queues: they are new ones on each connection. */
  readonly #own = new Set<string>();
  readonly #subscriptions = new Set<Subscription>();
  readonly #loss = new Loss();

  constructor(life: Life, host: SimulatedBroker) {
    this.life = life;
    this.host = host;
    this.#disks = host.disks;
    this.inner = host.server.connect();
    life.onEnd(() => host.server.kill(this.inner));
    life.onPause((forMs) => {
      if (forMs > heartbeatMs) host.world.clock.after(heartbeatMs, () => this.lose(forMs - heartbeatMs));
    });
  }

  async incarnation(): Promise<string> {
    await this.connected();
    return incarnationOf(this.#disks);
  }

  get lost(): Promise<never> {
    return this.#loss.lost;
  }

  /** The connection is gone; the process lives, and has another one after a while. */
  lose(forMs: number): void {
    const { life, host } = this;
    const { server, world } = host;
    if (this.#away !== undefined || life.isDead) return;
    this.#away = Promise.withResolvers();
    server.kill(this.inner);
    world.clock.after(forMs, () => {
      if (!life.isDead) void this.#comeBack();
    });
  }

  async #comeBack(): Promise<void> {
    const { life, host } = this;
    const { server, world } = host;
    while (host.awayMs > 0) await sleep(world.clock, host.awayMs);
    if (life.isDead) return;
    const inner = server.connect();
    this.inner = inner;
    life.onEnd(() => server.kill(inner));
    if (this.#disks !== host.disks) this.#loseAll();
    for (const subscription of [...this.#subscriptions]) {
      const { queue } = subscription;
      if (this.#own.has(queue) || server.exists(queue)) continue;
      subscription.lose(new TopologyError(`queue "${queue}" is gone since the connection was lost, with all that was in it`));
    }
    for (const topology of this.#topologies) {
      // Who has lost a queue may end of it.
      if (life.isDead) return;
      await inner.declare(topology);
    }
    for (const subscription of this.#subscriptions) void subscription.resume(inner);
    this.#away?.resolve();
    this.#away = undefined;
    world.touch();
  }

  #loseAll(): void {
    const error = new BrokerLostError(incarnationOf(this.#disks), incarnationOf(this.host.disks));
    this.#disks = this.host.disks;
    this.#topologies = [];
    for (const subscription of this.#subscriptions) subscription.lose(error);
    this.#loss.happen(error);
  }

  async connected(): Promise<void> {
    while (this.#away !== undefined) await this.#away.promise;
  }

  /** Until it is done on a connection that lives to tell. */
  async #send<T>(place: string, what: string, run: (inner: Broker) => Promise<T>): Promise<T> {
    this.host.strike(this.life, place, what);
    let lostMs = this.life.strikes('connection lost', place, what);
    for (;;) {
      await this.connected();
      const { inner } = this;
      try {
        const result = await run(inner);
        if (lostMs === undefined) return result;
        this.lose(lostMs);
        lostMs = undefined;
      } catch (error) {
        const isLost = inner !== this.inner || this.#away !== undefined;
        if (!(error instanceof UnavailableError) || !isLost) throw error;
      }
    }
  }

  async declare(topology: Topology): Promise<void> {
    const declare = async (inner: Broker): Promise<void> => {
      await inner.declare(topology);
      // A log that was removed must not come back empty.
      this.#topologies.push({ ...topology, logs: [] });
      for (const { name, exclusive } of topology.queues ?? []) if (exclusive) this.#own.add(name);
    };
    await this.life.call(
      'declare',
      'topology',
      () => '',
      (place) => this.#send(place, '', declare),
    );
  }

  publish(message: Publication): Promise<void> {
    const { exchange = '', routingKey, body } = message;
    const to = exchange === '' ? routingKey : `${exchange}/${routingKey}`;
    return this.#say('publish', to, body, (broker) => broker.publish(message));
  }

  append(log: string, body: Uint8Array): Promise<void> {
    return this.#say('append', log, body, (broker) => broker.append(log, body));
  }

  #say(operation: string, to: string, body: Uint8Array, run: (broker: Broker) => Promise<void>): Promise<void> {
    const { life, host } = this;
    const disks = this.#disks;
    const say = async (broker: Broker): Promise<void> => {
      if (this.#disks !== disks) throw new UnavailableError(`${operation}: the broker has lost its disk`);
      await run(broker);
    };
    return life.call(
      operation,
      to,
      () => host.describe(body),
      (place) => this.#send(place, '', say),
      () => host.carry(run),
    );
  }

  async consume(queue: string, handler: Handler, options: ConsumeOptions): Promise<Consumer> {
    const subscription = new Subscription(this, queue, handler, options, this.#subscriptions);
    const attach = (place: string): Promise<void> => this.#send(place, '', (inner) => subscription.attach(inner));
    try {
      await this.life.call('consume', queue, () => '', attach);
    } catch (error) {
      // Nobody knows of it, so it must not be resumed.
      await subscription.stop();
      throw error;
    }
    return subscription;
  }

  read(log: string, from: 'first' | 'next' | number): Promise<AsyncIterableIterator<LogEntry>> {
    const start = (): Promise<Reader> =>
      this.#send(this.life.place('reading', log), '', async (inner) => {
        const at = from === 'first' ? 0 : from === 'next' ? this.host.server.end(log) : from;
        return new Reader(this, log, at, await inner.read(log, at));
      });
    return this.life.call('read', log, () => '', start);
  }

  remove(what: { queue: string } | { log: string }): Promise<void> {
    if ('queue' in what) this.#forget(what.queue);
    const name = 'queue' in what ? what.queue : what.log;
    return this.life.call(
      'remove',
      name,
      () => '',
      (place) => this.#send(place, '', (inner) => inner.remove(what)),
    );
  }

  /** What was removed on purpose is not declared again. */
  #forget(queue: string): void {
    this.#topologies = this.#topologies.map(({ queues = [], bindings = [], ...rest }) => ({
      ...rest,
      queues: queues.filter(({ name }) => name !== queue),
      bindings: bindings.filter((binding) => binding.queue !== queue),
    }));
  }

  async close(): Promise<void> {
    await this.connected();
    await this.inner.close();
  }
}

class Subscription implements Consumer {
  readonly closed: Promise<void>;
  readonly #connection: Connection;
  readonly queue: string;
  readonly #handler: Handler;
  readonly #options: ConsumeOptions;
  /** Those of the connection, to be resumed: this one from when the broker has it, whether its process has heard of that or not. */
  readonly #resumed: Set<Subscription>;
  readonly #end = Promise.withResolvers<void>();
  #consumer: Consumer | undefined;
  #attachedTo: Broker | undefined;
  #stopped = false;
  /** The end of the line of deliveries that wait, if there is one. */
  #line: Promise<void> | undefined;

  constructor(connection: Connection, queue: string, handler: Handler, options: ConsumeOptions, resumed: Set<Subscription>) {
    this.#connection = connection;
    this.queue = queue;
    this.#handler = handler;
    this.#options = options;
    this.#resumed = resumed;
    this.closed = this.#end.promise;
    this.closed.catch(() => undefined);
  }

  /** On one connection it is one consumer, however often it is asked for. */
  async attach(inner: Broker): Promise<void> {
    if (this.#attachedTo === inner) return;
    this.#attachedTo = inner;
    try {
      this.#consumer = await inner.consume(this.queue, (delivery) => this.#take(delivery, inner), this.#options);
    } catch (error) {
      this.#attachedTo = undefined;
      throw error;
    }
    if (this.#stopped) return this.#consumer.stop();
    this.#resumed.add(this);
    // A consumer that ends with its connection resolves, and is resumed.
    this.#consumer.closed.catch((error: unknown) => this.lose(error));
  }

  /** Consumes again, however often it takes, as long as nobody else has the queue for good. */
  async resume(inner: Broker): Promise<void> {
    const { clock } = this.#connection.host.world;
    const untilMs = clock.nowMs() + reclaimMs;
    while (!this.#stopped && inner === this.#connection.inner) {
      try {
        return await this.attach(inner);
      } catch (error) {
        if (error instanceof UnavailableError) return;
        if (!(error instanceof QueueLockedError) || clock.nowMs() > untilMs) return this.lose(error);
        await sleep(clock, reclaimPauseMs);
      }
    }
  }

  lose(error: unknown): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#resumed.delete(this);
    this.#end.reject(error);
  }

  async stop(options?: { drainMs?: number }): Promise<void> {
    this.#stopped = true;
    this.#resumed.delete(this);
    await this.#consumer?.stop(options);
    this.#end.resolve();
  }

  #take(delivery: Delivery, inner: Broker): void | Promise<void> {
    const { life } = this.#connection;
    const { world } = this.#connection.host;
    world.touch();
    const place = life.place('delivery', this.queue);
    const lateMs = life.strikes('delivered late', place, this.#textOf(delivery));
    if (this.#line === undefined && lateMs === undefined && !life.isPaused) return this.#handle(delivery, inner, place);
    const turn = Promise.all([this.#line, lateMs === undefined ? life.awake() : sleep(life.clock, lateMs)]).then(() => undefined);
    this.#line = turn;
    return turn.then(() => {
      if (this.#line === turn) this.#line = undefined;
      return this.#handle(delivery, inner, place);
    });
  }

  #handle(delivery: Delivery, inner: Broker, place: string): void | Promise<void> {
    const { life } = this.#connection;
    const { world } = this.#connection.host;
    if (this.#stopped || inner !== this.#connection.inner) throw new SimulatedCrash('this connection is gone');
    const message = this.#textOf(delivery);
    const { name: role, number: number } = life;
    const { redelivered } = delivery;
    world.emit(() => ({ type: 'delivery', role, life: number, from: this.queue, message, redelivered, at: atOf(place) }));
    const deathMs = life.strikes('dies before', place, message);
    if (deathMs !== undefined) life.die(deathMs);
    this.#connection.host.strikeQueue(this.queue, life, place, message, deliveryShare);
    const lostMs = life.strikes('connection lost', place, message);
    if (life.isDead) throw new SimulatedCrash('dead');
    const settled = (ok: boolean, at?: string): void =>
      world.emit(() => ({ type: 'settled', role, life: number, from: this.queue, message, ok, at }));
    const failed = (error: unknown): never => {
      settled(false);
      throw error;
    };
    let outcome: void | Promise<void>;
    try {
      outcome = this.#handler(delivery);
    } catch (error) {
      return failed(error);
    }
    // It is lost while the handler works.
    if (lostMs !== undefined) this.#connection.lose(lostMs);
    if (outcome === undefined) return this.#acknowledge(message, settled);
    return outcome.then(() => this.#acknowledge(message, settled), failed);
  }

  #acknowledge(message: string, settled: (ok: boolean, at?: string) => void): void {
    const { life } = this.#connection;
    const { world } = this.#connection.host;
    if (life.isDead) throw new SimulatedCrash('dead');
    const place = life.place('ack', this.queue);
    const deathMs = life.strikes('dies before', place, message);
    if (deathMs !== undefined) life.die(deathMs);
    if (life.isDead || life.strikes('ack lost', place, message) !== undefined)
      throw new SimulatedCrash('the acknowledgement was lost');
    settled(true, world.recording ? atOf(place) : undefined);
    const endMs = life.strikes('dies after', place, message);
    // When the broker has it.
    if (endMs !== undefined) world.clock.after(0, () => life.die(endMs));
  }

  #textOf({ body }: Delivery): string {
    return this.#connection.host.world.recording ? this.#connection.host.describe(body) : '';
  }
}

/** A place in a log that outlives connections. */
class Reader implements AsyncIterableIterator<LogEntry> {
  readonly #connection: Connection;
  readonly #log: string;
  #at: number;
  #inner: Broker;
  #source: AsyncIterableIterator<LogEntry>;

  constructor(connection: Connection, log: string, at: number, source: AsyncIterableIterator<LogEntry>) {
    this.#connection = connection;
    this.#log = log;
    this.#at = at;
    this.#inner = connection.inner;
    this.#source = source;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<LogEntry>> {
    const { life } = this.#connection;
    const { world } = this.#connection.host;
    for (;;) {
      const result = await this.#source.next();
      if (life.isDead) return new Promise(() => undefined);
      if (result.done !== true) return this.#deliver(result.value);
      await this.#connection.connected();
      // The log itself is gone, or whoever reads has ended it.
      if (this.#inner === this.#connection.inner) return result;
      this.#inner = this.#connection.inner;
      try {
        this.#source = await this.#inner.read(this.#log, this.#at);
      } catch (error) {
        // The log was removed meanwhile.
        if (error instanceof TopologyError) return result;
        if (!(error instanceof UnavailableError)) throw error;
      }
      world.touch();
    }
  }

  async #deliver(entry: LogEntry): Promise<IteratorResult<LogEntry>> {
    const { life } = this.#connection;
    const { world, describe } = this.#connection.host;
    this.#at = entry.offset + 1;
    world.touch();
    const place = life.place('entry', this.#log);
    const message = world.recording ? describe(entry.body) : '';
    const lateMs = life.strikes('delivered late', place, message);
    if (lateMs !== undefined) await sleep(life.clock, lateMs);
    await life.awake();
    const { name: role, number } = life;
    world.emit(() => ({ type: 'delivery', role, life: number, from: this.#log, message, redelivered: false, at: atOf(place) }));
    const deathMs = life.strikes('dies before', place, message);
    if (deathMs !== undefined) life.die(deathMs);
    const lostMs = life.strikes('connection lost', place, message);
    if (lostMs !== undefined) this.#connection.lose(lostMs);
    await life.awake();
    return { done: false, value: entry };
  }

  async return(): Promise<IteratorResult<LogEntry>> {
    await this.#source.return?.();
    return { done: true, value: undefined };
  }
}
