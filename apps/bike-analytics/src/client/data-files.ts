/** The folder that the file-reader reads: `<city>/<topic>.csv`. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ExitError, exitCodes, pathError } from '@lab/process';
import { cities, topics, type City, type Topic } from '../domain/terms.ts';

/** Nine files. */
export interface DataSet {
  path(city: City, topic: Topic): string;
  bytes(city: City, topic: Topic): number;
  readonly totalBytes: number;
}

/** A file's name in messages to people. */
export const fileName = (city: City, topic: Topic): string => `${city}/${topic}.csv`;

/** Finds all nine files, or says which are missing. */
export async function openDataSet(directory: string): Promise<DataSet> {
  const bytes = new Map<string, number>();
  const missing: string[] = [];
  for (const [city, topic] of cities.flatMap((city) => topics.map((topic) => [city, topic] as const))) {
    const name = fileName(city, topic);
    try {
      const file = await stat(join(directory, name));
      if (file.isFile()) bytes.set(name, file.size);
      else missing.push(name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw pathError(error, `${name} cannot be read: `);
      missing.push(name);
    }
  }
  if (missing.length > 0)
    throw new ExitError(
      `"${directory}" is no data set: it has no ${missing.join(', ')}; --data names a folder with one folder for each city`,
      exitCodes.usage,
    );
  return {
    path: (city, topic) => join(directory, fileName(city, topic)),
    bytes: (city, topic) => bytes.get(fileName(city, topic)) ?? 0,
    totalBytes: [...bytes.values()].reduce((sum, each) => sum + each, 0),
  };
}
