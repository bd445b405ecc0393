/** What nodes back up: folders whose files change, and how they were at any time. */
import { sleep } from '@lab/process';
import type { Life } from '@lab/simulation';
import { hashOf, type Blob } from '@lab/store/bundle';
import type { Random } from '@lab/testing';
import { chunksOf, comparePaths, type Chunk, type Entry, type FileEntry } from '../src/domain/manifest.ts';
import { checksumOf } from '../src/messages.ts';
import { Notes, PathError, type Found, type FoundFile, type Tree, type Walk } from '../src/tree/tree.ts';

const names = ['a', 'b', 'c', 'd/e', 'd/f'];
const mode = 0o644;
/** What changed so recently may change again within one tick of a file system's clock. */
const granularityMs = 2_000;

/** Of the same name and revision the same bytes, in every folder: what one requester brings another need not bring. */
function contentOf(name: string, revision: number, fileBytes: number): Buffer {
  const line = `${name} as written for the ${revision}th time\n`;
  return Buffer.alloc(line.length + ((revision * 37) % fileBytes), line);
}

interface File {
  revision: number;
  mtimeMs: number;
}

export class SimulatedFolder {
  readonly files = new Map<string, File>();
  readonly #fileBytes: number;
  /** What files are cut into: most have several. */
  readonly chunkBytes: number;
  readonly #revisions = new Map<string, number>();

  /** Files have at most about so many bytes. */
  constructor(fileBytes: number) {
    this.#fileBytes = fileBytes;
    this.chunkBytes = Math.ceil(fileBytes / 3);
    for (const name of names) this.write(name, 0);
  }

  bytesOf(name: string): Buffer {
    return contentOf(name, this.files.get(name)?.revision ?? 0, this.#fileBytes);
  }

  write(name: string, nowMs: number): void {
    const revision = (this.#revisions.get(name) ?? 0) + 1;
    this.#revisions.set(name, revision);
    this.files.set(name, { revision, mtimeMs: nowMs });
  }

  change(random: Random, nowMs: number): void {
    const name = random.pick(names);
    if (random.chance(0.2)) this.files.delete(name);
    else this.write(name, nowMs);
  }

  /** Which of its revisions a file's bytes are; 0 where it never had them. */
  revisionOf(name: string, bytes: Uint8Array): number {
    const last = this.#revisions.get(name) ?? 0;
    for (let revision = last; revision > 0; revision--)
      if (contentOf(name, revision, this.#fileBytes).equals(bytes)) return revision;
    return 0;
  }

  /** Of all that is in it now. */
  get checksum(): string {
    const entries = [...this.files.keys()].map((name): Entry => {
      const bytes = this.bytesOf(name);
      return { type: 'file', path: name, mode, mtimeMs: 0, size: bytes.length, sha256: hashOf(bytes) };
    });
    return checksumOf(sorted([...folders, ...entries]));
  }
}

const sorted = <T extends { path: string }>(entries: T[]): T[] => entries.sort((a, b) => comparePaths(a.path, b.path));

const folders: readonly Exclude<Entry, FileEntry>[] = ['', 'd'].map((path) => ({
  type: 'folder',
  path,
  mode: 0o755,
  mtimeMs: 0,
}));

interface Known {
  sha256: string;
  chunks: Chunk[];
  file: File;
}

/** The folders of a node as one life of it sees them. What it knows of unchanged files it knows for this life. */
export class SimulatedTree implements Pick<Tree, 'open'> {
  readonly #life: Life;
  readonly #folders: ReadonlyMap<string, SimulatedFolder>;
  readonly #nowMs: () => number;
  readonly #known = new Map<string, Known>();

  constructor(life: Life, folders: ReadonlyMap<string, SimulatedFolder>, nowMs: () => number) {
    this.#life = life;
    this.#folders = folders;
    this.#nowMs = nowMs;
  }

  open(path: string): Walk {
    const walk = (): Iterator<Found> => this.#found(path)[Symbol.iterator]();
    return {
      [Symbol.iterator]: walk,
      notes: new Notes(),
      read: (file, take) => this.#read(path, file, take),
      checkSize: () => Promise.resolve(),
      seen: () => {},
      forgetOthers: () => {},
      [Symbol.dispose]: () => {},
    };
  }

  #found(path: string): Found[] {
    const folder = this.#folders.get(path);
    if (folder === undefined) throw new PathError(`"${path}" is not there, below the node's root`);
    const files = [...folder.files].map(([name, file]): FoundFile => {
      const known = this.#known.get(`${path} ${name}`);
      const size = folder.bytesOf(name).length;
      const { mtimeMs } = file;
      return { type: 'file', path: name, mode, mtimeMs, size, known: known?.file === file ? known : undefined };
    });
    return sorted<Found>([...folders, ...files]);
  }

  /** As tree.ts: a file that changes meanwhile is read again, and after three times taken as it came. */
  async #read(
    path: string,
    { path: name }: FoundFile,
    take: (blob: Blob) => Promise<void>,
  ): Promise<{ entry?: FileEntry; note?: string }> {
    const folder = this.#folders.get(path)!;
    for (let reads = 1; ; reads++) {
      const file = folder.files.get(name);
      if (file === undefined) return { note: 'vanished before it was read' };
      const openedMs = this.#nowMs();
      const pieces: Buffer[] = [];
      const chunks: Chunk[] = [];
      for (let at = 0; at < folder.bytesOf(name).length; at += folder.chunkBytes) {
        const bytes = folder.bytesOf(name).subarray(at, at + folder.chunkBytes);
        pieces.push(bytes);
        chunks.push([hashOf(bytes), bytes.length]);
        await take({ hash: hashOf(bytes), bytes });
        await this.#pause();
      }
      const whole = Buffer.concat(pieces);
      const known = { sha256: hashOf(whole), chunks };
      const changed = folder.files.get(name) !== file;
      if (!changed && file.mtimeMs <= openedMs - granularityMs) this.#known.set(`${path} ${name}`, { ...known, file });
      const entry: FileEntry = { type: 'file', path: name, mode, mtimeMs: file.mtimeMs, size: whole.length, ...known };
      if (!changed) return { entry };
      if (reads === 3) return { entry, note: 'changed while it was read, each of three times' };
    }
  }

  /** In which files change. */
  async #pause(): Promise<void> {
    const { clock, random } = this.#life;
    await sleep(clock, random.pick([0, 0, 0, 20]));
  }
}

/** The bytes of every file of a version, by its path. */
export async function contentsOf(
  entries: Iterable<Entry>,
  take: (chunk: Chunk) => Promise<Uint8Array>,
): Promise<Map<string, Buffer>> {
  const contents = new Map<string, Buffer>();
  for (const entry of entries) {
    if (entry.type !== 'file') continue;
    const pieces: Uint8Array[] = [];
    for (const chunk of chunksOf(entry)) pieces.push(await take(chunk));
    contents.set(entry.path, Buffer.concat(pieces));
  }
  return contents;
}
