/**
 * The images: their names and versions, here and nowhere else, and how each is made. All are made from one Debian base. Online it is pulled; where no
 * registry is reached it is made with `debootstrap` from the machine's package mirror, under the same name.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { debianArchive, install, run, say } from './engine.ts';

const root = join(import.meta.dirname, '..');
export const debianRelease = 'bookworm';
/** Of which services are made, too: RabbitMQ 4, where bookworm has 3.10. */
export const newerRelease = 'trixie';
export type DebianRelease = typeof debianRelease | typeof newerRelease;
/** Of the RabbitMQ that is asked for: with `RABBITMQ=4` in the environment it is the newer one. */
export const rabbitmqRelease = (): DebianRelease => (process.env['RABBITMQ'] === '4' ? newerRelease : debianRelease);
const baseImage = (release: DebianRelease): string => `debian:${release}-slim`;
/** Where npm installs no Node for Linux: on macOS and Windows, whose engine runs Linux in a machine of its own. */
const publicNodeImage = `node:24-${debianRelease}-slim`;

/** The image of a backing service or of an app's roles. A change of what goes into it changes its tag, so an old image is never taken for a new one. */
export async function serviceImage(service: string, release: DebianRelease = debianRelease): Promise<string> {
  const context = join(import.meta.dirname, service);
  const name = release === debianRelease ? service : `${service}-${release}`;
  const image = `lab/${name}:${await digestOf([context])}`;
  return there(image, async () => {
    await ensureBase(release);
    say(`building ${image}: once, a minute or more`);
    await build(image, join(context, 'Dockerfile'), context, { BASE: baseImage(release) });
  });
}

/** Images that are being made: whoever needs one of them at the same time waits for it. */
const making = new Map<string, Promise<void>>();

/** The image, which is made where it is missing. */
async function there(image: string, make: () => Promise<void>): Promise<string> {
  if (await exists(image)) return image;
  const made = making.get(image) ?? make().finally(() => making.delete(image));
  making.set(image, made);
  await made;
  return image;
}

/** Whether there is an image of a service already, of these sources or of older ones. */
export const hasImageOf = async (service: string): Promise<boolean> =>
  (await run('docker', ['images', '--quiet', `lab/${service}`])) !== '';

/** The image of all roles of an app: its sources, the libraries' and the packages that they need, and the locked Node. */
export async function appImage(app: string): Promise<string> {
  const parts = workspaceClosure(app);
  const sources = parts.workspaces.map((workspace) => join(root, workspace));
  const image = `lab/${app}:${await digestOf([...sources, join(import.meta.dirname, 'node'), join(root, 'package-lock.json')])}`;
  return there(image, () => buildApp(app, image, parts));
}

async function buildApp(app: string, image: string, parts: ReturnType<typeof workspaceClosure>): Promise<void> {
  await ensureBase(debianRelease);
  say(`building ${image}: once, a minute or more`);
  const context = await mkdtemp(join(tmpdir(), 'lab-image-'));
  try {
    for (const path of parts.packages) await copyPackage(join(root, path), join(context, 'packages', path));
    for (const workspace of parts.workspaces) {
      for (const entry of copied.filter((entry) => existsSync(join(root, workspace, entry)))) {
        await cp(join(root, workspace, entry), join(context, 'sources', workspace, entry), {
          recursive: true,
          filter: (file) => !file.endsWith('.test.ts'),
        });
      }
    }
    await build(image, join(import.meta.dirname, 'node/Dockerfile'), context, {
      BASE: baseImage(debianRelease),
      NODE_IMAGE: await nodeImage(),
      APP: app,
      DEBIAN_PACKAGES: debianPackages(app).join(' '),
      WORKSPACES: parts.workspaces.filter((each) => each.startsWith('libs/')).join(' '),
    });
  } finally {
    await rm(context, { recursive: true, force: true });
  }
}

/** Makes whatever image is missing, of all services and apps, one after the other: minutes on a fresh machine, which whoever has something else to do need not wait for. */
export async function everyImage(): Promise<void> {
  const services = (await readdir(import.meta.dirname)).filter((name) =>
    existsSync(join(import.meta.dirname, name, 'Dockerfile')),
  );
  for (const name of services.filter((name) => name !== 'node')) await serviceImage(name);
  if (services.includes('rabbitmq')) await serviceImage('rabbitmq', newerRelease);
  for (const app of await readdir(join(root, 'apps'))) await appImage(app);
}

/** What of a workspace a container needs; the rest is for those who develop it. */
const copied = ['package.json', 'src', 'data', 'deploy', 'proto'];

/** What an app needs from Debian: `"lab": { "debian": ["a-package"] }` in its package.json. */
function debianPackages(app: string): readonly string[] {
  const manifest = JSON.parse(readFileSync(join(root, 'apps', app, 'package.json'), 'utf8')) as { lab?: { debian?: string[] } };
  return manifest.lab?.debian ?? [];
}

async function copyPackage(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  await cp(from, to, { recursive: true, filter: (file) => !relative(from, file).split('/').includes('node_modules') });
}

const exists = async (image: string): Promise<boolean> => (await run('docker', ['images', '-q', image])).trim() !== '';

/** Builds it. Older ones of the same service, which each change of a source leaves behind, are removed a day later, where no container uses them. */
async function build(image: string, dockerfile: string, context: string, args: Readonly<Record<string, string>>): Promise<void> {
  const buildArgs = Object.entries(args).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]);
  const label = `lab.image=${image.split(':')[0]}`;
  await run('docker', ['build', '-q', '-t', image, '--label', label, '-f', dockerfile, ...buildArgs, context], {
    env: { ...process.env, DOCKER_BUILDKIT: '1' },
  });
  const old = ['image', 'prune', '--all', '--force', '--filter', `label=${label}`, '--filter', 'until=24h'];
  // Docker does one such thing at a time; the next build comes.
  await run('docker', old).catch(() => undefined);
}

/** A registry that can be reached says something within 2 s; who is offline should not wait long. */
const registryAnswerMs = 15_000;
/** The base is 30 MB, Node 80: at 4 Mbit/s a pull takes no longer. */
const pullMs = 240_000;

async function ensureBase(release: DebianRelease): Promise<void> {
  await there(baseImage(release), async () => {
    if (!(await pull(baseImage(release)))) await bootstrapBase(release);
  });
}

async function exitCode(child: ChildProcess): Promise<number | null> {
  const [code] = (await once(child, 'close')) as [number | null];
  return code;
}

/** Whether the image could be pulled. */
async function pull(image: string): Promise<boolean> {
  say(`pulling ${image}`);
  const child = spawn('docker', ['pull', image], { stdio: ['ignore', 'pipe', 'ignore'], timeout: pullMs });
  const unanswered = setTimeout(() => child.kill(), registryAnswerMs);
  child.stdout.on('data', () => clearTimeout(unanswered));
  const code = await exitCode(child);
  clearTimeout(unanswered);
  return code === 0;
}

/** What `debian:*-slim` leaves out, too, now and in packages that are installed later: no program here reads it. */
const leftOut = ['doc', 'info', 'locale', 'man'].map((folder) => `usr/share/${folder}/*`);
const notImported = [...leftOut, 'var/cache/apt/*', 'var/lib/apt/lists/*', 'var/log/*'].map((path) => `--exclude=./${path}`);

/** The same Debian, from the archive that this machine uses. */
async function bootstrapBase(release: DebianRelease): Promise<void> {
  say(`no registry is reached: making ${baseImage(release)} with debootstrap (half a minute)`);
  const { main, security } = await debianArchive();
  if (!existsSync('/usr/sbin/debootstrap')) await install(['debootstrap']);
  const directory = await mkdtemp(join(tmpdir(), 'lab-base-'));
  try {
    await run('debootstrap', ['--variant=minbase', release, directory, main]);
    const suites = [`${main} ${release}`, `${main} ${release}-updates`];
    if (security !== undefined) suites.push(`${security} ${release}-security`);
    await writeFile(join(directory, 'etc/apt/sources.list'), suites.map((suite) => `deb ${suite} main\n`).join(''));
    await writeFile(join(directory, 'etc/dpkg/dpkg.cfg.d/slim'), leftOut.map((path) => `path-exclude /${path}\n`).join(''));
    await importFolder(directory, baseImage(release), notImported);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Makes a folder an image of one layer. */
async function importFolder(directory: string, image: string, tarOptions: readonly string[] = []): Promise<void> {
  const tar = spawn('tar', ['--numeric-owner', '-C', directory, ...tarOptions, '-c', '.'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const load = spawn('docker', ['import', '-', image], { stdio: ['pipe', 'ignore', 'inherit'] });
  const codes = await Promise.all([exitCode(tar), exitCode(load), pipeline(tar.stdout, load.stdin)]);
  if (codes[0] !== 0 || codes[1] !== 0) throw new Error(`${directory} could not be made the image ${image}`);
}

/** Node from npm, where it has installed it: what runs in containers is then what runs on the host, to the last digit of the lock file. */
async function nodeImage(): Promise<string> {
  const installed = join(root, 'node_modules', `node-linux-${process.arch}`);
  if (!existsSync(join(installed, 'bin/node'))) {
    if (!(await exists(publicNodeImage)) && !(await pull(publicNodeImage)))
      throw new Error(`${publicNodeImage} cannot be pulled`);
    return publicNodeImage;
  }
  const { version } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as { version: string };
  const image = `lab/node:${version}`;
  if (await exists(image)) return image;
  const directory = await mkdtemp(join(tmpdir(), 'lab-node-'));
  try {
    await mkdir(join(directory, 'usr/local/bin'), { recursive: true });
    await cp(join(installed, 'bin/node'), join(directory, 'usr/local/bin/node'));
    await importFolder(directory, image, ['--owner=0', '--group=0']);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  return image;
}

interface LockedPackage {
  link?: boolean;
  resolved?: string;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
}

/** What an app needs to run, by the lock file: workspaces, and folders of packages. */
function workspaceClosure(app: string): { workspaces: string[]; packages: string[] } {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Record<string, LockedPackage> };
  const workspaces = new Set<string>();
  const packages = new Set<string>();
  const visit = (path: string): void => {
    const entry = lock.packages[path];
    const seen = path.includes('node_modules/') ? packages : workspaces;
    if (entry === undefined || seen.has(path)) return;
    seen.add(path);
    for (const name of Object.keys({ ...entry.dependencies, ...entry.optionalDependencies, ...entry.peerDependencies })) {
      const found = resolveFrom(path, name, lock.packages);
      // Optional ones are installed for this platform only; those of others are in the lock file alone.
      if (found !== undefined && existsSync(join(root, found))) visit(found);
    }
  };
  visit(`apps/${app}`);
  return { workspaces: [...workspaces], packages: [...packages].sort() };
}

/** Where Node finds a package from a folder: the nearest `node_modules` upwards. A workspace is a link; what counts is where it leads. */
function resolveFrom(path: string, name: string, packages: Readonly<Record<string, LockedPackage>>): string | undefined {
  for (let at = path; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/')))) {
    const candidate = `${at === '' ? '' : `${at}/`}node_modules/${name}`;
    const found = packages[candidate];
    if (found !== undefined) return found.link === true ? found.resolved : candidate;
    if (at === '') return undefined;
  }
}

/** A short name for the content of files and folders. */
async function digestOf(paths: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const path of paths) {
    if (path.endsWith('.json')) {
      hash.update(await readFile(path));
      continue;
    }
    const entries = await readdir(path, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => relative(path, join(entry.parentPath, entry.name)));
    // What a load or a fault writes down of a running system goes into none.
    for (const file of files.filter((each) => !/(^|\/)(test|bench|tmp)\/|\.test\.ts$|\.md$/.test(each)).sort()) {
      hash
        .update(file)
        .update('\0')
        .update(await readFile(join(path, file)));
    }
  }
  return hash.digest('hex').slice(0, 12);
}
