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
/** Largest manifest as text, and most entries. */
export const manifestBytesMax = 256 * 1024 * 1024;
export const entriesMax = 1_000_000;

/**
 * A folder, then all that is in it, and names as JavaScript compares strings, by UTF-16 units: the order of a walk, so that nobody has to
 * hold a tree to make, check or follow its manifest.
 */
export function comparePaths(a: string, b: string): number {
  const end = Math.min(a.length, b.length);
  for (let at = 0; at < end; at++) {
    const difference = unitAt(a, at) - unitAt(b, at);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** No name has a unit of 0: a slash comes before all that a name may have. */
function unitAt(path: string, at: number): number {
  const unit = path.charCodeAt(at);
  return unit === 0x2f ? 0 : unit;
}

export function chunksOf(file: FileEntry): Chunk[] {
  return file.chunks ?? (file.size === 0 ? [] : [[file.sha256, file.size]]);
}

export function* chunksIn(entries: Iterable<Entry>): Generator<Chunk> {
  for (const entry of entries) if (entry.type === 'file') yield* chunksOf(entry);
}

export interface Totals {
  files: number;
  bytes: number;
}

export function totalsOf(entries: Iterable<Entry>): Totals {
  const totals = { files: 0, bytes: 0 };
  for (const entry of entries) count(totals, entry);
  return totals;
}

/** Adds an entry. */
export function count(totals: Totals, entry: Entry): void {
  if (entry.type !== 'file') return;
  totals.files++;
  totals.bytes += entry.size;
}

/**
 * The SHA-256 of these lines is the checksum of a tree: type, name, mode and content of every entry in order. Times are not
 * in it, so a mere `touch` makes no version. No two trees have the same lines.
 */
export function checksumLine(entry: Entry): string {
  // As JSON, which keeps bytes that are no text apart.
  const path = JSON.stringify(entry.path);
  if (entry.type === 'file') return `file ${path} ${entry.mode} ${entry.sha256}\n`;
  return entry.type === 'folder' ? `folder ${path} ${entry.mode}\n` : `link ${path} ${JSON.stringify(entry.target)}\n`;
}

export const manifestLine = (entry: Entry): string => `${JSON.stringify(entry)}\n`;

/** The manifest is not one that this system makes. */
export class MalformedManifestError extends Error {
  override readonly name = 'MalformedManifestError';
}

/**
 * Reads a manifest of whoever made it, as it comes: every field is in range, paths stay below the top, are in order and unique, and each is
 * in a folder that the manifest has too, so that nothing can be written through a link. Anything else is a `MalformedManifestError`.
 */
export class ManifestReader {
  readonly #decoder = new TextDecoder();
  #rest = '';
  #entries = 0;
  #bytes = 0;
  #previous: string | undefined;
  /** Those on the way to the previous entry. */
  readonly #folders: string[] = [];

  /** The entries that are whole now. */
  push(bytes: Uint8Array): Entry[] {
    this.#bytes += bytes.length;
    if (this.#bytes > manifestBytesMax)
      throw new MalformedManifestError(`a manifest of more than ${manifestBytesMax} bytes: register parts of the path`);
    const lines = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split('\n');
    this.#rest = lines.pop()!;
    if (this.#entries + lines.length > entriesMax)
      throw new MalformedManifestError(`more than ${entriesMax} entries; so many are allowed: register parts of the path`);
    return lines.map((line) => this.#take(line));
  }

  end(): void {
    if (this.#rest !== '') throw new MalformedManifestError('the manifest does not end with a whole line');
  }

  #take(line: string): Entry {
    const entry = parseEntry(line, ++this.#entries);
    const { path } = entry;
    if (this.#previous === undefined ? path !== '' : comparePaths(path, this.#previous) <= 0)
      throw new MalformedManifestError(`${JSON.stringify(path)} is out of order, or twice there`);
    const parent = parentOf(path);
    while (parent !== undefined && this.#folders.at(-1) !== parent)
      if (this.#folders.pop() === undefined)
        throw new MalformedManifestError(`${JSON.stringify(path)} is in no folder of the manifest`);
    if (entry.type === 'folder') this.#folders.push(path);
    this.#previous = path;
    return entry;
  }
}

/** The entries of a manifest that a `ManifestReader` has read before. */
export function* entriesIn(manifest: Iterable<Uint8Array>): Generator<Entry> {
  const decoder = new TextDecoder();
  let rest = '';
  for (const bytes of manifest) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
    rest = lines.pop()!;
    for (const line of lines) yield JSON.parse(line) as Entry;
  }
}

const hashPattern = /^[0-9a-f]{64}$/;
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isMode = (value: unknown): boolean => isCount(value) && value <= 0o7777;
const isHash = (value: unknown): value is string => typeof value === 'string' && hashPattern.test(value);

function parseEntry(line: string, number: number): Entry {
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(line) as Record<string, unknown>;
  } catch (cause) {
    throw new MalformedManifestError(`line ${number} is not JSON`, { cause });
  }
  const { type, path, mode, mtimeMs, target } = entry ?? {};
  const named = typeof path === 'string' && isSafe(path) && Number.isFinite(mtimeMs);
  const whole =
    type === 'file'
      ? isMode(mode) && isFile(entry)
      : type === 'folder'
        ? isMode(mode)
        : type === 'link' && typeof target === 'string' && target !== '' && target.length <= 4096 && !target.includes('\0');
  if (!named || !whole) throw new MalformedManifestError(`line ${number} is no entry: ${line.slice(0, 120)}`);
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
