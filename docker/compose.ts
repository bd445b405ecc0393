/**
 * `up`, `down`, `logs` and `env` of the app in whose folder this is called: `node ../../docker/compose.ts up`. Project and port follow the app's
 * name, so that a renamed copy runs beside its original.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Readable } from 'node:stream';
import { ensureEngine, run, say } from './engine.ts';
import { appImage, debianRelease, rabbitmqRelease, serviceImage } from './images.ts';
import { Journal } from './journal.ts';
import { mergeLogs } from './logs.ts';

/** Ports that no kernel hands out by itself: below 32,768. */
const portFirst = 20_000;
const portCount = 10_000;

/** The host port of an app: from its name, so that it is the same everywhere; the variable `LAB_PORT` overrides it. */
export function portOf(app: string): number {
  return portFirst + (createHash('sha256').update(app).digest().readUInt32BE() % portCount);
}

/** That of the app in this folder, in this environment. */
export const portIn = (directory: string): number => Number(process.env['LAB_PORT'] ?? portOf(appOf(directory)));

/**
 * What an app's compose file is given: its project, its port, and the images that it names, which are made when they are missing.
 */
export async function composeEnvironment(directory: string): Promise<Record<string, string>> {
  return environmentWith(directory, (service) => {
    if (service === undefined) return appImage(basename(directory));
    return serviceImage(service, service === 'rabbitmq' ? rabbitmqRelease() : debianRelease);
  });
}

/** Starts what the compose file names; resolves when every backing service is healthy and every role takes work. */
export async function composeUp(directory: string, env: NodeJS.ProcessEnv, args: readonly string[] = []): Promise<void> {
  await compose(directory, ['up', '--detach', '--wait', '--remove-orphans', ...args], env);
  // One that fails at every start is "running" only now and then.
  const live = ['--status', 'running', '--status', 'restarting'];
  const listed = await run('docker', ['compose', 'ps', '--quiet', ...live], { cwd: directory, env });
  const containers = listed.split('\n').filter(Boolean);
  if (containers.length === 0) return;
  // One that was up before may have ended often in its life.
  const restarts = await inspected('{{.RestartCount}}', ...containers);
  // One after the other: they start at the same time anyway, and twenty questions at once keep them from it.
  for (const [index, container] of containers.entries()) await roleReady(container, Number(restarts[index]));
}

/** A line for each of these containers. */
async function inspected(format: string, ...containers: readonly string[]): Promise<string[]> {
  return (await run('docker', ['inspect', '--format', format, ...containers])).trim().split('\n');
}

/** How long a role may take to be ready once the services that it needs are: seconds, but minutes on a slow machine that starts all at once. */
const readyMs = 300_000;
/** Whoever ends so often meanwhile ends for a reason of its own. */
const restartsMax = 5;
/** An exec into a container that is just starting has been seen to hang on a busy engine; asking again helps. Each try is given twice as long: too busy an engine is no reason to ask it more. */
const firstAttemptMs = 5_000;

/**
 * Waits inside the container until the role answers its health port with 200; one without that port is ready when it runs. Done once and not as
 * Docker's own health check, which for twenty roles would start a process every few hundred ms for ever. `read` waits without a process of its own.
 */
const askHealth = `[ -z "$HEALTH_PORT" ] && exit 0
exec 4<> <(:)
until { exec 3<>"/dev/tcp/127.0.0.1/$HEALTH_PORT" && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ "$status" = 200 ]; } 2>/dev/null
do read -rt 0.3 -u 4; done`;

async function roleReady(container: string, restartsBefore: number): Promise<void> {
  const deadlineMs = performance.now() + readyMs;
  for (let attemptMs = firstAttemptMs; ; attemptMs *= 2) {
    const leftMs = deadlineMs - performance.now();
    try {
      return void (await run('docker', ['exec', container, 'bash', '-c', askHealth], { timeoutMs: attemptMs }));
    } catch (error) {
      // A role that fails is started again, and with it the question has to be asked again.
      const [line = ''] = await inspected('{{.RestartCount}} {{.Name}}', container);
      const [restarts, name = ''] = line.split(' /');
      if (leftMs <= 0 || Number(restarts) - restartsBefore >= restartsMax)
        throw new Error(await unreadyText(name), { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

async function unreadyText(container: string): Promise<string> {
  const said = await run('bash', ['-c', 'docker logs --tail 3 "$0" 2>&1', container]).catch(String);
  return `${container} does not become ready; the last that it said:\n${said.trim()}`;
}

function appOf(directory: string): string {
  const { name } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { name: string };
  return basename(name);
}

/** Under which the app's containers run. */
export const projectOf = (directory: string): string => `lab-${appOf(directory)}`;

/** The containers of a project are there, running or not, on an engine that answers. */
export const isUp = (project: string): Promise<boolean> =>
  run('docker', ['ps', '--all', '--quiet', '--filter', `label=com.docker.compose.project=${project}`]).then(
    (ids) => ids !== '',
    () => false,
  );

async function environmentWith(
  directory: string,
  imageOf: (service: string | undefined) => string | Promise<string>,
): Promise<Record<string, string>> {
  const named = new Map(
    [...composeFile(directory).matchAll(/\$\{(LAB_(?:(\w+)_)?IMAGE)\b/g)].map(([, variable, service]) => [
      variable!,
      service?.toLowerCase(),
    ]),
  );
  const environment: Record<string, string> = {
    COMPOSE_PROJECT_NAME: projectOf(directory),
    LAB_PORT: String(portIn(directory)),
  };
  for (const [variable, service] of named) environment[variable] = await imageOf(service);
  return environment;
}

const composeFile = (directory: string): string => readFileSync(join(directory, 'compose.yaml'), 'utf8');

async function compose(directory: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  // On a terminal each container has a line that changes; elsewhere each change would be a line.
  const progress = process.stderr.isTTY ? 'auto' : 'quiet';
  const child = spawn('docker', ['compose', '--progress', progress, ...args], {
    cwd: directory,
    env,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const code = await new Promise<number>((resolve, reject) =>
    child.once('error', reject).once('close', (code) => resolve(code ?? 130)),
  );
  if (code !== 0) throw new Error(`docker compose ${args[0]} ended with ${code}`);
}

/** What `npx nx up` does: engine, images, containers, what the app itself waits for, and what to do next. */
export async function up(directory: string, args: readonly string[], ready?: () => Promise<void>): Promise<void> {
  await ensureEngine();
  const environment = await composeEnvironment(directory);
  say(`starting the containers of ${environment['COMPOSE_PROJECT_NAME']}`);
  new Journal(directory).begin();
  await composeUp(directory, { ...process.env, ...environment }, args);
  await ready?.();
  const next = /^# next: (.*)$/m.exec(composeFile(directory))?.[1];
  const port = composeFile(directory).includes('LAB_PORT') ? `, its port is 127.0.0.1:${environment['LAB_PORT']}` : '';
  console.log(`${environment['COMPOSE_PROJECT_NAME']} is up${port}`);
  const app = basename(directory);
  const own = next?.replaceAll('LAB_PORT', environment['LAB_PORT']!).replaceAll('LAB_APP', app);
  const common = [`npx nx load ${app}`, `npx nx break ${app} help`, `npx nx look ${app}`];
  console.log(['Next:', ...(own === undefined ? [] : [own]), ...common].join('\n  '));
}

/** `down` and `logs` only name things: no image has to be made for them. */
const namesOnly = async (directory: string): Promise<NodeJS.ProcessEnv> => ({
  ...process.env,
  ...(await environmentWith(directory, () => 'unused')),
});

/**
 * Removes the containers and networks of a project, with `--volumes` its data, too. Docker's engine has been seen to count a container in a network that is
 * gone, and then removes the network no more: it stays, and the next `up` takes it.
 */
export async function composeDown(directory: string, env: NodeJS.ProcessEnv, args: readonly string[]): Promise<void> {
  const named = async (what: string): Promise<string[]> => {
    const filter = `label=com.docker.compose.project=${env['COMPOSE_PROJECT_NAME']}`;
    return (await run('docker', [what, 'ls', '--quiet', '--filter', filter, ...(what === 'container' ? ['--all'] : [])]))
      .split('\n')
      .filter(Boolean);
  };
  try {
    await compose(directory, ['down', '--remove-orphans', ...args], env);
  } catch (error) {
    if ((await named('container')).length > 0 || (await named('network')).length === 0) throw error;
    if (args.includes('--volumes')) for (const volume of await named('volume')) await run('docker', ['volume', 'rm', volume]);
    console.error(
      'all of it is gone but a network, in which Docker still counts a container that is not there: the next up takes it',
    );
  }
}

async function down(directory: string, args: readonly string[]): Promise<void> {
  await ensureEngine();
  const keeps = args.includes('--keep');
  say(
    `removing the containers of ${projectOf(directory)}${keeps ? '; its data stays' : ' and its data; with --keep that stays'}`,
  );
  const others = args.filter((arg) => arg !== '--keep');
  new Journal(directory).down();
  await composeDown(directory, await namesOnly(directory), [...(keeps ? [] : ['--volumes']), '--timeout', '10', ...others]);
}

/** The lines of all containers as they come, each with its container and its time; of another project than that which `up` starts where it has a name. */
export async function spawnLogs(
  directory: string,
  args: readonly string[],
  { complaints = 'inherit', project }: { complaints?: 'inherit' | 'ignore'; project?: string } = {},
): Promise<ChildProcessByStdio<null, Readable, null>> {
  return spawn('docker', ['compose', 'logs', '--no-color', '--timestamps', ...args], {
    cwd: directory,
    env: { ...(await namesOnly(directory)), ...(project !== undefined && { COMPOSE_PROJECT_NAME: project }) },
    stdio: ['ignore', 'pipe', complaints],
  });
}

/** All roles' logs as one story, until Ctrl-C; with `--no-follow` what there is so far. Other arguments name services. */
async function logs(directory: string, args: readonly string[]): Promise<void> {
  await ensureEngine();
  const follow = args.includes('--no-follow') ? [] : ['--follow'];
  const services = args.filter((arg) => arg !== '--no-follow');
  if (!(await isUp(projectOf(directory)))) throw new Error(`${projectOf(directory)} is not up: npx nx up ${basename(directory)}`);
  const child = await spawnLogs(directory, [...follow, ...services]);
  // Ctrl-C reaches the child too; its end is ours, and what is merged already is still printed.
  process.on('SIGINT', () => undefined);
  await mergeLogs(child.stdout, (line) => console.log(line));
}

/** For a shell that is to give a compose file its images itself: they are made when they are missing. */
async function env(directory: string): Promise<void> {
  await ensureEngine();
  const variables = Object.entries(await composeEnvironment(directory)).filter(([name]) => name.startsWith('LAB_'));
  for (const [name, value] of variables) console.log(`export ${name}=${value}`);
}

if (import.meta.main) {
  const [action = '', ...args] = process.argv.slice(2);
  const actions: Readonly<Record<string, (directory: string, args: readonly string[]) => Promise<void>>> = {
    up,
    down,
    logs,
    env,
  };
  const chosen = Object.hasOwn(actions, action) ? actions[action] : undefined;
  if (chosen === undefined) {
    say(`compose.ts takes up, down, logs or env, not "${action}"`);
    process.exitCode = 2;
  } else {
    await chosen(process.cwd(), args).catch((error: Error) => {
      say(error.message);
      process.exitCode = 1;
    });
  }
}
