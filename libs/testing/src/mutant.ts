/** Proof that a test can fail: it must, on a copy of the sources with one mistake in it. */
import { cpSync, existsSync, mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** One of those in a package's `test/mistakes.ts`, of which `npm run mutants` says who sees them, or one in a test. */
export interface Mistake {
  /** What the code does then, in half a line: `acknowledges before the answer is safe`. */
  rule: string;
  /** Path of the source: below the package's folder in its list, `src/roles/counter.ts`. */
  file: string;
  /** Stands in the source exactly once. */
  right: string;
  wrong: string;
  /** Why no test has to see it. */
  noBug?: string;
}

/** Sources with a mistake; dispose of them (`using`). */
export interface Mutant extends Disposable {
  folder: string;
  /** Loads a module of them, by its path below the folder. */
  import(file: string): Promise<unknown>;
}

/** A source with the mistake. Throws when `right` is not in it once: the mistake is about code that has changed. */
export function withMistake(source: string, { file, right, wrong }: Omit<Mistake, 'rule'>): string {
  const parts = source.split(right);
  if (parts.length !== 2)
    throw new Error(`${file} has ${parts.length - 1} times ${JSON.stringify(right)}, not once: ${changedCode}`);
  return parts.join(wrong);
}

/** How the message of a mistake about changed code ends. */
export const changedCode = 'change the mistake';

/**
 * A copy of a folder of sources with one mistake, whose `file` is below that folder. It is made in a folder `tmp` beside the original, where imports of
 * packages are found; so the folder is not a whole package. Throws when the mistake is about code that has changed.
 */
export function makeMutant(folder: string, mistake: Omit<Mistake, 'rule'>): Mutant {
  if (existsSync(join(folder, 'package.json'))) throw new Error(`${folder} is a package: give its folder of sources`);
  const source = withMistake(readFileSync(join(folder, mistake.file), 'utf8'), mistake);
  const parent = join(dirname(folder), 'tmp');
  mkdirSync(parent, { recursive: true });
  const copy = mkdtempSync(join(parent, 'mutant-'));
  cpSync(folder, copy, { recursive: true, filter: (path) => !path.endsWith('.test.ts') });
  writeFileSync(join(copy, mistake.file), source);
  return {
    folder: copy,
    // A path is no specifier: in one, # and % would mean something else.
    import: (file) => import(pathToFileURL(join(copy, file)).href) as Promise<unknown>,
    [Symbol.dispose]: () => rmSync(copy, { recursive: true, force: true }),
  };
}
