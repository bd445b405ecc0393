/**
 * The client's commands against the system that `up` has started: in a container of its network, where the servers' names lead to them, and of its image. The folder in which the
 * command is typed is there below /here, and so are the folders of files that are named.
 */
import { execFile, spawn } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { ensureEngine } from '../../../docker/engine.ts';

const directory = join(import.meta.dirname, '..');
const app = basename(directory);
const project = `lab-${app}`;
const cwd = process.env['CALLER_CWD'] ?? process.env['INIT_CWD'] ?? process.cwd();
const given = process.argv.slice(2);
/** For usage and hints: what was typed. */
const typed = `npx nx client ${app}`;

/** The image that the registry runs, so that client and system are of one version. */
async function runningImage(): Promise<string | undefined> {
  const inspect = promisify(execFile)('docker', ['inspect', '--format', '{{.Config.Image}}', `${project}-registry-1`]);
  return inspect.then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  );
}

/** What an argument would be as a path: `--to=DIR` has it behind the sign. */
const pathIn = (arg: string): string => resolve(cwd, arg.startsWith('--') ? arg.slice(arg.indexOf('=') + 1) : arg);

/** The folder itself, or the nearest one above that exists. */
function folderOf(path: string): string {
  if (!existsSync(path)) return folderOf(dirname(path));
  return statSync(path).isDirectory() ? path : dirname(path);
}

/** An absolute path of this machine as the container has it. */
function inside(arg: string, index: number): string {
  const isPath = existsSync(arg) || given[index - 1] === '--to';
  if (arg.startsWith('/')) return isPath ? `/here${arg}` : arg;
  return arg.replace(/^--to=\//, '--to=/here/');
}

async function spawned(program: string, args: readonly string[]): Promise<number> {
  const child = spawn(program, args, { stdio: 'inherit', env: { ...process.env, LAB_TYPED: typed } });
  // Ctrl-C reaches the client too; its end is ours.
  process.on('SIGINT', () => undefined);
  return new Promise((done) => child.once('close', (code) => done(code ?? 130)));
}

async function run(): Promise<number> {
  if (given.length === 0 || given.includes('--help') || given.includes('-h'))
    return spawned(process.execPath, [join(directory, 'src/main.ts'), 'client', ...(given.length === 0 ? ['--help'] : given)]);
  await ensureEngine();
  const image = await runningImage();
  if (image === undefined) {
    console.error(`${project} is not up: npx nx up ${app}`);
    return 3;
  }
  const folders = new Set([cwd, ...given.map((arg) => folderOf(pathIn(arg)))]);
  return spawned('docker', [
    ...['run', '--rm', '--init', '--env', 'LAB_TYPED', '--network', `${project}_default`, '--workdir', `/here${cwd}`],
    ...['--user', `${process.getuid?.() ?? 1000}:${process.getgid?.() ?? 1000}`],
    ...[...folders].flatMap((folder) => ['--volume', `${folder}:/here${folder}`]),
    ...(process.stderr.isTTY ? ['--tty'] : []),
    // Flags may stand before the command, and of a repeated one the last counts: whoever names another registry gets it.
    ...['--entrypoint', 'node', image, `/kit/apps/${app}/src/main.ts`, 'client', '--registry', 'registry:8000'],
    ...given.map(inside),
  ]);
}

process.exitCode = await run();
