/**
 * `up`, `down` and `logs` of the app in whose folder this is called: `node ../../docker/compose.ts up`. Project and port follow the app's
 * name, so that a renamed copy runs beside its original.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { ensureEngine, say } from './engine.ts';
import { appImage, serviceImage } from './images.ts';

/** Ports that nobody registered and no kernel hands out: below 32,768. */
const portFirst = 20_000;
const portCount = 10_000;

/** The host port of an app: from its name, so that it is the same everywhere; `LAB_PORT` overrides it. */
export function portOf(app: string): number {
  return portFirst + (createHash('sha256').update(app).digest().readUInt32BE() % portCount);
}

/** What an app's compose file is given: its project, its port, and the images that it names, which are made when they are missing. */
export async function composeEnvironment(directory: string): Promise<Record<string, string>> {
  const { name } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { name: string };
  const app = basename(name);
  const named = new Set(
    [...readFileSync(join(directory, 'compose.yaml'), 'utf8').matchAll(/\$\{LAB_(?:(\w+)_)?IMAGE\b/g)].map(([, service]) =>
      service?.toLowerCase(),
    ),
  );
  const environment: Record<string, string> = { COMPOSE_PROJECT_NAME: `lab-${app}`, LAB_PORT: String(portOf(app)) };
  for (const service of named) {
    if (service === undefined) environment['LAB_IMAGE'] = await appImage(basename(directory));
    else environment[`LAB_${service.toUpperCase()}_IMAGE`] = await serviceImage(service);
  }
  return environment;
}

/** Runs `docker compose` and resolves with its exit code. */
async function compose(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const child = spawn('docker', ['compose', ...args], { env, stdio: ['ignore', 'inherit', 'inherit'] });
  return new Promise((resolve) => child.once('close', (code) => resolve(code ?? 130)));
}

async function up(directory: string): Promise<number> {
  await ensureEngine();
  const environment = { ...(await composeEnvironment(directory)), ...process.env };
  const code = await compose(['up', '--detach', '--wait', '--remove-orphans'], environment);
  if (code !== 0) return code;
  const next = /^# next: (.*)$/m.exec(readFileSync(join(directory, 'compose.yaml'), 'utf8'))?.[1];
  if (next !== undefined) console.log(`It is up. Next:\n  ${next.replaceAll('LAB_PORT', environment.LAB_PORT!)}`);
  return 0;
}

async function down(directory: string): Promise<number> {
  await ensureEngine();
  return compose(['down', '--volumes', '--remove-orphans', '--timeout', '10'], { ...placeholders(directory), ...process.env });
}

/** `down` and `logs` only name things: they need no image to be made. */
function placeholders(directory: string): Record<string, string> {
  const variables = [...readFileSync(join(directory, 'compose.yaml'), 'utf8').matchAll(/\$\{(LAB_\w*IMAGE)/g)].map(([, name]) => [
    name!,
    'unused',
  ]);
  const { name } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { name: string };
  return {
    ...(Object.fromEntries(variables) as Record<string, string>),
    COMPOSE_PROJECT_NAME: `lab-${basename(name)}`,
    LAB_PORT: String(portOf(basename(name))),
  };
}

/** All roles' logs as one story: each line its time, who, and what. */
async function logs(directory: string, args: readonly string[]): Promise<number> {
  await ensureEngine();
  const follow = args.includes('--no-follow') ? [] : ['--follow'];
  const rest = args.filter((arg) => arg !== '--no-follow');
  const env = { ...placeholders(directory), ...process.env };
  const child = spawn('docker', ['compose', 'logs', '--no-color', ...follow, ...rest], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: child.stdout })) console.log(readable(line));
  return child.exitCode ?? 0;
}

const levels: Readonly<Record<string, string>> = { 40: 'WARN ', 50: 'ERROR ', 60: 'FATAL ', warning: 'WARN ', error: 'ERROR ' };

function readable(raw: string): string {
  // Compose clears a terminal's line first, even where there is none.
  const line = raw.replaceAll('\x1b[2K', '');
  const at = line.indexOf('|');
  const service = line.slice(0, at).trim();
  try {
    const { time, level, msg, name: _, ...fields } = JSON.parse(line.slice(at + 1)) as Record<string, unknown>;
    const clock = /\d\d:\d\d:\d\d\.\d{3}/.exec(String(time))?.[0] ?? '';
    const rest = Object.entries(fields).map(
      ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
    );
    return `${clock} ${service.padEnd(22)} ${levels[String(level)] ?? ''}${String(msg)} ${rest.join(' ')}`.trimEnd();
  } catch {
    return `${''.padEnd(12)} ${service.padEnd(22)} ${line.slice(at + 1).trim()}`;
  }
}

if (import.meta.main) {
  const [action = '', ...args] = process.argv.slice(2);
  const actions: Record<string, () => Promise<number>> = {
    up: () => up(process.cwd()),
    down: () => down(process.cwd()),
    logs: () => logs(process.cwd(), args),
  };
  const chosen = actions[action];
  if (chosen === undefined) {
    say(`compose.ts takes up, down or logs, not "${action}"`);
    process.exitCode = 2;
  } else {
    process.exitCode = await chosen().catch((error: Error) => {
      say(error.message);
      return 1;
    });
  }
}
