/** Writes a data set made from a seed, of any size: `synthetic.ts` says what is in it. */
import { mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pathError } from '@lab/process';
import { fileName } from '../src/client/data-files.ts';
import { syntheticFiles, type SyntheticFile, type SyntheticOptions } from './synthetic.ts';

export interface GenerateOptions extends SyntheticOptions {
  /** Made when missing; files of these names in it are overwritten. */
  directory: string;
}

/** Writes the nine files; rejects with an ExitError where one cannot be written. What it holds in memory does not depend on the number of trips. */
export async function generateDataset({ directory, ...options }: GenerateOptions): Promise<void> {
  for (const each of syntheticFiles(options)) await writePieces(join(directory, fileName(each.city, each.topic)), each);
}

async function writePieces(path: string, { pieces }: SyntheticFile): Promise<void> {
  const failed = (error: unknown): never => {
    throw pathError(error, `${path} cannot be written: `);
  };
  await mkdir(dirname(path), { recursive: true }).catch(failed);
  await using file = await open(path, 'w').catch(failed);
  for (const piece of pieces()) await file.writeFile(piece).catch(failed);
}
