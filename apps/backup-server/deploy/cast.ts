/**
 * The demo in containers, in the original's two parts: `up` starts one node to follow, `eight` all eight nodes and ten content
 * creators, each registered. While it runs: `add-node NAME`, `add-content-creators FILE ...`, `stop-content-creators`, and
 * `admin COMMAND ...` from this machine.
 */
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { composeEnvironment, up } from '../../../docker/compose.ts';
import { keyText, makeKey, readKey, writeKey } from '../src/channel/keys.ts';
import { keyFile, keysForCompose } from './keys.ts';

const directory = join(import.meta.dirname, '..');
const program = join(directory, 'src/main.ts');
const execute = promisify(execFile);
const port = 7600;

interface Registered {
  node: string;
  path: string;
  every: string;
}

const first: Registered = { node: 'node-1', path: 'a', every: '3s' };
/**
 * What the eight back up: folders, single files, a name with digits and a space, one path twice; intervals and a cron
 * expression.
 */
const eight: readonly Registered[] = [
  first,
  { node: 'node-2', path: 'b', every: '4s' },
  { node: 'node-3', path: 'c/d', every: '5s' },
  { node: 'node-4', path: '2026-11 notes', every: '6s' },
  { node: 'node-5', path: 'e', every: '7s' },
  { node: 'node-6', path: 'f', every: '10s' },
  { node: 'node-7', path: 'g.txt', every: '*/15 * * * * *' },
  { node: 'node-8', path: 'a', every: '20s' },
];

function keys(): Record<string, string> {
  if (!existsSync(keyFile)) {
    mkdirSync(dirname(keyFile), { recursive: true });
    writeKey(keyFile, makeKey());
  }
  return keysForCompose(readKey(keyFile));
}

/** The compose file's variables; the profile is on only where everybody is meant. */
async function environment(): Promise<NodeJS.ProcessEnv> {
  return { ...process.env, ...(await composeEnvironment(directory)), ...keys() };
}

async function docker(args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const { stdout } = await execute('docker', args, { cwd: directory, env });
  return stdout;
}

/** One admin's command, with its output here; its exit code is ours. */
async function admin(args: readonly string[]): Promise<void> {
  const { LAB_PORT } = await composeEnvironment(directory);
  const all = [program, 'admin', '--server', `127.0.0.1:${LAB_PORT}`, '--key-file', keyFile, ...args];
  const child = spawn(process.execPath, all, {
    cwd: process.env['CALLER_CWD'] ?? process.env['INIT_CWD'] ?? process.cwd(),
    stdio: 'inherit',
    env: { ...process.env, LAB_TYPED: 'npx nx admin backup-server' },
  });
  process.exitCode = await new Promise<number>((resolve) => child.once('close', (code) => resolve(code ?? 130)));
  if (process.exitCode !== 0) throw new Error(`admin ${args[0]} ended with ${process.exitCode}`);
}

const register = ({ node, path, every }: Registered, host = node): Promise<void> =>
  admin(['register', '--node', node, '--address', `${host}:${port}`, '--path', path, '--every', every, '--keep', '20']);

async function startOne(args: readonly string[]): Promise<void> {
  Object.assign(process.env, keys());
  await up(directory, args);
  await register(first);
  console.log('Next:\n  npx nx admin backup-server list\n  npx nx logs backup-server\n  npx nx eight backup-server');
}

async function startEight(): Promise<void> {
  Object.assign(process.env, keys());
  process.env['COMPOSE_PROFILES'] = 'eight';
  await up(directory, []);
  for (const each of eight) await register(each);
  await admin(['status']);
}

/** One more container like that of a service, with a name and a command of its own. */
async function runLike(
  service: string,
  name: string,
  command: readonly string[],
  changed: NodeJS.ProcessEnv = {},
): Promise<string> {
  const env: NodeJS.ProcessEnv = { ...(await environment()), ...changed };
  const container = `${env['COMPOSE_PROJECT_NAME']}-${name}`;
  await docker(['compose', 'run', '--detach', '--no-deps', '--name', container, service, ...command], env);
  return container;
}

async function addNode([name]: readonly string[]): Promise<void> {
  if (name === undefined) throw new Error('add-node needs a NAME: npx nx add-node backup-server node-9');
  const command = ['node', '--name', name, '--listen', `0.0.0.0:${port}`, '--root', '/data'];
  const key = keyText(makeKey(readKey(keyFile), `node-${name}`));
  const container = await runLike('node-1', name, command, { LAB_KEY_NODE_1: key });
  await register({ node: name, path: 'a', every: '5s' }, container);
}

async function addContentCreators(files: readonly string[]): Promise<void> {
  if (files.length === 0)
    throw new Error('add-content-creators needs one FILE or more: npx nx add-content-creators backup-server a/file3.txt');
  for (const file of files) {
    const name = `creator-of-${file.replaceAll(/[^a-zA-Z0-9]+/g, '-')}`;
    await runLike('content-creator-1', name, ['content-creator', '--name', name, '--file', `/data/${file}`]);
    console.log(`${name} writes /data/${file}`);
  }
}

/** Those of the compose file and those that were added. */
async function stopContentCreators(): Promise<void> {
  const env = await environment();
  const list = await docker(
    ['ps', '--filter', `label=com.docker.compose.project=${env['COMPOSE_PROJECT_NAME']}`, '--format', '{{.Names}}'],
    env,
  );
  const creators = list.split('\n').filter((name) => name.includes('creator'));
  if (creators.length > 0) await docker(['stop', '--time', '5', ...creators], env);
  console.log(`${creators.length} content creators stopped`);
}

const actions: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  up: startOne,
  eight: startEight,
  admin,
  'add-node': addNode,
  'add-content-creators': addContentCreators,
  'stop-content-creators': stopContentCreators,
};

const [name = '', ...args] = process.argv.slice(2);
const action = Object.hasOwn(actions, name) ? actions[name] : undefined;
if (action === undefined) {
  console.error(`cast.ts takes ${Object.keys(actions).join(', ')}, not "${name}"`);
  process.exitCode = 2;
} else {
  await action(args).catch((error: Error) => {
    console.error(error.message);
    process.exitCode ||= 1;
  });
}
