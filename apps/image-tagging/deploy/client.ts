/**
 * The client's commands against the system that `up` has started: in a container of its network, where the servers' names lead to them, and of its image. The folder in which the
 * command is typed is there under its own name, and so are the folders of files that are named.
 */
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { ensureEngine } from '../../../docker/engine.ts';

const app = basename(join(import.meta.dirname, '..'));
const project = `lab-${app}`;
const here = process.env['CALLER_CWD'] ?? process.env['INIT_CWD'] ?? process.cwd();
const given = process.argv.slice(2);

/** The image that the registry runs, so that client and system are of one version. */
async function runningImage(): Promise<string | undefined> {
  const inspect = promisify(execFile)('docker', ['inspect', '--format', '{{.Config.Image}}', `${project}-registry-1`]);
  return inspect.then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  );
}

/** Here, and wherever a file or folder is that an argument names. */
function folders(): string[] {
  const named = given
    .filter((arg) => !arg.startsWith('-') && existsSync(resolve(here, arg)))
    .map((arg) => dirname(resolve(here, arg)));
  return [...new Set([here, ...named])].filter((folder) => folder !== '/');
}

async function run(image: string): Promise<number> {
  const user = `${process.getuid?.() ?? 1000}:${process.getgid?.() ?? 1000}`;
  // Flags may stand before the command, and of a repeated one the last counts: whoever names another registry gets it.
  const words = given.length === 0 ? ['--help'] : ['--registry', 'registry:8000', ...given];
  const args = [
    ...['run', '--rm', '--init', '--network', `${project}_default`, '--user', user, '--workdir', here],
    ...folders().flatMap((folder) => ['--volume', `${folder}:${folder}`]),
    ...(process.stderr.isTTY ? ['--tty'] : []),
    ...['--entrypoint', 'node', image, `/kit/apps/${app}/src/main.ts`, 'client', ...words],
  ];
  const child = spawn('docker', args, { stdio: 'inherit' });
  // Ctrl-C reaches the client too; its end is ours.
  process.on('SIGINT', () => undefined);
  return new Promise<number>((done) => child.once('close', (code) => done(code ?? 130)));
}

await ensureEngine();
const image = await runningImage();
if (image === undefined) console.error(`${project} is not up: npx nx up ${app}`);
process.exitCode = image === undefined ? 3 : await run(image);
