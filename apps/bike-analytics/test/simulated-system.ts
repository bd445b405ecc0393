/** The whole system under faults: all roles, each a process of its own, on a broker that loses connections; clients whose connections break; and one answer that is right. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import { silentLogger } from '@lab/process';
import { FramedSocket } from '@lab/protocol';
import { PromiseBroken, SimulatedBroker, type Life, type SimulatedSystem, type World } from '@lab/simulation';
import { seededRandom } from '@lab/testing';
import { answerStraight } from '../data/straight-loop.ts';
import type { SystemConfig } from '../src/config.ts';
import { compareAnswers } from '../src/demo.ts';
import type { Answers } from '../src/domain/answers.ts';
import { newTopicReader } from '../src/domain/reader.ts';
import { decode } from '../src/messages.ts';
import { readBatches } from '../src/roles/file-batches.ts';
import { readFiles, type FileReaderParts } from '../src/roles/file-reader.ts';
import { roles, wire } from '../src/wiring.ts';
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

/** In a few words: what of which session. */
export function describeMessage(body: Uint8Array): string {
  if (body.byteLength === 0) return '';
  const { head } = decode(Buffer.from(body), 'rows', 'end', 'passed', 'partial', 'answer');
  const of = `of ${head.session.slice(0, 8)}`;
  switch (head.kind) {
    case 'rows':
      return `rows ${head.topic} #${head.number} ${head.city} ${of}`;
    case 'end':
      return `end ${head.topic} ${of}`;
    case 'passed':
      return `passed ${head.topic} #${head.number} by ${head.by} ${of}`;
    case 'partial':
      return `partial ${head.query} shard ${head.shard} ${of}`;
    case 'answer':
      return `answer ${head.query} ${of}`;
  }
}

interface Load {
  readonly [name: string]: number;
  readonly clients: number;
  /** Which data set. */
  readonly data: number;
  readonly trips: number;
  readonly batchRows: number;
}

export function simulatedBike(wireRole: typeof wire = wire): SimulatedSystem<Load> {
  return {
    name: 'bike-analytics',
    kinds: [
      'dies before',
      'dies after',
      'pauses',
      'late',
      'answered late',
      'twice',
      'delivered late',
      'ack lost',
      'connection lost',
      'cut',
    ],
    workload: (random) => ({
      clients: random.integer(1, 2),
      data: random.integer(1, 20),
      trips: random.pick([10, 30]),
      batchRows: random.pick([10, 30]),
    }),
    least: { clients: 1, data: 1, trips: 1, batchRows: 1 },
    faultsForMs: 10_000,
    settleMs: 300_000,
    liveness: 'Every client gets its answer',
    prepare: async (load) => {
      const { files, expected } = await dataSet(load.data, load.trips);
      return (world) => new Run(world, wireRole).run(files, expected, load);
    },
  };
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

class Run {
  readonly #world: World;
  readonly #broker: SimulatedBroker;
  readonly #wire: typeof wire;
  /** Of the entry point that lives. */
  #serve: ((socket: FramedSocket) => Promise<void>) | undefined;

  constructor(world: World, wireRole: typeof wire) {
    this.#world = world;
    this.#broker = new SimulatedBroker(world, describeMessage);
    this.#wire = wireRole;
  }

  async run(files: DataSet['files'], expected: Answers, load: Load): Promise<void> {
    for (const [role, { replicas }] of roles) {
      const count = replicas(config);
      for (let replica = 1; replica <= count; replica++)
        this.#world.start(count === 1 ? role : `${role}-${replica}`, (life) => this.#start(role, life));
    }
    const clients = Array.from({ length: load.clients }, (_, client) => this.#ask(`client-${client + 1}`, files, load));
    for (const result of await Promise.all(clients)) {
      const [difference] = compareAnswers(expected, result);
      if (difference !== undefined) throw new PromiseBroken('The answers are those of a plain loop over the files', difference);
    }
  }

  async #start(role: string, life: Life): Promise<void> {
    const listen: FileReaderListen = async (serve) => {
      this.#serve = serve;
      life.onEnd(() => (this.#serve = undefined));
      return { close: async () => void (this.#serve = undefined) };
    };
    const parts = { clock: life.clock, log: silentLogger, broker: this.#broker.connect(life), countRows: () => undefined };
    const started = this.#wire(role, { ...parts, newInstance: () => `${life.name}.${life.number}`, listen }, config);
    started.failed?.catch((error: unknown) => life.fail(error));
    await started.start();
  }

  /** A client is a process, too, though it does not die: who asked for the answer is still there. */
  #ask(name: string, files: DataSet['files'], { batchRows }: Load): Promise<Answers> {
    const { promise, resolve, reject } = Promise.withResolvers<Answers>();
    this.#world.start(name, async (life) => {
      let sessions = 0;
      const parts: FileReaderParts = {
        clock: life.clock,
        log: silentLogger,
        open: (city, topic) => {
          const bytes = files.get(`${city}/${topic}`)!;
          const reader = newTopicReader(topic, { file: `${city}/${topic}.csv`, batchRows, weatherOffsetDays: -1 });
          return readBatches(bytes.byteLength, chunksOf(bytes), reader);
        },
        connect: () => this.#connect(life),
        newSessionId: () => sessionId(name, ++sessions),
      };
      readFiles(parts).then(({ result }) => resolve(result as Answers), reject);
    });
    return promise;
  }

  async #connect(life: Life): Promise<FramedSocket> {
    const { clock } = this.#world;
    while (this.#serve === undefined) await new Promise<void>((resolve) => void clock.after(50, resolve));
    const [near, far] = duplexPair();
    const [client, server] = [near, far].map((end) => new FramedSocket(end, { idleTimeoutMs: Infinity })) as [
      FramedSocket,
      FramedSocket,
    ];
    const cutMs = life.strikes('cut', life.place('connection', 'entry-point'));
    if (cutMs !== undefined) clock.after(cutMs, () => client.destroy());
    // The connection of a process that has died is closed.
    this.#world.life('entry-point')!.onEnd(() => client.destroy());
    this.#world.touch();
    void this.#serve(server);
    return client;
  }
}

type FileReaderListen = (serve: (socket: FramedSocket) => Promise<void>) => Promise<{ close(): Promise<void> }>;

async function* chunksOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += 2_000) yield bytes.subarray(at, at + 2_000);
}

const sessionId = (name: string, number: number): string =>
  `${name.slice(-1)}${String(number).padStart(7, '0')}-0000-4000-8000-000000000000`;
