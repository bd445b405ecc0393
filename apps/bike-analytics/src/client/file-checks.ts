/** What is wrong with a file as a whole, and what it looks like. */
import { open } from 'node:fs/promises';
import { formatProblem, HeaderError, type Rejections } from '@lab/columns';
import { ExitError, exitCodes, pathError } from '@lab/process';
import { newTopicReader, type ReaderOptions } from '../domain/reader.ts';
import { cities, topics, type City, type Topic } from '../domain/terms.ts';
import type { FileBatches, SentBatch } from '../roles/file-batches.ts';
import { fileName, type DataSet } from './data-files.ts';

/** A row, and so a header, has at most 64 KiB: with these more it is known to be too long. */
const beginningBytes = 65 * 1024;

/** A file with the wrong columns is found before anything is sent, and a short one without a row that can be used, too. */
export async function checkBeginnings(
  data: DataSet,
  options: (city: City, topic: Topic) => ReaderOptions,
  allowEmpty: boolean,
): Promise<void> {
  for (const [city, topic] of cities.flatMap((city) => topics.map((topic) => [city, topic] as const))) {
    await using file = await open(data.path(city, topic)).catch((error: unknown) => {
      throw pathError(error, `${fileName(city, topic)} cannot be read: `);
    });
    const { buffer, bytesRead } = await file.read(Buffer.alloc(beginningBytes), 0, beginningBytes);
    const bytes = buffer.subarray(0, bytesRead);
    const reader = newTopicReader(topic, options(city, topic));
    try {
      const batches = reader.push(bytes);
      if (bytesRead === beginningBytes) continue;
      const rows = [...batches, ...reader.end()].reduce((sum, batch) => sum + batch.rows, 0);
      if (!allowEmpty) requireRows(fileName(city, topic), rows, reader.rejections);
    } catch (error) {
      const hint = formatProblem(bytes);
      const what = hint === undefined ? '' : `; the file ${hint}`;
      throw error instanceof HeaderError ? new ExitError(`${error.message}${what}`, exitCodes.usage) : error;
    }
  }
}

/** The same batches; at their end a file that had none is judged. */
export function withRows(name: string, file: FileBatches): FileBatches {
  async function* batches(): AsyncGenerator<SentBatch> {
    let rows = 0;
    for await (const batch of file.batches) {
      rows += batch.rows;
      yield batch;
    }
    requireRows(name, rows, file.rejections());
  }
  return { ...file, batches: batches() };
}

function requireRows(name: string, rows: number, { first, count }: Rejections): void {
  if (rows > 0) return;
  if (count === 0) throw new ExitError(`${name}: it has a header and no rows. --allow-empty takes it as it is`, exitCodes.usage);
  const { file, line, reason } = first[0]!;
  const hint = looksLike(reason);
  throw new ExitError(
    `${file}: none of its rows can be used (${count} rejected); line ${line}: ${reason}${hint === undefined ? '' : `, ${hint}`}. ` +
      '--allow-empty takes it for a file without rows',
    exitCodes.usage,
  );
}

/** What the value of a rejected row looks like, and what was expected. */
export function looksLike(reason: string): string | undefined {
  return likenesses.find(([pattern]) => pattern.test(reason))?.[1];
}

const likenesses: readonly [RegExp, string][] = [
  [/start_date "\d{1,2}\/\d{1,2}\/\d{2,4}/, 'it looks like a date in US order: 2016-06-17 10:03:00 is expected'],
  [/^date "\d{1,2}\/\d{1,2}\/\d{2,4}/, 'it looks like a date in US order: 2016-06-17 is expected'],
  [/start_date "[^"]*(Z|[+-]\d\d:?\d\d)"/, 'it looks like a time with a zone: 2016-06-17 10:03:00 is expected, local time'],
  [/yearid "\d{4}\.0*"/, 'it looks like a year as a float: 2016 is expected'],
  [/is not valid UTF-8/, 'it looks like Windows-1252 or Latin-1: save the file as UTF-8'],
  [/start_date/, '2016-06-17 10:03:00 is expected'],
  [/^date/, '2016-06-17 is expected'],
  [/duration_sec/, 'seconds are expected, as 600 or 600.5'],
];
