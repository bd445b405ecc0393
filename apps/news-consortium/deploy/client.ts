/** The client's commands, executed in the client's container of the system that `up` has started: in its network, where names lead to the agents, and with the session that its home keeps. */
import { execFile, spawn } from 'node:child_process';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { ensureEngine } from '../../../docker/engine.ts';

const directory = join(import.meta.dirname, '..');
const app = basename(directory);
const project = `lab-${app}`;
const container = `${project}-client-1`;
const given = process.argv.slice(2);
/** For usage and hints: what was typed. */
const typed = `npx nx client ${app}`;

async function isUp(): Promise<boolean> {
  const inspect = promisify(execFile)('docker', ['inspect', '--format', '{{.State.Running}}', container]);
  return inspect.then(
    ({ stdout }) => stdout.trim() === 'true',
    () => false,
  );
}

async function spawned(program: string, args: readonly string[]): Promise<number> {
  const child = spawn(program, args, { stdio: 'inherit', env: { ...process.env, LAB_TYPED: typed } });
  // Ctrl-C reaches the client too; its end is ours.
  process.on('SIGINT', () => undefined);
  return new Promise((done) => child.once('close', (code) => done(code ?? 130)));
}

async function run(): Promise<number> {
  // Behind `--` are words, not flags.
  const flags = given.includes('--') ? given.slice(0, given.indexOf('--')) : given;
  if (given.length === 0 || flags.includes('--help') || flags.includes('-h'))
    return spawned(process.execPath, [join(directory, 'src/main.ts'), 'client', ...(given.length === 0 ? ['--help'] : given)]);
  await ensureEngine();
  if (!(await isUp())) {
    console.error(`${project} is not up: npx nx up ${app}`);
    return 3;
  }
  const knows = flags.some((flag) => flag === '--agents' || flag.startsWith('--agents='));
  const terminal = process.stdin.isTTY && process.stdout.isTTY;
  return spawned('docker', [
    ...['exec', '--env', 'LAB_TYPED', terminal ? '-it' : '-i', container],
    ...['node', `/kit/apps/${app}/src/main.ts`, 'client'],
    ...(knows ? [] : ['--agents', 'agent-1:8000,agent-2:8000', '--ca', '/run/secrets/tls-certificate']),
    ...given,
  ]);
}

process.exitCode = await run();
