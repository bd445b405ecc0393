/**
 * `npm run new -- my-lab --from word-count`: a copy of an app in this workspace, under a name of its own and with all that is named after it. What it
 * may not share with the original are its host port and, of ha-web, the addresses of its networks; both follow from its name.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { portOf } from '../docker/compose.ts';
import { repositoryFiles } from './repository-files.ts';
import { edited, readTree, textFile, textOf, writeTree, type Tree } from './trees.ts';

const root = join(import.meta.dirname, '..');

export const appsOf = (root: string): string[] => readdirSync(join(root, 'apps')).sort();

/** The app that a copy was made from; otherwise the app itself. */
export function originOf(root: string, app: string): string {
  const { lab } = JSON.parse(readFileSync(join(root, 'apps', app, 'package.json'), 'utf8')) as { lab?: { from?: string } };
  return lab?.from ?? app;
}

/** Networks that an app makes are 10.N: of an original from here on, */
const networkFirst = 86;
const networkCount = 8;
/** and of copies from here on. */
const copiesFirst = 96;
/** Not a number of a table, which may look like one. */
const network = /(?<![\d.])10\.(\d+)(?=\.\d)/g;

/** Where those of an app begin that has none now: it follows from its name, so that it is the same everywhere. */
function networkOf(copy: string): number {
  const blocks = Math.floor((256 - copiesFirst) / networkCount);
  return copiesFirst + networkCount * (createHash('sha256').update(copy).digest().readUInt32BE(4) % blocks);
}

/** The files of an app, by their paths from the root, as those of an app with another name. */
export async function renamed(root: string, tree: Tree, from: string, name: string): Promise<Tree> {
  // Exercises stay with the original.
  const word = new RegExp(`(?<![a-z0-9]|nx exercise )${from}(?![a-z0-9])`, 'g');
  const port = new RegExp(`(?<=127\\.0\\.0\\.1:)${portOf(from)}\\b`, 'g');
  const first = networksIn(tree).some((each) => each >= copiesFirst) ? networkOf(from) : networkFirst;
  const moved = new Map([...tree].map(([path, file]) => [path.replace(word, name), file]));
  const copy = await edited(root, moved, (text, path) =>
    text
      .replace(word, name)
      .replace(port, String(portOf(name)))
      .replace(network, (whole, second: string) => {
        const nth = Number(second) - first;
        return nth < 0 || nth >= networkCount || path.endsWith('.csv') ? whole : `10.${nth + networkOf(name)}`;
      }),
  );
  const manifest = `apps/${name}/package.json`;
  const { scripts, ...rest } = JSON.parse(textOf(copy, manifest)) as { lab?: object; scripts: object };
  // Of a copy of a copy, too: what `npm run update` brings is the original's.
  const lab = { ...rest.lab, from: (rest.lab as { from?: string } | undefined)?.from ?? from };
  return copy.set(manifest, textFile(`${JSON.stringify({ ...rest, lab, scripts }, undefined, 2)}\n`));
}

/** Of the networks that an app makes, 10.N, every N. */
function networksIn(tree: Tree): number[] {
  const texts = [...tree].flatMap(([path, { bytes }]) => (path.endsWith('.csv') || bytes.includes(0) ? [] : [bytes.toString()]));
  return texts.flatMap((text) =>
    [...text.matchAll(network)].map(([, second]) => Number(second)).filter((n) => n >= networkFirst),
  );
}

/** Why a new app of this workspace cannot have the name; undefined where it can. */
export function refusal(root: string, name: string): string | undefined {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name) || name.length > nameMax)
    return `"${name}" is no name for an app: small letters, digits and single hyphens, at most ${nameMax} of them, as my-lab`;
  const taken = ['apps', 'libs'].map((kind) => `${kind}/${name}`).find((folder) => existsSync(join(root, folder)));
  if (taken !== undefined) return `${taken} is there already: choose another name, or remove the folder`;
  if (name === 'workspace') return '"workspace" is how Nx calls the root: choose another name';
  const same = appsOf(root).find((app) => portOf(app) === portOf(name));
  return same === undefined ? undefined : `"${name}" would have the port of ${same}: choose another name`;
}

type ExerciseState = { current?: number; begun: Record<number, { solved: boolean }> };

/** Why this app is not to be copied now: a begun exercise has put a mistake into its code. */
export function begunExercise(root: string, app: string): string | undefined {
  const file = join(root, 'apps', app, 'tmp/exercises.json');
  if (!existsSync(file)) return undefined;
  const { current, begun } = JSON.parse(readFileSync(file, 'utf8')) as ExerciseState;
  return current === undefined || begun[current]?.solved === true
    ? undefined
    : `exercise ${current} of ${app} is begun, and has changed its code: npx nx exercise ${app} reset, or solve it first`;
}

/** A longer one makes lines of documents too long. */
const nameMax = 24;

/** The files of an app, by their paths from the root. Its exercises are the kit's: they quote the sources as they are here. */
export function appTree(root: string, app: string): Tree {
  const own = repositoryFiles(root).filter(
    (path) => path.startsWith(`apps/${app}/`) && !path.startsWith(`apps/${app}/exercises/`),
  );
  const tree = readTree(root, own);
  const manifest = `apps/${app}/package.json`;
  const { scripts, ...rest } = JSON.parse(textOf(tree, manifest)) as { scripts: Record<string, string> };
  const { exercise, ...others } = scripts;
  return tree.set(manifest, textFile(`${JSON.stringify({ ...rest, scripts: others }, undefined, 2)}\n`));
}

/** Makes `apps/<name>`, a copy of another app. Nothing else changes, but npm has to link it. */
export async function makeCopy(root: string, name: string, from: string): Promise<Tree> {
  const begun = begunExercise(root, from);
  if (begun !== undefined) throw new Error(begun);
  const copy = await renamed(root, appTree(root, from), from, name);
  const networks = new Set(networksIn(copy));
  const same =
    networks.size === 0 ? undefined : appsOf(root).find((app) => networksIn(appTree(root, app)).some((n) => networks.has(n)));
  if (same !== undefined) throw new Error(`"${name}" would have the networks of ${same}: choose another name`);
  writeTree(root, copy);
  return copy;
}

const help = `Usage: npm run new -- NAME [--from APP]

Copies an app of this workspace, word-count if none is named, to apps/NAME. Package, queues, containers, port, images,
networks and documents get the new name, so that the copy works at once, beside its original.

The apps: ${appsOf(root).join(', ')}
`;

async function main(args: readonly string[]): Promise<number> {
  const options = { from: { type: 'string', default: 'word-count' }, help: { type: 'boolean', short: 'h' } } as const;
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
  const [name, ...others] = positionals;
  if (values.help === true) return tell(help);
  const { from } = values;
  let problem = name === undefined ? 'a copy needs a name: npm run new -- my-lab' : refusal(root, name);
  if (others.length > 0) problem = `a copy has one name; there is "${others.join(' ')}", too`;
  if (!appsOf(root).includes(from)) problem ??= `there is no app "${from}"; there are ${appsOf(root).join(', ')}`;
  if (problem !== undefined) throw new Error(problem);
  process.stderr.write(`copying ${from} to apps/${name}\n`);
  const copy = await makeCopy(root, name!, from);
  tell(`apps/${name} is a copy of ${from}: ${copy.size} files\n`);
  process.stderr.write('npm links it\n');
  // Nothing is to be fetched: all that the copy needs, the original needs.
  await promisify(execFile)('npm', ['install', '--offline', '--ignore-scripts'], { cwd: root }).catch((error: unknown) => {
    throw new Error(`npm cannot link it offline; do it with a network: npm install\n${(error as Error).message}`);
  });
  return tell(`Next:
  npx nx demo ${name}
  npx nx test ${name}
  apps/${name}/README.md, which is that of ${from} still: say first what yours promises
  npm run eject -- ${name} ../${name}, if it is to be a repository of its own
`);
}

function tell(text: string): number {
  process.stdout.write(text);
  return 0;
}

if (import.meta.main) {
  process.exitCode = await main(process.argv.slice(2)).catch((error: Error) => {
    console.error(error.message);
    return 2;
  });
}
