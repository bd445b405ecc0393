/** The file-reader as a program: files in, progress on stderr, answers as tables and as a file. */
import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, stat, unlink, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Piece, Rejections } from '@lab/columns';
import { ExitError, exitCodes, pathError, systemClock } from '@lab/process';
import { startBar } from '@lab/process/terminal';
import { FramingError, type FramedSocket } from '@lab/protocol';
import { bytesOf, fileName, openDataSet, type DataFile } from './data-files.ts';
import { queries, type Answers } from '../domain/queries.ts';
import type { Values } from '../domain/query.ts';
import type { ReaderOptions } from '../domain/reader.ts';
import type { City, Topic } from '../domain/terms.ts';
import { checkBeginnings, requireRows } from './file-checks.ts';
import { readInThread } from './reading-thread.ts';
import type { Results } from './report.ts';
import { RefusedError } from '../roles/client-session.ts';
import { readFiles, UnwelcomeError, type FilePieces } from '../roles/file-reader.ts';

export interface ClientOptions {
  data: string;
  /** Rows in a batch; by default as `rowsFor` says. */
  batchRows?: number | undefined;
  weatherOffsetDays: number;
  /** Take a file of which no row can be used for one without rows; otherwise it is an error. */
  allowEmpty: boolean;
  output?: string | undefined;
  /** Settings of the queries; those that are not there have their defaults. */
  settings: Values;
  /** Show the answers so far, on stderr. */
  progress: boolean;
  /** So long it tries to be taken in, at first and again, in milliseconds. */
  connectTimeout: number;
  connect: () => Promise<FramedSocket>;
  /** Waited for behind each batch. `say` writes a line, above the bar where there is one. */
  afterBatch?: (topic: Topic, say: (line: string) => void) => Promise<void> | undefined;
}

/** Sends a data set and resolves with its answers, and the time from the first frame to the accepted result. */
export async function runClient(client: ClientOptions): Promise<{ results: Results; elapsedMs: number }> {
  const { allowEmpty, output, settings, progress, connectTimeout: unwelcomeMaxMs, connect } = client;
  const files = await openDataSet(client.data);
  const options = (city: City, topic: Topic): ReaderOptions => ({
    file: fileName(city, topic),
    batchRows: client.batchRows ?? rowsFor(bytesOf(files.filter((file) => file.topic === topic))),
    weatherOffsetDays: client.weatherOffsetDays,
  });
  await checkBeginnings(files, options, allowEmpty);
  if (output !== undefined) await checkWritable(output, files);
  const indexOf = (city: City, topic: Topic): number => files.findIndex((file) => file.city === city && file.topic === topic);
  const openFile = (city: City, topic: Topic): FilePieces =>
    readInThread({ path: files[indexOf(city, topic)]!.path, topic, options: options(city, topic) });
  const rejected: Record<string, Rejections> = {};
  const bar = startBar('sending', bytesOf(files));
  const onPiece = (city: City, topic: Topic, piece: Piece): Promise<void> | undefined => {
    troubles.clear();
    bar.to(bytesOf(files.slice(0, indexOf(city, topic))) + piece.bytesRead);
    if ('batch' in piece) return client.afterBatch?.(topic, bar.say);
    if (!allowEmpty) requireRows(fileName(city, topic), piece);
    if (piece.rejections.count > 0) rejected[fileName(city, topic)] = piece.rejections;
    return undefined;
  };
  const sayOnce = (said: Set<string>, what: string, line = what): void => {
    if (!said.has(what)) bar.say(line);
    said.add(what);
  };
  const answers = new Set<string>();
  const onAnswerSoFar = progress
    ? (query: number, answer: unknown) => sayOnce(answers, soFarText(query, answer, settings))
    : undefined;
  /** Until something was sent again. */
  const troubles = new Set<string>();
  const onTrouble = (advice: string, reason: string): void => sayOnce(troubles, reason, `${advice}: ${reason}`);
  const onWaiting = (reason?: string): void => {
    if (reason !== undefined) bar.say(`waiting for the system: ${reason}`);
  };
  try {
    const host = { clock: systemClock, open: openFile, connect, unwelcomeMaxMs, newSessionId: randomUUID, settings };
    const { result, elapsedMs } = await readFiles({ ...host, onPiece, onTrouble, onWaiting, onAnswerSoFar });
    return { results: { answers: result as Answers, rejected }, elapsedMs };
  } catch (error) {
    if (error instanceof RefusedError) throw new ExitError(`the system refused: ${error.message}`);
    if (error instanceof UnwelcomeError)
      throw new ExitError(`${error.message}. Is the system up?`, exitCodes.unavailable, { cause: error });
    if (error instanceof Error && 'syscall' in error && 'path' in error) throw pathError(error);
    if (error instanceof FramingError) throw new ExitError(error.message, exitCodes.failed, { cause: error });
    throw error;
  } finally {
    bar.stop();
  }
}

/** An answer so far in a line. */
function soFarText(number: number, answer: unknown, settings: Values): string {
  const query = queries.find((each) => each.number === number)!;
  return `so far, partial: ${number}. ${query.show(answer, settings).title}`;
}

/** Enough that several trips-solvers get about the same, few enough that what a message costs by itself does not count. */
const batchesWanted = 64;
/** Above this a batch is most of a megabyte, and more rows gain nothing. */
const batchRowsMax = 65_536;
const batchRowsMin = 256;
/** Of a row of trips; those of the other topics are longer, and their batches so much smaller. */
const rowBytes = 56;

/** Rows in a batch for a topic of that size: messages to RabbitMQ cost by the piece, so a large input goes in large ones. */
function rowsFor(bytes: number): number {
  return Math.round(Math.min(batchRowsMax, Math.max(batchRowsMin, bytes / rowBytes / batchesWanted)));
}

/** The folder of the output, or the file where it is none of a disk, has to take what is written; the data is no place for it. */
async function checkWritable(file: string, files: readonly DataFile[]): Promise<void> {
  if (files.some(({ path }) => resolve(path) === resolve(file)))
    throw new ExitError(`--output ${file} is a file of the data set`, exitCodes.usage);
  await writeResult(file, async (path) => {
    await (await open(path, 'a')).close();
    if (path !== file) await unlink(path);
  });
}

/** All of it, or the file stays as it was. */
export async function writeResults(file: string, { answers, rejected }: Results): Promise<void> {
  const text = `${JSON.stringify({ ...answers, rejected }, null, 2)}\n`;
  await writeResult(file, async (path) => {
    await writeFile(path, text);
    if (path !== file) await rename(path, file);
  });
}

/** Gives the path to write to: beside the file, or the file itself where it is a device or a pipe. */
async function writeResult(file: string, write: (path: string) => Promise<void>): Promise<void> {
  const part = `${file}.part`;
  try {
    await mkdir(dirname(file), { recursive: true });
    const found = await stat(file).catch(() => undefined);
    await write(found === undefined || found.isFile() ? part : file);
  } catch (cause) {
    await unlink(part).catch(() => undefined);
    throw pathError(cause, `--output ${file} cannot be written: `);
  }
}
