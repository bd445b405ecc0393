import { relative } from 'node:path';
import { withDeadline } from './eventually.ts';
import { seededRandom, type Random } from './random.ts';

export interface SimulationOptions {
  /** How many seeds to run, from 1 on. */
  seeds: number;
  /** `process.env`: with `SEED=17` only that seed is run, with `SEEDS=5000` so many instead of `seeds`. */
  env: Readonly<Record<string, string | undefined>>;
  /** `import.meta.filename` of the test: the error names the command that runs it. */
  file: string;
  /** Most real time for one seed, in which a simulation that hangs is noticed. Default 60 s. */
  seedTimeoutMs?: number;
}

/**
 * Runs a scenario for one seed after another; all that the scenario does must follow from the seed. The first that fails or hangs ends the run,
 * with an error that names the seed and the command that replays it alone.
 */
export async function simulate(
  options: SimulationOptions,
  scenario: (random: Random, seed: number) => Promise<void>,
): Promise<void> {
  const { env, file, seedTimeoutMs = 60_000 } = options;
  for (const seed of seedsToRun(options.seeds, env)) {
    try {
      const late = (): Error => new Error(`no end within ${seedTimeoutMs} ms`);
      await withDeadline(scenario(seededRandom(seed), seed), seedTimeoutMs, late);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      // npm and Nx change folders; the command is for the one that they were called in.
      const replay = `SEED=${seed} npx vitest run ${relative(env['CALLER_CWD'] ?? env['INIT_CWD'] ?? process.cwd(), file)}`;
      throw new Error(`seed ${seed} failed: ${message}\nreplay it with: ${replay}`, { cause: error });
    }
  }
}

function seedsToRun(count: number, env: SimulationOptions['env']): number[] {
  const only = wholeNumber(env, 'SEED');
  if (only !== undefined) return [only];
  return Array.from({ length: wholeNumber(env, 'SEEDS') ?? count }, (_, index) => index + 1);
}

function wholeNumber(env: SimulationOptions['env'], variable: string): number | undefined {
  const text = env[variable];
  if (text === undefined || text === '') return undefined;
  if (!/^[1-9]\d{0,8}$/.test(text))
    throw new RangeError(`${variable} is "${text}": it must be a whole number from 1 to 999999999`);
  return Number(text);
}
