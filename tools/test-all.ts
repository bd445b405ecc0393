/**
 * Runs every check and every test of the workspace, and counts them: `npm run test:all`. With `--no-engine` only what needs no Docker engine: `npm test`.
 *
 * What is quick runs side by side. What takes long runs after that, one suite after the other: two at once would measure each other.
 */
import { spawn } from 'node:child_process';
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
  skipped: number;
  /** A line or more for each failure: said again at the end, where somebody looks first after a long run. */
  failures: readonly string[];
}

interface Step {
  name: string;
  run: () => Promise<Counts>;
}

/** Formatting, rules and types count as one test each. */
const checks: readonly Step[] = [
  check('format', 'prettier', ['--check', '.', '--cache', '--log-level', 'warn']),
  // The rule of module boundaries reads Nx's project graph from its cache, and holds nothing where there is none; so the graph comes first.
  // ESLint keeps no cache: a rule that knows types can find fault with a file because another one has changed.
  check('lint', 'bash', ['-c', 'nx show projects > /dev/null && eslint . --max-warnings 0']),
  check('types', 'tsc', ['--noEmit', '-p', '.']),
];

/** Projects of vitest.config.ts. The long ones show their own progress. */
const unit = suite('unit', 'quiet');
const longSuites = ['embedded', 'copy', 'integration', 'chaos'].map((project) => suite(project, 'shown'));

function check(name: string, program: string, args: readonly string[]): Step {
  return {
    name,
    async run() {
      const { code, output } = await runQuietly(program, args);
      if (code === 0) return { passed: 1, failed: 0, skipped: 0, failures: [] };
      process.stderr.write(`\n${output}\n`);
      return { passed: 0, failed: 1, skipped: 0, failures: [name] };
    },
  };
}

function suite(project: string, progress: 'quiet' | 'shown'): Step {
  return {
    name: project,
    async run() {
      const folder = await mkdtemp(join(tmpdir(), 'lab-tests-'));
      const report = join(folder, 'report.json');
      const args = [
        'run',
        '--passWithNoTests',
        '--project',
        project,
        '--reporter=default',
        '--reporter=json',
        `--outputFile.json=${report}`,
      ];
      try {
        const { code, output } = await (progress === 'shown' ? runShown : runQuietly)('vitest', args);
        const counts = await countsOf(project, report, code);
        if (counts.failed > 0) process.stderr.write(`\n${output}\n`);
        return counts;
      } finally {
        await rm(folder, { recursive: true });
      }
    },
  };
}

interface Report {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  testResults: { name: string; status: string; message: string; assertionResults: AssertionResult[] }[];
}

interface AssertionResult {
  status: string;
  fullName: string;
  failureMessages: string[];
}

/** Counts a report of Vitest. A file that cannot be loaded has no tests, and yet has failed; so has a run without a report. */
async function countsOf(project: string, file: string, code: number): Promise<Counts> {
  const content = await readFile(file, 'utf8').catch(() => undefined);
  if (content === undefined) return { passed: 0, failed: 1, skipped: 0, failures: [`${project}: vitest wrote no report`] };
  const report = JSON.parse(content) as Report;
  const failures = report.testResults.flatMap(({ name, status, message, assertionResults }) => {
    const file = relative(root, name);
    if (status === 'failed' && assertionResults.length === 0) return [`${file}: ${message}`];
    return assertionResults
      .filter((result) => result.status === 'failed')
      .map(({ fullName, failureMessages }) => `${file}: ${fullName}\n${failureMessages.join('\n').slice(0, 2000)}`);
  });
  if (failures.length === 0 && code !== 0) failures.push(`${project}: an error outside of a test; vitest ended with ${code}`);
  return {
    passed: report.numPassedTests,
    failed: failures.length,
    skipped: report.numPendingTests + report.numTodoTests,
    failures,
  };
}

async function runQuietly(program: string, args: readonly string[]): Promise<{ code: number; output: string }> {
  const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<number>((resolve, reject) => child.once('error', reject).once('close', (code) => resolve(code ?? 1)));
  const [code, output, complaints] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
  return { code, output: output + complaints };
}

async function runShown(program: string, args: readonly string[]): Promise<{ code: number; output: string }> {
  const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  const code = await new Promise<number>((resolve, reject) =>
    child.once('error', reject).once('close', (code) => resolve(code ?? 1)),
  );
  return { code, output: '' };
}

async function timed({ name, run }: Step): Promise<Counts> {
  const startMs = performance.now();
  const counts = await run();
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  console.log(`${counts.failed === 0 ? '✓' : '✗'} ${name.padEnd(12)} ${sentence(counts)}  (${seconds} s)`);
  return counts;
}

function sentence({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped === 0 ? '' : `, ${skipped} skipped`}`;
}

function sum(all: readonly Counts[]): Counts {
  const total = (key: 'passed' | 'failed' | 'skipped'): number => all.reduce((so, counts) => so + counts[key], 0);
  return {
    passed: total('passed'),
    failed: total('failed'),
    skipped: total('skipped'),
    failures: all.flatMap(({ failures }) => failures),
  };
}

async function main(args: readonly string[]): Promise<number> {
  const withEngine = !args.includes('--no-engine');
  // For whoever waits for an answer; all seeds run where everything runs.
  if (!withEngine) process.env['SEEDS'] ??= '10';
  // Before anything else: who has to start an engine first should not learn it after a minute of tests.
  if (withEngine) await ensureEngine();
  // Mostly downloads, and nothing before the integration tests needs them. What fails here those make again, and say so.
  const images = withEngine ? everyImage().catch(() => undefined) : undefined;
  console.log('format, lint, types and unit tests, side by side ...');
  const all = await Promise.all([...checks, unit].map(timed));
  for (const step of withEngine ? longSuites : []) {
    if (step.name === 'integration') await images;
    console.log(`\n${step.name} tests ...`);
    all.push(await timed(step));
  }
  const total = sum(all);
  for (const failure of total.failures) console.log(`\n✗ ${failure}`);
  console.log(`\n${sentence(total)}`);
  // Everything can run here, so what was skipped has not passed.
  return total.failed + total.skipped === 0 ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
