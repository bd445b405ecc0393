/**
 * The images: their names and versions, here and nowhere else, and how each is made. All are made from one Debian base. Online it is pulled; where no
 * registry is reached it is made with `debootstrap` from the machine's package mirror, under the same name.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { packageMirror, run, say } from './engine.ts';

const root = join(import.meta.dirname, '..');
export const debianRelease = 'bookworm';
export const baseImage = `debian:${debianRelease}-slim`;

/** The image of a backing service or of an app's roles. A change of what goes into it changes its tag, so an old image is never taken for a new one. */
export async function serviceImage(service: string): Promise<string> {
  const context = join(import.meta.dirname, service);
  const image = `lab/${service}:${await digestOf([context])}`;
  if (await exists(image)) return image;
  await ensureBase();
  say(`building ${image}`);
  await build(image, join(context, 'Dockerfile'), context);
  return image;
}

/** The image of all roles of an app: its sources, the libraries' and the packages that they need, and the locked Node. */
export async function appImage(app: string): Promise<string> {
  const parts = workspaceClosure(app);
  const sources = parts.workspaces.map((workspace) => join(root, workspace));
  const image = `lab/${app}:${await digestOf([...sources, join(import.meta.dirname, 'node'), join(root, 'package-lock.json')])}`;
  if (await exists(image)) return image;
  await ensureBase();
  say(`building ${image}`);
  const context = await mkdtemp(join(tmpdir(), 'lab-image-'));
  try {
    await cp(process.execPath, join(context, 'node'), { dereference: true });
    for (const path of parts.packages) await copyPackage(join(root, path), join(context, 'packages', path));
    for (const workspace of parts.workspaces) {
      for (const entry of ['package.json', 'src', 'data'].filter((entry) => existsSync(join(root, workspace, entry)))) {
        await cp(join(root, workspace, entry), join(context, 'sources', workspace, entry), {
          recursive: true,
          filter: (file) => !file.endsWith('.test.ts'),
        });
      }
    }
    await build(image, join(import.meta.dirname, 'node/Dockerfile'), context, {
      APP: app,
      WORKSPACES: parts.workspaces.filter((each) => each.startsWith('libs/')).join(' '),
    });
  } finally {
    await rm(context, { recursive: true, force: true });
  }
  return image;
}

async function copyPackage(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  await cp(from, to, { recursive: true, filter: (file) => !relative(from, file).split('/').includes('node_modules') });
}

const exists = async (image: string): Promise<boolean> => (await run('docker', ['images', '-q', image])).trim() !== '';

async function build(
  image: string,
  dockerfile: string,
  context: string,
  args: Readonly<Record<string, string>> = {},
): Promise<void> {
  const buildArgs = Object.entries({ BASE: baseImage, ...args }).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]);
  await run('docker', ['build', '-q', '-t', image, '-f', dockerfile, ...buildArgs, context], {
    env: { ...process.env, DOCKER_BUILDKIT: '1' },
  });
}

/** A registry that is there answers in a second; one that is not may never. */
const pullTimeoutMs = 60_000;

async function ensureBase(): Promise<void> {
  if (await exists(baseImage)) return;
  try {
    say(`pulling ${baseImage}`);
    await run('docker', ['pull', '-q', baseImage], { timeoutMs: pullTimeoutMs });
  } catch {
    await bootstrapBase();
  }
}

/** The same Debian, from the machine's own package mirror. */
async function bootstrapBase(): Promise<void> {
  say(`no registry is reached: making ${baseImage} with debootstrap (half a minute)`);
  if (!existsSync('/usr/sbin/debootstrap')) {
    await run('apt-get', ['update', '-qq']);
    await run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'debootstrap']);
  }
  const directory = await mkdtemp(join(tmpdir(), 'lab-base-'));
  try {
    await run('debootstrap', ['--variant=minbase', debianRelease, directory, await packageMirror()]);
    const trimmed = [
      './var/cache/apt/*',
      './var/lib/apt/lists/*',
      './usr/share/doc/*',
      './usr/share/man/*',
      './usr/share/locale/*',
    ];
    const exclude = trimmed.map((path) => `--exclude='${path}'`).join(' ');
    await run('bash', ['-o', 'pipefail', '-c', `tar -C ${directory} ${exclude} -c . | docker import - ${baseImage}`]);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

interface LockedPackage {
  link?: boolean;
  resolved?: string;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

/** What an app needs to run, by the lock file: workspaces, and folders of packages. */
export function workspaceClosure(app: string): { workspaces: string[]; packages: string[] } {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Record<string, LockedPackage> };
  const workspaces = new Set<string>();
  const packages = new Set<string>();
  const visit = (path: string): void => {
    const entry = lock.packages[path];
    const seen = path.startsWith('node_modules/') ? packages : workspaces;
    if (entry === undefined || seen.has(path)) return;
    seen.add(path);
    for (const name of Object.keys(entry.dependencies ?? {})) {
      const found = resolveFrom(path, name, lock.packages);
      if (found !== undefined) visit(found);
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
    const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    for (const file of files.filter((each) => !/\/(test|bench)\/|\.test\.ts$|\.md$/.test(each)).sort()) {
      hash
        .update(relative(path, file))
        .update('\0')
        .update(await readFile(file));
    }
  }
  return hash.digest('hex').slice(0, 12);
}
