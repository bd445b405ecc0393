/** The system of compose.yaml, in containers, under a project and a port of its own: what the integration and chaos suites do harm to. */
import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { connectFramed, ConnectError, type FramedSocket } from '@lab/protocol';
import { silentLogger, systemClock } from '@lab/process';
import { eventually } from '@lab/testing';
import { ComposeSystem, queueDepths, testEnvironment } from '@lab/testing/containers';
import { clientLimits } from '../src/config.ts';
import { fileName, openDataSet, type DataSet } from '../src/client/data-files.ts';
import { defaultSettings, type Answers } from '../src/domain/queries.ts';
import { newTopicReader } from '../src/domain/reader.ts';
import { cities, type City, type Topic } from '../src/domain/terms.ts';
import { readBatches } from '../src/roles/file-batches.ts';
import { readFiles } from '../src/roles/file-reader.ts';

const directory = join(import.meta.dirname, '..');

/** Settings of compose.yaml, as the environment gives them. */
export type ComposeSettings = Partial<Record<'BROKERS' | 'FILTERS' | 'TRIPS_SOLVERS' | 'SESSION_TIMEOUT' | 'SOLVERS', string>>;

export interface ClientRun {
  data: string;
  batchRows?: number;
  /** Called before each piece of a file is read, with the share of its topic that was read so far; the reading waits for it. */
  beforePiece?: (topic: Topic, share: number) => void | Promise<void>;
}

/** Small enough that the smallest topic has many. */
const pieceBytes = 16 * 1024;

export class BikeComposeSystem extends ComposeSystem {
  /** Starts it anew, with empty queues; resolves when every role takes work. */
  static async start(name: string, settings: ComposeSettings): Promise<BikeComposeSystem> {
    const system = new BikeComposeSystem(directory, await testEnvironment(directory, name, settings));
    await system.startAnew();
    return system;
  }

  /** One run of the file-reader, in this process; comes back by itself when the entry point goes. */
  async runClient({ data: folder, batchRows = 4096, beforePiece = () => {} }: ClientRun): Promise<Answers> {
    const data = await openDataSet(folder);
    const outcome = await readFiles({
      clock: systemClock,
      log: silentLogger,
      open: (city, topic) => {
        const reader = newTopicReader(topic, { file: fileName(city, topic), batchRows, weatherOffsetDays: -1 });
        return readBatches(data.bytes(city, topic), pieces(data, city, topic, beforePiece), reader);
      },
      connect: () => this.connect(),
      newSessionId: randomUUID,
      ...{ settings: defaultSettings, unwelcomeMaxMs: 180_000 },
    });
    return outcome.result as Answers;
  }

  async connect(): Promise<FramedSocket> {
    return eventually(
      () =>
        connectFramed({ host: '127.0.0.1', port: this.port, limits: clientLimits }).catch((error: unknown) => {
          if (error instanceof ConnectError) return undefined;
          throw error;
        }),
      { timeoutMs: 60_000 },
    ).then((socket) => socket!);
  }

  /** Messages in the system's queues, held ones included, by queue; empty queues are left out. */
  async queuedMessages(): Promise<Map<string, number>> {
    const depths = await queueDepths(this.container('rabbitmq'));
    return new Map([...depths].filter(([name, count]) => name.startsWith('bike.') && count > 0));
  }
}

/** A file in small pieces. The share counts the topic's files in the order in which they are read. */
async function* pieces(
  data: DataSet,
  city: City,
  topic: Topic,
  beforePiece: NonNullable<ClientRun['beforePiece']>,
): AsyncIterable<Uint8Array> {
  const total = cities.reduce((sum, each) => sum + data.bytes(each, topic), 0);
  let read = cities.slice(0, cities.indexOf(city)).reduce((sum, each) => sum + data.bytes(each, topic), 0);
  for await (const chunk of createReadStream(data.path(city, topic)) as AsyncIterable<Uint8Array>) {
    for (let at = 0; at < chunk.byteLength; at += pieceBytes) {
      const piece = chunk.subarray(at, at + pieceBytes);
      await beforePiece(topic, read / total);
      read += piece.byteLength;
      yield piece;
    }
  }
}
