/**
 * Finds a Docker engine with compose v2 and buildx. Where one answers nothing is changed; on Debian and Ubuntu, as root, what is missing is
 * installed and started; anywhere else that is the user's decision, and one sentence says so. `npx node docker/engine.ts` does just this.
 */
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, openSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
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
    // Told to end by SIGTERM, Docker's client ends with 0, as if all had gone well.
    const limits = { timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: 64 * 1024 * 1024 } as const;
    const { stdout } = await execute(program, [...args], { cwd, env, ...limits });
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
const engineAnswers = (): Promise<boolean> => succeeds('docker', ['version', '--format', '{{.Server.Version}}']);

/** Resolves when an engine answers and `docker compose` and `docker buildx` work; otherwise throws one clear sentence. */
export async function ensureEngine(): Promise<void> {
  if (!(await engineAnswers())) {
    refuseUnlessInstallable('No Docker engine answers here');
    if (!existsSync('/usr/sbin/dockerd') && !existsSync('/usr/bin/dockerd'))
      await install(['docker.io', 'iptables', 'ca-certificates']);
    await startEngine();
  }
  const missing: string[] = [];
  if (!(await succeeds('docker', ['compose', 'version']))) missing.push('docker-compose');
  if (!(await succeeds('docker', ['buildx', 'version']))) missing.push('docker-buildx');
  if (missing.length === 0) return;
  refuseUnlessInstallable(`The Docker engine has no ${missing.join(' and no ')}`);
  if (distribution() === 'ubuntu') await install(missing.map((name) => (name === 'docker-compose' ? 'docker-compose-v2' : name)));
  else for (const name of missing) await installPlugin(name);
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

/** Installs packages of the system's own release; apt checks their SHA-256 against its signed index. */
export async function install(packages: readonly string[]): Promise<void> {
  say(`installing ${packages.join(', ')} with apt`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  await run('apt-get', ['update', '-qq'], { env });
  await run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], { env });
}

/** How long an engine may take to answer after it was started: 2 s are usual, 20 with a cold disk. */
const startTimeoutMs = 60_000;
const engineLog = '/var/log/lab-dockerd.log';

async function startEngine(): Promise<void> {
  if (existsSync('/run/systemd/system')) {
    say('starting the engine with systemd');
    await run('systemctl', ['start', 'docker']);
  } else await startDockerd([]);
}

/** Starts dockerd apart from this process, so that it goes on when this one ends; resolves when it answers. */
async function startDockerd(args: readonly string[], logFile = engineLog): Promise<void> {
  say(`starting dockerd in the background; its log is ${logFile}`);
  const log = openSync(logFile, 'a');
  const dockerd = spawn('dockerd', args, { detached: true, stdio: ['ignore', log, log] });
  let end: string | undefined;
  dockerd.once('error', (error) => (end = error.message)).once('exit', (code) => (end = `it ended with ${code}`));
  const deadlineMs = performance.now() + startTimeoutMs;
  const host = args.filter((arg) => arg.startsWith('--host='));
  while (!(await succeeds('docker', [...host, 'version']))) {
    if (performance.now() > deadlineMs) end ??= `no answer after ${startTimeoutMs / 1000} s`;
    if (end !== undefined) throw new Error(`dockerd does not run: ${end}; the end of ${logFile}:\n${lastLines(logFile)}`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  dockerd.unref();
}

/** The end of a log. */
export function lastLines(file: string): string {
  return readFileSync(file, 'utf8').trim().split('\n').slice(-5).join('\n');
}

/** Docker looks here for every user, and no package owns the folder; the user's own ~/.docker stays as it is. */
const pluginFolder = '/usr/local/lib/docker/cli-plugins';

/**
 * Compose v2 and buildx of Debian 13, which Debian 12 does not have; they need nothing but its libc. Pinned: whatever an archive gives, only
 * these bytes are taken.
 */
const plugins: Readonly<Record<string, { version: string; sha256: Readonly<Record<string, string>> }>> = {
  'docker-compose': {
    version: '2.26.1-4',
    sha256: {
      amd64: '47681197cb2b1ab88206b42a1a92fc75f50d9530a6322d03494a473eed0408ea',
      arm64: 'bbafaa666f3e7fa00ad36f2a8bab889f1c791ca8743d674e7267a3d07203869c',
    },
  },
  'docker-buildx': {
    version: '0.13.1+ds1-3',
    sha256: {
      amd64: 'fcf8c48204d1603c8f209451d7827eb91bf30759578baf7704e9e1a87e5f1d7f',
      arm64: '6cf361ab892b55753b728adcbd1a99f0616711df853dba64a5297a4a676d96b0',
    },
  },
};

async function installPlugin(name: string): Promise<void> {
  const { version, sha256 } = plugins[name]!;
  const architecture = (await run('dpkg', ['--print-architecture'])).trim();
  const wanted = sha256[architecture];
  if (wanted === undefined) throw new Error(`no ${name} is pinned for ${architecture}: install Docker's plugin yourself`);
  say(`installing ${name} ${version} of Debian 13 into ${pluginFolder}`);
  const directory = await mkdtemp(join(tmpdir(), 'lab-plugin-'));
  try {
    const file = join(directory, `${name}.deb`);
    const { main } = await debianArchive();
    await download(`${main}/pool/main/d/${name}/${name}_${version}_${architecture}.deb`, file, wanted);
    await run('dpkg', ['-x', file, directory]);
    await mkdir(pluginFolder, { recursive: true });
    await cp(join(directory, 'usr/libexec/docker/cli-plugins', name), join(pluginFolder, name));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Fetches by apt's own means, and so through the proxy that apt is set up to use; apt checks the SHA-256, and so do we. */
export async function download(url: string, file: string, sha256: string): Promise<void> {
  await run('/usr/lib/apt/apt-helper', ['-o', 'APT::Sandbox::User=root', 'download-file', url, file, `SHA256:${sha256}`]);
  const actual = createHash('sha256')
    .update(await readFile(file))
    .digest('hex');
  if (actual !== sha256) throw new Error(`${url} has SHA-256 ${actual}, not ${sha256}: it is not used`);
}

/** Where this machine gets Debian from: addresses without a slash at the end. */
export interface DebianArchive {
  main: string;
  /** Of security updates, where the machine takes some. */
  security: string | undefined;
}

/** Asks apt, which knows its sources in whichever way they are written. Throws where none is Debian's: on Ubuntu, for one. */
export async function debianArchive(): Promise<DebianArchive> {
  let targets = await debianTargets();
  // Whose archive it is stands in its index, which a fresh machine has not fetched yet.
  if (targets.length === 0) {
    await run('apt-get', ['update', '-qq']);
    targets = await debianTargets();
  }
  const find = async (security: boolean): Promise<string | undefined> => {
    const target = targets.find(({ codename }) => codename.endsWith('-security') === security);
    return target && (await withoutMirrorList(target.uri)).replace(/\/$/, '');
  };
  const main = await find(false);
  if (main === undefined)
    throw new Error("none of this machine's package sources is Debian's: connect to an image registry instead");
  return { main, security: await find(true) };
}

async function debianTargets(): Promise<{ uri: string; codename: string }[]> {
  const format = '$(ORIGIN)|$(COMPONENT)|$(REPO_URI)|$(CODENAME)';
  const targets = (await run('apt-get', ['indextargets', '--format', format, 'Identifier: Packages'])).split('\n');
  return targets.flatMap((target) => {
    const [origin, component, uri = '', codename = ''] = target.split('|');
    return origin === 'Debian' && component === 'main' ? [{ uri, codename }] : [];
  });
}

/** Debian's cloud images name a file of mirrors instead of an address. */
async function withoutMirrorList(uri: string): Promise<string> {
  const list = /^mirror\+file:(.*?)\/?$/.exec(uri)?.[1];
  if (list === undefined) return uri;
  const mirror = /^https?:\S+/m.exec(await readFile(list, 'utf8'))?.[0];
  if (mirror === undefined) throw new Error(`${list}, which apt takes its mirrors from, names none`);
  return mirror;
}

if (import.meta.main) {
  await ensureEngine().then(
    () => say('a Docker engine answers, with compose v2 and buildx'),
    (error: Error) => {
      say(error.message);
      process.exitCode = 3;
    },
  );
}
