/** Which paths may be registered, and stand in a manifest: below a root, and nowhere else. */

export const nodeNamePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Linux's PATH_MAX. */
const pathLengthMax = 4096;

/**
 * A path that an admin names: relative to the node's root, in one spelling (`a/b`, not `./a//b/`), `.` for the root itself.
 * Returns what is wrong with it instead where it leads, or may lead, out of the root.
 */
export function normalPath(path: string): { path: string } | { problem: string } {
  if (path === '') return { problem: 'a path is needed; "." is the whole root' };
  if (path.startsWith('/')) return { problem: 'it is absolute: paths are below the root of the node, as in "notes/today"' };
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) return { problem: 'it has ".." in it: a node serves nothing outside of its root' };
  const normal = parts.length === 0 ? '.' : parts.join('/');
  return problemOf(normal) ?? { path: normal };
}

/** Whether a path in a manifest stays below the place where it is unpacked: `` is that place. */
export function isSafe(path: string): boolean {
  if (path === '') return true;
  return problemOf(path) === undefined && path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}

function problemOf(path: string): { problem: string } | undefined {
  if (path.includes('\0')) return { problem: 'a path holds no byte 0' };
  if (path.length > pathLengthMax) return { problem: `a path has at most ${pathLengthMax} characters, not ${path.length}` };
  return undefined;
}

/** The folder that an entry is in; `undefined` for the top. */
export function parentOf(path: string): string | undefined {
  if (path === '') return undefined;
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}
