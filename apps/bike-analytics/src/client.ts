/** The file-reader as a program: files in, progress on stderr, answers as tables and as a file. */
import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemClock, type Logger } from '@lab/process';
import type { FramedSocket } from '@lab/protocol';
import { SingleBar } from 'cli-progress';
import { fileName, openDataSet } from './data-files.ts';
import type { Answers, Results } from './domain/answers.ts';
import { newTopicReader } from './domain/reader.ts';
import { cities, topics, type City, type Topic } from './domain/terms.ts';
import { readFiles, type DataSet } from './roles/file-reader.ts';

export interface ClientOptions {
  data: string;
  batchRows: number;
  weatherOffsetDays: number;
  output?: string | undefined;
  log: Logger;
  connect(): Promise<FramedSocket>;
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
  const progress = showProgress(data);
  try {
    const outcome = await readFiles({
      clock: systemClock,
      log,
      data,
      connect,
      read: (city, topic) => newTopicReader(topic, { file: fileName(city, topic), batchRows, weatherOffsetDays }),
      newSessionId: randomUUID,
      onProgress: progress.update,
    });
    const { first: rejected, count: rejectedCount } = outcome.rejections;
    const results: Results = { ...(outcome.result as Answers), rejected, rejectedCount };
    if (output !== undefined) await writeResults(output, results);
    return { results, elapsedMs: outcome.elapsedMs };
  } finally {
    progress.stop();
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

interface Progress {
  update(at: { topic: Topic; city: City; bytes: number }): void;
  stop(): void;
}

/** A bar on a terminal; elsewhere a line for each file that is through. */
function showProgress(data: DataSet): Progress {
  const files = topics.flatMap((topic) => cities.map((city) => ({ topic, city, bytes: data.bytes(city, topic) })));
  const total = files.reduce((sum, file) => sum + file.bytes, 0);
  const before = new Map<string, number>();
  files.reduce((sum, { topic, city, bytes }) => (before.set(fileName(city, topic), sum), sum + bytes), 0);
  if (!process.stderr.isTTY) {
    const update: Progress['update'] = ({ topic, city, bytes }) => {
      if (bytes === data.bytes(city, topic)) process.stderr.write(`sent ${fileName(city, topic)} (${megabytes(bytes)} MB)\n`);
    };
    return { update, stop: () => {} };
  }
  const bar = new SingleBar({
    format: 'sending {file} [{bar}] {percentage}% of {megabytes} MB | {eta_formatted} left',
    clearOnComplete: true,
  });
  bar.start(total, 0, { file: '', megabytes: megabytes(total) });
  return {
    update: ({ topic, city, bytes }) => bar.update(before.get(fileName(city, topic))! + bytes, { file: fileName(city, topic) }),
    stop: () => bar.stop(),
  };
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);
