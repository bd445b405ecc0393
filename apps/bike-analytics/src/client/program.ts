/** The file-reader as a program: files in, progress on stderr, answers as tables and as a file. */
import { HeaderError } from '@lab/columns';
import { randomUUID } from 'node:crypto';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ExitError, exitCodes, pathError, systemClock, type Logger } from '@lab/process';
import { startBar } from '@lab/process/terminal';
import type { FramedSocket } from '@lab/protocol';
import { fileName, openDataSet, type DataSet } from './data-files.ts';
import type { Answers, Results } from '../domain/answers.ts';
import { newTopicReader, type ReaderOptions } from '../domain/reader.ts';
import { cities, topics, type City, type Topic } from '../domain/terms.ts';
import { readInThread } from './reading-thread.ts';
import { RefusedError } from '../roles/client-session.ts';
import { readFiles } from '../roles/file-reader.ts';

export interface ClientOptions {
  data: string;
  /** Rows in a batch; by default as `rowsFor` says. */
  batchRows?: number | undefined;
  weatherOffsetDays: number;
  output?: string | undefined;
  log: Logger;
  connect: () => Promise<FramedSocket>;
}

/** Sends a data set and resolves with its answers, and the time from the first frame to the accepted result. */
export async function runClient({
  data: directory,
  batchRows,
  weatherOffsetDays,
  output,
  log,
  connect,
}: ClientOptions): Promise<{ results: Results; elapsedMs: number }> {
  const data = await openDataSet(directory);
  const options = (city: City, topic: Topic): ReaderOptions => ({
    file: fileName(city, topic),
    batchRows: batchRows ?? rowsFor(topic, data),
    weatherOffsetDays,
  });
  await checkHeaders(data, options);
  if (output !== undefined) await checkWritable(output);
  const read = readBytes(data);
  const bar = startBar('sending', data.totalBytes);
  try {
    const outcome = await readFiles({
      clock: systemClock,
      log,
      open: (city, topic) =>
        readInThread({ path: data.path(city, topic), bytes: data.bytes(city, topic), topic, options: options(city, topic) }),
      connect,
      newSessionId: randomUUID,
      onProgress: (at) => bar.to(read(at)),
    });
    const { first: rejected, count: rejectedCount } = outcome.rejections;
    const results: Results = { ...(outcome.result as Answers), rejected, rejectedCount };
    if (output !== undefined) await writeResults(output, results);
    return { results, elapsedMs: outcome.elapsedMs };
  } catch (error) {
    if (error instanceof RefusedError) throw new ExitError(`the system refused: ${error.message}`);
    throw error;
  } finally {
    bar.stop();
  }
}

/** Enough that several trips-solvers get about the same, few enough that what a message costs by itself does not count. */
const batchesWanted = 64;
/** Above this a batch is most of a megabyte, and more rows gain nothing. */
const batchRowsMax = 65_536;
const batchRowsMin = 256;
/** Of a row of trips; those of the other topics are longer, and their batches so much smaller. */
const rowBytes = 56;

/** Rows in a batch for a topic of that size: messages to RabbitMQ cost by the piece, so a large input goes in large ones. */
function rowsFor(topic: Topic, data: DataSet): number {
  const bytes = cities.reduce((sum, city) => sum + data.bytes(city, topic), 0);
  return Math.round(Math.min(batchRowsMax, Math.max(batchRowsMin, bytes / rowBytes / batchesWanted)));
}

/** More than any header has. */
const headerBytesMax = 64 * 1024;

/** A file with the wrong columns is found before anything is sent. */
async function checkHeaders(data: DataSet, options: (city: City, topic: Topic) => ReaderOptions): Promise<void> {
  for (const [city, topic] of cities.flatMap((city) => topics.map((topic) => [city, topic] as const))) {
    await using file = await open(data.path(city, topic));
    const { buffer, bytesRead } = await file.read(Buffer.alloc(headerBytesMax), 0, headerBytesMax);
    try {
      newTopicReader(topic, options(city, topic)).push(buffer.subarray(0, bytesRead));
    } catch (error) {
      throw error instanceof HeaderError ? new ExitError(error.message, exitCodes.usage) : error;
    }
  }
}

/** A file that cannot be written is found before anything is sent; one that is there keeps what is in it until then. */
async function checkWritable(file: string): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true });
    await (await open(file, 'a')).close();
  } catch (cause) {
    throw pathError(cause, `--output ${file} cannot be written: `);
  }
}

async function writeResults(
  file: string,
  { rainyTrips, doubledStations, farStations, rejected, rejectedCount, leftOut }: Results,
): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(
    file,
    `${JSON.stringify({ rainyTrips, doubledStations, farStations, rejected, rejectedCount, leftOut }, null, 2)}\n`,
  );
}

/** For each file, how much of the data set is read when so much of it is. */
function readBytes(data: DataSet): (at: { topic: Topic; city: City; bytes: number }) => number {
  const before = new Map<string, number>();
  let total = 0;
  for (const [topic, city] of topics.flatMap((topic) => cities.map((city) => [topic, city] as const))) {
    before.set(fileName(city, topic), total);
    total += data.bytes(city, topic);
  }
  return ({ topic, city, bytes }) => before.get(fileName(city, topic))! + bytes;
}
