/**
 * `npm run eject -- my-lab ../my-lab`: a repository of one's own for an app, with the libraries that it needs as sources, for Node runs no TypeScript from
 * node_modules. It has the folders of the kit and no Nx: the scripts of its package.json are the targets.
 *
 * The first commit is what the kit has, and names the kit's commit. `update` makes the same of the kit as it is now, a commit beside that first one,
 * and merges it: Git's own merge of two branches, which knows lines, files that are new, gone or renamed, and how to undo it.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path/posix';
import { isDeepStrictEqual, parseArgs } from 'node:util';
import { appsOf, begunExercise, appTree, originOf, renamed } from './new.ts';
import { packageTargets } from './nx-targets.js';
import { repositoryFiles } from './repository-files.ts';
import { edited, readTree, textFile, textOf, writeTree, type Tree } from './trees.ts';

const kit = resolve(import.meta.dirname, '..');

/** Of the root and of tools/: what tests, checks and containers need; and what is in tools/ejected, under another name. */
const rootFiles = [
  ...['.gitignore', '.npmrc', '.prettierignore', '.prettierrc.json', 'LICENSE', 'package.json', 'package-lock.json'],
  ...['readme.integration.test.ts', 'readme.test.ts', 'tsconfig.json', 'vitest.config.ts'],
  ...[
    'console-blocks.ts',
    'in-turn.ts',
    'lint-and-types.js',
    'lint.js',
    'node-24.js',
    'node-version.js',
    'repository-files.ts',
    'test-all.ts',
  ].map((tool) => `tools/${tool}`),
];
/** What npm has fetched once, for the kit as a rule, is not asked for again: without a network that would take minutes. */
const preferCache = `prefer-offline=true\n`;
const templates = {
  'eslint.config.js': 'eslint.config.js',
  'tools/update.ts': 'update.ts',
  '.github/workflows/ci.yml': 'ci.yml',
};

type Names = Readonly<Record<string, string>>;
interface Manifest {
  readonly dependencies?: Names;
  readonly devDependencies?: Names;
  readonly scripts?: Names;
  /** Of an ejected repository: its app, and of which one of the kit that is a copy. */
  readonly lab?: { readonly app?: string; readonly from?: string };
}

const manifestIn = (folder: string): Manifest => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;

/** The libraries that a package names, as a dependency or in its scripts. */
function libsOf({ dependencies, devDependencies, scripts }: Manifest): string[] {
  const packages = Object.keys({ ...dependencies, ...devDependencies }).flatMap((name) => /^@lab\/(.*)/.exec(name)?.[1] ?? []);
  const programs = Object.values(scripts ?? {}).flatMap((script) => /libs\/([\w-]+)/.exec(script)?.[1] ?? []);
  return [...packages, ...programs];
}

/** With all that they need in turn, for their tests too. */
function closure(root: string, libs: readonly string[]): Set<string> {
  const all = new Set<string>();
  const visit = (lib: string): void => {
    if (all.has(lib)) return;
    if (!existsSync(join(root, 'libs', lib))) throw new Error(`there is no library libs/${lib}, which the app needs`);
    all.add(lib);
    libsOf(manifestIn(join(root, 'libs', lib))).forEach(visit);
  };
  libs.forEach(visit);
  return all;
}

/** Suites on engines, benches, and tests of the kit's own apps stay where all services and apps are. */
const isOfLibrary = (root: string, path: string): boolean =>
  !/\/bench\/|\.(integration|chaos)\.test\.ts$/.test(path) &&
  !(path.endsWith('.test.ts') && readFileSync(join(root, path), 'utf8').includes('/apps/'));

/** All files of a repository for an app, which has these files, that needs these libraries; without the lock file that fits it. */
export async function ejectedFiles(root: string, name: string, app: Tree, from: string, libs: readonly string[]): Promise<Tree> {
  const needed = closure(root, [...libs, ...libsOf(JSON.parse(textOf(app, `apps/${name}/package.json`)) as Manifest)]);
  const services = new Set(['node', 'faults']);
  const compose = app.get(`apps/${name}/compose.yaml`)?.bytes.toString() ?? '';
  for (const [, service] of compose.matchAll(/\bLAB_(\w+)_IMAGE\b/g)) services.add(service!.toLowerCase());
  const chosen = repositoryFiles(root).filter((path) => {
    const [folder = '', second = ''] = path.split('/');
    if (folder === 'libs') return needed.has(second) && isOfLibrary(root, path);
    if (folder === 'docker') return services.has(second) || (second.endsWith('.ts') && !second.endsWith('.test.ts'));
    return rootFiles.includes(path);
  });
  const tree: Tree = new Map([...readTree(root, chosen), ...app]);
  for (const [path, template] of Object.entries(templates))
    tree.set(path, readTree(join(kit, 'tools/ejected'), [template]).get(template)!);
  tree.set('.npmrc', textFile(`${textOf(tree, '.npmrc')}${preferCache}`));
  tree.set('package.json', textFile(rootManifest(root, name, app, from)));
  return edited(root, withDocuments(tree, name), (text, path) => (path === 'package.json' ? text : withoutNx(root, name, text)));
}

const ejectedTree = async (...repository: Parameters<typeof ejectedFiles>): Promise<Tree> =>
  withLock(await ejectedFiles(...repository));

/** Scripts instead of Nx' targets, of the app alone; they run in the folder in which they ran there. */
function rootManifest(root: string, name: string, app: Tree, from: string): string {
  const { scripts, ...rest } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Names;
    devDependencies: Names;
  };
  const own = (JSON.parse(textOf(app, `apps/${name}/package.json`)) as Manifest).scripts ?? {};
  const { grade, lint, typecheck, readme, test, ...suites } = packageTargets(`apps/${from}`, root);
  const targets = Object.entries({ unit: test, ...suites }).map(([target, { options }]) => [
    target,
    options.command.replaceAll(`apps/${from}`, `apps/${name}`),
  ]);
  const all: Names = {
    ...(Object.fromEntries(targets) as Names),
    ...Object.fromEntries(Object.entries(own).map(([target, script]) => [target, `cd apps/${name} && ${script}`])),
    readme: 'vitest run --project readme:.',
    lint: 'eslint . --config tools/lint-and-types.js --max-warnings 0',
    test: scripts['test']!,
    'test:all': scripts['test:all']!,
    update: 'node --import ./tools/node-24.js tools/update.ts',
  };
  const devDependencies = Object.fromEntries(Object.entries(rest.devDependencies).filter(([each]) => !/^(nx$|@nx\/)/.test(each)));
  const manifest = { ...rest, name, lab: { app: name, from }, scripts: all, devDependencies };
  return `${JSON.stringify(manifest, undefined, 2)}\n`;
}

/** The app's README is the repository's; links lead where files are now, and one that led to what is not here is its text alone. */
function withDocuments(tree: Tree, name: string): Tree {
  const old = `apps/${name}/README.md`;
  const movedTo = (path: string): string => (path === old ? 'README.md' : path);
  const isThere = (path: string): boolean => tree.has(path) || [...tree.keys()].some((each) => each.startsWith(`${path}/`));
  const documents = [...tree].map(([path, file]): [string, typeof file] => {
    if (!path.endsWith('.md')) return [path, file];
    const links = /(!?\[[^\]]*\])\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)/g;
    const text = file.bytes.toString().replace(links, (_, label: string, target: string, anchor = '') => {
      const file = join(dirname(path), target).replace(/\/$/, '');
      if (!isThere(file)) return label.replace(/^!?\[|\]$/g, '');
      return `${label}(${relative(dirname(movedTo(path)), movedTo(file))}${anchor})`;
    });
    const more = path === old ? readFileSync(join(kit, 'tools/ejected/readme-end.txt'), 'utf8') : '';
    return [movedTo(path), { ...file, bytes: Buffer.from(text + more) }];
  });
  return new Map(documents);
}

/** What sources name without its flags, which are added there. */
const takesFlags = /^(break|look|simulate)$/;
/** What takes words and flags; others take flags at most. */
const takesWords = /^(break|client|admin|add-node|add-content-creators|swarm)$/;

/** Commands as they are called here. */
function withoutNx(root: string, name: string, text: string): string {
  const libs = readdirSync(join(root, 'libs')).join('|');
  const apps = [name, ...appsOf(root), 'APP', 'yours'].join('|');
  const script = (target: string): string => `npm run ${target === 'test' ? 'unit' : target}`;
  // An app's name, or in sources a variable that has it.
  const withApp = new RegExp(`npx nx (?!exercise)([\\w-]+)\\s(?:${apps}|\\$?\\{[\\w.#]+\\})(?![\\w-])( (?=[\\w'"[-]))?`, 'g');
  const alone = new RegExp(`npx nx (?!exercise|(?:integration|chaos|bench|simulate) (?:${libs})\\b)([a-z][\\w-]*)`, 'g');
  return text
    .replace(new RegExp(`npx nx test (${libs})\\b`, 'g'), 'npx vitest run --project unit libs/$1/')
    .replace(withApp, (found: string, target: string, space = '', at: number, whole: string) => {
      const next = whole[at + found.length] ?? '';
      // In sources, what is completed elsewhere: 'npx nx look APP', `npx nx break ${app}`.
      const isWhole = next === "'" || (next === '`' && found.endsWith('}'));
      const isBegun = next === '$' || (isWhole && takesFlags.test(target));
      const isForApp = space === '' ? isBegun : takesWords.test(target) || /^([[-]|help\b)/.test(whole.slice(at + found.length));
      return `${script(target)}${isForApp ? ' --' : ''}${space}`;
    })
    .replace(alone, (_, target: string) => script(target));
}

/** The kit's lock file without what is not needed here; npm knows, and has to fetch nothing for it. */
function withLock(tree: Tree): Tree {
  if (!tree.has('package-lock.json')) return tree;
  const folder = mkdtempSync(join(tmpdir(), 'lab-lock-'));
  try {
    writeTree(folder, new Map([...tree].filter(([path]) => /(^|\/)(package(-lock)?\.json|\.npmrc)$/.test(path))));
    execFileSync('npm', ['install', '--package-lock-only', '--offline', '--ignore-scripts'], { cwd: folder, stdio: 'pipe' });
    return new Map([...tree, ...readTree(folder, ['package-lock.json'])]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What the kit has of an app: under its name, if it is a copy, what the original would be. What the owner has changed in the copy is another commit. */
async function appOfKit(root: string, name: string, from: string): Promise<Tree> {
  const original = appTree(root, from);
  return from === name ? original : renamed(root, original, from, name);
}

const git = (folder: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): string =>
  execFileSync('git', args, {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim();

/** Who commits, where this machine does not say: Git would refuse. */
function author(folder: string): NodeJS.ProcessEnv {
  if (spawnSync('git', ['var', 'GIT_COMMITTER_IDENT'], { cwd: folder, stdio: 'ignore' }).status === 0) return {};
  const [name, email] = ['lab kit', 'lab-kit@localhost'];
  return { GIT_AUTHOR_NAME: name, GIT_AUTHOR_EMAIL: email, GIT_COMMITTER_NAME: name, GIT_COMMITTER_EMAIL: email };
}

/** By which the kit's commit is found again. */
const trailer = 'Kit-Commit: ';

/** The kit's commit, and whether the kit was just that. */
function kitCommit(root: string): string {
  if (!existsSync(join(root, '.git'))) return `${trailer}unknown, as the kit was no clone`;
  const changes = git(root, ['status', '--porcelain', '--untracked-files=no', '--', '.', ':!package-lock.json']);
  return `${trailer}${git(root, ['rev-parse', 'HEAD'])}${changes === '' ? '' : ', with changes'}`;
}

/** Makes a repository of an app in an empty folder, or in one that is not there yet. Says so: it may take a minute. */
export async function eject(root: string, name: string, folder: string): Promise<void> {
  if (!appsOf(root).includes(name)) throw new Error(`there is no app "${name}"; there are ${appsOf(root).join(', ')}`);
  const begun = begunExercise(root, name);
  if (begun !== undefined) throw new Error(begun);
  if (existsSync(folder) && readdirSync(folder).length > 0)
    throw new Error(`${folder} is not empty: name an empty folder, or one that is not there yet`);
  console.error(`making a repository of ${name} in ${folder}`);
  const origin = originOf(root, name);
  const from = appsOf(root).includes(origin) ? origin : name;
  const libs = libsOf(manifestIn(join(root, 'apps', name)));
  const [kits, owners] = [await appOfKit(root, name, from), appTree(root, name)];
  const pure = await ejectedTree(root, name, kits, from, libs);
  mkdirSync(folder, { recursive: true });
  git(folder, ['init', '--quiet', '--initial-branch=main']);
  commit(folder, pure, `Begin with ${from} of the lab kit\n\n${kitCommit(root)}`);
  if (isDeepStrictEqual(kits, owners)) return;
  const own = await ejectedTree(root, name, owners, from, libs);
  for (const path of pure.keys()) if (!own.has(path)) rmSync(join(folder, path));
  commit(folder, own, `${name}: what was changed before`);
}

/** Writes the files and commits them, unless they are there already. */
function commit(folder: string, tree: Tree, message: string): void {
  writeTree(folder, tree);
  git(folder, ['add', '--all', '--force', '.']);
  if (git(folder, ['status', '--porcelain']) !== '') git(folder, ['commit', '--quiet', '--message', message], author(folder));
}

/**
 * Puts the packages of the kit into the repository, as links to the same files, or copies from one disk to another; npm removes what the lock file does not
 * name. Nothing is fetched.
 */
export function install(root: string, folder: string): void {
  const packages = join(root, 'node_modules');
  if (!existsSync(packages)) throw new Error(`the kit has no packages to share; in ${folder}: npm ci`);
  console.error("installing the kit's packages in it");
  if (spawnSync('cp', ['-al', packages, folder], { stdio: 'ignore' }).status !== 0) {
    rmSync(join(folder, 'node_modules'), { recursive: true, force: true });
    execFileSync('cp', ['-a', packages, folder]);
  }
  // Of the kit, and npm would write into it.
  for (const own of ['.package-lock.json', '.cache', '@lab'])
    rmSync(join(folder, 'node_modules', own), { recursive: true, force: true });
  execFileSync('npm', ['install', '--offline', '--ignore-scripts'], { cwd: folder, stdio: 'pipe' });
}

/** Merges what has changed in the kit since the last time. Whether Git could do it all. */
export async function update(folder: string, root = kit): Promise<boolean> {
  if (git(folder, ['status', '--porcelain']) !== '')
    throw new Error('something here is not committed: commit it, or put it away with git stash -u');
  const base = git(folder, ['log', '-1', '--format=%H', `--grep=^${trailer}`]);
  const { app, from } = manifestIn(folder).lab ?? {};
  if (base === '' || app === undefined || from === undefined)
    throw new Error(
      'no commit here names a commit of the kit, or package.json has no "lab" any more: there is nothing to compare with',
    );
  const libs = libsOf(manifestIn(join(folder, 'apps', app)));
  const kits = await ejectedTree(root, app, await appOfKit(root, app, from), from, libs);
  const theirs = commitBeside(folder, base, kits, `Take what the kit has\n\n${kitCommit(root)}`);
  if (theirs === undefined) {
    console.log('nothing has changed in the kit');
    return true;
  }
  const merge = spawnSync('git', ['merge', '--no-ff', '--message', 'Merge what has changed in the kit', theirs], {
    cwd: folder,
    stdio: 'inherit',
    env: { ...process.env, ...author(folder) },
  });
  if (merge.status === 0) console.log('Next:\n  npm ci\n  npm test');
  else console.error('Resolve the conflicts, git add, git commit; or git merge --abort, and all is as it was. Then: npm install');
  return merge.status === 0;
}

/** A commit of these files after another one, on no branch; undefined where they are the same. */
function commitBeside(folder: string, base: string, tree: Tree, message: string): string | undefined {
  const scratch = mkdtempSync(join(tmpdir(), 'lab-update-'));
  try {
    const files = join(scratch, 'files');
    writeTree(files, tree);
    const env = { GIT_INDEX_FILE: join(scratch, 'index'), GIT_WORK_TREE: files, GIT_DIR: join(folder, '.git') };
    git(files, ['add', '--all', '--force', '.'], env);
    const written = git(files, ['write-tree'], env);
    if (written === git(folder, ['rev-parse', `${base}^{tree}`])) return undefined;
    return git(folder, ['commit-tree', written, '-p', base, '-m', message], author(folder));
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

const help = `Usage: npm run eject -- APP FOLDER

Makes a repository of an app in FOLDER, with the libraries that it needs, without Nx, and with one commit, which names
the kit's. A copy that npm run new has made and that has been changed since gets a second one.
`;

async function main(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { help: { type: 'boolean', short: 'h' } },
    allowPositionals: true,
  });
  if (values.help === true) return void process.stdout.write(`${help}\nThe apps: ${appsOf(kit).join(', ')}\n`);
  const [app, to, ...others] = positionals;
  if (app === undefined || to === undefined || others.length > 0) throw new Error(`it takes an app and a folder\n\n${help}`);
  const folder = resolve(process.env['INIT_CWD'] ?? '.', to);
  if (`${folder}/`.startsWith(`${kit}/`))
    throw new Error(`${folder} is in the kit, ${kit}: name a folder outside of it, as ../${app}`);
  await eject(kit, app, folder);
  console.log(`${folder} is a repository: ${git(folder, ['ls-files']).split('\n').length} files`);
  install(kit, folder);
  console.log(
    `It has the kit's packages; npm ci installs them anew.\nNext:\n  cd ${basename(folder)}\n  npm run demo\n  npm test`,
  );
}

if (import.meta.main) {
  await main(process.argv.slice(2)).catch((error: Error) => {
    console.error(error.message);
    process.exitCode = 2;
  });
}
