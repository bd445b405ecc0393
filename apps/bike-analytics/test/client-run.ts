/** Runs of the client in the test's process, and faults that strike in the middle of one. */
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
/** It takes a while to strike. Until it has, the client reads at this pace, so that its rows are under way all the time. */
const paceMs = 20;

/** One run of the file-reader; comes back by itself when the entry point goes. */
export async function runClient(entryPoint: EntryPoint, run: ClientRun): Promise<Answers> {
  const { data: folder, batchRows = 4096, beforePiece = () => {} } = run;
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
    ...{ settings: defaultSettings, unwelcomeMaxMs: 600_000 },
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

/** A run in which a fault strikes while the topic is under way, and is repaired at once; throws where the topic was not. */
export async function runStruckClient(
  entryPoint: EntryPoint,
  { data, topic, strike, repair }: { data: string; topic: Topic; strike: () => Promise<void>; repair?: () => Promise<void> },
): Promise<Answers> {
  let work: Promise<void> | undefined;
  let [shareBefore, shareAfter, share] = [0, 0, 0];
  let struck = false;
  const begin = async (): Promise<void> => {
    shareBefore = share;
    await strike();
    shareAfter = share;
    struck = true;
    await repair?.();
  };
  const beforePiece = async (at: Topic, sharePiece: number): Promise<void> => {
    if (at !== topic) return;
    share = sharePiece;
    if (share >= strikeAt) work ??= begin();
    if (work !== undefined && !struck) await pause(paceMs);
  };
  const answers = await runClient(entryPoint, { data, batchRows: 256, beforePiece });
  await work;
  console.log(`struck between ${percent(shareBefore)} and ${percent(shareAfter)} of ${topic}`);
  if (shareBefore === 0 || shareAfter === 1) throw new Error(`${topic} was not under way`);
  return answers;
}

const percent = (share: number): string => `${Math.round(100 * share)} %`;
