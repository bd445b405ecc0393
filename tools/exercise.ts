/**
 * Exercises of an app: `npx nx exercise word-count help`.
 *
 * Each is a folder in the app's `exercises/`: `exercise.json` (an Exercise), a solution, and in three languages the task, hints, and an explanation.
 * - break: a mistake of the app's `test/mistakes.ts` is made in its sources; the learner repairs them. The solution is the source as it was.
 * - build: the learner adds something. `judge.ts` has the tests for it, `solution.patch` is a way to do it.
 * - find: the learner writes a test, which begins as `start.ts`, that passes on the right sources and fails where a mistake is in them. The
 *   file `solution.ts` is one.
 *
 * What is judged is a copy of the commit that the exercise was begun on, so with that commit's tests, libraries and seeds: only the learner's own part
 * comes from the work tree.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { withMistake, type Mistake } from '@lab/testing';
import { languages, texts, triesBefore, type Language } from './exercise-texts.ts';
import { copyOfCommit, replaceFiles, runNode, runTests, type TestRun } from './judging.ts';
import { mistakesOf } from './mutants.ts';

/** What `exercise.json` says. */
interface Exercise {
  kind: 'break' | 'build' | 'find';
  /** break, find: the rule of the mistake in the app's `test/mistakes.ts`. */
  rule?: string;
  /** break, find: the promise that the mistake breaks, as the simulation names it. */
  promise?: string;
  /** find: the promises that the learner chooses from. */
  promises?: string[];
  /** break: the seed whose story the learner is shown. */
  show?: number;
  /** How many of the simulation's seeds judge. */
  seeds?: number;
  /** Tests of the app that have to pass, too, below its folder. */
  tests?: string[];
  /** What of the app is the learner's: by default `src`. */
  work?: string[];
}

/** What is remembered of an exercise that was begun, in the app's folder `tmp`. */
interface Progress {
  /** The commit that it was begun on. */
  base: string;
  /** What Git calls the learner's part as it was then, with the mistake. */
  begun: string;
  tries: number;
  hints: number;
  solved: boolean;
}
type State = { current?: number; begun: Record<number, Progress> };

interface Verdict {
  solved: boolean;
  text: string;
}

const languageOf = (given: string): Language | undefined => languages.find((each) => given.toLowerCase().startsWith(each));

/** What has not ended by then hangs: on two cores the longest judgement takes a minute. */
const patienceMs = 600_000;
/** In front of commands. */
const indent = ' '.repeat(14);
const aligned = (words: string, command: string): string => words.padEnd(indent.length) + command;
/** A learner's test that waits for something which does not come has failed. */
const testMs = 60_000;

/** Says what is wrong with a command, or what stands in its way. */
export class ExerciseError extends Error {}

/** The exercises of one app. */
export class Exercises {
  readonly #root: string;
  readonly #app: string;
  readonly #language: Language;
  readonly #folder: string;
  readonly #stateFile: string;
  readonly #state: State;
  /** Folder names, `1-the-first`, in order. */
  readonly #names: readonly string[];

  constructor(root: string, app: string, language: Language = 'en') {
    this.#root = root;
    this.#app = app;
    this.#language = language;
    this.#folder = join(root, 'apps', app);
    const parent = join(this.#folder, 'exercises');
    if (!existsSync(parent)) throw new ExerciseError(`${app} has no exercises`);
    const folders = readdirSync(parent, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    this.#names = folders.map(({ name }) => name).sort();
    this.#stateFile = join(this.#folder, 'tmp/exercises.json');
    const saved = existsSync(this.#stateFile) ? readFileSync(this.#stateFile, 'utf8') : '{ "begun": {} }';
    this.#state = JSON.parse(saved) as State;
  }

  get #texts(): (typeof texts)[Language] {
    return texts[this.#language];
  }

  get count(): number {
    return this.#names.length;
  }

  /** One line for each. */
  list(): string {
    const lines = this.#names.map((_, index) => {
      const number = index + 1;
      const [title = ''] = this.#document(number, 'task').split('\n');
      return `${number}  ${this.definition(number).kind.padEnd(6)} ${title.replace(/^# /, '').padEnd(50)} ${this.#stateOf(number)}`;
    });
    return `${lines.join('\n')}\n\n${this.#texts.list(`npx nx exercise ${this.#app}`)}\n`;
  }

  definition(number: number): Exercise {
    return JSON.parse(readFileSync(this.#file(number, 'exercise.json'), 'utf8')) as Exercise;
  }

  /** Begins one, or shows the task again of the one that was begun. */
  async begin(number: number): Promise<string> {
    const { current, begun } = this.#state;
    // First of all whether there is such a one.
    const paths = this.#work(number);
    if (current !== number || begun[number] === undefined) {
      if (current !== undefined && !begun[current]!.solved)
        throw new ExerciseError(
          `exercise ${current} is not solved: check it, or put it away with npx nx exercise ${this.#app} reset`,
        );
      const changed = this.#git(['status', '--porcelain', '--', ...paths]);
      if (changed !== '')
        throw new ExerciseError(`there are changes that are not committed: commit or stash them first\n${changed}`);
      const base = this.#git(['rev-parse', 'HEAD']);
      await this.#apply(number);
      this.#state.current = number;
      begun[number] = { base, begun: this.#tree(base, paths), tries: 0, hints: 0, solved: false };
      this.#save();
    }
    return `${this.#document(number, 'task')}\n${this.#next(number)}\n`;
  }

  async #apply(number: number): Promise<void> {
    const { kind } = this.definition(number);
    if (kind === 'find') cpSync(this.#file(number, 'start.ts'), join(this.#folder, this.#work(number)[0]!));
    if (kind !== 'break') return;
    const mistake = await this.#mistake(number);
    const file = join(this.#folder, mistake.file);
    writeFileSync(file, withMistake(readFileSync(file, 'utf8'), mistake));
  }

  /** The commands of what is next. */
  #next(number: number): string {
    const { kind, show } = this.definition(number);
    const check = `npx nx exercise ${this.#app} check`;
    const { aRun, others, repair, run, then, work, write } = this.#texts;
    const folder = `apps/${this.#app}`;
    if (kind === 'break') return [aRun, ...this.#look(show!), repair(`${folder}/src`), `${indent}${check}`, others].join('\n');
    if (kind === 'build') return `${work(folder)}  ${check}\n${others}`;
    const path = `${folder}/${this.#work(number)[0]!}`;
    const commands = [aligned(run, `npx vitest run --project unit ${path}`), aligned(then, `${check} ANSWER`)];
    return [write(path), ...commands, this.#choices(number), others].join('\n');
  }

  /** The commands that show a run. */
  #look(seed: number): string[] {
    const { page, story } = this.#texts;
    const told = aligned(story, `npx nx simulate ${this.#app} --seed ${seed} --events tmp/run.jsonl`);
    return [told, aligned(page, `npx nx look ${this.#app} --replay tmp/run.jsonl`)];
  }

  #choices(number: number): string {
    return [this.#texts.choose, ...this.definition(number).promises!.map((each, index) => `  ${index + 1}  ${each}`)].join('\n');
  }

  /** Judges the current exercise; `answer` is the number of a promise. */
  async check(answer: number | undefined): Promise<Verdict> {
    const [number, progress] = this.#current();
    progress.tries++;
    this.#save();
    using copy = copyOfCommit(this.#root, progress.base, 'exercise');
    // What the exercise is, the copy says, too.
    const verdict = await new Exercises(copy.folder, this.#app, this.#language).#judge(number, this.#folder, answer);
    if (!verdict.solved) return { ...verdict, text: `${this.#texts.notYet} ${verdict.text}\n` };
    progress.solved = true;
    this.#save();
    return { solved: true, text: `${verdict.text}\n\n${this.#document(number, 'explanation')}` };
  }

  /** Judges what the learner has in the folder `theirs`; this is the copy. */
  async #judge(number: number, theirs: string, answer: number | undefined): Promise<Verdict> {
    const { kind, show, seeds, tests = [] } = this.definition(number);
    this.#overlay(number, theirs);
    if (kind === 'find') return this.#judgeTest(number, answer);
    const broken = (await this.#simulate('seed', show)) ?? (await this.#simulate('seeds', seeds));
    if (broken !== undefined) return broken;
    const judge = this.#file(number, 'judge.ts');
    if (kind === 'build') cpSync(judge, judge.replace(/\.ts$/, '.test.ts'));
    const own = kind === 'build' ? [`exercises/${basename(dirname(judge))}/judge.test.ts`] : [];
    const { problem } = await this.#test([...own, ...tests]);
    if (problem !== undefined) return { solved: false, text: this.#texts.failed(problem) };
    return { solved: true, text: seeds === undefined ? this.#texts.done : this.#texts.kept(seeds) };
  }

  /** The learner's test is run on right sources, and on those with the mistake. */
  async #judgeTest(number: number, answer: number | undefined): Promise<Verdict> {
    const { promise = '', promises } = this.definition(number);
    const { another, failsOnRight, found, name, noTest, passesOnBoth, sees } = this.#texts;
    const [test = ''] = this.#work(number);
    const mistake = await this.#mistake(number);
    const source = join(this.#folder, mistake.file);
    const right = readFileSync(source, 'utf8');
    // What compares texts sees a difference here, where there is none.
    writeFileSync(source, `${right}\n// Right.\n`);
    const first = await this.#test([test]);
    if (first.problem !== undefined) return { solved: false, text: failsOnRight(first.problem) };
    if (first.passed === 0) return { solved: false, text: noTest(test) };
    writeFileSync(source, withMistake(right, mistake));
    const second = await this.#test([test]);
    if (second.problem === undefined) return { solved: false, text: passesOnBoth };
    const seen = sees(second.problem);
    if (answer === undefined) return { solved: false, text: `${seen}\n${name}\n${this.#choices(number)}` };
    if (promises![answer - 1] !== promise) return { solved: false, text: `${seen}\n${another}` };
    return { solved: true, text: found(seen, promise) };
  }

  /** Runs one seed, or so many; gives nothing where the promises are kept. */
  async #simulate(which: 'seed' | 'seeds', count: number | undefined): Promise<Verdict | undefined> {
    if (count === undefined) return undefined;
    const args = ['test/simulate.ts', `--${which}`, `${count}`, '--jobs', '2', '--json'];
    const { code, stdout, stderr } = await runNode(args, this.#folder, {}, patienceMs);
    const { broken, cannotRun, endedEarly, hangs } = this.#texts;
    if (code === undefined) return { solved: false, text: hangs };
    if (!stdout.startsWith('{')) return { solved: false, text: `${cannotRun}\n${stderr.slice(0, 2_000)}` };
    const { failure, seeds } = JSON.parse(stdout) as SimulationReport;
    const all = which === 'seed' ? 1 : count;
    if (failure === null && seeds === all && code === 0) return undefined;
    if (failure === null) return { solved: false, text: endedEarly(seeds, all) };
    const { promise, detail, scenario } = failure;
    const text = [broken(promise), `    ${detail.split('\n').slice(0, 4).join('\n    ')}`, ...this.#look(scenario.seed)];
    return { solved: false, text: text.join('\n') };
  }

  /** Runs test files of the app. */
  #test(files: readonly string[]): Promise<TestRun> {
    const paths = files.map((file) => `apps/${this.#app}/${file}`);
    return runTests(this.#root, ['--project=unit', `--testTimeout=${testMs}`, ...paths], patienceMs);
  }

  /** One more each time, until all are shown. */
  hint(): string {
    const [number, progress] = this.#current();
    const hints = this.#document(number, 'hints').split(/^(?=\d+\. )/m);
    progress.hints = Math.min(progress.hints + 1, hints.length);
    this.#save();
    const more = hints.length - progress.hints;
    return `${hints.slice(0, progress.hints).join('')}\n${more === 0 ? this.#texts.lastHint : this.#texts.moreHints(more)}\n`;
  }

  explain(): string {
    const [number, { tries, solved }] = this.#current();
    if (!solved && tries < triesBefore)
      throw new ExerciseError(`the explanation comes after ${triesBefore} tries of check; you had ${tries}. There is also: hint`);
    return this.#document(number, 'explanation');
  }

  /** Puts the learner's part back as it was before; what the learner did is kept as a patch. */
  reset(): string {
    const [number, { base, begun }] = this.#current();
    const paths = this.#work(number);
    const now = this.#tree(base, paths);
    let kept = '';
    if (now !== begun) {
      const patch = `tmp/exercise-${number}.patch`;
      writeFileSync(join(this.#folder, patch), `${this.#git(['diff', '--binary', base, now, '--', ...paths])}\n`);
      kept = `\n${this.#texts.saved(`apps/${this.#app}/${patch}`)}`;
    }
    const changes = this.#git(['diff', '--name-status', '--no-renames', '-z', '--relative', base, now, '--', ...paths]).split(
      '\0',
    );
    for (let index = 0; index + 1 < changes.length; index += 2) {
      const [status, file] = [changes[index]!, changes[index + 1]!];
      if (status === 'A') rmSync(join(this.#folder, file));
      else this.#git(['restore', `--source=${base}`, '--worktree', '--', file]);
    }
    delete this.#state.begun[number];
    delete this.#state.current;
    this.#save();
    return `${this.#texts.away(number, paths.map((path) => `apps/${this.#app}/${path}`).join(', '))}${kept}\n`;
  }

  /** For a test: does what the solution does. */
  async solve(): Promise<void> {
    const [number, { base }] = this.#current();
    const { kind } = this.definition(number);
    if (kind === 'build') this.#git(['apply', this.#file(number, 'solution.patch')], {}, this.#root);
    else if (kind === 'find') cpSync(this.#file(number, 'solution.ts'), join(this.#folder, this.#work(number)[0]!));
    else this.#git(['restore', `--source=${base}`, '--worktree', '--', (await this.#mistake(number)).file]);
  }

  #current(): [number, Progress] {
    const { current, begun } = this.#state;
    if (current === undefined) throw new ExerciseError(`no exercise was begun: npx nx exercise ${this.#app} 1`);
    return [current, begun[current]!];
  }

  #file(number: number, name: string): string {
    const folder = this.#names[number - 1];
    if (folder === undefined)
      throw new ExerciseError(`there is no exercise ${number} of ${this.#app}: there are 1 to ${this.count}`);
    return join(this.#folder, 'exercises', folder, name);
  }

  #document(number: number, name: 'task' | 'hints' | 'explanation'): string {
    return readFileSync(this.#file(number, `${name}.${this.#language}.md`), 'utf8');
  }

  #stateOf(number: number): string {
    const progress = this.#state.begun[number];
    if (progress === undefined) return '';
    return progress.solved ? this.#texts.solved : this.#texts.begun(progress.tries);
  }

  /** What is the learner's, below the app's folder. */
  #work(number: number): readonly string[] {
    const { kind, work = ['src'] } = this.definition(number);
    return kind === 'find' ? [`exercises/${this.#names[number - 1]!}/yours.test.ts`] : work;
  }

  async #mistake(number: number): Promise<Mistake> {
    const { rule } = this.definition(number);
    const mistake = (await mistakesOf(this.#root, `apps/${this.#app}`)).find((each) => each.rule === rule);
    if (mistake === undefined) throw new ExerciseError(`test/mistakes.ts of ${this.#app} has no mistake "${rule}"`);
    return mistake;
  }

  #save(): void {
    mkdirSync(dirname(this.#stateFile), { recursive: true });
    writeFileSync(this.#stateFile, `${JSON.stringify(this.#state, undefined, 2)}\n`);
  }

  #git(args: readonly string[], env: Record<string, string> = {}, cwd = this.#folder): string {
    return execFileSync('git', args, { cwd, env: { ...process.env, ...env }, encoding: 'utf8', maxBuffer: 2 ** 28 }).replace(
      /\n$/,
      '',
    );
  }

  /** What Git calls the commit with these paths as they are now, whether they are committed or not; its own index stays as it is. */
  #tree(base: string, paths: readonly string[]): string {
    mkdirSync(dirname(this.#stateFile), { recursive: true });
    const index = { GIT_INDEX_FILE: join(dirname(this.#stateFile), 'exercise.index') };
    this.#git(['read-tree', base], index);
    const there = paths.filter(
      (path) => existsSync(join(this.#folder, path)) || this.#git(['ls-files', '--', path], index) !== '',
    );
    if (there.length > 0) this.#git(['add', '--all', '--', ...there], index);
    const tree = this.#git(['write-tree'], index);
    rmSync(index.GIT_INDEX_FILE);
    return tree;
  }

  /** Puts the learner's part into this copy; but tests stay those of the copy, where it is not the learner's test that is judged. */
  #overlay(number: number, theirs: string): void {
    const isTest = (path: string): boolean => this.definition(number).kind !== 'find' && path.endsWith('.test.ts');
    for (const path of this.#work(number)) replaceFiles(join(theirs, path), join(this.#folder, path), (file) => !isTest(file));
  }
}

interface SimulationReport {
  seeds: number;
  failure: { promise: string; detail: string; scenario: { seed: number; faults: unknown[] } } | null;
}

const help = `Usage: npx nx exercise APP [COMMAND] [--lang en|es|pt]

  (nothing)       lists the exercises of the app
  1, 2, ...       begins one; again: shows its task
  check           judges it, and says what is missing; ends with 1 while it is not solved
  check ANSWER    of an exercise that asks for a promise: with the promise's number
  hint            a hint, one more each time
  explain         after ${triesBefore} tries of check: what it was about
  reset           puts everything back as it was; what you did is kept as a patch

The language is that of LANG where it is none of the three: English.
`;

/** One command; gives the exit code. */
export async function main(
  root: string,
  app: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  print: (text: string) => void,
): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...args], options: { lang: { type: 'string' } }, allowPositionals: true });
  const [command = 'list', answer] = positionals;
  const language = languageOf(values.lang ?? env['LANG'] ?? '') ?? (values.lang === undefined ? 'en' : undefined);
  if (language === undefined) throw new ExerciseError(`--lang ${values.lang}: there are ${languages.join(', ')}`);
  const exercises = new Exercises(root, app, language);
  if (command === 'list') print(exercises.list());
  else if (/^\d+$/.test(command)) print(await exercises.begin(Number(command)));
  else if (command === 'hint') print(exercises.hint());
  else if (command === 'explain') print(exercises.explain());
  else if (command === 'reset') print(exercises.reset());
  else if (command === 'help') print(help);
  else if (command === 'check') {
    const { solved, text } = await exercises.check(answer === undefined ? undefined : Number(answer));
    print(text);
    return solved ? 0 : 1;
  } else throw new ExerciseError(`there is no command "${command}"\n\n${help}`);
  return 0;
}

if (import.meta.main) {
  try {
    const print = (text: string): void => void process.stdout.write(text);
    process.exitCode = await main(
      join(import.meta.dirname, '..'),
      basename(process.cwd()),
      process.argv.slice(2),
      process.env,
      print,
    );
  } catch (error) {
    const expected = error instanceof ExerciseError || (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS');
    console.error(expected ? (error as Error).message : error);
    process.exitCode = expected ? 2 : 1;
  }
}
