/** Runs the demo of every system that has one on embedded parts, in turn, and names the others with their command: `npm run demo`. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const apps = join(import.meta.dirname, '../apps');

interface Manifest {
  scripts?: Record<string, string>;
  /** `"lab": { "demo": "engine" }` says that the demo needs a Docker engine. */
  lab?: { demo?: 'engine' };
}

/** A demo takes seconds, a minute at the most on a slow machine; one that is not done by then hangs. */
const demoMs = 120_000;

async function runDemo(app: string): Promise<boolean> {
  const child = spawn('npm', ['run', '--silent', 'demo'], { cwd: join(apps, app), stdio: 'inherit', timeout: demoMs });
  const code = await new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
  return code === 0;
}

const failed: string[] = [];
const needEngine: string[] = [];
for (const app of readdirSync(apps).sort()) {
  const manifest = JSON.parse(readFileSync(join(apps, app, 'package.json'), 'utf8')) as Manifest;
  if (manifest.scripts?.['demo'] === undefined) continue;
  if (manifest.lab?.demo === 'engine') {
    needEngine.push(app);
    continue;
  }
  console.log(`\n── ${app} ──`);
  if (!(await runDemo(app))) failed.push(app);
}
for (const app of needEngine) console.log(`\n${app} needs a Docker engine: npx nx demo ${app}`);
if (failed.length > 0) {
  console.error(`\nfailed: ${failed.join(', ')}`);
  process.exitCode = 1;
}
