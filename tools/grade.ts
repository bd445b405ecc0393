/**
 * `npx nx grade APP`: what of an app's promises the sources of somebody keep.
 *
 * Judged is a copy of the teacher's workspace as its commit has it, in which only the app's `src` is the submission's, without the tests there: tests,
 * simulation, libraries and settings are the teacher's, whatever the submission has of them. Evidence comes from processes that the grader starts and
 * bounds; of what they print nothing counts. The simulation's tell the outcome of each seed with a token that the submission is not given
 * (`grade-worker.ts`), and exactly the seeds that were asked for; who hangs, exits or writes an outcome of its own has no points at all.
 *
 * Not defended against: sources that read the memory of their own process for the token, that behave well only where they find themselves tested, and
 * that deceive Vitest, in whose processes the system's tests and those of a teacher run with all rights of who grades. Grade where nothing is to be had,
 * keep tests and seeds hidden where points matter, and read the sources.
 */
import { execFileSync, spawn, type ChildProcessByStdio } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { checkRunner, explained, formats } from './grade-formats.ts';
import type { Job, Promises, SeedJudged } from './grade-worker.ts';
import { copyOfCommit, filesBelow, runTests } from './judging.ts';
import { GradeError, hiddenFolder, layOut, submissionOf, type Submission } from './submission.ts';

/** What was judged, and how. */
export interface Line {
  readonly promise: string;
  readonly kept: boolean;
  /** What the verdict is founded on. */
  readonly evidence: string;
  readonly points: number;
  readonly max: number;
  /** How it was broken, or why it could not be judged. */
  readonly detail?: string;
  /** The command that shows it again, in the submission's folder. */
  readonly replay?: string;
  /** Of a test that learners do not see. */
  readonly hidden?: true;
}
export interface Grade {
  readonly app: string;
  /** The teacher's app, by whose tests it was judged. */
  readonly from: string;
  /** Of the teacher. */
  readonly commit: string;
  readonly score: number;
  readonly max: number;
  readonly lines: readonly Line[];
  /** What a work tree's own simulation says of promises that are not the teacher's, and of what it alone sees broken: without points, as its author judges. */
  readonly own: readonly Verdict[];
  /** Files of the submission that are not the teacher's, and had no part in it. */
  readonly differs: readonly string[];
}
/** A line before its points. */
type Verdict = Omit<Line, 'points' | 'max'>;

export const pointsMax = 100;

/** The submission does what no answer to a task does: it has no points. */
class Distrusted extends Error {}

/** What is asked for. */
export interface Asked {
  readonly of?: string | undefined;
  readonly seeds?: number | undefined;
  readonly hidden?: string | undefined;
  readonly engine?: boolean | undefined;
  /** No answer of a submission for so long is none. */
  readonly patienceMs?: number;
}

/** So many take a quarter of a minute on two cores for word-count, and two minutes for the largest. */
const seedsDefault = 100;
/** No seed takes a tenth of it, on a machine where much else runs. */
const seedPatienceMs = 120_000;
/** What has not ended by then hangs: the longest suites take some minutes. */
const suitePatienceMs = { system: 1_200_000, engine: 5_400_000 };
/** A promise that was judged in fewer of the seeds is not kept: where most runs end early, one cannot know. */
const judgedShareMin = 0.5;

/** Judges the app of a workspace, or that of a submission in another folder. */
export async function grade(root: string, app: string, asked: Asked, tell: (text: string) => void): Promise<Grade> {
  const submission = submissionOf(root, app, asked.of);
  const commit = execFileSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim();
  using copy = copyOfCommit(root, commit, 'grade');
  const remove = (): void => copy[Symbol.dispose]();
  process.once('exit', remove);
  try {
    const differs = await layOut(copy.folder, submission, asked.hidden);
    const judge = new Judge(copy.folder, submission, asked, tell);
    const verdicts = await judge.verdicts();
    const hasOwn = asked.of === undefined && differs.some((each) => each.includes(` apps/${app}/test/`));
    const own = hasOwn ? await judge.ownVerdicts(verdicts) : [];
    return { app: submission.name, from: submission.from, commit, ...scored(verdicts), own, differs };
  } finally {
    process.off('exit', remove);
  }
}

/** All promises weigh the same, in whole points. */
export function scored(verdicts: readonly Verdict[]): Pick<Grade, 'lines' | 'score' | 'max'> {
  const lines = verdicts.map((verdict, index) => {
    const max = Math.floor(pointsMax / verdicts.length) + (index < pointsMax % verdicts.length ? 1 : 0);
    return { ...verdict, points: verdict.kept ? max : 0, max };
  });
  return { lines, score: lines.reduce((sum, { points }) => sum + points, 0), max: pointsMax };
}

/** Judges what is in a copy of the workspace. */
class Judge {
  readonly #copy: string;
  readonly #submission: Submission;
  readonly #asked: Asked;
  readonly #tell: (text: string) => void;

  constructor(copy: string, submission: Submission, asked: Asked, tell: (text: string) => void) {
    this.#copy = copy;
    this.#submission = submission;
    this.#asked = asked;
    this.#tell = tell;
  }

  async verdicts(): Promise<Verdict[]> {
    const suites = this.#suites();
    try {
      const verdicts = await this.#simulate(this.#copy);
      for (const suite of suites) verdicts.push(await this.#test(suite));
      return verdicts;
    } catch (error) {
      if (!(error instanceof Distrusted)) throw error;
      const detail = `no points: ${error.message}`;
      return ['All promises', ...suites.map(({ promise }) => promise)].map((promise) => ({
        promise,
        kept: false,
        evidence: 'not judged',
        detail,
      }));
    }
  }

  /** By the simulation that is in the work tree. */
  async ownVerdicts(teachers: readonly Verdict[]): Promise<Verdict[]> {
    const listed = new Set(teachers.map(({ promise }) => promise));
    try {
      const own = await this.#simulate(this.#submission.folder);
      return own.filter(({ promise, kept }) => !kept || !listed.has(promise));
    } catch (error) {
      if (!(error instanceof Distrusted)) throw error;
      return [{ promise: 'All promises', kept: false, evidence: 'not judged', detail: error.message }];
    }
  }

  get #folder(): string {
    return join('apps', this.#submission.name);
  }

  async #simulate(workspace: string): Promise<Verdict[]> {
    const { seeds = seedsDefault, hidden, patienceMs = seedPatienceMs } = this.#asked;
    const first = firstSeed(hidden);
    const outcomes: SeedJudged[] = [];
    let shownMs = performance.now();
    const take = (line: SeedJudged): void => {
      outcomes.push(line);
      if (performance.now() - shownMs < 5_000) return;
      shownMs = performance.now();
      this.#tell(`${outcomes.length} of ${seeds} seeds\n`);
    };
    const step = Math.min(availableParallelism(), seeds);
    this.#tell(`${workspace === this.#copy ? 'simulation' : 'your own simulation'}: ${seeds} seeds\n`);
    const scratch = join(this.#copy, 'tmp');
    mkdirSync(scratch, { recursive: true });
    const stop = new AbortController();
    const workers = Array.from({ length: step }, (_, index) => {
      const job = { app: this.#submission.name, from: first + index, to: first + seeds - 1, step };
      return runSeeds(workspace, scratch, job, patienceMs, stop.signal, take);
    });
    const promises = await Promise.all(workers).catch(async (error: unknown) => {
      stop.abort();
      await Promise.allSettled(workers);
      throw error;
    });
    const { ejected, name } = this.#submission;
    const simulate = ejected ? 'npm run simulate --' : `npx nx simulate ${name}`;
    return judged(promises[0]!, outcomes, (seed) => `${simulate} --seed ${seed}`);
  }

  #suites(): Suite[] {
    const { engine = false, hidden } = this.#asked;
    const files = filesBelow(join(this.#copy, this.#folder));
    const engines = ['integration', 'chaos'].filter((kind) => engine && files.some((file) => file.endsWith(`.${kind}.test.ts`)));
    // Mistakes are pieces of the teacher's text, which a right program may say otherwise.
    const isOwn = (file: string): boolean => /(?<!\/mistakes[^/]*)\.test\.ts$/.test(file) && !file.includes(`/${hiddenFolder}/`);
    const own = files.filter(isOwn).map((file) => relative(this.#copy, file));
    return [
      {
        promise: "The system's tests pass",
        args: ['--project=unit', '--project=embedded', ...own],
        patienceMs: suitePatienceMs.system,
      },
      ...engines.map((kind) => ({
        promise: `It holds on real engines: ${kind}`,
        args: [`--project=${kind}*`, ...own],
        patienceMs: suitePatienceMs.engine,
      })),
      ...hiddenTests(hidden).map((file) => ({
        hidden: true as const,
        promise: `Hidden: ${file.replace(/\.test\.ts$/, '')}`,
        args: ['--project=unit', `${this.#folder}/${hiddenFolder}/${file}`],
        patienceMs: suitePatienceMs.system,
      })),
    ];
  }

  async #test({ promise, args, patienceMs, hidden }: Suite): Promise<Verdict> {
    this.#tell(`${promise} ...\n`);
    const { passed, failed, problem } = await runTests(this.#copy, args, this.#asked.patienceMs ?? patienceMs);
    const kept = problem === undefined && passed > 0;
    const verdict = { promise, kept, evidence: `${passed} ${passed === 1 ? 'test' : 'tests'} passed`, ...(hidden && { hidden }) };
    if (kept) return verdict;
    const detail = problem ?? 'there is no test';
    if (failed === undefined || hidden) return { ...verdict, detail };
    return { ...verdict, detail, replay: `npx vitest run ${relative(this.#copy, failed.file)}` };
  }
}

interface Suite {
  readonly promise: string;
  /** For vitest. */
  readonly args: readonly string[];
  readonly patienceMs: number;
  readonly hidden?: true;
}

const hiddenTests = (hidden: string | undefined): string[] =>
  hidden === undefined
    ? []
    : readdirSync(hidden)
        .filter((file) => file.endsWith('.test.ts'))
        .sort();

/** A teacher's file `seeds` says with which the simulation begins. */
function firstSeed(hidden: string | undefined): number {
  const file = hidden === undefined ? undefined : join(hidden, 'seeds');
  if (file === undefined || !existsSync(file)) return 1;
  const first = Number(readFileSync(file, 'utf8'));
  if (!isCount(first)) throw new GradeError(`${file}: it has the first seed, a number from 1 on`);
  return first;
}

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value > 0;

/** What became of each promise in all seeds. */
export function judged(
  promises: readonly string[],
  outcomes: readonly SeedJudged[],
  replay: (seed: number) => string,
): Verdict[] {
  const kinds = outcomes.flatMap((outcome) => outcome.kinds);
  const kills = kinds.filter((kind) => /\bdies\b|machines? off/.test(kind)).length;
  const failed = outcomes.find(({ error }) => error !== undefined);
  const kept = outcomes.filter(({ error, broken }) => error === undefined && broken === undefined).length;
  const listed = (name: string): string | undefined => promises.find((each) => name.startsWith(each));
  return promises.map((promise) => {
    const broken = outcomes
      .filter((outcome) => outcome.broken !== undefined && listed(outcome.broken.promise) === promise)
      .sort((a, b) => a.seed - b.seed);
    const count = kept + broken.length;
    const of = count === outcomes.length ? `${count}` : `${count} of ${outcomes.length}`;
    const verdict = { promise, kept: false, evidence: `${of} seeds, ${kinds.length} faults, ${kills} kills` };
    if (broken.length > 0) {
      const { seed, broken: how } = broken[0]!;
      const detail = `broken in ${broken.length} of ${outcomes.length} seeds: ${how!.promise}\n${how!.detail}`;
      return { ...verdict, detail, replay: replay(seed) };
    }
    if (failed !== undefined) return { ...verdict, detail: `not judged: ${failed.error}`, replay: replay(failed.seed) };
    if (count < outcomes.length * judgedShareMin)
      return { ...verdict, detail: 'not judged: most runs end with another broken promise' };
    return { ...verdict, kept: true };
  });
}

type Worker = ChildProcessByStdio<Writable, null, Readable> & {
  readonly stdio: readonly [Writable, null, Readable, Readable, null];
};

/** Has a process of its own run seeds; gives the promises there are. Whatever is not just what was asked for is a reason to distrust it. */
async function runSeeds(
  workspace: string,
  scratch: string,
  asked: Omit<Job, 'token'>,
  patienceMs: number,
  signal: AbortSignal,
  take: (outcome: SeedJudged) => void,
): Promise<readonly string[]> {
  const token = randomBytes(16).toString('hex');
  const rights = ['--permission', '--allow-fs-read=*', `--allow-fs-write=${scratch}`, '--allow-addons', '--frozen-intrinsics'];
  const child = spawn(process.execPath, ['--no-warnings', ...rights, join(workspace, 'tools/grade-worker.ts')], {
    cwd: join(workspace, 'apps', asked.app),
    env: { ...process.env, TMPDIR: scratch, TEMP: scratch, TMP: scratch },
    stdio: ['pipe', 'ignore', 'pipe', 'pipe'],
    // Ctrl-C is for the grader.
    detached: true,
    signal,
    killSignal: 'SIGKILL',
  }) as unknown as Worker;
  const kill = (): void => void child.kill('SIGKILL');
  let hangs = false;
  const timer = setTimeout(() => {
    hangs = true;
    kill();
  }, patienceMs);
  // Before the copy is removed.
  process.prependOnceListener('exit', kill);
  const ended = new Promise<number | null>((done, reject) => child.once('error', reject).once('exit', done));
  ended.catch(() => undefined);
  const said = text(child.stderr);
  child.stdin.on('error', () => undefined).end(JSON.stringify({ token, ...asked } satisfies Job));
  let promises: readonly string[] | undefined;
  let seed = asked.from;
  try {
    for await (const line of createInterface({ input: child.stdio[3] })) {
      if (!line.startsWith(`${token} `)) throw new Distrusted('it writes a report of its own');
      const outcome = JSON.parse(line.slice(token.length)) as SeedJudged | Promises;
      timer.refresh();
      if ('promises' in outcome) promises = outcome.promises;
      else if (outcome.seed !== seed) throw new Distrusted('it writes a report of its own');
      else {
        take(outcome);
        seed += asked.step;
      }
    }
    const code = await ended;
    const at = promises === undefined ? 'while it is loaded' : `in seed ${seed}`;
    if (hangs) throw new Distrusted(`it hangs ${at}: nothing for ${patienceMs / 1_000} s`);
    if (promises === undefined || seed <= asked.to || code !== 0)
      throw new Distrusted(`its process ends ${at}, with ${code ?? 'a signal'}\n${(await said).slice(-stderrMax)}`);
    return promises;
  } finally {
    kill();
    clearTimeout(timer);
    process.off('exit', kill);
  }
}
const stderrMax = 1_500;

/** As people read it. */
export function table({ app, from, commit, lines, score, max, own, differs }: Grade): string {
  const all: readonly Verdict[] = [...lines, ...own];
  const width = (of: (line: Verdict) => string): number => Math.max(...all.map((line) => of(line).length));
  const [promises, evidence] = [width(({ promise }) => promise), width((line) => line.evidence)];
  const row = (line: Verdict, points: string): string =>
    `${line.kept ? '✓' : '✗'} ${line.promise.padEnd(promises)}  ${line.evidence.padEnd(evidence)}  ${points}`;
  const broken = all.flatMap((line) => {
    if (line.detail === undefined) return [];
    const text = explained({ ...line, detail: line.detail.split('\n').slice(0, detailLines).join('\n') });
    return ['', `✗ ${line.promise}`, text.replaceAll(/^/gm, '    ')];
  });
  const shown = differs.slice(0, differsShown);
  const more = differs.length > shown.length ? [`    and ${differs.length - shown.length} more`] : [];
  const others =
    differs.length === 0
      ? []
      : ['', "Not the teacher's, and without a part in the points:", ...shown.map((each) => `    ${each}`), ...more];
  const ownRows = own.length === 0 ? [] : ['By your own simulation:', ...own.map((line) => row(line, 'no points'))];
  const rows = lines.map((line) => row(line, `${line.points} of ${line.max}`));
  const total = `${app}: ${score} of ${max} points, by ${from}'s tests of commit ${commit.slice(0, 12)}`;
  return `${[...rows, total, ...ownRows, ...broken, ...others].join('\n')}\n`;
}
const detailLines = 8;
const differsShown = 10;

const help = `Usage: npx nx grade APP [--of FOLDER] [--seeds N] [--engine] [--hidden FOLDER] [--FORMAT FILE ...]

Judges the sources of an app, in the work tree or in another copy of the workspace or an ejected repository, by the tests
of the workspace's commit, and says which promises they keep. What the work tree's own simulation says of promises more
is shown, and gives no points.

  --of FOLDER         judges what is in this folder
  --seeds N           how many seeds of the simulation; default ${seedsDefault}
  --engine            also runs the integration and chaos suites, which need a Docker engine
  --hidden FOLDER     what learners do not have: each *.test.ts in it is a promise more; in the app they are in test/hidden,
                      with all else that is in the folder. Its file "seeds" has the number of the first seed
  --json FILE         writes the grade to this file
  --junit FILE        as a report of JUnit's
  --gradescope FILE   as Gradescope's results.json; it has no Docker engine
  --classroom50 FILE  as Classroom 50's result.json, in its runner

Ends with 0 where all promises are kept, with 1 where one is not, with 2 where it is called wrongly.
`;
const string = { type: 'string' } as const;
const files = { json: string, junit: string, gradescope: string, classroom50: string };
const options = { of: string, seeds: string, hidden: string, engine: { type: 'boolean' }, ...files } as const;

/** One command; gives the exit code. */
export async function main(
  root: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  out: (text: string) => void,
  tell: (text: string) => void,
): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
  const [app, ...others] = positionals;
  if (app === undefined || others[0] === 'help') {
    out(help);
    return app === undefined ? 2 : 0;
  }
  if (others.length > 0) throw new GradeError(`it takes one app; there is "${others.join(' ')}", too\n\n${help}`);
  // Npm and Nx run it in the root.
  const path = (given: string): string => resolve(env['CALLER_CWD'] ?? env['INIT_CWD'] ?? '.', given);
  const seeds = values.seeds === undefined ? undefined : Number(values.seeds);
  if (seeds !== undefined && !isCount(seeds)) throw new GradeError(`--seeds ${values.seeds}: it is a number from 1 on`);
  const [of, hidden] = [values.of, values.hidden].map((given) => (given === undefined ? undefined : path(given)));
  if (hidden !== undefined && !existsSync(hidden)) throw new GradeError(`there is no folder ${hidden}`);
  if (values.gradescope !== undefined && values.engine)
    throw new GradeError('--gradescope: there is no engine; leave out --engine');
  if (values.classroom50 !== undefined) checkRunner(env);
  const writes = (['json', 'junit', 'gradescope', 'classroom50'] as const).flatMap((format) => {
    const file = values[format];
    return file === undefined ? [] : [{ format, file: path(file) }];
  });
  // Before it judges for minutes.
  for (const { format, file } of writes)
    if (!existsSync(dirname(file))) throw new GradeError(`--${format}: there is no folder ${dirname(file)}`);
  const result = await grade(root, app, { of, hidden, seeds, engine: values.engine }, tell);
  out(table(result));
  for (const { format, file } of writes) {
    try {
      writeFileSync(file, formats[format](result, env));
    } catch (error) {
      throw new GradeError(`--${format}: ${(error as Error).message}`);
    }
  }
  return result.score === result.max && result.own.every(({ kept }) => kept) ? 0 : 1;
}

if (import.meta.main) {
  process.once('SIGINT', () => process.exit(130)).once('SIGTERM', () => process.exit(143));
  try {
    const root = join(import.meta.dirname, '..');
    const write = (text: string): void => void process.stdout.write(text);
    process.exitCode = await main(root, process.argv.slice(2), process.env, write, (text) => void process.stderr.write(text));
  } catch (error) {
    const expected = error instanceof GradeError || (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS');
    console.error(expected ? (error as Error).message : error);
    process.exitCode = expected ? 2 : 1;
  }
}
