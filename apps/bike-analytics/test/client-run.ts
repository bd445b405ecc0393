/** Runs of the client in the test's process, and their pace. */
import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { connectFramed, ConnectError, type FramedSocket } from '@lab/protocol';
import { systemClock } from '@lab/process';
import { eventually } from '@lab/testing';
import { clientLimits } from '../src/config.ts';
import { bytesOf, fileName, openDataSet, type DataFile } from '../src/client/data-files.ts';
import { defaultSettings, type Answers } from '../src/domain/queries.ts';
import { newTopicReader } from '../src/domain/reader.ts';
import type { City, Topic } from '../src/domain/terms.ts';
import { readFiles } from '../src/roles/file-reader.ts';

export interface ClientRun {
  data: string;
  batchRows?: number;
  /** Called before each piece of a file is read, with the share of its topic that was read so far; the reading waits for it. */
  beforePiece?: (topic: Topic, share: number) => void | Promise<void>;
  /** So long it tries to be taken in. */
  unwelcomeMaxMs?: number;
}

/** Where the entry point takes clients. */
export interface EntryPoint {
  readonly host: string;
  readonly port: number;
}

/** Small enough that the smallest topic has many. */
const pieceBytes = 16 * 1024;
/** The fault strikes when so much of the topic was read. */
const strikeAt = 0.2;
/** It takes a while to strike: no more than so much is read until it has. */
const waitAt = 0.8;
const paceMs = 20;

/** One run of the file-reader; comes back by itself when the entry point goes. */
export async function runClient(entryPoint: EntryPoint, run: ClientRun): Promise<Answers> {
  const { data: folder, batchRows = 4096, beforePiece = () => {}, unwelcomeMaxMs = 600_000 } = run;
  const data = await openDataSet(folder);
  const outcome = await readFiles({
    clock: systemClock,
    onTrouble: () => undefined,
    open: (city, topic) => {
      const reader = newTopicReader(topic, { file: fileName(city, topic), batchRows, weatherOffsetDays: -1 });
      return reader.read(chunksOf(data, city, topic, beforePiece));
    },
    connect: () => connectClient(entryPoint),
    newSessionId: randomUUID,
    ...{ settings: defaultSettings, unwelcomeMaxMs },
  });
  return outcome.result as Answers;
}

export async function connectClient({ host, port }: EntryPoint): Promise<FramedSocket> {
  return eventually(
    () =>
      connectFramed({ host, port, limits: clientLimits }).catch((error: unknown) => {
        if (error instanceof ConnectError) return undefined;
        throw error;
      }),
    { timeoutMs: 60_000 },
  ).then((socket) => socket!);
}

/** A file in small pieces. The share counts the topic's files in the order in which they are read. */
async function* chunksOf(
  data: readonly DataFile[],
  city: City,
  topic: Topic,
  beforePiece: NonNullable<ClientRun['beforePiece']>,
): AsyncIterable<Uint8Array> {
  const files = data.filter((file) => file.topic === topic);
  const index = files.findIndex((file) => file.city === city);
  let read = bytesOf(files.slice(0, index));
  for await (const chunk of createReadStream(files[index]!.path) as AsyncIterable<Uint8Array>) {
    for (let at = 0; at < chunk.byteLength; at += pieceBytes) {
      const piece = chunk.subarray(at, at + pieceBytes);
      await beforePiece(topic, read / bytesOf(files));
      read += piece.byteLength;
      yield piece;
    }
  }
}

/** The pace of a client until a fault has struck: rows of a topic are under way all the time, and some are left when it is struck. */
export class Pace {
  readonly #topic: Topic;
  readonly #underWay = Promise.withResolvers<void>();
  readonly #end = Promise.withResolvers<void>();
  #hasStruck = false;
  #share = 0;

  constructor(topic: Topic) {
    this.#topic = topic;
  }

  readonly beforePiece = async (topic: Topic, share: number): Promise<void> => {
    if (topic !== this.#topic || this.#hasStruck) return;
    this.#share = share;
    if (share < strikeAt) return;
    this.#underWay.resolve();
    await (share < waitAt ? pause(paceMs) : this.#end.promise);
  };

  /** Strikes while the topic is under way. */
  readonly struck = async (strike: () => Promise<void>): Promise<void> => {
    await this.#underWay.promise;
    const shareBefore = this.#share;
    await strike().finally(() => {
      this.#hasStruck = true;
      this.#end.resolve();
    });
    console.log(`struck between ${percent(shareBefore)} and ${percent(this.#share)} of ${this.#topic}`);
  };
}

const percent = (share: number): string => `${Math.round(100 * share)} %`;
