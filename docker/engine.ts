/**
 * Finds a Docker engine, or on Debian and Ubuntu, as root, installs and starts one. `node docker/engine.ts` does just that.
 */
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, openSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** For people: what is being done that takes a while. */
export const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** Runs a program to its end and gives what it printed. What it says of a failure is in the error. */
export async function run(
  program: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; timeoutMs?: number } = {},
): Promise<string> {
  const { cwd, env = process.env, timeoutMs = 900_000 } = options;
  try {
    const { stdout } = await execute(program, [...args], { cwd, env, timeout: timeoutMs, maxBuffer: 64 * 1024 * 1024 });
    return stdout;
  } catch (error) {
    const { stderr = '', message } = error as Error & { stderr?: string };
    throw new Error(`${program} ${args.join(' ')} failed: ${(stderr || message).trim().slice(-2000)}`, { cause: error });
  }
}

async function succeeds(program: string, args: readonly string[]): Promise<boolean> {
  return run(program, args, { timeoutMs: 20_000 }).then(
    () => true,
    () => false,
  );
}

/** Whether an engine answers the client that is on the path. */
export const engineAnswers = (): Promise<boolean> => succeeds('docker', ['version', '--format', '{{.Server.Version}}']);

/** Resolves when an engine answers and `docker compose` and `docker buildx` work; otherwise throws one clear sentence. */
export async function ensureEngine(): Promise<void> {
  if (!(await engineAnswers())) {
    refuseUnlessInstallable('No Docker engine answers here');
    if (!existsSync('/usr/sbin/dockerd') && !existsSync('/usr/bin/dockerd')) await install(['docker.io']);
    await startEngine();
  }
  const missing = [];
  if (!(await succeeds('docker', ['compose', 'version']))) missing.push('docker-compose');
  if (!(await succeeds('docker', ['buildx', 'version']))) missing.push('docker-buildx');
  if (missing.length === 0) return;
  refuseUnlessInstallable(`The Docker engine has no ${missing.join(' and no ')}`);
  if (distribution() === 'ubuntu') await install(missing.map((name) => (name === 'docker-compose' ? 'docker-compose-v2' : name)));
  else await installPlugins(missing);
}

function distribution(): string {
  return existsSync('/etc/os-release') ? (/^ID=(\w+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? '') : '';
}

function refuseUnlessInstallable(what: string): void {
  if (['debian', 'ubuntu'].includes(distribution()) && process.getuid?.() === 0) return;
  throw new Error(
    `${what}: start Docker with compose v2 and buildx, or run this as root on Debian or Ubuntu, where it installs them.`,
  );
}

async function install(packages: readonly string[]): Promise<void> {
  say(`installing ${packages.join(', ')} with apt`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  await run('apt-get', ['update', '-qq'], { env });
  await run(
    'apt-get',
    [
      'install',
      '-y',
      '-qq',
      '--no-install-recommends',
      ...packages,
      ...(packages.includes('docker.io') ? ['iptables', 'ca-certificates'] : []),
    ],
    { env },
  );
}

/** How long an engine may take to answer after it was started. */
const startTimeoutMs = 60_000;
const engineLog = '/var/log/lab-dockerd.log';

async function startEngine(): Promise<void> {
  say(`starting dockerd; its log is ${engineLog}`);
  const log = openSync(engineLog, 'a');
  spawn('dockerd', [], { detached: true, stdio: ['ignore', log, log] }).unref();
  const deadlineMs = performance.now() + startTimeoutMs;
  while (!(await engineAnswers())) {
    if (performance.now() > deadlineMs)
      throw new Error(`dockerd does not answer ${startTimeoutMs / 1000} s after its start: see ${engineLog}`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

/**
 * Compose v2 and buildx of Debian 13, which Debian 12 does not have; they need nothing but its libc. Pinned: whatever a mirror gives, only
 * these bytes are taken.
 */
const plugins: Readonly<Record<string, { version: string; sha256: Readonly<Record<string, string>> }>> = {
  'docker-compose': {
    version: '2.26.1-4',
    sha256: {
      x64: '47681197cb2b1ab88206b42a1a92fc75f50d9530a6322d03494a473eed0408ea',
      arm64: 'bbafaa666f3e7fa00ad36f2a8bab889f1c791ca8743d674e7267a3d07203869c',
    },
  },
  'docker-buildx': {
    version: '0.13.1+ds1-3',
    sha256: {
      x64: 'fcf8c48204d1603c8f209451d7827eb91bf30759578baf7704e9e1a87e5f1d7f',
      arm64: '6cf361ab892b55753b728adcbd1a99f0616711df853dba64a5297a4a676d96b0',
    },
  },
};

async function installPlugins(names: readonly string[]): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'lab-plugins-'));
  try {
    const apt = await privateApt(directory, 'trixie');
    say(`installing ${names.join(', ')} of Debian 13, checked by SHA-256`);
    await run('apt-get', [...apt, 'update', '-qq']);
    for (const name of names) await installPlugin(name, directory, apt);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function installPlugin(name: string, directory: string, apt: readonly string[]): Promise<void> {
  const { version, sha256 } = plugins[name]!;
  await run('apt-get', [...apt, 'download', `${name}=${version}`], { cwd: directory });
  const file = (await readdir(directory)).find((entry) => entry.startsWith(`${name}_`))!;
  const actual = createHash('sha256')
    .update(await readFile(join(directory, file)))
    .digest('hex');
  if (actual !== sha256[process.arch])
    throw new Error(`${file} has SHA-256 ${actual}, not ${sha256[process.arch]}: it was not installed`);
  await run('dpkg', ['-x', join(directory, file), join(directory, 'x')]);
  const target = join(process.env['DOCKER_CONFIG'] ?? join(homedir(), '.docker'), 'cli-plugins');
  await mkdir(target, { recursive: true });
  await cp(join(directory, 'x/usr/libexec/docker/cli-plugins', name), join(target, name));
}

/** Options for an apt with lists and cache of its own, for one release of the distribution that this machine gets its packages from. */
async function privateApt(directory: string, release: string): Promise<string[]> {
  for (const part of ['lists/partial', 'archives/partial']) await mkdir(join(directory, part), { recursive: true });
  await writeFile(join(directory, 'status'), '');
  // The pinned hash vouches for the package, so the release's signature, whose key an older machine may not have, need not.
  await writeFile(join(directory, 'sources.list'), `deb [trusted=yes] ${await packageMirror()} ${release} main\n`);
  const settings = {
    'Dir::Etc::sourcelist': 'sources.list',
    'Dir::State': '',
    'Dir::State::status': 'status',
    'Dir::State::Lists': 'lists',
    'Dir::Cache': '',
    'Dir::Cache::archives': 'archives',
  };
  const own = Object.entries(settings).flatMap(([name, path]) => ['-o', `${name}=${join(directory, path)}`]);
  return [...own, '-o', 'Dir::Etc::sourceparts=-', '-o', 'APT::Sandbox::User=root'];
}

/** Where this machine gets its packages from. */
export async function packageMirror(): Promise<string> {
  const parts = existsSync('/etc/apt/sources.list.d') ? await readdir('/etc/apt/sources.list.d') : [];
  const files = ['/etc/apt/sources.list', ...parts.map((part) => join('/etc/apt/sources.list.d', part))].filter((file) =>
    existsSync(file),
  );
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  for (const text of texts) {
    const found = /^(?:deb (?:\[[^\]]*\] )?|URIs:\s*)(\S+\/(?:debian|ubuntu)\/?)(?:\s|$)/m.exec(text);
    if (found !== null) return found[1]!.replace(/\/$/, '');
  }
  throw new Error('no package mirror is named in /etc/apt/sources.list or /etc/apt/sources.list.d');
}

if (import.meta.main) {
  await ensureEngine().catch((error: Error) => {
    say(error.message);
    process.exitCode = 3;
  });
}
