/**
 * Runs every check and every test of the workspace, and counts them: `npm run test:all`. With `--no-engine` only what answers within a minute: `npm test`.
 *
 * What is quick runs side by side; then what needs an engine, in the order that vitest.config.ts says.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { text } from 'node:stream/consumers';
import { ensureEngine } from '../docker/engine.ts';
import { everyImage } from '../docker/images.ts';

const root = join(import.meta.dirname, '..');

interface Counts {
  passed: number;
  failed: number;
  /** Their names, which say why. */
  skipped: readonly string[];
  /** A line or more for each failure: said again at the end, where somebody looks first after a long run. */
  failures: readonly string[];
  files: readonly FileTime[];
}

interface FileTime {
  file: string;
  seconds: number;
}

interface Step {
  name: string;
  run: () => Promise<Counts>;
}

/** Count as one test each. Where Nx does it, it answers at once if nothing has changed since the last time. */
const checks: readonly Step[] = [
  check('format', 'prettier', ['--check', '.', '--cache', '--log-level', 'warn']),
  existsSync(join(root, 'nx.json'))
    ? check('lint, types', 'nx', ['lint', 'workspace'])
    : check('lint, types', 'npm', ['run', '--silent', 'lint']),
];

/** Projects of vitest.config.ts. */
const unit = suite('unit', 'unit');
const longSuites = [suite('no engine', 'embedded', 'readme:*', 'copy', 'hostile'), suite('engine', 'integration*', 'chaos*')];

function check(name: string, program: string, args: readonly string[]): Step {
  return {
    name,
    async run() {
      const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
      const [code, output, complaints] = await Promise.all([ended(child), text(child.stdout), text(child.stderr)]);
      if (code === 0) return { passed: 1, failed: 0, skipped: [], failures: [], files: [] };
      process.stderr.write(`\n${output}${complaints}\n`);
      return { passed: 0, failed: 1, skipped: [], failures: [name], files: [] };
    },
  };
}

/** Vitest names each file when it is done, so that a long run shows where it is. */
function suite(name: string, ...projects: readonly string[]): Step {
  return {
    name,
    async run() {
      const folder = await mkdtemp(join(tmpdir(), 'lab-tests-'));
      const report = join(folder, 'report.json');
      const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
      // For a server that shows results.
      const junit = process.env['JUNIT_FOLDER'];
      if (junit !== undefined) reporters.push('--reporter=junit', `--outputFile.junit=${join(junit, `${name}.xml`)}`);
      try {
        const args = ['run', ...projects.map((project) => `--project=${project}`), ...reporters];
        const child = spawn('vitest', args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
        return await countsOf(name, report, await ended(child));
      } finally {
        await rm(folder, { recursive: true });
      }
    },
  };
}

async function ended(child: ReturnType<typeof spawn>): Promise<number> {
  return new Promise((resolve, reject) => child.once('error', reject).once('close', (code) => resolve(code ?? 1)));
}

interface Report {
  numPassedTests: number;
  testResults: FileResult[];
}

interface FileResult {
  name: string;
  status: string;
  message: string;
  startTime: number;
  endTime: number;
  assertionResults: { status: string; fullName: string; failureMessages: string[] }[];
}

/** Counts a report of Vitest. A file that cannot be loaded has no tests, and yet has failed; so has a run without a report. */
async function countsOf(suite: string, reportFile: string, code: number): Promise<Counts> {
  const content = await readFile(reportFile, 'utf8').catch(() => undefined);
  if (content === undefined)
    return { passed: 0, failed: 1, skipped: [], failures: [`${suite}: vitest wrote no report`], files: [] };
  const report = JSON.parse(content) as Report;
  const failures = report.testResults.flatMap(failuresOf);
  if (failures.length === 0 && code !== 0) failures.push(`${suite}: an error outside of a test; vitest ended with ${code}`);
  return {
    passed: report.numPassedTests,
    failed: failures.length,
    skipped: report.testResults.flatMap(skippedOf),
    failures,
    files: report.testResults.map(({ name, startTime, endTime }) => ({
      file: relative(root, name),
      seconds: (endTime - startTime) / 1000,
    })),
  };
}

function failuresOf({ name, status, message, assertionResults }: FileResult): string[] {
  const file = relative(root, name);
  if (status === 'failed' && assertionResults.length === 0) return [`${file}: ${message}`];
  return assertionResults
    .filter((result) => result.status === 'failed')
    .map(({ fullName, failureMessages }) => `${file}: ${fullName}\n${failureMessages.join('\n').slice(0, 2000)}`);
}

function skippedOf({ name, assertionResults }: FileResult): string[] {
  const skipped = assertionResults.filter(({ status }) => status !== 'passed' && status !== 'failed');
  return skipped.map(({ fullName }) => `${relative(root, name)}: ${fullName}`);
}

async function timed({ name, run }: Step): Promise<Counts> {
  const startMs = performance.now();
  const counts = await run();
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  console.log(`${counts.failed === 0 ? '✓' : '✗'} ${name.padEnd(12)} ${sentence(counts)}  (${seconds} s)`);
  return counts;
}

function sentence({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped.length === 0 ? '' : `, ${skipped.length} skipped`}`;
}

function sum(all: readonly Counts[]): Counts {
  const total = (key: 'passed' | 'failed'): number => all.reduce((so, counts) => so + counts[key], 0);
  return {
    passed: total('passed'),
    failed: total('failed'),
    skipped: all.flatMap(({ skipped }) => skipped),
    failures: all.flatMap(({ failures }) => failures),
    files: all.flatMap(({ files }) => files),
  };
}

function printSlowest(files: readonly FileTime[]): void {
  console.log('\nthe slowest files:');
  for (const { file, seconds } of files.toSorted((a, b) => b.seconds - a.seconds).slice(0, 10))
    console.log(`${seconds.toFixed(1).padStart(7)} s  ${file}`);
}

const help = `Usage: npm run test:all, or npm test

Runs every check and every test of the workspace. npm test is the same with --no-engine: only what answers within a minute.
What takes minutes for each app is done for the smallest and for one other a day, in turn: plugs are pulled in containers,
commands of READMEs run on engines, exercises are solved. CHAOS=all npm run test:all does it for each, which takes hours.
One suite: npx vitest run --project=unit [FILE]
`;

async function main(args: readonly string[]): Promise<number> {
  if (args.some((arg) => arg === '--help' || arg === '-h')) {
    process.stdout.write(help);
    return 0;
  }
  const unknown = args.find((arg) => arg !== '--no-engine');
  if (unknown !== undefined) {
    process.stderr.write(`there is no argument "${unknown}"\n\n${help}`);
    return 2;
  }
  const withEngine = !args.includes('--no-engine');
  // For whoever waits for an answer; all seeds run where everything runs.
  if (!withEngine) process.env['SEEDS'] ??= '10';
  process.env['CHAOS'] ??= 'in-turn';
  // Before anything else: who has to start an engine first should not learn it after a minute of tests.
  if (withEngine) await ensureEngine();
  // Mostly downloads, and nothing before the integration tests needs them. What fails here those make again, and say so.
  const images = withEngine ? everyImage().catch(() => undefined) : undefined;
  console.log('format, lint, types and unit tests, side by side ...');
  const all = await Promise.all([...checks, unit].map(timed));
  for (const step of withEngine ? longSuites : []) {
    if (step.name === 'engine') await images;
    console.log(`\n${step.name} tests ...`);
    all.push(await timed(step));
  }
  const total = sum(all);
  printSlowest(total.files);
  for (const test of total.skipped) console.log(`\n- skipped: ${test}`);
  for (const failure of total.failures) console.log(`\n✗ ${failure}`);
  console.log(`\n${sentence(total)}`);
  // Everything can run here, so what was skipped has not passed.
  return total.failed + total.skipped.length === 0 ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
