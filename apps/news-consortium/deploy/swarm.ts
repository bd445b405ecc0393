/**
 * The system as a Docker Swarm of one machine: `up`, `scale N` (nodes), `client COMMAND…`, `logs`, `down`. `up` makes the machine a swarm if it is none, reachable from
 * this machine only; `down` ends that swarm again, but not one that was there before.
 */
import { spawn } from 'node:child_process';
import { basename, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { ensureEngine, run, say } from '../../../docker/engine.ts';
import { appImage, serviceImage } from '../../../docker/images.ts';

const directory = join(import.meta.dirname, '..');
const app = basename(directory);
const stack = `lab-${app}`;
/** Says of a swarm that it was made here, and may end with the stack. */
const madeHere = 'lab.made-by';
/** Seconds are usual; a busy machine that starts six tasks takes longer. */
const convergeMs = 120_000;

const docker = (...args: readonly string[]): Promise<string> => run('docker', args);

async function ensureSwarm(): Promise<void> {
  if ((await docker('info', '--format', '{{.Swarm.LocalNodeState}}')).trim() === 'active') return;
  say('making this machine a swarm of one, reachable from itself only');
  const address = '127.0.0.1';
  await docker('swarm', 'init', '--advertise-addr', address, '--listen-addr', `${address}:2377`, '--data-path-addr', address);
  await docker('node', 'update', '--label-add', `${madeHere}=${stack}`, await thisMachine());
}

const thisMachine = async (): Promise<string> => (await docker('info', '--format', '{{.Swarm.NodeID}}')).trim();

/** Deploys the stack; resolves when every task runs. */
export async function up(nodes?: number): Promise<void> {
  await ensureEngine();
  const env = {
    ...process.env,
    IMAGE: process.env['IMAGE'] ?? (await appImage(app)),
    POSTGRES_IMAGE: process.env['POSTGRES_IMAGE'] ?? (await serviceImage('postgres')),
    ...(nodes !== undefined && { NODES: String(nodes) }),
  };
  await ensureSwarm();
  // Images of this machine have no digest to be resolved.
  const resolve = process.env['REGISTRY'] === undefined ? 'never' : 'always';
  await run(
    'docker',
    ['stack', 'deploy', '--resolve-image', resolve, '--compose-file', join(directory, 'deploy/stack.yaml'), stack],
    { env },
  );
  await converged();
}

/** Changes how many nodes there are; resolves when so many run. */
export async function scale(nodes: number): Promise<void> {
  await docker('service', 'scale', '--detach', `${stack}_node=${nodes}`);
  await converged();
}

/** Waits until every service has as many tasks as it wants, and those that are to go are gone. */
async function converged(): Promise<void> {
  const lateMs = performance.now() + convergeMs;
  for (;;) {
    const lines = (
      await docker(
        'service',
        'ls',
        '--filter',
        `label=com.docker.stack.namespace=${stack}`,
        '--format',
        '{{.Name}} {{.Replicas}}',
      )
    )
      .split('\n')
      .filter(Boolean);
    const behind = lines.filter((line) => {
      const [, have, want] = /(\d+)\/(\d+)/.exec(line) ?? [];
      return have !== want;
    });
    if (lines.length > 0 && behind.length === 0) return;
    if (performance.now() > lateMs) throw new Error(`not running after ${convergeMs / 1000} s: ${behind.join(', ')}`);
    await wait(250);
  }
}

/** The container of the client's task on this machine. */
export async function clientContainer(): Promise<string> {
  const id = (await docker('ps', '--quiet', '--filter', `label=com.docker.swarm.service.name=${stack}_client`)).split('\n')[0];
  if (!id) throw new Error(`${stack} is not up as a swarm: npx nx swarm ${app} up`);
  return id;
}

/** Where the stack's containers have what agents and nodes show. */
export const certificate = '/run/secrets/tls-certificate';
/** The client, in a container in the network of all. */
export const clientProgram = ['node', 'src/main.ts', 'client', '--agents', 'agent:8000', '--ca', certificate];

async function client(args: readonly string[]): Promise<number> {
  const terminal = process.stdin.isTTY && process.stdout.isTTY ? ['--tty'] : [];
  return spawned('docker', ['exec', '--interactive', ...terminal, await clientContainer(), ...clientProgram, ...args]);
}

const logs = (args: readonly string[]): Promise<number> =>
  spawned('docker', ['service', 'logs', '--follow', `${stack}_${args[0] ?? 'node'}`]);

/** Removes the stack and its data; resolves when its containers are gone. */
export async function down(): Promise<void> {
  await ensureEngine();
  if ((await docker('info', '--format', '{{.Swarm.LocalNodeState}}')).trim() !== 'active') return;
  await docker('stack', 'rm', stack);
  const left = (): Promise<string> => docker('ps', '--all', '--quiet', '--filter', `label=com.docker.stack.namespace=${stack}`);
  const lateMs = performance.now() + convergeMs;
  while ((await left()).trim() !== '' && performance.now() < lateMs) await wait(250);
  const volumes = await docker('volume', 'ls', '--quiet', '--filter', `label=com.docker.stack.namespace=${stack}`);
  for (const volume of volumes.split('\n').filter(Boolean)) await docker('volume', 'rm', '--force', volume);
  const label = await docker('node', 'inspect', await thisMachine(), '--format', `{{index .Spec.Labels "${madeHere}"}}`);
  if (label.trim() !== stack) return;
  say('ending the swarm that was made for it');
  await docker('swarm', 'leave', '--force');
}

async function spawned(program: string, args: readonly string[]): Promise<number> {
  const child = spawn(program, args, { stdio: 'inherit' });
  // Ctrl-C reaches the child too; its end is ours.
  process.on('SIGINT', () => undefined);
  return new Promise((done) => child.once('close', (code) => done(code ?? 130)));
}

const usage = `Usage: npx nx swarm ${app} up | scale N | client COMMAND… | logs [SERVICE] | down`;

async function main([action = '', ...args]: readonly string[]): Promise<number> {
  if (action === 'up') {
    await up();
    console.log(`${stack} runs as a swarm\nNext:\n  npx nx swarm ${app} client login admin`);
  } else if (action === 'scale' && /^[1-9]\d?$/.test(args[0] ?? '')) {
    await scale(Number(args[0]));
    console.log(`${stack} has ${args[0]} nodes`);
  } else if (action === 'client') return client(args);
  else if (action === 'logs') return logs(args);
  else if (action === 'down') await down();
  else {
    say(usage);
    return ['', '--help', '-h'].includes(action) ? 0 : 2;
  }
  return 0;
}

if (import.meta.main) {
  process.exitCode = await main(process.argv.slice(2)).catch((error: Error) => {
    say(error.message);
    return 1;
  });
}
