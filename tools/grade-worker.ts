/**
 * Runs seeds of a submission for `tools/grade.ts`, which trusts nothing but what comes from here. The submission is in this process, so before
 * any of its modules is loaded
 * - the job is read from standard input, with a token that nobody finds in the environment or the arguments,
 * - all that judges is loaded, and frozen: the language's own objects (by `--frozen-intrinsics`), Node's modules, the simulation's classes,
 * - and what writes the report is kept in constants.
 *
 * The process may not write files but in one folder, nor start others (`--permission`).
 */
import { readSync, writeSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { kindOf, promisesOf, runSeed, type SimulatedSystem } from '@lab/simulation';

/** What is asked, as JSON, on standard input. */
export interface Job {
  readonly token: string;
  readonly app: string;
  /** From one seed to another, every so many. */
  readonly from: number;
  readonly to: number;
  readonly step: number;
}

/** What became of a seed; a line of file descriptor 3 is the token, a space, and this as JSON. */
export interface SeedJudged {
  readonly seed: number;
  /** The kinds of the faults that have struck. */
  readonly kinds: readonly string[];
  readonly broken?: { readonly promise: string; readonly detail: string };
  /** The simulation cannot judge, as where a run is not deterministic. */
  readonly error?: string;
}
/** The first line. */
export interface Promises {
  readonly promises: readonly string[];
}

const { stringify } = JSON;
const { freeze } = Object;
/** What judges, and what a simulated system stands on. */
const libraries = ['@lab/checker', '@lab/middleware', '@lab/simulation', '@lab/testing'];
const detailMax = 1_000;
const jobBytesMax = 1_000;

if (import.meta.main) {
  const bytes = Buffer.alloc(jobBytesMax);
  const { token, app, from, to, step } = JSON.parse(bytes.toString('utf8', 0, readSync(0, bytes))) as Job;
  // Memory that is freed could be had again.
  bytes.fill(0);
  const tell = (line: SeedJudged | Promises): void => void writeSync(3, `${token} ${stringify(line)}\n`);
  for (const name of builtinModules) if (!/^_|^sys$|^punycode$|\//.test(name)) freeze(process.getBuiltinModule(name));
  for (const library of libraries) {
    for (const part of Object.values((await import(library)) as Record<string, unknown>)) {
      freeze(part);
      if (typeof part === 'function') freeze(part.prototype);
    }
  }
  freeze(globalThis);
  const program = pathToFileURL(join(import.meta.dirname, '../apps', app, 'test/simulate.ts')).href;
  const { system } = (await import(program)) as { system: SimulatedSystem };
  tell({ promises: promisesOf(system) });
  for (let seed = from; seed <= to; seed += step) tell(await judge(system, seed));
}

async function judge(system: SimulatedSystem, seed: number): Promise<SeedJudged> {
  try {
    const { fired, broken } = await runSeed(system, seed);
    const kinds = fired.map(kindOf);
    if (broken === undefined) return { seed, kinds };
    return { seed, kinds, broken: { promise: broken.promise, detail: broken.detail.slice(0, detailMax) } };
  } catch (error) {
    return { seed, kinds: [], error: (error as Error).message.slice(0, detailMax) };
  }
}
