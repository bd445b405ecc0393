/**
 * A message broker in this process, for embedded runs, tests and simulations. Nothing outlives the process.
 *
 * smqp routes: its exchanges and bindings know direct, fanout and topic. What it does not have stands in `queue.ts` and `log.ts`.
 */
import { systemClock, type Clock } from '@lab/process/time';
import { Broker as Smqp } from 'smqp';
import { BrokerLostError, QueueLockedError, TopologyError } from '../errors.ts';
import type { Binding, Broker, Exchange, Log, Queue, Topology } from '../port.ts';
import { validateTopology } from '../validate.ts';
import { MemoryConnection } from './connection.ts';
import { MemoryLog } from './log.ts';
import { MemoryQueue, type Message } from './queue.ts';

export interface MemoryServerOptions {
  /** Most bytes in all queues together; a `publish` above waits until consumers made room, as at RabbitMQ's memory alarm. Default 512 MiB. */
  bytesMax?: number;
  /** On which a consumer that stops waits for its handlers. Default: the host's. */
  clock?: Pick<Clock, 'after'>;
}

/** One broker that many roles of one process share. */
export interface MemoryServer {
  /** A connection of its own, as each role has one to a real broker. */
  connect(): Broker;
  /**
   * What the death of a process is to a broker: the connection's unacknowledged deliveries go back to their queues, its exclusive queues vanish.
   * Whatever the dead role's code still does is refused or ignored.
   */
  kill(broker: Broker): void;
  /**
   * What the loss of its disk is to a broker: queues, exchanges and logs are gone with all in them, and every connection hears of it.
   */
  loseDisk(): void;
  /** Whether there is such a queue. */
  exists(queue: string): boolean;
  /** Messages in a queue, those that consumers hold included; 0 where there is no such queue. */
  depth(queue: string): number;
  /** The offset that the next entry of a log gets; 0 where there is no such log. */
  end(log: string): number;
}

export function makeMemoryServer(options: MemoryServerOptions = {}): MemoryServer {
  const state = new ServerState(options.bytesMax ?? 512 * 1024 * 1024, options.clock ?? systemClock);
  const connections = new WeakMap<Broker, MemoryConnection>();
  return {
    connect() {
      const connection = new MemoryConnection(state);
      connections.set(connection, connection);
      return connection;
    },
    kill(broker) {
      const connection = connections.get(broker);
      if (connection === undefined) throw new TypeError('kill takes a broker that connect() of this server returned');
      connection.die();
    },
    loseDisk: () => state.clear(),
    exists: (queue) => state.queue(queue) !== undefined,
    depth: (queue) => state.queue(queue)?.depth ?? 0,
    end: (log) => state.log(log)?.end ?? 0,
  };
}

/** A memory broker for one role alone. */
export function makeMemoryBroker(): Broker {
  return makeMemoryServer().connect();
}

/** Deliveries in one turn of the event loop: few enough that timers and sockets are not kept waiting. */
const deliveriesPerTurn = 256;

/** Everything that the connections share. */
export class ServerState {
  readonly clock: Pick<Clock, 'after'>;
  readonly #bytesMax: number;
  #router = new Smqp();
  readonly #queues = new Map<string, MemoryQueue>();
  readonly #logs = new Map<string, MemoryLog>();
  /** Those that live. */
  readonly connections = new Set<MemoryConnection>();
  #lives = 1;
  /** Queues that may have something to deliver, the next one first. */
  readonly #awake = new Set<MemoryQueue>();
  #pumping = false;
  #bytes = 0;
  #blocked: (() => void)[] = [];
  /** The queues that the router found for the message at hand; a set, for two bindings may lead to one queue. */
  readonly #routed = new Set<MemoryQueue>();

  constructor(bytesMax: number, clock: Pick<Clock, 'after'>) {
    this.clock = clock;
    this.#bytesMax = bytesMax;
  }

  declare(topology: Topology, connection: object): void {
    validateTopology(topology);
    for (const exchange of topology.exchanges ?? []) this.#declareExchange(exchange);
    for (const queue of topology.queues ?? []) this.#declareQueue(queue, connection);
    for (const log of topology.logs ?? []) this.#declareLog(log);
    for (const binding of topology.bindings ?? []) this.#bind(binding);
  }

  #declareExchange({ name, type }: Exchange): void {
    const existing = this.#router.getExchange(name);
    if (existing !== undefined && existing.type !== type)
      throw new TopologyError(`exchange "${name}" exists with type ${existing.type}, not ${type}`);
    this.#router.assertExchange(name, type, { autoDelete: false });
  }

  #declareQueue(options: Queue, connection: object): void {
    const existing = this.#queues.get(options.name);
    if (existing?.owner !== undefined && existing.owner !== connection) throw new QueueLockedError(options.name);
    if (existing !== undefined) return refuseDifference('queue', normalize(options), existing.options);
    if (this.#logs.has(options.name)) throw new TopologyError(`queue "${options.name}" exists as a log`);
    const queue = new MemoryQueue(normalize(options), options.exclusive ? connection : undefined, this);
    this.#queues.set(options.name, queue);
    const inlet = this.#router.assertQueue(options.name, { autoDelete: false });
    inlet.consume(() => this.#routed.add(queue), { noAck: true });
  }

  #declareLog(options: Log): void {
    const existing = this.#logs.get(options.name);
    if (existing !== undefined) return refuseDifference('log', options, existing.options);
    if (this.#queues.has(options.name)) throw new TopologyError(`log "${options.name}" exists as a queue`);
    this.#logs.set(options.name, new MemoryLog({ ...options }));
  }

  #bind({ exchange, queue, routingKey = '' }: Binding): void {
    if (!this.#router.getExchange(exchange))
      throw new TopologyError(`binding of queue "${queue}": there is no exchange "${exchange}"`);
    if (!this.#queues.has(queue)) throw new TopologyError(`binding to exchange "${exchange}": there is no queue "${queue}"`);
    this.#router.bindQueue(queue, exchange, routingKey);
  }

  queue(name: string): MemoryQueue | undefined {
    return this.#queues.get(name);
  }

  log(name: string): MemoryLog | undefined {
    return this.#logs.get(name);
  }

  /** Removes a queue with all in it; its consumers are lost. */
  removeQueue(name: string, why?: TopologyError): void {
    this.#queues.get(name)?.destroy(why);
    this.#queues.delete(name);
    this.#router.deleteQueue(name);
  }

  removeLog(name: string): void {
    this.#logs.get(name)?.destroy();
    this.#logs.delete(name);
  }

  get incarnation(): string {
    return `memory-${this.#lives}`;
  }

  clear(): void {
    const before = this.incarnation;
    this.#lives++;
    const error = new BrokerLostError(before, this.incarnation);
    for (const name of this.#queues.keys()) this.removeQueue(name, error);
    for (const name of this.#logs.keys()) this.removeLog(name);
    this.#router = new Smqp();
    for (const connection of this.connections) connection.lose(error);
  }

  /** Removes the exclusive queues of a connection, which go with it. */
  removeQueuesOf(connection: object): void {
    for (const [name, queue] of this.#queues) if (queue.owner === connection) this.removeQueue(name);
  }

  /** Puts a message into every queue that its exchange leads to; false where there is none. */
  route(message: Message): boolean {
    if (message.exchange === '') return this.put(message.routingKey, message);
    this.#router.publish(message.exchange, message.routingKey);
    const routed = [...this.#routed];
    this.#routed.clear();
    for (const queue of routed) queue.push(message);
    return routed.length > 0;
  }

  put(name: string, message: Message): boolean {
    const queue = this.#queues.get(name);
    queue?.push(message);
    return queue !== undefined;
  }

  account(bytes: number): void {
    this.#bytes += bytes;
    if (this.#blocked.length === 0 || this.#bytes > this.#bytesMax) return;
    for (const resume of this.#blocked.splice(0)) resume();
  }

  get full(): boolean {
    return this.#bytes > this.#bytesMax;
  }

  /** Resolves when there may be room again. */
  roomy(): Promise<void> {
    return new Promise((resolve) => this.#blocked.push(resolve));
  }

  /** Lets publishers that wait look around: their connection may be closed. */
  unblock(): void {
    for (const resume of this.#blocked.splice(0)) resume();
  }

  wake(queue: MemoryQueue): void {
    this.#awake.add(queue);
    if (this.#pumping) return;
    this.#pumping = true;
    setImmediate(() => this.#pump());
  }

  /** One delivery per queue in turn, so that a full queue does not keep the others waiting. */
  #pump(): void {
    for (let left = deliveriesPerTurn; left > 0; left--) {
      const [queue] = this.#awake;
      if (queue === undefined) break;
      this.#awake.delete(queue);
      if (queue.deliverOne()) this.#awake.add(queue);
    }
    this.#pumping = this.#awake.size > 0;
    if (this.#pumping) setImmediate(() => this.#pump());
  }
}

/** A queue's options with the defaults written out, to compare and keep. */
function normalize({
  name,
  type = 'quorum',
  exclusive = false,
  singleActiveConsumer = false,
  deadLetterQueue,
  deliveryLimit,
}: Queue): Queue {
  const limits = {
    ...(deadLetterQueue !== undefined && { deadLetterQueue }),
    ...(deliveryLimit !== undefined && { deliveryLimit }),
  };
  return { name, type, exclusive, singleActiveConsumer, ...limits };
}

function refuseDifference<Options extends { name: string }>(what: string, wanted: Options, existing: Options): void {
  for (const key of new Set([...Object.keys(wanted), ...Object.keys(existing)]) as Set<keyof Options>) {
    if (wanted[key] === existing[key]) continue;
    throw new TopologyError(
      `${what} "${wanted.name}" exists with ${String(key)} ${String(existing[key])}, not ${String(wanted[key])}: remove it, or declare it alike`,
    );
  }
}
