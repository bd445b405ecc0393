/**
 * The targets that every package has, for Nx, by what is in its folder: a package writes down only what it alone has. The root is a project too,
 * `workspace`: its lint is that of all packages in one go, types included, which takes a third of the time of one after another.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { problem } from './node-version.js';

// Nx prints the message of an error, and nothing else that a plugin says.
if (problem !== undefined) throw new Error(problem);

export const name = 'lab-targets';

/** Kinds of suites that vitest.config.ts tells apart by the end of a file's name; `test` are all others. */
const kinds = ['embedded', 'integration', 'chaos'];
/** `test:all` has one fault of each kind, the target has all. */
const settings = { chaos: 'CHAOS=all ' };
const workspace = join(import.meta.dirname, '..');

/** @type {import('@nx/devkit').CreateNodes} */
export const createNodes = [
  '{package.json,apps/*/package.json,libs/*/package.json}',
  (manifests) =>
    manifests.map((manifest) => {
      const folder = dirname(manifest);
      const project =
        folder === '.'
          ? { name: 'workspace', tags: ['type:workspace'], targets: workspaceTargets(), implicitDependencies: ['*'] }
          : { targets: packageTargets(folder) };
      return [manifest, { projects: { [folder]: project } }];
    }),
];

/**
 * @param {string} folder of a package, relative to the root
 * @param {string} root of a workspace
 */
export function packageTargets(folder, root = workspace) {
  // Not in its folder tmp, where tests make and remove copies meanwhile.
  const parts = ['src', 'test'].map((part) => join(root, folder, part)).filter((part) => existsSync(part));
  const files = parts.flatMap((part) => readdirSync(part, { recursive: true, encoding: 'utf8' }));
  const suites = kinds.filter((kind) => files.some((file) => file.endsWith(`.${kind}.test.ts`)));
  const documents = readdirSync(join(root, folder))
    .filter((file) => file.endsWith('.md'))
    .map((file) => readFileSync(join(root, folder, file), 'utf8'));
  return {
    test: command(`vitest run --project unit ${folder}/`),
    lint: command(`eslint ${folder} --max-warnings 0`),
    typecheck: command(`node tools/typecheck.ts ${folder}`),
    ...Object.fromEntries(
      suites.map((kind) => [kind, command(`${settings[kind] ?? ''}vitest run --project '${kind}*' ${folder}/`)]),
    ),
    ...(existsSync(join(root, folder, 'test/simulate.ts')) && folder.startsWith('apps/')
      ? { grade: command(`node --import ./tools/node-24.js tools/grade.ts ${basename(folder)}`) }
      : {}),
    ...(documents.some((text) => /^```console$/m.test(text)) ? { readme: command(`vitest run --project readme:${folder}`) } : {}),
  };
}

/** These read the files of all packages. */
const workspaceTargets = () => {
  const inputs = ['{workspaceRoot}/**/*', { runtime: 'node --version' }];
  return {
    test: { ...command('vitest run --project unit tidy docker/ tools/'), inputs },
    lint: { ...command('eslint . --config tools/lint-and-types.js --max-warnings 0'), inputs },
    typecheck: { ...command('node tools/typecheck.ts .'), inputs },
  };
};

/** @param {string} line run in the workspace's root */
const command = (line) => ({ executor: 'nx:run-commands', options: { command: line, cwd: '{workspaceRoot}' } });
