/** Many seeds, one after another, until one fails; and the report of a failure. */
import { kindOf, type Fault, type KindName } from './faults.ts';
import { shrink } from './shrink.ts';
import { storyOf } from './story.ts';
import { checkDeterminism, runScenario, scenarioOf, type Outcome, type Scenario, type SimulatedSystem } from './system.ts';

/** Every so many seeds one is run twice, to see that a seed still means the same. */
const determinismEvery = 50;
/** Of so many seeds every kind of fault has struck somewhere; a kind that has not cannot. */
const enoughSeeds = 200;

/** How often each kind has struck. */
export class Tally {
  readonly counts = new Map<KindName, number>();

  add(faults: readonly Fault[]): void {
    for (const fault of faults) this.counts.set(kindOf(fault), (this.counts.get(kindOf(fault)) ?? 0) + 1);
  }

  /** Throws where one of the system's kinds has not struck in so many seeds. */
  check({ name, kinds }: SimulatedSystem, seeds: number): void {
    const missing = kinds.filter((kind) => !this.counts.has(kind));
    if (seeds >= enoughSeeds && missing.length > 0)
      throw new Error(`in ${seeds} seeds of ${name} no fault of these kinds has struck: ${missing.join(', ')}`);
  }
}

/** Runs one seed; now and then twice. */
export async function runSeed(system: SimulatedSystem, seed: number): Promise<Outcome> {
  const scenario = scenarioOf(system, seed);
  if (seed % determinismEvery === 0) await checkDeterminism(system, scenario);
  return runScenario(system, scenario);
}

/** A failure, shrunk: what a list in a file replays. */
export interface Failure {
  readonly system: string;
  /** The scenario without its seed's faults: what is listed is all that strikes. */
  readonly scenario: Scenario;
  readonly promise: string;
  readonly detail: string;
  /** Lines that tell what happened to the messages that were touched. */
  readonly story: string;
  readonly events: Outcome['events'];
  /** How many faults had struck at first, and how many runs it took to leave out the rest. */
  readonly shrunkFrom: number;
  readonly runs: number;
}

/** Shrinks what has failed, and tells its story. */
export async function explain(system: SimulatedSystem, failed: Outcome): Promise<Failure> {
  const { outcome, runs } = await shrink(system, failed);
  const calm = await runScenario(system, { ...outcome.scenario, faults: [] }, true);
  return {
    system: system.name,
    scenario: { ...outcome.scenario, faults: outcome.fired },
    promise: outcome.broken!.promise,
    detail: outcome.broken!.detail,
    story: storyOf(outcome.events, calm.broken === undefined ? calm.events : []),
    events: outcome.events,
    shrunkFrom: failed.fired.length,
    runs,
  };
}

/** As people read it. */
export function failureText({ system, scenario, promise, detail, story, shrunkFrom, runs }: Failure): string {
  const { seed, load, faults = [] } = scenario;
  const lines = faults.map(({ key, arg }) => `    ${key}${arg > 0 ? ` (${arg} ms)` : ''}`);
  const work = Object.entries(load).map(([name, value]) => `${name} ${value}`);
  return [
    `BROKEN: ${promise}`,
    `    ${detail.split('\n').slice(0, 8).join('\n    ')}`,
    `seed ${seed}; again with: npx nx simulate ${system} --seed ${seed}`,
    `to look at it: npx nx simulate ${system} --seed ${seed} --events run.jsonl; npx nx look ${system} --replay run.jsonl`,
    `${shrunkFrom} ${shrunkFrom === 1 ? 'fault' : 'faults'} had struck; these are enough (${runs} runs), with ${work.join(', ')}:`,
    ...(lines.length === 0 ? ['    none: it fails without any fault'] : lines),
    lines.length === 0 ? 'What happened last:' : 'What became of what they touched:',
    story.replaceAll(/^/gm, '    '),
  ].join('\n');
}

/** For a test: runs so many seeds, `env.SEEDS` instead, or only `env.SEED`; throws the report of the first that fails. */
export async function simulateSeeds(
  system: SimulatedSystem,
  seeds: number,
  env: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  const only = Number(env['SEED'] ?? 0);
  const last = only || Number(env['SEEDS'] ?? seeds);
  const tally = new Tally();
  for (let seed = only || 1; seed <= last; seed++) {
    const outcome = await runSeed(system, seed);
    if (outcome.broken !== undefined) throw new Error(failureText(await explain(system, outcome)), { cause: outcome.broken });
    tally.add(outcome.fired);
  }
  if (only === 0) tally.check(system, last);
}

/** For a test that must fail: the first failure of so many seeds, shrunk; `undefined` where all keep their promises. */
export async function findFailure(system: SimulatedSystem, seeds: number): Promise<Failure | undefined> {
  for (let seed = 1; seed <= seeds; seed++) {
    const outcome = await runScenario(system, scenarioOf(system, seed));
    if (outcome.broken !== undefined) return explain(system, outcome);
  }
  return undefined;
}
