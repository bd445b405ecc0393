/** The folder that the file-reader reads: `<city>/<topic>.csv`. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ExitError, exitCodes, pathError } from '@lab/process';
import { cities, topics, type City, type Topic } from '../domain/terms.ts';

export interface DataFile {
  city: City;
  topic: Topic;
  path: string;
  bytes: number;
}

/** A file's name in messages to people. */
export const fileName = (city: City, topic: Topic): string => `${city}/${topic}.csv`;

/** Finds all nine files, in the order in which they are sent, or says which are missing. */
export async function openDataSet(directory: string): Promise<DataFile[]> {
  const files: DataFile[] = [];
  const missing: string[] = [];
  for (const [topic, city] of topics.flatMap((topic) => cities.map((city) => [topic, city] as const))) {
    const name = fileName(city, topic);
    const path = join(directory, name);
    const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw pathError(error, `${name} cannot be read: `);
    });
    if (found?.isFile() === true) files.push({ city, topic, path, bytes: found.size });
    else missing.push(name);
  }
  if (missing.length > 0)
    throw new ExitError(
      `"${directory}" is no data set: it has no ${missing.join(', ')}; --data names a folder with one folder for each city`,
      exitCodes.usage,
    );
  return files;
}

export const bytesOf = (files: readonly DataFile[]): number => files.reduce((sum, { bytes }) => sum + bytes, 0);
