/** Runs demos, in turn: `npm run demo -- --help`. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const apps = join(import.meta.dirname, '../apps');

const help = `Usage: npm run demo [-- APP ...]

Runs the demos of the named systems. Without a name it runs every one that needs no Docker engine, and names the others.
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

async function runDemo(app: string): Promise<boolean> {
  // With an engine it may have to build images first.
  const timeout = needsEngine(app) ? undefined : demoMs;
  const child = spawn('npm', ['run', '--silent', 'demo'], { cwd: join(apps, app), stdio: 'inherit', timeout });
  const code = await new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
  return code === 0;
}

async function main(named: readonly string[]): Promise<number> {
  if (named.some((arg) => arg === '--help' || arg === '-h')) {
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
    if (!(await runDemo(app))) failed.push(app);
  }
  if (named.length === 0)
    for (const app of demos.filter(needsEngine)) console.log(`\n${app} needs a Docker engine: npx nx demo ${app}`);
  if (failed.length > 0) console.error(`\nfailed: ${failed.join(', ')}`);
  return failed.length > 0 ? 1 : 0;
}

process.exitCode = await main(process.argv.slice(2));
