/** What damage costs a version, in words. */
import { decodeBundle } from '@lab/store/bundle';
import { chunksOf, type Entry } from '../domain/manifest.ts';
import { printable } from '../domain/file-names.ts';
import { registered } from '../domain/registry.ts';

/** Files that a refusal or a list names; the rest is a number. */
export const namedMax = 10;

/** Of a version, what is said of it. */
export interface Damaged {
  node: string;
  path: string;
  version: number;
  files: number;
}

export const isDamaged = (entry: Entry, missing: ReadonlySet<string>): boolean =>
  entry.type === 'file' && chunksOf(entry).some(([hash]) => missing.has(hash));

/** `damaged` are so many, of which `first` are some. */
export function damagedText(version: Damaged, damaged: number, first: readonly Entry[]): string {
  const names = first.slice(0, namedMax).map(({ path }) => `  ${printable(path === '' ? version.path : path)}`);
  const more = damaged > namedMax ? [`  and ${damaged - namedMax} more`] : [];
  return [
    `version ${version.version} of ${registered(version)} is damaged: ${damaged} of its ${version.files} files cannot be restored`,
    ...names,
    ...more,
    'The next backup brings back what the node still has. --partial restores the other files; an older or newer version may be whole: "list" shows them.',
  ].join('\n');
}

export function isSound(bundle: Buffer): boolean {
  try {
    return decodeBundle(bundle).blobs.length > 0;
  } catch {
    return false;
  }
}
