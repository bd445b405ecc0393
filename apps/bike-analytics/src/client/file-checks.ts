/** What is wrong with a file as a whole, and what it looks like. */
import { open } from 'node:fs/promises';
import { formatProblem, HeaderError, type Rejections } from '@lab/columns';
import { ExitError, exitCodes, pathError } from '@lab/process';
import { newTopicReader, type ReaderOptions } from '../domain/reader.ts';
import type { City, Topic } from '../domain/terms.ts';
import { fileName, type DataFile } from './data-files.ts';

/** A row, and so a header, has at most 64 KiB: with these more it is known to be too long. */
const beginningBytes = 65 * 1024;

/** A file with the wrong columns is found before anything is sent, and a short one without a row that can be used, too. */
export async function checkBeginnings(
  files: readonly DataFile[],
  options: (city: City, topic: Topic) => ReaderOptions,
  allowEmpty: boolean,
): Promise<void> {
  for (const { city, topic, path } of files) {
    const name = fileName(city, topic);
    await using file = await open(path).catch((error: unknown) => {
      throw pathError(error, `${name} cannot be read: `);
    });
    const { buffer, bytesRead } = await file.read(Buffer.alloc(beginningBytes), 0, beginningBytes);
    const bytes = buffer.subarray(0, bytesRead);
    const reader = newTopicReader(topic, options(city, topic));
    try {
      reader.push(bytes);
      if (bytesRead === beginningBytes) continue;
      reader.end();
      if (!allowEmpty) requireRows(name, reader);
    } catch (error) {
      const problem = formatProblem(bytes);
      const what = problem === undefined ? '' : `; the file ${problem}`;
      throw error instanceof HeaderError ? new ExitError(`${error.message}${what}`, exitCodes.usage) : error;
    }
  }
}

/** Judges a file that was read to its end. */
export function requireRows(name: string, { rows, rejections }: { rows: number; rejections: Rejections }): void {
  if (rows > 0) return;
  const { count, first } = rejections;
  if (count === 0) throw new ExitError(`${name}: it has a header and no rows. --allow-empty takes it as it is`, exitCodes.usage);
  const { line, reason } = first[0]!;
  const hint = looksLike(reason);
  throw new ExitError(
    `${name}: none of its rows can be used (${count} rejected); line ${line}: ${reason}${hint === undefined ? '' : `, ${hint}`}. ` +
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
