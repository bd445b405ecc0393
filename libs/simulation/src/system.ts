/** One run of a system under faults, by its seed or by a list. */
import { seededRandom, type Random } from '@lab/testing';
import { digestOf, eventsVersion, type SimulationEvent } from './events.ts';
import { FaultPlan, type Fault, type KindName } from './faults.ts';
import { PromiseBroken, World } from './world.ts';

/** How much there is to do in a run: numbers that a failure is shrunk by, too. */
export type Workload = Readonly<Record<string, number>>;

/** What an app says of itself. All else is the same for every app. */
export interface SimulatedSystem<Load extends Workload = Workload> {
  /** As Nx calls it. */
  readonly name: string;
  /** Which faults strike. One that never does in a whole suite is an error. */
  readonly kinds: readonly KindName[];
  /** How much is to be done. */
  workload(random: Random): Load;
  /** The smallest of each number that still is a run. */
  readonly least: Load;
  /** Faults strike in the first so many milliseconds of simulated time. */
  readonly faultsForMs: number;
  /** So much later than the last of them everything must be done. */
  readonly settleMs: number;
  /** That it is, as a promise of DESIGN.md. */
  readonly liveness: string;
  /** What else a run may find broken: a `PromiseBroken` that names another is an error of the simulation. */
  readonly promises: readonly string[];
  /**
   * Prepares what takes real time, as reading files does, and gives the run: it starts the processes, does what clients do, and throws `PromiseBroken` where the
   * outcome is not what was promised.
   */
  prepare(load: Load): Promise<(world: World) => Promise<void>>;
}

/** All that a run follows from: with a seed its faults are drawn, with a list they are as listed. */
export interface Scenario {
  readonly seed: number;
  readonly load: Workload;
  readonly faults?: readonly Fault[];
}

export interface Outcome {
  readonly scenario: Scenario;
  readonly fired: readonly Fault[];
  /** The promise that was broken, and how. */
  readonly broken: PromiseBroken | undefined;
  readonly events: readonly SimulationEvent[];
}

/** Breaks where code of the system ends with an error that nobody expects. */
export const noProgramFails = 'no program fails';

/** The run of a seed: all that is not said follows from it. */
export const scenarioOf = (system: SimulatedSystem, seed: number): Scenario => ({
  seed,
  load: system.workload(seededRandom(seed).fork('workload')),
});

/** Runs it. An error that is no broken promise is one, too: the program has failed. */
export async function runScenario(system: SimulatedSystem, scenario: Scenario, recording = false): Promise<Outcome> {
  const random = seededRandom(scenario.seed);
  const plan =
    scenario.faults === undefined ? FaultPlan.recorded(random.fork('faults'), system.kinds) : FaultPlan.replayed(scenario.faults);
  const { faultsForMs, settleMs, liveness } = system;
  const run = await system.prepare(scenario.load);
  const world = new World({ plan, random: random.fork('run'), faultsForMs, settleMs, liveness, recording });
  world.emit(() => ({
    type: 'run',
    version: eventsVersion,
    system: system.name,
    seed: scenario.faults ? undefined : scenario.seed,
    scenario: { seed: scenario.seed, load: scenario.load },
    kinds: system.kinds,
  }));
  let broken: PromiseBroken | undefined;
  try {
    await world.until(run(world));
  } catch (error) {
    broken = error instanceof PromiseBroken ? error : programFailed(error);
  }
  if (broken !== undefined && !promisesOf(system).some((each) => broken.promise.startsWith(each)))
    throw new Error(`${system.name} does not list this promise: ${broken.promise}`);
  world.emit(() => ({ type: 'promise', broken: broken?.promise, detail: broken?.detail ?? '' }));
  const events = [...world.events];
  world.end();
  return { scenario, fired: plan.fired, broken, events };
}

/** All that a run of it may find broken; of programs that fail, only the beginning. */
export const promisesOf = ({ promises, liveness }: SimulatedSystem): string[] => [...promises, liveness, noProgramFails];

function programFailed(cause: unknown): PromiseBroken {
  const { name, message, stack } = cause instanceof Error ? cause : new Error(String(cause));
  // Numbers and names differ from run to run; what is left tells failures apart.
  const kind = message.replaceAll(/\d+|"[^"]*"/g, '…').slice(0, 80);
  return new PromiseBroken(`${noProgramFails} (${name}: ${kind})`, stack ?? message);
}

/** Runs it twice; throws where they differ, with the first event that does. */
export async function checkDeterminism(system: SimulatedSystem, scenario: Scenario): Promise<void> {
  const [first, second] = [await runScenario(system, scenario, true), await runScenario(system, scenario, true)];
  if (digestOf(first.events) === digestOf(second.events)) return;
  const at = first.events.findIndex((event, index) => JSON.stringify(event) !== JSON.stringify(second.events[index]));
  const [one, other] = [first.events[at], second.events[at]].map((event) => JSON.stringify(event) ?? 'no event');
  throw new Error(`seed ${scenario.seed} is not deterministic: event ${at} is\n  ${one}\nand then\n  ${other}`);
}
