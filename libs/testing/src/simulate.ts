import { seededRandom, type Random } from './random.ts';

export interface SimulationOptions {
  /** How many seeds to run, from 1 on. */
  seeds: number;
  /** `process.env`: with `SEED=n` only that seed is run. */
  env: Readonly<Record<string, string | undefined>>;
}

/** Runs a scenario for every seed. The first that fails ends the run with an error that names the seed and how to run it alone. */
export async function simulate(
  { seeds, env }: SimulationOptions,
  scenario: (random: Random, seed: number) => Promise<void>,
): Promise<void> {
  const only = env['SEED'] === undefined ? undefined : Number(env['SEED']);
  const run = only === undefined ? Array.from({ length: seeds }, (_, index) => index + 1) : [only];
  for (const seed of run) {
    try {
      await scenario(seededRandom(seed), seed);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new Error(`seed ${seed} failed (run it alone with SEED=${seed}): ${message}`, { cause: error });
    }
  }
}
