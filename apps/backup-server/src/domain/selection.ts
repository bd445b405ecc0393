/** What of a version is asked for, and how two of them differ. */
import { comparePaths, type Entry } from './manifest.ts';
import { unprinted } from './file-names.ts';
import { normalPath } from './paths.ts';

const isBelow = (path: string, folder: string): boolean => folder === '' || path === folder || path.startsWith(`${folder}/`);

function normalOf(path: string): string | undefined {
  const normal = normalPath(path);
  if ('problem' in normal) return undefined;
  return normal.path === '.' ? '' : normal.path;
}

/** The entries at these paths and below, with the folders that they are in; and which of the paths are none. */
export function selected(entries: readonly Entry[], only: readonly string[]): { entries: Entry[]; unknown: string[] } {
  const known = new Set(entries.map(({ path }) => path));
  const wanted = only.map((path) => {
    // As it is shown; or as it is, of a name that would be shown otherwise.
    const below = [unprinted(path), path].map(normalOf).find((each) => each !== undefined && known.has(each));
    return { path, below };
  });
  const places = wanted.flatMap(({ below }) => (below === undefined ? [] : [below]));
  return {
    entries: entries.filter(({ path }) => places.some((place) => isBelow(path, place) || isBelow(place, path))),
    unknown: wanted.filter(({ below }) => below === undefined).map(({ path }) => path),
  };
}

export interface Change {
  path: string;
  /** `content` is of a file, or where a link leads. */
  change: 'added' | 'removed' | 'type' | 'content' | 'mode';
}

/** How a tree became another, in the order of paths. As in its checksum, times do not count. */
export function difference(before: readonly Entry[], after: readonly Entry[]): Change[] {
  const old = new Map(before.map((entry) => [entry.path, entry]));
  const changes: Change[] = [];
  for (const entry of after) {
    const was = old.get(entry.path);
    const change = was === undefined ? 'added' : changeOf(was, entry);
    if (change !== undefined) changes.push({ path: entry.path, change });
    old.delete(entry.path);
  }
  const removed = [...old.keys()].map((path): Change => ({ path, change: 'removed' }));
  return [...changes, ...removed].sort((a, b) => comparePaths(a.path, b.path));
}

function changeOf(was: Entry, is: Entry): Change['change'] | undefined {
  if (was.type !== is.type) return 'type';
  const isSame =
    was.type === 'file'
      ? was.sha256 === (is as typeof was).sha256
      : was.type !== 'link' || was.target === (is as typeof was).target;
  if (!isSame) return 'content';
  return was.type !== 'link' && was.mode !== (is as typeof was).mode ? 'mode' : undefined;
}
