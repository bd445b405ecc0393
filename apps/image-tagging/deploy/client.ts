/**
 * The client's commands against the system that `up` has started: in a container of its network, where the servers' names lead to them. The folder in which the
 * command is typed is the container's, so files are read and written here.
 */
import { spawn } from 'node:child_process';
import { basename, join } from 'node:path';
import { composeEnvironment } from '../../../docker/compose.ts';

const directory = join(import.meta.dirname, '..');
const env = await composeEnvironment(directory);
const here = process.env['CALLER_CWD'] ?? process.env['INIT_CWD'] ?? process.cwd();
const { uid, gid } = { uid: process.getuid?.() ?? 1000, gid: process.getgid?.() ?? 1000 };

const args = [
  ...['run', '--rm', '--network', `${env['COMPOSE_PROJECT_NAME']}_default`, '--volume', `${here}:/here`, '--workdir', '/here'],
  ...['--user', `${uid}:${gid}`, '--init', ...(process.stderr.isTTY ? ['--tty'] : [])],
  ...['--entrypoint', 'node', env['LAB_IMAGE']!, `/kit/apps/${basename(directory)}/src/main.ts`, 'client'],
  ...process.argv.slice(2),
  ...(process.argv.includes('--help') ? [] : ['--registry', 'registry:8000']),
];
const child = spawn('docker', args, { stdio: 'inherit' });
// Ctrl-C reaches the client too; its end is ours.
process.on('SIGINT', () => undefined);
process.exitCode = await new Promise<number>((resolve) => child.once('close', (code) => resolve(code ?? 130)));
