/**
 * What a version consists of: every entry below the registered path, in order. One JSON object a line, so that two manifests of
 * trees that differ little differ in few places, and are stored in few new chunks.
 */
import { isSafe, parentOf } from './paths.ts';

export interface FileEntry {
  type: 'file';
  /** Below the registered path; `` is that path itself. */
  path: string;
  /** Permission bits, 0..0o7777. */
  mode: number;
  mtimeMs: number;
  size: number;
  /** Of the whole content, in hex. */
  sha256: string;
  /** Only of a file in several chunks; otherwise the file is its only chunk, and an empty file has none. */
  chunks?: Chunk[];
}
/** SHA-256 in hex, and size. */
export type Chunk = [sha256: string, size: number];

export interface FolderEntry {
  type: 'folder';
  path: string;
  mode: number;
  mtimeMs: number;
}

/** A symbolic link: kept as what it says, never followed. */
export interface LinkEntry {
  type: 'link';
  path: string;
  target: string;
  mtimeMs: number;
}

export type Entry = FileEntry | FolderEntry | LinkEntry;

/** Largest chunk, of a file or of a manifest. */
export const chunkBytesMax = 4 * 1024 * 1024;
/** Largest manifest as text, and most entries: what a role can hold in memory beside its work. */
export const manifestBytesMax = 256 * 1024 * 1024;
export const entriesMax = 1_000_000;

/**
 * Sorted as JavaScript compares strings, by UTF-16 units: any order will do that is the same everywhere and puts a folder
 * before what is in it.
 */
export function sorted<T extends { path: string }>(entries: readonly T[]): T[] {
  return [...entries].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

export function chunksOf(file: FileEntry): Chunk[] {
  return file.chunks ?? (file.size === 0 ? [] : [[file.sha256, file.size]]);
}

/** Every hash that the entries need, once. */
export function hashesOf(entries: readonly Entry[]): Set<string> {
  const hashes = new Set<string>();
  for (const entry of entries) if (entry.type === 'file') for (const [hash] of chunksOf(entry)) hashes.add(hash);
  return hashes;
}

export interface Totals {
  files: number;
  bytes: number;
}

export function totalsOf(entries: readonly Entry[]): Totals {
  const totals = { files: 0, bytes: 0 };
  for (const entry of entries) {
    if (entry.type !== 'file') continue;
    totals.files++;
    totals.bytes += entry.size;
  }
  return totals;
}

/**
 * The text whose SHA-256 is the checksum of a tree: type, name, mode and content of every entry in sorted order. Times are not
 * in it, so a mere `touch` makes no version. No two trees have one text.
 */
export function checksumText(entries: readonly Entry[]): string {
  const lines = entries.map((entry) => {
    // As JSON, which keeps bytes that are no text apart.
    const path = JSON.stringify(entry.path);
    if (entry.type === 'file') return `file ${path} ${entry.mode} ${entry.sha256}`;
    return entry.type === 'folder' ? `folder ${path} ${entry.mode}` : `link ${path} ${JSON.stringify(entry.target)}`;
  });
  return lines.map((line) => `${line}\n`).join('');
}

export function manifestText(entries: readonly Entry[]): string {
  return entries.map((entry) => `${JSON.stringify(entry)}\n`).join('');
}

/** The manifest is not one that this system makes. */
export class MalformedManifestError extends Error {
  override readonly name = 'MalformedManifestError';
}

/**
 * Reads a manifest of whoever made it: every field is in range, paths stay below the top, are sorted and unique, and each is in
 * a folder that the manifest has too, so that nothing can be written through a link. Anything else is a
 * `MalformedManifestError`.
 */
export function parseManifest(text: string): Entry[] {
  const lines = text.split('\n');
  if (lines.pop() !== '') throw new MalformedManifestError('the manifest does not end with a whole line');
  if (lines.length > entriesMax) throw new MalformedManifestError(`${lines.length} entries; at most ${entriesMax} are allowed`);
  const entries = lines.map(parseEntry);
  const folders = new Set<string>();
  entries.forEach((entry, index) => {
    const previous = entries[index - 1];
    if (previous === undefined ? entry.path !== '' : entry.path <= previous.path)
      throw new MalformedManifestError(`${JSON.stringify(entry.path)} is out of order, or twice there`);
    const parent = parentOf(entry.path);
    if (parent !== undefined && !folders.has(parent))
      throw new MalformedManifestError(`${JSON.stringify(entry.path)} is in no folder of the manifest`);
    if (entry.type === 'folder') folders.add(entry.path);
  });
  return entries;
}

const hashPattern = /^[0-9a-f]{64}$/;
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isMode = (value: unknown): boolean => isCount(value) && value <= 0o7777;
const isHash = (value: unknown): value is string => typeof value === 'string' && hashPattern.test(value);

function parseEntry(line: string, index: number): Entry {
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(line) as Record<string, unknown>;
  } catch (cause) {
    throw new MalformedManifestError(`line ${index + 1} is not JSON`, { cause });
  }
  const { type, path, mode, mtimeMs, target } = entry ?? {};
  const named = typeof path === 'string' && isSafe(path) && Number.isFinite(mtimeMs);
  const whole =
    type === 'file'
      ? isMode(mode) && isFile(entry)
      : type === 'folder'
        ? isMode(mode)
        : type === 'link' && typeof target === 'string' && target !== '' && target.length <= 4096 && !target.includes('\0');
  if (!named || !whole) throw new MalformedManifestError(`line ${index + 1} is no entry: ${line.slice(0, 120)}`);
  return entry as unknown as Entry;
}

function isFile({ size, sha256, chunks }: Record<string, unknown>): boolean {
  if (!isCount(size) || !isHash(sha256)) return false;
  if (chunks === undefined) return size <= chunkBytesMax;
  if (!Array.isArray(chunks)) return false;
  let sum = 0;
  for (const chunk of chunks as unknown[]) {
    if (!Array.isArray(chunk) || !isHash(chunk[0]) || !isCount(chunk[1]) || chunk[1] < 1 || chunk[1] > chunkBytesMax)
      return false;
    sum += chunk[1];
  }
  return sum === size;
}
