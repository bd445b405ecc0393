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

/** Takes the entries at these paths and below, with the folders that they are in; and which of the paths are none. */
export function selecting(
  entries: Iterable<Entry>,
  only: readonly string[],
): { isSelected: (entry: Entry) => boolean; unknown: string[] } {
  if (only.length === 0) return { isSelected: () => true, unknown: [] };
  // As it is shown; or as it is, of a name that would be shown otherwise.
  const meant = only.map((path) => ({ path, places: [unprinted(path), path].map(normalOf) }));
  const asked = new Set(meant.flatMap(({ places }) => places));
  const known = new Set<string | undefined>();
  for (const { path } of entries) if (asked.has(path)) known.add(path);
  const found = meant.map(({ path, places }) => ({ path, place: places.find((each) => known.has(each)) }));
  const places = found.flatMap(({ place }) => place ?? []);
  return {
    isSelected: ({ path }) => places.some((place) => isBelow(path, place) || isBelow(place, path)),
    unknown: found.filter(({ place }) => place === undefined).map(({ path }) => path),
  };
}

/** Those that are wanted, by their places too. */
export function* chosen(entries: Iterable<Entry>, isWanted: (entry: Entry, index: number) => boolean): Generator<Entry> {
  let index = 0;
  for (const entry of entries) if (isWanted(entry, index++)) yield entry;
}

export interface Change {
  path: string;
  /** `content` is of a file, or where a link leads. */
  change: 'added' | 'removed' | 'type' | 'content' | 'mode';
}

/** How a tree became another, in the order of paths. As in its checksum, times do not count. */
export function difference(before: Iterable<Entry>, after: Iterable<Entry>): Change[] {
  const changes: Change[] = [];
  const old = before[Symbol.iterator]();
  let was = old.next();
  const removedBefore = (path?: string): void => {
    for (; !was.done && (path === undefined || comparePaths(was.value.path, path) < 0); was = old.next())
      changes.push({ path: was.value.path, change: 'removed' });
  };
  for (const entry of after) {
    removedBefore(entry.path);
    const isThere = !was.done && was.value.path === entry.path;
    const change = isThere ? changeOf(was.value as Entry, entry) : 'added';
    if (change !== undefined) changes.push({ path: entry.path, change });
    if (isThere) was = old.next();
  }
  removedBefore();
  return changes;
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
