/** Proof that a test can fail: it must, on a copy of the sources with one mistake in it. */
import { cpSync, mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

export interface Mistake {
  /** Path of the source below the folder. */
  file: string;
  /** Stands in the source exactly once. */
  right: string;
  wrong: string;
}

/** Sources with a mistake; dispose of them (`using`). */
export interface Mutant extends Disposable {
  folder: string;
  /** Loads a module of them, by its path below the folder. */
  import(file: string): Promise<unknown>;
}

/**
 * A copy of a folder of sources with one mistake. It is made in a folder `tmp` beside the original, where imports of packages are found. Throws when `right` is not in the source once: the mistake is about code that has changed.
 */
export function makeMutant(folder: string, { file, right, wrong }: Mistake): Mutant {
  const parts = readFileSync(join(folder, file), 'utf8').split(right);
  if (parts.length !== 2)
    throw new Error(`${file} has ${parts.length - 1} times ${JSON.stringify(right)}, not once: change the mistake`);
  const parent = join(dirname(folder), 'tmp');
  mkdirSync(parent, { recursive: true });
  const copy = mkdtempSync(join(parent, 'mutant-'));
  cpSync(folder, copy, { recursive: true, filter: (path) => !path.endsWith('.test.ts') });
  writeFileSync(join(copy, file), parts.join(wrong));
  return {
    folder: copy,
    // A path is no specifier: in one, # and % would mean something else.
    import: (file) => import(pathToFileURL(join(copy, file)).href) as Promise<unknown>,
    [Symbol.dispose]: () => rmSync(copy, { recursive: true, force: true }),
  };
}
