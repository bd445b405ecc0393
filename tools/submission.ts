/** Whose sources `tools/grade.ts` judges, where they are laid, and what else of them is not the teacher's. */
import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ejectedFiles } from './eject.ts';
import { replaceFiles } from './judging.ts';
import { appsOf, appTree, originOf, renamed } from './new.ts';
import { repositoryFiles } from './repository-files.ts';
import { readTree, writeTree, type Tree } from './trees.ts';

/** Says what is wrong with a command. */
export class GradeError extends Error {}
/** Whose sources are judged, and as which app. */
export interface Submission {
  readonly folder: string;
  /** How the app is called there. */
  readonly name: string;
  /** The teacher's, which it is a copy of. */
  readonly from: string;
  /** It is a repository of its own, where commands are npm's. */
  readonly ejected: boolean;
}

/** Where a teacher's hidden files are in the app. */
export const hiddenFolder = 'test/hidden';

/** That of an app of the workspace, or in another folder. */
export function submissionOf(root: string, app: string, of: string | undefined): Submission {
  if (!appsOf(root).includes(app)) throw new GradeError(`there is no app "${app}"; there are ${appsOf(root).join(', ')}`);
  if (of === undefined) {
    const origin = originOf(root, app);
    return { folder: root, name: app, from: appsOf(root).includes(origin) ? origin : app, ejected: false };
  }
  const manifest = join(of, 'package.json');
  if (!existsSync(manifest)) throw new GradeError(`${of} is no repository of the kit's: it has no package.json`);
  const { lab } = JSON.parse(readFileSync(manifest, 'utf8')) as { lab?: { app?: string } };
  const ejected = lab?.app !== undefined;
  const name = lab?.app ?? app;
  if (!/^[a-z][a-z0-9-]*$/.test(name) || !existsSync(join(of, 'apps', name, 'src')))
    throw new GradeError(`${of} has no sources of an app: there is no apps/${name}/src`);
  return { folder: of, name, from: app, ejected };
}

/**
 * Makes the copy of the teacher's workspace what the submission is judged in: the app has the submission's name and sources, and the teacher's tests, the
 * hidden ones, too. Gives the files of the submission that are others than the teacher's, and have no part in it.
 */
export async function layOut(copy: string, submission: Submission, hidden: string | undefined): Promise<string[]> {
  const { folder, name, from, ejected } = submission;
  if (!appsOf(copy).includes(from)) throw new GradeError(`the commit has no app "${from}": commit it first`);
  const app = appTree(copy, from);
  const tree = name === from ? app : await renamed(copy, app, from, name);
  if (name !== from) {
    rmSync(join(copy, 'apps', name), { recursive: true, force: true });
    writeTree(copy, tree);
  }
  const counted = counts(name);
  const teachers = ejected
    ? await ejectedFiles(copy, name, tree, from, [])
    : readTree(copy, repositoryFiles(copy).filter(counted));
  const differs = differences(teachers, readTree(folder, repositoryFiles(folder).filter(counted)), counted);
  const [theirs, ours] = [folder, copy].map((root) => join(root, 'apps', name, 'src'));
  replaceFiles(theirs!, ours!, isSource);
  if (hidden !== undefined) cpSync(hidden, join(copy, 'apps', name, hiddenFolder), { recursive: true });
  return differs;
}

/** Documents judge nothing, an ejected repository has none of the lock file's other packages, and the exercises and other apps are of another matter. */
function counts(name: string): (path: string) => boolean {
  const own = `apps/${name}/`;
  return (path) =>
    !(path.startsWith(`${own}src/`) && isSource(path)) &&
    !/\.md$|^package-lock\.json$|\/exercises\//.test(path) &&
    (!path.startsWith('apps/') || path.startsWith(own));
}

/** Of the files that count. */
function differences(teachers: Tree, theirs: Tree, counted: (path: string) => boolean): string[] {
  const paths = [...new Set([...teachers.keys(), ...theirs.keys()])].filter(counted).sort();
  return paths.flatMap((path) => {
    const [before, now] = [teachers.get(path), theirs.get(path)];
    if (before === undefined) return [`new: ${path}`];
    if (now === undefined) return [`gone: ${path}`];
    return now.bytes.equals(before.bytes) ? [] : [`changed: ${path}`];
  });
}

/** Tests below `src` are the teacher's, too. */
const isSource = (file: string): boolean => !file.endsWith('.test.ts');
