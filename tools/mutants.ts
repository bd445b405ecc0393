/**
 * Which suite sees which mistake: `npm run mutants -- --help`.
 *
 * A package lists mistakes in `test/mistakes.ts`. Each is made in a copy of the workspace's sources, and the package's suites run there, the
 * quickest first, until one fails. Every suite has passed without a mistake before.
 *
 * What compares texts has seen nothing: tests of the whole repository, as tidy.test.ts, and a package's `mistakes.test.ts`, which makes mutants itself, do not
 * run; a failure for the reason that a mutant cannot be made counts for nothing.
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { changedCode, withMistake, type Mistake } from '@lab/testing';
import { copyWorkspace, failedTests, runNode, type Report } from './judging.ts';

/** The order in which they run. */
const suites = ['unit', 'simulation', 'embedded', 'integration', 'chaos'] as const;
type Suite = (typeof suites)[number];
const needEngine: readonly Suite[] = ['integration', 'chaos'];

/** So many find what a student would find with `npx nx simulate` in the time of a coffee. */
const seeds = 300;
/** A run that takes so many times as long as one without a mistake will not end. */
const patience = 10;
/** What a busy machine adds to the shortest runs. */
const patienceMsMin = 60_000;

/** What became of one mistake. */
export interface Verdict {
  rule: string;
  /** Undefined where no suite has seen it. */
  caughtBy: Suite | undefined;
  /** The test, the broken promise, or why else the suite has failed. */
  by: string | undefined;
  /** Of the simulation: how many faults are enough. */
  faults: number | undefined;
  seconds: number;
  noBug: string | undefined;
}

/** What became of all mistakes of a package. */
export interface Score {
  package: string;
  /** How long each suite took, without a mistake. */
  cleanSeconds: Partial<Record<Suite, number>>;
  verdicts: Verdict[];
}

/** A suite that has failed. */
interface Failure {
  by: string;
  faults?: number;
}

/** The folders of the packages that have a list of mistakes, by their names. */
export function packagesWithMistakes(root: string): Map<string, string> {
  const folders = ['libs', 'apps'].flatMap((kind) =>
    existsSync(join(root, kind)) ? readdirSync(join(root, kind)).map((name): [string, string] => [name, `${kind}/${name}`]) : [],
  );
  return new Map(folders.filter(([, folder]) => existsSync(join(root, folder, 'test/mistakes.ts'))));
}

export async function mistakesOf(root: string, folder: string): Promise<readonly Mistake[]> {
  const { mistakes } = (await import(pathToFileURL(join(root, folder, 'test/mistakes.ts')).href)) as { mistakes: Mistake[] };
  return mistakes;
}

/** Makes the mistakes of one package, one after another, in a copy of the workspace. */
export class Mutants {
  readonly #tools: string;
  readonly #root: string;
  readonly #copy: string;
  readonly #folder: string;
  readonly #cleanMs = new Map<Suite, number>();
  readonly #failing = new Set<Suite>();
  readonly #suites: readonly Suite[];

  /** `tools` is where vitest is; `copy` is that of the workspace `root`; `folder` is the package's in both. */
  constructor(tools: string, root: string, copy: string, folder: string, withEngine: boolean) {
    this.#tools = tools;
    this.#root = root;
    this.#copy = copy;
    this.#folder = folder;
    this.#suites = suites.filter((suite) => this.#has(suite) && (withEngine || !needEngine.includes(suite)));
  }

  async score(onVerdict: (verdict: Verdict) => void): Promise<Score> {
    const verdicts: Verdict[] = [];
    for (const mistake of await mistakesOf(this.#root, this.#folder)) {
      const verdict = await this.#judge(mistake);
      verdicts.push(verdict);
      onVerdict(verdict);
    }
    const cleanSeconds = Object.fromEntries([...this.#cleanMs].map(([suite, ms]) => [suite, ms / 1000]));
    return { package: this.#folder.slice(this.#folder.indexOf('/') + 1), cleanSeconds, verdicts };
  }

  async #judge(mistake: Mistake): Promise<Verdict> {
    const { rule, noBug } = mistake;
    let ms = 0;
    for (const suite of this.#suites) {
      if (!(await this.#passesClean(suite))) continue;
      const startMs = performance.now();
      const failure = await this.#withMistake(mistake, () => this.#run(suite));
      ms += performance.now() - startMs;
      if (failure !== undefined)
        return { rule, caughtBy: suite, by: failure.by, faults: failure.faults, seconds: ms / 1000, noBug };
    }
    return { rule, caughtBy: undefined, by: undefined, faults: undefined, seconds: ms / 1000, noBug };
  }

  /** What fails without a mistake would see all of them: it is left out. Only the unit tests have to pass. */
  async #passesClean(suite: Suite): Promise<boolean> {
    if (this.#failing.has(suite)) return false;
    if (this.#cleanMs.has(suite)) return true;
    const startMs = performance.now();
    const failure = await this.#run(suite);
    if (failure === undefined) this.#cleanMs.set(suite, performance.now() - startMs);
    else {
      const message = `${this.#folder}: ${suite} fails without a mistake, too: ${failure.by}`;
      if (suite === 'unit') throw new Error(message);
      console.error(message);
      this.#failing.add(suite);
    }
    return failure === undefined;
  }

  async #withMistake<T>(mistake: Mistake, use: () => Promise<T>): Promise<T> {
    const path = join(this.#copy, this.#folder, mistake.file);
    const source = readFileSync(path, 'utf8');
    writeFileSync(path, withMistake(source, mistake));
    try {
      return await use();
    } finally {
      writeFileSync(path, source);
    }
  }

  #has(suite: Suite): boolean {
    const folder = join(this.#copy, this.#folder);
    if (suite === 'unit') return true;
    if (suite === 'simulation') return existsSync(join(folder, 'test/simulate.ts'));
    return readdirSync(folder, { recursive: true, encoding: 'utf8' }).some((file) => file.endsWith(`.${suite}.test.ts`));
  }

  #run(suite: Suite): Promise<Failure | undefined> {
    return suite === 'simulation' ? this.#simulate(suite) : this.#test(suite);
  }

  /** The first failure ends it; but one that complains of the changed text hides those that come after it: then all have to run. */
  async #test(suite: Suite, bail = 1): Promise<Failure | undefined> {
    const report = join(this.#copy, 'tmp-report.json');
    rmSync(report, { force: true });
    const vitest = join(this.#tools, 'node_modules/vitest/vitest.mjs');
    const output = ['--reporter=json', `--outputFile=${report}`, `--bail=${bail}`];
    const args = ['run', `--project=${suite}`, `${this.#folder}/`, ...output, '--exclude=**/mistakes.test.ts'];
    // One seed shows that it runs; what more of them find is what the simulation has found.
    const env = this.#has('simulation') ? { SEEDS: '1' } : {};
    const { code, stderr } = await runNode([vitest, ...args], this.#copy, env, this.#patienceMs(suite));
    if (code === 0) return undefined;
    if (code === undefined) return { by: 'it does not end' };
    const failed = existsSync(report) ? failedTests(JSON.parse(readFileSync(report, 'utf8')) as Report) : [];
    const seeing = failed.filter(({ message }) => !message.includes(changedCode));
    // A file that was not run for a failure in another looks like one that cannot be loaded.
    const certain = bail === 0 ? seeing : seeing.filter(({ isFile }) => !isFile);
    if (certain.length > 0) return { by: certain[0]!.name };
    if (bail > 0) return this.#test(suite, 0);
    return failed.length > 0 ? undefined : { by: `an error outside of a test: ${stderr.slice(0, 1_000)}` };
  }

  async #simulate(suite: Suite): Promise<Failure | undefined> {
    const args = ['test/simulate.ts', '--seeds', `${seeds}`, '--jobs', '2', '--json'];
    const { code, stdout, stderr } = await runNode(args, join(this.#copy, this.#folder), {}, this.#patienceMs(suite));
    if (code === 0) return undefined;
    if (code === undefined) return { by: 'it does not end' };
    if (!stdout.startsWith('{')) return { by: `an error: ${stderr.slice(0, 1_000)}` };
    const { failure } = JSON.parse(stdout) as { failure: { promise: string; scenario: { faults: unknown[] } } };
    return { by: failure.promise, faults: failure.scenario.faults.length };
  }

  #patienceMs(suite: Suite): number | undefined {
    const clean = this.#cleanMs.get(suite);
    return clean === undefined ? undefined : Math.max(patienceMsMin, clean * patience);
  }
}

const survives = ({ caughtBy, noBug }: Verdict): boolean => caughtBy === undefined && noBug === undefined;

/** In a few words. */
function seenBy({ caughtBy, faults, noBug }: Verdict): string {
  if (caughtBy === undefined) return noBug === undefined ? '**nobody**' : 'nobody: no bug';
  return faults === undefined ? caughtBy : `${caughtBy}, ${faults} ${faults === 1 ? 'fault' : 'faults'}`;
}

/** How many of the mistakes that are bugs were seen, by whom, and where the time went. */
export function summary({ cleanSeconds, verdicts }: Score): string {
  const bugs = verdicts.filter(({ caughtBy, noBug }) => caughtBy !== undefined || noBug === undefined);
  const caught = bugs.filter(({ caughtBy }) => caughtBy !== undefined);
  const parts = suites
    .map((suite) => ({ suite, count: caught.filter(({ caughtBy }) => caughtBy === suite).length }))
    .filter(({ suite, count }) => count > 0 || cleanSeconds[suite] !== undefined)
    .map(({ suite, count }) => `${suite} ${count} (clean ${cleanSeconds[suite]?.toFixed(0)} s)`);
  const seconds = verdicts.reduce((sum, verdict) => sum + verdict.seconds, 0);
  const noBugs = verdicts.length - bugs.length;
  const rest = noBugs === 0 ? '' : `; ${noBugs} ${noBugs === 1 ? 'is no bug' : 'are no bugs'}`;
  return `${caught.length} of ${bugs.length} caught: ${parts.join(', ')}${rest}. It took ${seconds.toFixed(0)} s.`;
}

/** A section of the document. */
export function section(score: Score): string {
  const rows = score.verdicts.map((verdict) => `| ${verdict.rule} | ${seenBy(verdict)} | ${verdict.seconds.toFixed(0)} |`);
  const reasons = score.verdicts.flatMap(({ rule, caughtBy, noBug }) =>
    caughtBy === undefined && noBug !== undefined ? [wrapped(`No bug: "${rule}". ${noBug}`)] : [],
  );
  const parts = [
    `## ${score.package}`,
    summary(score),
    ['| mistake | caught by | s |', '|---|---|---|', ...rows].join('\n'),
    ...reasons,
  ];
  return `${parts.join('\n\n')}\n`;
}

/** Lines of a document have at most 120 characters. */
const wrapped = (sentence: string): string =>
  sentence
    .match(/.{1,118}(?:\s|$)/g)!
    .map((line) => line.trim())
    .join('\n');

/** The document with the sections of these scores; the others stay, and all are in the order of their names. */
export function updated(document: string, scores: readonly Score[]): string {
  const [introduction = '', ...others] = document.split(/^(?=## )/m);
  const sections = new Map(others.map((each) => [/^## (.*)/.exec(each)![1]!, each.trim()]));
  for (const score of scores) sections.set(score.package, section(score).trim());
  const sorted = [...sections].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
  return `${[introduction.trim(), ...sorted].join('\n\n')}\n`;
}

const root = join(import.meta.dirname, '..');
const document = join(root, 'MUTANTS.md');
const flag = { type: 'boolean' } as const;
const options = { engine: flag, json: { type: 'string' }, markdown: flag, help: { ...flag, short: 'h' } } as const;

const help = `Usage: npm run mutants -- [PACKAGE ...] [--engine] [--json FILE] [--markdown]

Makes each mistake of the packages' lists in a copy of the workspace and says which suite catches it. Ends with 1 where nobody
catches one and its list has no reason for that.

  --engine      asks the integration and chaos suites, too, which need a Docker engine
  --json FILE   writes what was found to this file
  --markdown    writes it into MUTANTS.md
`;

async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
  const folders = packagesWithMistakes(root);
  const names = [...folders.keys()].join(', ');
  if (values.help) {
    process.stdout.write(`${help}\nThe packages: ${names}\n`);
    return 0;
  }
  const unknown = positionals.find((name) => !folders.has(name));
  if (unknown !== undefined) {
    console.error(`there is no list of mistakes for "${unknown}"; there are ${names}`);
    return 2;
  }
  using copy = copyWorkspace(root);
  process.once('exit', () => copy[Symbol.dispose]());
  process.once('SIGINT', () => process.exit(130)).once('SIGTERM', () => process.exit(143));
  const scores: Score[] = [];
  for (const name of positionals.length > 0 ? positionals : folders.keys()) {
    console.log(`\n${name}`);
    const score = await new Mutants(root, root, copy.folder, folders.get(name)!, values.engine ?? false).score(print);
    console.log(summary(score));
    scores.push(score);
    if (values.markdown) writeFileSync(document, updated(readFileSync(document, 'utf8'), [score]));
  }
  // npm runs it in the root.
  const file = values.json && resolve(process.env['INIT_CWD'] ?? '.', values.json);
  if (file) writeFileSync(file, `${JSON.stringify(scores, undefined, 2)}\n`);
  return scores.some(({ verdicts }) => verdicts.some(survives)) ? 1 : 0;
}

function print(verdict: Verdict): void {
  const mark = survives(verdict) ? '✗' : '✓';
  const by = verdict.by === undefined ? '' : `  (${verdict.by.replaceAll(/\s+/g, ' ').slice(0, 70)})`;
  console.log(
    `${mark} ${verdict.rule.padEnd(50)}  ${seenBy(verdict).padEnd(20)} ${verdict.seconds.toFixed(1).padStart(6)} s${by}`,
  );
}

if (import.meta.main) {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS') ? 2 : 1;
  }
}
