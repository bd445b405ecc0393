/** Runs demos, in turn: `npm run demo -- --help`. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const apps = join(import.meta.dirname, '../apps');

const help = `Usage: npm run demo [-- [--watch] APP ...]

Runs the demos of the named systems. Without a name it runs every one that needs no Docker engine, and names the others.
With --watch each shows its run on a page of this machine, which stays until Ctrl-C; then
the next begins.
`;

interface Manifest {
  scripts?: Record<string, string>;
  /** `"lab": { "demo": "engine" }` says that the demo needs a Docker engine. */
  lab?: { demo?: 'engine' };
}

const manifestOf = (app: string): Manifest => JSON.parse(readFileSync(join(apps, app, 'package.json'), 'utf8')) as Manifest;
const needsEngine = (app: string): boolean => manifestOf(app).lab?.demo === 'engine';

/** The template comes first, as it is the shortest; then by name. */
const template = 'word-count';
const demos = readdirSync(apps)
  .filter((app) => manifestOf(app).scripts?.['demo'] !== undefined)
  .sort((a, b) => Number(b === template) - Number(a === template) || (a < b ? -1 : 1));

/** A demo takes seconds, a minute at the most on a slow machine; one that is not done by then hangs. */
const demoMs = 120_000;

async function runDemo(app: string, flags: readonly string[]): Promise<boolean> {
  // With an engine it may have to build images first.
  const timeout = needsEngine(app) || flags.length > 0 ? undefined : demoMs;
  const child = spawn('npm', ['run', '--silent', 'demo', '--', ...flags], { cwd: join(apps, app), stdio: 'inherit', timeout });
  let isInterrupted = false;
  // Ctrl-C is for the demo whose page is open; the next one follows.
  const interrupt = (): void => void (isInterrupted = true);
  if (flags.length > 0) process.on('SIGINT', interrupt);
  const code = await new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
  process.off('SIGINT', interrupt);
  return code === 0 || isInterrupted;
}

async function main(args: readonly string[]): Promise<number> {
  const flags = args.filter((arg) => arg === '--watch');
  const named = args.filter((arg) => arg !== '--watch');
  if (named.some((arg) => ['help', '--help', '-h'].includes(arg))) {
    process.stdout.write(`${help}\nThe systems: ${demos.join(', ')}\n`);
    return 0;
  }
  const unknown = named.find((name) => !demos.includes(name));
  if (unknown !== undefined) {
    console.error(`there is no demo "${unknown}"; there are ${demos.join(', ')}`);
    return 2;
  }
  const failed: string[] = [];
  for (const app of named.length > 0 ? named : demos.filter((app) => !needsEngine(app))) {
    console.log(`\n── ${app} ──`);
    if (!(await runDemo(app, flags))) failed.push(app);
  }
  if (named.length === 0)
    for (const app of demos.filter(needsEngine)) console.log(`\n${app} needs a Docker engine: npx nx demo ${app}`);
  if (failed.length > 0) console.error(`\nfailed: ${failed.join(', ')}`);
  return failed.length > 0 ? 1 : 0;
}

process.exitCode = await main(process.argv.slice(2));
