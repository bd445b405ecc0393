/** `npx nx simulate APP`: many seeds on all cores, one seed, or a list of faults from a file. */
import { fork, type ChildProcess } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import {
  command,
  duration,
  ExitError,
  exitCodes,
  path,
  pathError,
  runCommand,
  systemClock,
  wholeNumber,
  type ProgramProcess,
} from '@lab/process';
import { z } from 'zod';
import { eventLines, type SimulationEvent } from './events.ts';
import { kindOf, type Fault } from './faults.ts';
import { explain, failureText, runSeed, Tally, type Failure } from './seeds.ts';
import { runScenario, type Outcome, type Scenario, type SimulatedSystem } from './system.ts';

const seedsByDefault = 1_000;
const fields = z.object({
  seeds: wholeNumber(1, 1e9).optional().describe(`how many seeds to run, from 1 on; default ${seedsByDefault}`),
  seed: wholeNumber(1, 1e9).optional().describe('only this seed'),
  until: duration({ min: 1_000 }).optional().describe('begin no more seeds after so long (10m)'),
  faults: path.optional().describe('replays the list of faults in this file, and nothing else'),
  save: path.optional().describe('writes the shrunk list of a failure to this file, for --faults'),
  events: path.optional().describe('writes the events of the failure, shrunk, or of the one run, to this file, as JSON lines'),
  jobs: wholeNumber(1, 256).default(availableParallelism()).describe('worker processes'),
  json: z.boolean().default(false).describe('prints the outcome as JSON'),
});
const settings = fields.superRefine(({ seeds, seed, faults }, context) => {
  if ([seeds, seed, faults].filter((each) => each !== undefined).length > 1)
    context.addIssue('give one of --seeds, --seed and --faults: each says alone what is run');
});
type Settings = z.infer<typeof settings> & { seeds: number };

/** A list in a file. */
const savedFile = z.object({
  format: z.literal('lab-faults'),
  version: z.literal(1),
  system: z.string(),
  seed: z.int(),
  load: z.record(z.string(), z.int()),
  faults: z.array(z.object({ key: z.string(), arg: z.int().min(0) })),
});

/** The program of one system: the file that calls it is what its worker processes run, too. Resolves with the exit code: 1 where a promise is broken. */
export async function simulateProgram(system: SimulatedSystem, { argv, env, stdout, stderr }: ProgramProcess): Promise<number> {
  if (argv[2] === 'worker') return work(system);
  const startWorker = (): ChildProcess => fork(argv[1]!, ['worker']);
  const simulate = command({
    summary: `Runs ${system.name} under faults in simulated time. The first broken promise ends it, with the shortest list of faults that breaks it.`,
    settings,
    run: ({ seeds = seedsByDefault, ...given }) => run(system, { seeds, ...given }, startWorker),
  });
  return runCommand(`npx nx simulate ${system.name}`, simulate, {
    args: argv.slice(2),
    env,
    stdout: (text) => void stdout.write(text),
    stderr: (text) => void stderr.write(text),
  });
}

async function run(system: SimulatedSystem, given: Settings, startWorker: () => ChildProcess): Promise<number> {
  const startMs = performance.now();
  const single = given.faults !== undefined || given.seed !== undefined;
  const {
    seeds,
    tally,
    failure,
    events = failure?.events,
  } = single ? await runOne(system, given) : await new Seeds(system, given).run(startWorker);
  const seconds = (performance.now() - startMs) / 1000;
  if (given.json)
    console.log(
      JSON.stringify({ system: system.name, seeds, seconds, faults: Object.fromEntries(tally.counts), failure: failure ?? null }),
    );
  else console.log(failure ? failureText(failure) : keptText(seeds, given, tally, seconds));
  // What was found is told before a disk may be full.
  if (failure && given.save) await saveFaults(given.save, failure);
  if (events && given.events) await writeEvents(given.events, events, system);
  return failure === undefined ? 0 : 1;
}

function keptText(seeds: number, given: Settings, { counts }: Tally, seconds: number): string {
  const total = [...counts.values()].reduce((sum, each) => sum + each, 0);
  const which = [...counts].sort((a, b) => b[1] - a[1]).map(([kind, count]) => `${kind} ${count}`);
  const of = given.until !== undefined && seeds < given.seeds ? ` of ${given.seeds}` : '';
  return `All promises kept: ${seeds}${of} ${seeds === 1 ? 'seed' : 'seeds'} in ${seconds.toFixed(1)} s${of && ', the time given'}, ${total} faults (${which.join(', ') || 'none'}).`;
}

async function write(file: string, text: string): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  } catch (error) {
    throw pathError(error, `${file} cannot be written: `);
  }
}

/** As a shell takes it for one word. */
const word = (text: string): string => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

async function writeEvents(file: string, events: readonly SimulationEvent[], { name }: SimulatedSystem): Promise<void> {
  await write(file, eventLines(events));
  process.stderr.write(`${events.length} events are in ${file}; to see them: npx nx look ${name} --replay ${word(file)}\n`);
}

async function saveFaults(file: string, { system, scenario: { seed, load, faults = [] } }: Failure): Promise<void> {
  await write(file, `${JSON.stringify({ format: 'lab-faults', version: 1, system, seed, load, faults }, undefined, 2)}\n`);
  process.stderr.write(`the faults are in ${file}; again with: npx nx simulate ${system} --faults ${word(file)}\n`);
}

/** The list in a file, as a scenario. */
export async function readSaved(system: SimulatedSystem, file: string): Promise<Scenario> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw pathError(error, `${file} cannot be read: `, `; "npx nx simulate ${system.name} --save FILE" writes one when it fails`);
  });
  try {
    const { system: name, seed, load, faults } = savedFile.parse(JSON.parse(text));
    if (name !== system.name) throw new RangeError(`it is a list for ${name}, not for ${system.name}`);
    for (const fault of faults) kindOf(fault);
    return { seed, load, faults };
  } catch (cause) {
    throw new ExitError(`${file} is no list of faults: ${(cause as Error).message}`, exitCodes.usage, { cause });
  }
}

interface Outcomes {
  seeds: number;
  tally: Tally;
  failure: Failure | undefined;
  /** Of the one run; otherwise those of the failure. */
  events?: Outcome['events'];
}

async function runOne(system: SimulatedSystem, { faults, seed, events }: Settings): Promise<Outcomes> {
  const tally = new Tally();
  const outcome =
    faults === undefined ? await runSeed(system, seed!) : await runScenario(system, await readSaved(system, faults), true);
  tally.add(outcome.fired);
  const failure = outcome.broken && (await explain(system, outcome));
  // What a seed has broken is shown by the few faults that are enough; a list is replayed as it is.
  if (events === undefined || (failure && faults === undefined)) return { seeds: 1, tally, failure };
  return { seeds: 1, tally, failure, events: (await runScenario(system, outcome.scenario, true)).events };
}

/** What a worker is asked: to run a seed of its own, or a scenario, of which it tells the events. */
export type Asked = { readonly seed: number } | { readonly scenario: Scenario };
/** What it answers to a scenario. */
export type Recorded = { readonly events: readonly SimulationEvent[] } | { readonly error: string };

/** What a worker says of a seed. */
interface SeedDone {
  seed: number;
  fired: readonly Fault[];
  broken: boolean;
  /** A fault of the simulation itself, as one that is not deterministic. */
  error?: string;
}

/** Seeds, given to worker processes one by one. */
class Seeds {
  readonly #system: SimulatedSystem;
  readonly #given: Settings;
  readonly #untilMs: number;
  readonly #tally = new Tally();
  #next = 1;
  #done = 0;
  #failedSeed: number | undefined;
  #shownMs = systemClock.nowMs();

  constructor(system: SimulatedSystem, given: Settings) {
    this.#system = system;
    this.#given = given;
    this.#untilMs = systemClock.nowMs() + (given.until ?? Infinity);
  }

  async run(startWorker: () => ChildProcess): Promise<Outcomes> {
    const workers = Array.from({ length: Math.min(this.#given.jobs, this.#given.seeds) }, startWorker);
    const kill = (): void => workers.forEach((worker) => void worker.kill('SIGKILL'));
    process.once('exit', kill);
    try {
      await Promise.all(workers.map((worker) => this.#feed(worker)));
    } finally {
      kill();
      process.off('exit', kill);
    }
    const outcomes = { seeds: this.#done, tally: this.#tally };
    if (this.#failedSeed === undefined) {
      this.#tally.check(this.#system, this.#done);
      return { ...outcomes, failure: undefined };
    }
    const outcome = await runSeed(this.#system, this.#failedSeed);
    process.stderr.write(`seed ${this.#failedSeed} breaks a promise; looking for the shortest list of faults ...\n`);
    return { ...outcomes, failure: await explain(this.#system, outcome) };
  }

  /** Gives a worker one seed after another. */
  #feed(worker: ChildProcess): Promise<void> {
    return new Promise((resolve, reject) => {
      const next = (): void => {
        const over = this.#failedSeed !== undefined || this.#next > this.#given.seeds || systemClock.nowMs() > this.#untilMs;
        if (over) resolve();
        else worker.send({ seed: this.#next++ });
      };
      worker.on('message', (done: SeedDone) => {
        if (done.error !== undefined) return reject(new Error(done.error));
        this.#take(done);
        next();
      });
      worker.once('error', reject);
      worker.once('exit', (code) => reject(new Error(`a worker process has ended with ${code}`)));
      next();
    });
  }

  #take({ seed, fired, broken }: SeedDone): void {
    this.#done++;
    this.#tally.add(fired);
    if (broken) this.#failedSeed = Math.min(seed, this.#failedSeed ?? Infinity);
    if (systemClock.nowMs() - this.#shownMs < 5_000) return;
    this.#shownMs = systemClock.nowMs();
    process.stderr.write(`${this.#done} seeds\n`);
  }
}

/** A worker process: runs the seeds that it is given, until it is killed or its parent is gone. */
function work(system: SimulatedSystem): Promise<number> {
  process.on('message', (asked: Asked) => {
    if ('scenario' in asked)
      return void runScenario(system, asked.scenario, true).then(
        ({ events }) => process.send?.({ events } satisfies Recorded),
        (error: unknown) => process.send?.({ error: (error as Error).message } satisfies Recorded),
      );
    const { seed } = asked;
    return void runSeed(system, seed).then(
      ({ fired, broken }) => process.send?.({ seed, fired, broken: broken !== undefined } satisfies SeedDone),
      (error: unknown) => process.send?.({ seed, fired: [], broken: false, error: (error as Error).message } satisfies SeedDone),
    );
  });
  // Ctrl-C is for the parent.
  process.on('SIGINT', () => undefined);
  return new Promise((resolve) => process.once('disconnect', () => resolve(0)));
}
