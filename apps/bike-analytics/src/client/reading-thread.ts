/**
 * Reads a file in a thread of its own: scanning a CSV file takes a processor to itself, and what is sent meanwhile should not wait for it. The rows are checked
 * and batched by the same code as without a thread; batches are handed over without copying, a few ahead of whoever takes them.
 */
import { createReadStream } from 'node:fs';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import type { Rejections } from '@lab/columns';
import { newTopicReader, type ReaderOptions } from '../domain/reader.ts';
import type { Topic } from '../domain/terms.ts';
import { readBatches, type FileBatches, type SentBatch } from '../roles/file-batches.ts';

/** Batches that may lie ready: enough to smooth the pace of two threads, a few megabytes. */
const batchesAhead = 4;
/** Big enough that the cost of a read does not show, small enough that a few of them do not either. */
const chunkBytes = 1024 * 1024;

/** Of a thread, for young objects: a row makes none, and V8 would take as much as it may. */
const youngMb = 2;

export interface FileToRead {
  path: string;
  bytes: number;
  topic: Topic;
  options: ReaderOptions;
}

type FromThread = { batch: SentBatch } | { rejections: Rejections };

/** The file's batches, read by a thread of their own. */
export function readInThread(file: FileToRead): FileBatches {
  let rejections: Rejections = { count: 0, kinds: {}, first: [] };
  const thread = new Worker(new URL(import.meta.url), {
    workerData: file,
    resourceLimits: { maxYoungGenerationSizeMb: youngMb },
  });
  const ready: FromThread[] = [];
  let failure: Error | undefined;
  let wake = (): void => {};
  thread.on('message', (message: FromThread) => {
    ready.push(message);
    wake();
  });
  thread.on('error', (error: Error) => {
    failure = error;
    wake();
  });
  thread.on('exit', (code) => {
    failure ??= new Error(`the thread that reads ${file.path} has ended with code ${code}`);
    wake();
  });
  async function* batches(): AsyncGenerator<SentBatch> {
    for (;;) {
      const message = ready.shift();
      if (message === undefined) {
        if (failure !== undefined) throw failure;
        await new Promise<void>((resolve) => (wake = resolve));
      } else if ('rejections' in message) {
        rejections = message.rejections;
        return;
      } else {
        thread.postMessage('taken');
        yield message.batch;
      }
    }
  }
  const stop = async (): Promise<void> => void (await thread.terminate());
  return { bytes: file.bytes, batches: batches(), rejections: () => rejections, [Symbol.asyncDispose]: stop };
}

async function runThread({ path, bytes, topic, options }: FileToRead): Promise<void> {
  const port = parentPort!;
  let ahead = 0;
  let wake = (): void => {};
  port.on('message', () => {
    ahead -= 1;
    wake();
  });
  const chunks = createReadStream(path, { highWaterMark: chunkBytes }) as AsyncIterable<Uint8Array>;
  const file = readBatches(bytes, chunks, newTopicReader(topic, options));
  for await (const batch of file.batches) {
    while (ahead >= batchesAhead) await new Promise<void>((resolve) => (wake = resolve));
    ahead += 1;
    port.postMessage({ batch }, [batch.table.buffer as ArrayBuffer]);
  }
  port.postMessage({ rejections: file.rejections() });
  port.close();
}

if (!isMainThread && parentPort !== null) await runThread(workerData as FileToRead);
