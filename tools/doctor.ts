/**
 * What is unusual about this host, and what to do about it: `npm run doctor`. Ends with 1 where something would really fail, otherwise with 0.
 */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, statfsSync } from 'node:fs';
import { availableParallelism, homedir, tmpdir, totalmem, userInfo } from 'node:os';
import { dirname, join } from 'node:path';

/** What the doctor looks at. */
export interface Host {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `linux-x64` */
  readonly platform: string;
  readonly nodeVersion: string;
  /** Of the Node that runs this. */
  readonly nodePath: string;
  readonly checkout: string;
  readonly memoryBytes: number;
  readonly cores: number;
  /** Undefined where the system gives this user none. */
  readonly user: { readonly name: string; readonly uid: number } | undefined;
  readonly home: string | undefined;
  readonly temporary: string;
  readonly freeBytes: (folder: string) => number;
  readonly isWritable: (folder: string) => boolean;
  /** Whether a program ends well. */
  readonly succeeds: (program: string, ...args: readonly string[]) => boolean;
}

export interface Finding {
  /** `fails`: something will not work at all until this is changed. */
  readonly verdict: 'fine' | 'unusual' | 'fails';
  readonly what: string;
  /** What to do, or why nothing has to be done. */
  readonly advice?: string;
}

const gib = 1024 ** 3;
const supported = ['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64'];
const fine = (what: string): Finding => ({ verdict: 'fine', what });
const unusual = (what: string, advice: string): Finding => ({ verdict: 'unusual', what, advice });
const fails = (what: string, advice: string): Finding => ({ verdict: 'fails', what, advice });

export function examine(host: Host): Finding[] {
  return [node, platform, size, disk, proxies, postgres, colours, locale, folders, user, checkout, engine, netem].flatMap(
    (check) => check(host),
  );
}

function node({ nodeVersion, nodePath, platform }: Host): Finding {
  if (Number(nodeVersion.split('.')[0]) < 24) return fails(`Node ${nodeVersion}`, 'install Node 24 or newer');
  if (platform.startsWith('linux') && !nodePath.includes(join('node_modules', 'node-linux-')))
    return unusual(`Node ${nodeVersion}, not the one of npm ci`, `it works; \`npx node\` would be the tested one`);
  return fine(`Node ${nodeVersion}`);
}

function platform({ platform }: Host): Finding {
  if (supported.includes(platform)) return fine(platform);
  return fails(platform, `use ${supported.join(', ')}; on Windows that is WSL`);
}

function size({ memoryBytes, cores }: Host): Finding {
  const what = `${(memoryBytes / gib).toFixed(1)} GiB of memory, ${cores} cores`;
  if (memoryBytes >= 3.5 * gib && cores >= 2) return fine(what);
  return unusual(what, 'demos and npm test work and take longer; npm run test:all wants 4 GiB and 2 cores');
}

function disk(host: Host): Finding[] {
  return [host.checkout, host.temporary].map((folder) => {
    const free = host.freeBytes(folder);
    const what = `${(free / gib).toFixed(1)} GiB free in ${folder}`;
    if (free < 0.5 * gib) return fails(what, 'make room: demos and tests need 0.5 GiB');
    if (free < 8 * gib) return unusual(what, 'enough for demos and npm test; images and npm run test:all need 8 GiB');
    return fine(what);
  });
}

/** The variables that are set, of those that match. */
const setVariables = ({ env }: Host, pattern: RegExp): string =>
  Object.keys(env)
    .filter((name) => pattern.test(name) && env[name] !== '')
    .sort()
    .join(', ');

function proxies(host: Host): Finding[] {
  const proxies = setVariables(host, /^(https?|all|grpc)_proxy$/i);
  if (proxies === '') return [fine('no proxy')];
  return [
    unusual(proxies, 'nothing to do: roles talk past it; for `curl` to ha-web put 10.89.0.0/16 into no_proxy'),
    ...(host.env['NODE_USE_ENV_PROXY'] === '1'
      ? [unusual('NODE_USE_ENV_PROXY', 'put localhost,127.0.0.1,10.89.0.0/16 into no_proxy, or unset it')]
      : []),
  ];
}

function postgres(host: Host): Finding[] {
  const variables = setVariables(host, /^PG[A-Z]+$/);
  if (variables === '') return [];
  return [unusual(variables, 'demos and tests leave them aside; a role that you start on a PostgreSQL of yours obeys them')];
}

function colours(host: Host): Finding[] {
  const variables = setVariables(host, /^(NO_COLOR|FORCE_COLOR)$/);
  if (!variables.includes(',')) return [];
  return [unusual(variables, 'unset one: Node warns, in every process, that they contradict each other')];
}

function locale({ env }: Host): Finding {
  const locale = env['LC_ALL'] || env['LC_CTYPE'] || env['LANG'] || '';
  if (/utf-?8/i.test(locale)) return fine(`locale ${locale}`);
  return unusual(`locale ${locale || 'not set'}`, 'nothing fails; for é and ✓ on your terminal: export LANG=C.UTF-8');
}

function folders({ home, temporary, isWritable }: Host): Finding[] {
  const findings: Finding[] = [];
  if (home === undefined || !isWritable(home))
    findings.push(
      unusual(`home ${home ?? 'not set'}, not writable`, 'starts are slower, and a login at news-consortium needs --sessions'),
    );
  if (!isWritable(temporary))
    findings.push(fails(`temporary files in ${temporary}, not writable`, 'set TMPDIR to a folder that you can write'));
  return findings;
}

function user({ user }: Host): Finding {
  if (user === undefined)
    return fails('a user without a name', 'PostgreSQL refuses to start, so news-consortium: add the user to /etc/passwd');
  return fine(user.uid === 0 ? 'root' : `user ${user.name}`);
}

function checkout({ checkout }: Host): Finding[] {
  if (/^[\w./@+-]+$/.test(checkout)) return [];
  return [unusual(`the path ${checkout}`, 'demos and tests work in it; other tools may not like its characters')];
}

function engine({ succeeds }: Host): Finding {
  const needed = 'demos and npm test need none';
  if (!succeeds('docker', 'version'))
    return unusual('no Docker engine', `${needed}; for the rest, \`npx node docker/engine.ts\` installs one or says how`);
  const missing = ['compose', 'buildx'].filter((plugin) => !succeeds('docker', plugin, 'version'));
  if (missing.length === 0) return fine('a Docker engine with compose and buildx');
  return unusual(
    `a Docker engine without ${missing.join(' and ')}`,
    `${needed}; \`npx node docker/engine.ts\` installs it or says how`,
  );
}

function netem({ platform, succeeds }: Host): Finding[] {
  if (!platform.startsWith('linux') || succeeds('/sbin/modprobe', '--dry-run', '--quiet', 'sch_netem')) return [];
  return [unusual('a kernel without netem', 'nothing fails: packets are delayed by a queue of the packet filter instead')];
}

function thisHost(): Host {
  const succeeds = (program: string, ...args: readonly string[]): boolean =>
    attempt(() => execFileSync(program, args, { stdio: 'ignore', timeout: 20_000 })) !== undefined;
  return {
    env: process.env,
    platform: `${process.platform}-${process.arch}`,
    nodeVersion: process.versions.node,
    nodePath: process.execPath,
    checkout: dirname(import.meta.dirname),
    memoryBytes: totalmem(),
    cores: availableParallelism(),
    user: attempt(() => ({ name: userInfo().username, uid: userInfo().uid })),
    home: attempt(homedir),
    temporary: tmpdir(),
    freeBytes: (folder) => attempt(() => statfsSync(folder).bavail * statfsSync(folder).bsize) ?? 0,
    isWritable: (folder) => existsSync(folder) && attempt(() => (accessSync(folder, constants.W_OK), true)) === true,
    succeeds,
  };
}

/** Undefined where it throws. */
function attempt<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}

export function report(findings: readonly Finding[]): string {
  const marks = { fine: '  ', unusual: '! ', fails: '✗ ' };
  const lines = findings.map(
    ({ verdict, what, advice }) => `${marks[verdict]}${what}${advice === undefined ? '' : `\n    ${advice}`}`,
  );
  const failing = findings.filter(({ verdict }) => verdict === 'fails').length;
  return `${lines.join('\n')}\n\n${failing === 0 ? 'Nothing here stops demos and npm test.' : `${failing} to change before they work.`}\n`;
}

const help = `npm run doctor: what is unusual about this host (!), what will not work (✗), and what to do about each.
Ends with 0, or with 1 where something will not work.
`;

if (import.meta.main) {
  const findings = examine(thisHost());
  const asked = process.argv.includes('--help');
  process.stdout.write(asked ? help : report(findings));
  if (!asked && findings.some(({ verdict }) => verdict === 'fails')) process.exitCode = 1;
}
