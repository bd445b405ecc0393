/**
 * The system under a seed: all roles in this process, on the memory broker with faults, with replicas dying and coming back, clients whose connections break,
 * and a clock that only the simulation moves. Everything that happens follows from the seed.
 */
import { duplexPair } from 'node:stream';
import { makeFaulty, makeMemoryServer, type Broker } from '@lab/middleware';
import { silentLogger, type Logger } from '@lab/process';
import { FramedSocket } from '@lab/protocol';
import { FakeClock, type Random } from '@lab/testing';
import type { SystemConfig } from '../src/config.ts';
import { newTopicReader } from '../src/domain/reader.ts';
import type { City, Topic } from '../src/domain/terms.ts';
import { EmbeddedSystem } from '../src/embedded.ts';
import { readBatches } from '../src/roles/file-batches.ts';
import { readFiles, type Outcome } from '../src/roles/file-reader.ts';

export const simulatedConfig: SystemConfig = {
  brokers: 2,
  filters: 2,
  tripsSolvers: 2,
  entryPoints: 1,
  solvers: 1,
  eofListeners: 1,
  eofTripsListeners: 1,
  sessionTimeout: 60_000,
  windowBytes: 32 * 1024,
  sessionsMax: 10,
};

/** How much of the simulated time passes for each turn of the event loop. */
const msPerTurn = 5;
/** A run that takes longer than this hangs: half an hour of simulated time. */
const turnsMax = 360_000;

/** Often enough that every run has some of each. */
const brokerFaults = { duplicates: 0.02, delays: 0.02, delayMsMax: 2_000, lostAcks: 0.02 };

export interface SimulationOptions {
  random: Random;
  config?: Partial<SystemConfig>;
  /** Chance, per turn, that an instance of some role dies; it is restarted a little later. */
  deaths?: number;
  /** Chance, per turn, that a client's connection breaks. */
  cuts?: number;
  /** Whether the broker repeats, delays and loses acknowledgements. */
  faulty?: boolean;
  log?: Logger;
}

export class Simulation {
  readonly clock = new FakeClock();
  readonly system: EmbeddedSystem;
  /** What the faults hit: a simulation in which nothing was hit proves nothing. */
  readonly hits = { deaths: new Map<string, number>(), cuts: 0 };
  readonly #options: SimulationOptions;
  readonly #server = makeMemoryServer();
  readonly #inner = new Map<Broker, Broker>();
  readonly #held = new Map<string, Promise<void>>();
  readonly #sockets = new Set<FramedSocket>();
  #serve: ((socket: FramedSocket) => Promise<void>) | undefined;
  #instances = 0;
  #restarting = 0;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.system = new EmbeddedSystem({
      config: { ...simulatedConfig, ...options.config },
      clock: this.clock,
      log: options.log ?? silentLogger,
      newInstance: () => `instance-${this.#instances++}`,
      connect: (role) => this.#connectBroker(role),
      listen: async (serve) => {
        this.#serve = serve;
        return { close: async () => void (this.#serve = undefined) };
      },
    });
  }

  /** A connection and, around it, the faults; what kills the connection must know the inner one. */
  #connectBroker(role: string): Broker {
    const inner = this.#server.connect();
    const { faulty, random } = this.#options;
    const gated: Broker = {
      features: inner.features,
      declare: (topology) => inner.declare(topology),
      publish: async (message) => {
        await this.#held.get(role);
        await inner.publish(message);
      },
      consume: (queue, handler, options) => inner.consume(queue, handler, options),
      append: (log, body) => inner.append(log, body),
      read: (log, from) => inner.read(log, from),
      remove: (what) => inner.remove(what),
      close: () => inner.close(),
    };
    const broker =
      faulty === true
        ? makeFaulty(gated, { random: random.fork(`broker ${this.#inner.size}`), clock: this.clock, ...brokerFaults })
        : gated;
    this.#inner.set(broker, inner);
    return broker;
  }

  /** Publishes of a role wait, as on a connection to RabbitMQ that is lost, until the returned function is called. */
  holdPublishes(role: string): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held.set(role, promise);
    return () => {
      this.#held.delete(role);
      resolve();
    };
  }

  /** Runs a client against the system and resolves with its outcome. */
  async runClient(data: DataSet, batchRows: number): Promise<Outcome> {
    return readFiles({
      clock: this.clock,
      log: this.#options.log ?? silentLogger,
      open: (city, topic) => {
        const reader = newTopicReader(topic, { file: `${city}/${topic}.csv`, batchRows, weatherOffsetDays: -1 });
        return readBatches(data.bytes(city, topic), data.open(city, topic), reader);
      },
      connect: () => this.connect(),
      newSessionId: () => uuid(this.#options.random),
    });
  }

  /** A client's connection; waits while no entry point listens. */
  async connect(): Promise<FramedSocket> {
    while (this.#serve === undefined) await new Promise((resolve) => setImmediate(resolve));
    const [near, far] = duplexPair();
    const [client, server] = [
      new FramedSocket(near, { idleTimeoutMs: Infinity }),
      new FramedSocket(far, { idleTimeoutMs: Infinity }),
    ];
    this.#sockets.add(client);
    void this.#serve(server).finally(() => this.#sockets.delete(client));
    return client;
  }

  /** Lets time pass, and faults happen, until the work is done and all that died is back; a run that does not end is an error. */
  async during<T>(work: Promise<T>): Promise<T> {
    let working = true;
    const end = (): void => void (working = false);
    work.then(end, end);
    for (let turn = 0; working || this.#restarting > 0; turn++) {
      if (turn === turnsMax) throw new Error(`no end after ${turnsMax} turns; running: ${this.system.instances.join(', ')}`);
      if (working) this.#strike();
      this.clock.advance(msPerTurn);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return work;
  }

  /** Lets so many turns of the event loop, and their time, pass. */
  async turns(count: number): Promise<void> {
    for (let turn = 0; turn < count; turn++) {
      this.clock.advance(msPerTurn);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #strike(): void {
    const { random, deaths = 0, cuts = 0 } = this.#options;
    if (random.chance(deaths) && this.system.instances.length > 0)
      this.#kill(random.integer(0, this.system.instances.length - 1));
    const sockets = [...this.#sockets];
    if (sockets.length > 0 && random.chance(cuts)) {
      this.hits.cuts += 1;
      random.pick(sockets).destroy();
    }
  }

  #kill(index: number): void {
    const dead = this.system.abandon(index);
    if (dead === undefined) return;
    this.hits.deaths.set(dead.name, (this.hits.deaths.get(dead.name) ?? 0) + 1);
    this.#server.kill(this.#inner.get(dead.broker)!);
    if (dead.name === 'entry-point') {
      this.#serve = undefined;
      for (const socket of this.#sockets) socket.destroy();
    }
    this.#restarting += 1;
    const restart = async (): Promise<void> => {
      await this.system.startInstance(dead.name);
      this.#restarting -= 1;
    };
    this.clock.after(this.#options.random.integer(10, 8_000), () => void restart());
  }
}

function uuid(random: Random): string {
  const hex = Array.from({ length: 32 }, () => random.integer(0, 15).toString(16)).join('');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
}

/** A data set that can be opened again and again. */
export interface DataSet {
  bytes(city: City, topic: Topic): number;
  open(city: City, topic: Topic): AsyncIterable<Uint8Array>;
}

/** Files in memory, by city and topic; cut into chunks of a size that the seed chooses. */
export function dataSetOf(files: ReadonlyMap<string, Uint8Array>, chunkBytes: number): DataSet {
  const file = (city: City, topic: Topic): Uint8Array => files.get(`${city}/${topic}`) ?? new Uint8Array();
  return {
    bytes: (city, topic) => file(city, topic).byteLength,
    async *open(city, topic) {
      const bytes = file(city, topic);
      for (let at = 0; at < bytes.byteLength; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
    },
  };
}
