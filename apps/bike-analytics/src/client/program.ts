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
import { newTopicReader, type Batch, type ReaderOptions, type Rejections } from '../domain/reader.ts';
import { cities, topics, type City, type Topic } from '../domain/terms.ts';
import { readInThread } from './reading-thread.ts';
import { RefusedError } from '../roles/client-session.ts';
import type { FileBatches, SentBatch } from '../roles/file-batches.ts';
import { readFiles } from '../roles/file-reader.ts';

export interface ClientOptions {
  data: string;
  /** Rows in a batch; by default as `rowsFor` says. */
  batchRows?: number | undefined;
  weatherOffsetDays: number;
  /** Take a file of which no row can be used for one without rows; otherwise it is an error. */
  allowEmpty: boolean;
  output?: string | undefined;
  log: Logger;
  connect: () => Promise<FramedSocket>;
}

/** Sends a data set and resolves with its answers, and the time from the first frame to the accepted result. */
export async function runClient({
  data: directory,
  batchRows,
  weatherOffsetDays,
  allowEmpty,
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
  const require = (rows: number, { first, count }: Rejections): void => {
    if (rows > 0 || count === 0 || allowEmpty) return;
    const { file, line, reason } = first[0]!;
    const what = `${file}: none of its rows can be used (${count} rejected); line ${line}: ${reason}`;
    throw new ExitError(`${what}. --allow-empty takes it for a file without rows`, exitCodes.usage);
  };
  await checkBeginnings(data, options, require);
  if (output !== undefined) await checkWritable(output);
  const read = readBytes(data);
  const bar = startBar('sending', data.totalBytes);
  try {
    const outcome = await readFiles({
      clock: systemClock,
      log,
      open: (city, topic) =>
        withRows(
          readInThread({ path: data.path(city, topic), bytes: data.bytes(city, topic), topic, options: options(city, topic) }),
          require,
        ),
      connect,
      newSessionId: randomUUID,
      onProgress: (at) => bar.to(read(at)),
    });
    const rejected = outcome.rejections.flatMap(({ first }) => first.slice(0, rejectedKept));
    const rejectedRows = Object.fromEntries(outcome.rejections.map(({ first, count }) => [first[0]!.file, count]));
    const results: Results = { ...(outcome.result as Answers), rejected, rejectedRows };
    if (output !== undefined) await writeResults(output, results);
    return { results, elapsedMs: outcome.elapsedMs };
  } catch (error) {
    if (error instanceof RefusedError) throw new ExitError(`the system refused: ${error.message}`);
    throw error;
  } finally {
    bar.stop();
  }
}

/** Of each file. */
const rejectedKept = 100;

/** The same batches; at their end a file that had none is judged. */
function withRows(file: FileBatches, require: (rows: number, rejections: Rejections) => void): FileBatches {
  async function* batches(): AsyncGenerator<SentBatch> {
    let rows = 0;
    for await (const batch of file.batches) {
      rows += batch.rows;
      yield batch;
    }
    require(rows, file.rejections());
  }
  return { ...file, batches: batches() };
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
const beginningBytes = 64 * 1024;

/** A file with the wrong columns is found before anything is sent, and a short one without a row that can be used, too. */
async function checkBeginnings(
  data: DataSet,
  options: (city: City, topic: Topic) => ReaderOptions,
  require: (rows: number, rejections: Rejections) => void,
): Promise<void> {
  for (const [city, topic] of cities.flatMap((city) => topics.map((topic) => [city, topic] as const))) {
    await using file = await open(data.path(city, topic));
    const { buffer, bytesRead } = await file.read(Buffer.alloc(beginningBytes), 0, beginningBytes);
    const bytes = buffer.subarray(0, bytesRead);
    const reader = newTopicReader(topic, options(city, topic));
    try {
      const batches = reader.push(bytes);
      if (bytesRead === beginningBytes) continue;
      require(rowsOf([...batches, ...reader.end()]), reader.rejections);
    } catch (error) {
      const hint = formatOf(bytes);
      const what = hint === undefined ? '' : `; the file ${hint}`;
      throw error instanceof HeaderError ? new ExitError(`${error.message}${what}`, exitCodes.usage) : error;
    }
  }
}

const rowsOf = (batches: readonly Batch[]): number => batches.reduce((sum, { rows }) => sum + rows, 0);

/** What a file looks like whose header cannot be read. */
function formatOf(bytes: Buffer): string | undefined {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return 'is compressed by gzip: unpack it';
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) return 'is UTF-16: save it as UTF-8';
  if (bytes.includes('\r') && !bytes.includes('\n'))
    return 'has lines that end with CR alone, as old Macs wrote them: convert them';
  return undefined;
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
  { rainyTrips, doubledStations, farStations, rejected, rejectedRows, leftOut }: Results,
): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(
    file,
    `${JSON.stringify({ rainyTrips, doubledStations, farStations, rejected, rejectedRows, leftOut }, null, 2)}\n`,
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
