import { describe, expect, it } from 'vitest';
import { simulate } from './simulate.ts';

const file = '/lab/libs/testing/src/scenario.test.ts';
const INIT_CWD = '/lab';

async function seedsRun(seeds: number, env: Record<string, string>): Promise<number[]> {
  const run: number[] = [];
  await simulate({ seeds, env, file }, async (_, seed) => void run.push(seed));
  return run;
}

describe('simulate', () => {
  it('runs seeds from 1 on, each with a random sequence of its own', async () => {
    const drawn: [number, number][] = [];
    await simulate({ seeds: 3, env: {}, file }, async (random, seed) => void drawn.push([seed, random.next()]));
    expect(drawn.map(([seed]) => seed)).toEqual([1, 2, 3]);
    expect(new Set(drawn.map(([, number]) => number)).size).toBe(3);
  });

  it('runs one seed alone, or more of them, when the environment says so', async () => {
    expect(await seedsRun(3, { SEED: '17' })).toEqual([17]);
    expect(await seedsRun(3, { SEEDS: '5' })).toEqual([1, 2, 3, 4, 5]);
    expect(await seedsRun(3, { SEED: '', SEEDS: '' })).toEqual([1, 2, 3]);
    await expect(seedsRun(3, { SEED: 'x' })).rejects.toThrow('SEED is "x": it must be a whole number from 1 to 999999999');
  });

  it('stops at the first seed that fails, and says how to replay it', async () => {
    const run: number[] = [];
    const failure = simulate({ seeds: 5, env: { INIT_CWD }, file }, async (_, seed) => {
      run.push(seed);
      if (seed === 3) throw new Error('an answer is missing');
    });
    await expect(failure).rejects.toThrow(
      /^seed 3 failed: an answer is missing\nreplay it with: SEED=3 npx vitest run libs\/testing\/src\/scenario\.test\.ts$/,
    );
    await expect(failure).rejects.toHaveProperty('cause.message', 'an answer is missing');
    expect(run).toEqual([1, 2, 3]);
  });

  it('replays a failure from the seed that it named', async () => {
    const scenario = async (random: { integer(min: number, max: number): number }): Promise<void> => {
      const drawn = random.integer(1, 20);
      if (drawn === 20) throw new Error(`drew ${drawn}`);
    };
    const first: unknown = await simulate({ seeds: 1000, env: {}, file }, scenario).catch((error: unknown) => error);
    const seed = /SEED=(\d+)/.exec(String(first))?.[1];
    const second: unknown = await simulate({ seeds: 1000, env: { SEED: seed }, file }, scenario).catch((error: unknown) => error);
    expect(String(first)).toContain('drew 20');
    expect(String(second)).toBe(String(first));
  });

  it('names the seed that hangs', async () => {
    const scenario = (_: unknown, seed: number): Promise<void> => (seed === 2 ? new Promise(() => {}) : Promise.resolve());
    await expect(simulate({ seeds: 3, env: {}, file, seedTimeoutMs: 20 }, scenario)).rejects.toThrow(
      /^seed 2 failed: no end within 20 ms/,
    );
  });
});
