/**
 * Reads a file in a thread of its own: scanning a CSV file takes a processor to itself, and what is sent meanwhile should not wait for it. The rows are checked
 * and batched by the same code as without a thread; batches are handed over without copying, a few ahead of whoever takes them.
 */
import { on } from 'node:events';
import { createReadStream } from 'node:fs';
import { isMainThread, parentPort, Worker, workerData, type MessagePort } from 'node:worker_threads';
import type { Piece } from '@lab/columns';
import { newTopicReader, type ReaderOptions } from '../domain/reader.ts';
import type { Topic } from '../domain/terms.ts';
import type { FilePieces } from '../roles/file-reader.ts';

/** Batches that may lie ready: enough to smooth the pace of two threads, a few megabytes. */
const batchesAhead = 4;
/** Big enough that the cost of a read does not show, small enough that a few of them do not either. */
const chunkBytes = 1024 * 1024;

/** Of a thread, for young objects: a row makes none, and V8 would take as much as it may. */
const youngMb = 2;

export interface FileToRead {
  path: string;
  topic: Topic;
  options: ReaderOptions;
}

/** What comes of the file, read by a thread of its own. */
export function readInThread(file: FileToRead): FilePieces {
  const thread = new Worker(new URL(import.meta.url), {
    workerData: file,
    resourceLimits: { maxYoungGenerationSizeMb: youngMb },
  });
  let exitCode: number | undefined;
  thread.on('exit', (code) => (exitCode = code));
  // Who has left off reading need not hear of it.
  thread.on('error', () => undefined);
  const messages = on(thread, 'message', { close: ['exit'] }) as AsyncIterable<[Piece]>;
  async function* pieces(): AsyncGenerator<Piece> {
    for await (const [piece] of messages) {
      thread.postMessage('taken');
      yield piece;
      if (!('batch' in piece)) return;
    }
    throw new Error(`the thread that reads ${file.path} has ended with code ${exitCode}`);
  }
  const stop = async (): Promise<void> => void (await thread.terminate());
  return { [Symbol.asyncIterator]: pieces, [Symbol.asyncDispose]: stop };
}

async function runThread(port: MessagePort, { path, topic, options }: FileToRead): Promise<void> {
  const taken = on(port, 'message');
  let sent = 0;
  const chunks = createReadStream(path, { highWaterMark: chunkBytes }) as AsyncIterable<Uint8Array>;
  for await (const piece of newTopicReader(topic, options).read(chunks)) {
    if (sent >= batchesAhead) await taken.next();
    sent += 1;
    port.postMessage(piece, 'batch' in piece ? [piece.batch.table.buffer as ArrayBuffer] : []);
  }
  port.close();
}

if (!isMainThread && parentPort !== null) await runThread(parentPort, workerData as FileToRead);
