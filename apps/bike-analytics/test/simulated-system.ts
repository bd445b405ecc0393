/** The whole system under faults: all roles, each a process of its own, on a broker that loses connections; clients whose connections break; and one answer that is right. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { duplexPair, type Duplex } from 'node:stream';
import type { Piece } from '@lab/columns';
import { silentLogger, type Clock } from '@lab/process';
import { FramedSocket } from '@lab/protocol';
import {
  brokerKinds,
  outageKinds,
  standstillKinds,
  PromiseBroken,
  SimulatedBroker,
  type Life,
  type SimulatedSystem,
  type World,
} from '@lab/simulation';
import { seededRandom } from '@lab/testing';
import { answerStraight } from '../data/straight-loop.ts';
import { clientLimits, entryPointLimits, type SystemConfig } from '../src/config.ts';
import { compareAnswers } from '../src/demo.ts';
import { defaultSettings, type Answers } from '../src/domain/queries.ts';
import { newTopicReader } from '../src/domain/reader.ts';
import { cities, topics, type Topic } from '../src/domain/terms.ts';
import { describeMessage } from '../src/messages.ts';
import { readFiles, type FileReaderParts, type Outcome } from '../src/roles/file-reader.ts';
import { topology } from '../src/topology.ts';
import { roles, wire, type Host } from '../src/wiring.ts';
import { randomFiles, writeFiles } from './random-data.ts';

export const config: SystemConfig = {
  brokers: 1,
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

interface Load {
  readonly [name: string]: number;
  readonly clients: number;
  /** Which data set. */
  readonly data: number;
  readonly trips: number;
  readonly batchRows: number;
  readonly windowBytes: number;
  /** Trips-solvers of each query. */
  readonly shards: number;
  /** The first client's first batch of this topic, 1 for weather, is none that can be processed; with 0 all can be. */
  readonly poison: number;
}

/** The code that runs: the app's own, or a copy of it with a mistake. */
export interface Source {
  readonly wire: typeof wire;
  readonly readFiles: typeof readFiles;
}

export function simulatedBike(source: Source = { wire, readFiles }): SimulatedSystem<Load> {
  return {
    name: 'bike-analytics',
    kinds: [...brokerKinds, ...outageKinds, ...standstillKinds, 'cut'],
    workload: (random) => ({
      clients: random.integer(1, 2),
      data: random.integer(1, 20),
      trips: random.pick([10, 30]),
      batchRows: random.pick([10, 30]),
      windowBytes: random.pick([1, 1_000, 32 * 1024]),
      shards: random.integer(1, 3),
      poison: random.pick([0, 0, 0, 0, 0, 0, 0, 1, 2, 3]),
    }),
    least: { clients: 1, data: 1, trips: 1, batchRows: 1, windowBytes: 1, shards: 1, poison: 0 },
    faultsForMs: 10_000,
    // Where messages were lost with a queue, that is noticed after five session timeouts, and the session begins again.
    settleMs: 1_000_000,
    liveness: 'Every client gets its answer, and nothing of it is held after that',
    promises: [
      'The answers are those of a plain loop over the files',
      'A batch that cannot be processed ends its session with an error that names it',
      'A session stands still only where a queue was lost',
    ],
    prepare: async (load) => {
      const data = await dataSet(load.data, load.trips);
      return (world) => {
        const roles = new SimulatedRoles(world, { windowBytes: load.windowBytes, tripsSolvers: load.shards }, source);
        return Promise.race([checkAnswers(roles, data, load), roles.broken.promise]);
      };
    },
  };
}

/** What a client logs where it goes on over a new connection. */
interface Warning {
  readonly reason: string;
}

interface DataSet {
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly expected: Answers;
}
const dataSets = new Map<string, Promise<DataSet>>();

/** A small data set, and its answers by a plain loop. */
function dataSet(seed: number, trips: number): Promise<DataSet> {
  const key = `${seed} ${trips}`;
  const made = dataSets.get(key) ?? makeDataSet(seed, trips);
  dataSets.set(key, made);
  return made;
}

async function makeDataSet(seed: number, trips: number): Promise<DataSet> {
  const texts = randomFiles(seededRandom(seed), { trips, weather: 8, stations: 20 });
  const directory = await mkdtemp(join(tmpdir(), 'bike-simulation-'));
  try {
    await writeFiles(directory, texts);
    const files = new Map([...texts].map(([name, text]) => [name, Buffer.from(text)]));
    return { files, expected: await answerStraight(directory) };
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Every client gets the answer of a plain loop; or, for a batch that cannot be processed, an error that names it. */
async function checkAnswers(roles: SimulatedRoles, { files, expected }: DataSet, load: Load): Promise<void> {
  const poisoned = topics[load.poison - 1];
  const asked = Array.from({ length: load.clients }, (_, client) =>
    roles.ask(`client-${client + 1}`, files, load.batchRows, client === 0 ? poisoned : undefined),
  );
  for (const [client, outcome] of (await Promise.allSettled(asked)).entries()) {
    if (client === 0 && poisoned !== undefined) expectRefusal(outcome, poisoned);
    else if (outcome.status === 'rejected') throw outcome.reason;
    else expectAnswers(outcome.value, expected);
  }
  await roles.empty();
}

function expectAnswers({ result }: Outcome, expected: Answers): void {
  const [difference] = compareAnswers(expected, result as Answers);
  if (difference !== undefined) throw new PromiseBroken('The answers are those of a plain loop over the files', difference);
}

function expectRefusal(outcome: PromiseSettledResult<Outcome>, topic: Topic): void {
  const [reason, named] = [outcome.status === 'fulfilled' ? 'an answer' : String(outcome.reason), `batch 0 of ${topic} (`];
  if (reason.includes(named) && reason.includes('could not be processed')) return;
  throw new PromiseBroken('A batch that cannot be processed ends its session with an error that names it', reason);
}

/** Every role of the system as a process of this world, and the way in for clients. */
export class SimulatedRoles {
  /** Rows that each process has worked on. */
  readonly rows = new Map<string, number>();
  readonly #world: World;
  readonly #broker: SimulatedBroker;
  readonly #config: SystemConfig;
  readonly #source: Source;
  /** Rejects when a session begins again as if it had lost messages, and none were. */
  readonly broken = Promise.withResolvers<never>();
  /** Of the entry point that lives. */
  #serve: ((socket: FramedSocket) => Promise<void>) | undefined;

  constructor(world: World, changes: Partial<SystemConfig> = {}, source: Source = { wire, readFiles }) {
    this.#world = world;
    this.#broker = new SimulatedBroker(world, describeMessage);
    this.#config = { ...config, ...changes };
    this.#source = source;
    for (const [role, { replicas }] of roles) {
      const count = this.#config[replicas];
      for (let replica = 1; replica <= count; replica++)
        world.start(count === 1 ? role : `${role}-${replica}`, (life) => this.#start(role, life));
    }
  }

  async #start(role: string, life: Life): Promise<void> {
    const close = async (): Promise<void> => void (this.#serve = undefined);
    const host: Host = {
      clock: life.clock,
      log: silentLogger,
      broker: this.#broker.connect(life),
      countRows: (rows) => void this.rows.set(life.name, (this.rows.get(life.name) ?? 0) + rows),
      newInstance: () => `${life.name}.${life.number}`,
      listen: async (serve) => {
        this.#serve = serve;
        life.onEnd(() => void close());
        return { close };
      },
    };
    const started = this.#source.wire(role, host, this.#config);
    started.failed?.catch((error: unknown) => life.fail(error));
    await started.start();
  }

  /** A client's connection, when the entry point listens. */
  async connect(
    clock: Clock = this.#world.clock,
    makeSocket = (near: Duplex): FramedSocket => new FramedSocket(near, clientLimits, clock),
  ): Promise<FramedSocket> {
    await this.#world.when(() => this.#serve !== undefined);
    const [near, far] = duplexPair();
    const entryPoint = this.#world.life('entry-point')!;
    const client = makeSocket(near);
    // The connection of a process that has died is closed.
    entryPoint.onEnd(() => client.destroy());
    this.#world.touch();
    void this.#serve!(new FramedSocket(far, entryPointLimits(this.#config.sessionTimeout), entryPoint.clock));
    return client;
  }

  /** A client is a process, too, though it does not die: who asked for the answer is still there. Its first batch of topic `poisoned` is none. */
  ask(
    name: string,
    files: DataSet['files'],
    batchRows: number,
    poisoned?: Topic,
    {
      onWarning = (warning: Warning): void => this.#checkWarning(warning),
      onAnswerSoFar,
    }: { onWarning?: (warning: Warning) => void; onAnswerSoFar?: FileReaderParts['onAnswerSoFar'] } = {},
  ): Promise<Outcome> {
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    this.#world.start(name, async (life) => {
      let sessions = 0;
      const parts: FileReaderParts = {
        clock: life.clock,
        onTrouble: (_, reason) => onWarning({ reason }),
        onAnswerSoFar,
        open: (city, topic) => {
          const bytes = files.get(`${city}/${topic}`)!;
          const reader = newTopicReader(topic, { file: `${city}/${topic}.csv`, batchRows, weatherOffsetDays: -1 });
          const pieces = reader.read(chunksOf(bytes));
          return topic === poisoned && city === cities[0] ? withFirstPoisoned(pieces) : pieces;
        },
        connect: () => this.#connectUntilCut(life),
        newSessionId: () => sessionId(name, ++sessions),
        ...{ settings: defaultSettings, unwelcomeMaxMs: Infinity },
      };
      this.#source.readFiles(parts).then(resolve, reject);
    });
    return promise;
  }

  get hasLostMessages(): boolean {
    return this.#broker.hasLost;
  }

  #checkWarning({ reason }: Warning): void {
    if (reason.includes('nothing moved') && !this.hasLostMessages)
      this.broken.reject(new PromiseBroken('A session stands still only where a queue was lost', reason));
  }

  async #connectUntilCut(life: Life): Promise<FramedSocket> {
    await life.awake();
    return this.connect(life.clock, (near) => new ClientSocket(near, life));
  }

  /** Resolves when no queue has a message, held or not. */
  empty(): Promise<void> {
    const { queues = [] } = topology(this.#config.tripsSolvers);
    return this.#world.when(() => queues.every(({ name }) => this.#broker.server.depth(name) === 0));
  }
}

/** What strikes at each message of a client strikes one in so many. */
const messageShare = 0.2;

/** A client's end. The connection may be reset at each message, whichever way that goes, and who has it stands still now and then. */
class ClientSocket extends FramedSocket {
  readonly #life: Life;

  constructor(near: Duplex, life: Life) {
    super(near, clientLimits, life.clock);
    this.#life = life;
  }

  override async send(...parts: readonly Uint8Array[]): Promise<void> {
    await this.#strike('sends', Buffer.concat(parts.slice(0, 2)));
    await super.send(...parts);
  }

  override async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, undefined> {
    const frames = super[Symbol.asyncIterator]();
    for (;;) {
      const { done, value } = (await frames.next()) as IteratorResult<Buffer, undefined>;
      if (done === true) return undefined;
      await this.#strike('hears', value);
      yield value;
    }
  }

  async #strike(operation: string, frame: Buffer): Promise<void> {
    const life = this.#life;
    await life.awake();
    const { kind } = JSON.parse(frame.toString('utf8', 4, 4 + frame.readUInt32BE(0))) as { kind: string };
    const place = life.place(operation, kind);
    if (life.strikes('cut', place, '', messageShare) !== undefined) this.destroy();
    const sleepMs = life.strikes('sleeps', place);
    if (sleepMs === undefined) return;
    life.fallAsleep(sleepMs);
    await life.awake();
  }
}

async function* chunksOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += 2_000) yield bytes.subarray(at, at + 2_000);
}

async function* withFirstPoisoned(pieces: AsyncIterable<Piece>): AsyncGenerator<Piece> {
  let table: Uint8Array | undefined = Buffer.from('not a table');
  for await (const piece of pieces) {
    yield 'batch' in piece && table !== undefined ? { ...piece, batch: { ...piece.batch, table } } : piece;
    table = undefined;
  }
}

const sessionId = (name: string, number: number): string =>
  `${name.slice(-1)}${String(number).padStart(7, '0')}-0000-4000-8000-000000000000`;
