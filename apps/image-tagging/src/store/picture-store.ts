/**
 * Pictures in a folder that all servers and workers share. A picture is a folder of its own:
 *
 * | path                              | what it is                                                           |
 * |-----------------------------------|----------------------------------------------------------------------|
 * | `partial/<id>/<try>/data`         | one try of an upload, as far as it has come                          |
 * | `images/<2>/<id>/data`            | the original, whole                                                  |
 * | `images/<2>/<id>/upload.json`     | what was uploaded: there from the moment at which the picture is      |
 * | `images/<2>/<id>/tagged-*.<type>` | what a worker made                                                   |
 * | `images/<2>/<id>/result.json`     | which of these counts, or why there is none: made once, never changed |
 *
 * So the folder tells all, should everything else be lost. A try becomes the picture by one rename of its folder; a result counts from one link on.
 * Each try writes a file of its own, which begins as a copy of what the longest one before it had: so nobody, however late, writes into a picture.
 */
import { createHash, randomUUID, type Hash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { systemDisk, type Disk, type DiskFile } from '@lab/store';
import {
  createOnce,
  hasCode,
  makeFolder,
  readIfThere,
  replaceFile,
  sync,
  syncName,
  unlessGone,
  unlessTrouble,
} from '@lab/store/durable';
import type { Upload } from '../domain/catalog.ts';
import { idProblem } from '../domain/limits.ts';
import { resultSchema, uploadSchema, type Result } from '../messages.ts';

/** As much as one read takes from a file. */
const readBytes = 1024 * 1024;
/** No worker takes so long for a picture. */
const leftoverMs = 3_600_000;

export class PictureStore {
  readonly #images: string;
  readonly #partial: string;
  readonly #disk: Disk;
  readonly #newId: () => string;
  readonly #bin: Bin;

  private constructor(folder: string, disk: Disk, newId: () => string) {
    this.#disk = disk;
    this.#newId = newId;
    this.#bin = new Bin(disk);
    this.#images = join(folder, 'images');
    this.#partial = join(folder, 'partial');
  }

  /** `newId` names tries and what workers make: never the same twice, whoever asks; of a-z, 0-9 and hyphens. */
  static async open(folder: string, disk: Disk = systemDisk, newId: () => string = randomUUID): Promise<PictureStore> {
    const store = new PictureStore(folder, disk, newId);
    for (const each of [store.#images, store.#partial]) await makeFolder(each, disk);
    return store;
  }

  /** A picture's upload, if it was stored whole. */
  async stored(id: string): Promise<Upload | undefined> {
    const bytes = await readIfThere(join(this.#folderOf(id), 'upload.json'), this.#disk);
    return bytes === undefined ? undefined : uploadSchema.parse(JSON.parse(bytes.toString()));
  }

  /** Makes safe what is stored, for who is about to rely on it: whoever stored it may have been killed before that. */
  async sync(id: string): Promise<void> {
    await syncPicture(this.#folderOf(id), this.#disk);
  }

  /** Begins a try of an upload, behind what earlier tries of the same bytes have stored. */
  async resume(id: string, { sha256, bytes }: Pick<Upload, 'sha256' | 'bytes'>): Promise<PartialUpload> {
    const folder = join(this.#partial, checkedId(id));
    const name = `${sha256}-${bytes}-`;
    const earlier = await triesIn(folder, name, this.#disk);
    const longest = earlier.reduce<Try | undefined>(
      (best, each) => (best !== undefined && best.bytes >= each.bytes ? best : each),
      undefined,
    );
    // The longest may still be going on; of the others nobody needs the bytes.
    this.#bin.drop(...earlier.map(({ path }) => path).filter((path) => path !== longest?.path));
    const own = join(folder, `${name}${this.#newId()}`);
    const paths = { own, all: folder, target: this.#folderOf(id) };
    return new PartialUpload(paths, await createIn(own, this.#disk), longest, this.#bin, this.#disk);
  }

  /** Erases the tries that nobody has gone on with since `beforeMs` (milliseconds since 1970); tells how many. */
  async eraseAbandoned(beforeMs: number): Promise<number> {
    let erased = 0;
    for (const id of await this.#disk.readdir(this.#partial)) {
      const folder = join(this.#partial, id);
      // What cannot be read now is left to the next time, and stops nothing.
      for (const { path, modifiedMs } of await unlessTrouble(triesIn(folder, '', this.#disk), [])) {
        if (modifiedMs >= beforeMs) continue;
        await this.#disk.rm(path, { recursive: true, force: true });
        erased++;
      }
      // Empty only where nobody is about to begin.
      await this.#disk.rmdir(folder).catch(() => {});
    }
    return erased;
  }

  /** Ids of all that was stored, in no order. */
  async *ids(): AsyncIterableIterator<string> {
    for (const shelf of await this.#disk.readdir(this.#images)) {
      for (const id of await this.#disk.readdir(join(this.#images, shelf))) if (idProblem(id) === undefined) yield id;
    }
  }

  originalPath(id: string): string {
    return join(this.#folderOf(id), 'data');
  }

  taggedPath(id: string, name: string): string {
    return join(this.#folderOf(id), name);
  }

  /** The bytes of a file from an offset on; what it reads from must be one of the two paths above. */
  read(path: string, offset: number): AsyncIterableIterator<Buffer> {
    return read(path, offset, Infinity, this.#disk);
  }

  /** What was decided of a picture. It is safe then: whoever decided it may have been killed before that. */
  async result(id: string): Promise<Result | undefined> {
    const path = join(this.#folderOf(id), 'result.json');
    const bytes = await readIfThere(path, this.#disk);
    if (bytes === undefined) return undefined;
    await syncName(path, this.#disk);
    return resultSchema.parse(JSON.parse(bytes.toString()));
  }

  /**
   * Has `make` write a tagged picture to a path, and lets it count unless another result does already; gives the one that counts. Where `make` throws, `failed` says why as
   * a reason that counts instead, or nothing, and the error is passed on.
   */
  async makeResult(
    id: string,
    extension: string,
    make: (input: string, output: string) => Promise<{ bytes: number; sha256: string }>,
    failed: (error: unknown) => string | undefined,
  ): Promise<Result> {
    const name = `tagged-${this.#newId()}.${extension}`;
    const output = this.taggedPath(id, name);
    let mine: Result;
    try {
      const { bytes, sha256 } = await make(this.originalPath(id), output);
      await syncName(output, this.#disk);
      mine = { tagged: { name, bytes, sha256 } };
    } catch (error) {
      await this.#disk.rm(output, { force: true });
      const reason = failed(error);
      if (reason === undefined) throw error;
      mine = { reason };
    }
    return this.#decide(id, mine, output);
  }

  /** Lets a picture fail, unless it has a result. */
  fail(id: string, reason: string): Promise<Result> {
    return this.#decide(id, { reason });
  }

  async #decide(id: string, mine: Result, output?: string): Promise<Result> {
    const text = JSON.stringify(mine);
    const decided = await createOnce(join(this.#folderOf(id), 'result.json'), text, this.#disk);
    if (decided !== text && output !== undefined) await this.#disk.rm(output, { force: true });
    await this.#clean(id, decided);
    return resultSchema.parse(JSON.parse(decided));
  }

  /** What workers left that died long ago; by the file system's own clock. */
  async #clean(id: string, decided: string): Promise<void> {
    const folder = this.#folderOf(id);
    const { mtimeMs: nowMs } = await this.#disk.stat(folder);
    for (const name of await this.#disk.readdir(folder)) {
      if (!/^(tagged|tmp)-/.test(name) || decided.includes(`"${name}"`)) continue;
      const { mtimeMs } = await this.#disk.stat(join(folder, name)).catch(() => ({ mtimeMs: Infinity }));
      if (nowMs - mtimeMs > leftoverMs) await this.#disk.rm(join(folder, name), { force: true });
    }
  }

  #folderOf(id: string): string {
    return join(this.#images, checkedId(id).slice(0, 2), id);
  }
}

/**
 * Removes what nobody needs anymore, behind the work: who removes a file that a hanging client of GlusterFS has open waits as long as that one hangs. One removal at a time,
 * so that no more than one of Node's four threads for files is lost to that; what is dropped meanwhile, or cannot be removed, is left to `eraseAbandoned`.
 */
class Bin {
  readonly #disk: Disk;
  #busy = false;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  drop(...paths: readonly string[]): void {
    if (this.#busy || paths.length === 0) return;
    this.#busy = true;
    void this.#removeAll(paths).finally(() => (this.#busy = false));
  }

  async #removeAll(paths: readonly string[]): Promise<void> {
    // Again, where a writer that was slower has just put something there.
    for (const path of paths) await this.#disk.rm(path, { recursive: true, force: true, maxRetries: 3 }).catch(() => {});
  }
}

/** What an earlier try has left. */
interface Try {
  readonly path: string;
  readonly bytes: number;
  readonly modifiedMs: number;
}

/** Some may vanish meanwhile; what cannot be read is not gone, and none of them may be dropped for it. */
async function triesIn(folder: string, prefix: string, disk: Disk): Promise<Try[]> {
  const names = (await unlessGone(disk.readdir(folder), [])).filter((name) => name.startsWith(prefix));
  const tries = names.map(async (name) => {
    const path = join(folder, name);
    const data = await unlessGone(disk.stat(join(path, 'data')), undefined);
    const found = data ?? (await unlessGone(disk.stat(path), undefined));
    return found && { path, bytes: data?.size ?? 0, modifiedMs: found.mtimeMs };
  });
  return (await Promise.all(tries)).filter((each) => each !== undefined);
}

interface PartialPaths {
  /** The folder of this try, and of all tries of this upload. */
  readonly own: string;
  readonly all: string;
  /** The picture's folder. */
  readonly target: string;
}

/** A try of an upload: its bytes are appended in order, hashed, and checked in the end. */
export class PartialUpload {
  readonly #paths: PartialPaths;
  readonly #handle: DiskFile;
  readonly #earlier: Try | undefined;
  readonly #hash: Hash = createHash('sha256');
  readonly #bin: Bin;
  readonly #disk: Disk;
  #bytes = 0;
  #writing: Promise<unknown> = Promise.resolve();

  constructor(paths: PartialPaths, handle: DiskFile, earlier: Try | undefined, bin: Bin, disk: Disk) {
    this.#paths = paths;
    this.#handle = handle;
    this.#earlier = earlier;
    this.#bin = bin;
    this.#disk = disk;
  }

  /** An earlier try has stored so many: what is appended goes behind them. */
  get storedBytes(): number {
    return this.#earlier?.bytes ?? 0;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes over what is stored, before the first `append`; yields how much it has so far. */
  async *takeOver(): AsyncGenerator<number> {
    if (this.#earlier === undefined || this.storedBytes === 0) return;
    for await (const chunk of read(join(this.#earlier.path, 'data'), 0, this.storedBytes, this.#disk)) {
      await this.append(chunk);
      yield this.#bytes;
    }
  }

  /** The first bytes, at most so many. */
  async head(length: number): Promise<Buffer> {
    await this.#writing;
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, (await this.#handle.read(bytes, 0, length, 0)).bytesRead);
  }

  /** Resolves when the bytes before these are written: one piece is written while the next one comes. */
  async append(chunk: Uint8Array): Promise<void> {
    const before = this.#writing;
    const at = this.#bytes;
    this.#bytes += chunk.length;
    this.#writing = before.then(() => writeAll(this.#handle, chunk, at));
    this.#writing.catch(() => {});
    this.#hash.update(chunk);
    await before;
  }

  /** The hash of all bytes; nothing can be appended after that. */
  async digest(): Promise<string> {
    await this.#writing;
    return this.#hash.digest('hex');
  }

  /** Makes it the picture, unless another try was faster: then that one stays. Safe when it resolves. */
  async commit(upload: Upload): Promise<void> {
    const { own, all, target } = this.#paths;
    const disk = this.#disk;
    await this.#writing;
    await this.#handle.sync();
    await disk.mkdir(dirname(target), { recursive: true });
    try {
      await replaceFile(join(own, 'upload.json'), JSON.stringify(upload), disk);
      await disk.rename(own, target);
    } catch (error) {
      if (!hasCode(error, 'ENOENT', 'ENOTEMPTY', 'EEXIST')) throw error;
    }
    await syncPicture(target, disk);
    this.#bin.drop(all);
  }

  /** What this try has stored, and what it took over, is of no use: the next one begins anew. */
  async erase(): Promise<void> {
    await this.#disk.rm(this.#paths.own, { recursive: true, force: true });
    if (this.#earlier !== undefined) await this.#disk.rm(this.#earlier.path, { recursive: true, force: true });
    await this.#disk.rmdir(this.#paths.all).catch(() => {});
  }

  /** What was stored stays, for the next try. */
  async close(): Promise<void> {
    await this.#writing.catch(() => {});
    await this.#handle.close();
  }
}

/** Makes the name of a picture safe, and that of its shelf, whoever gave it. */
async function syncPicture(folder: string, disk: Disk): Promise<void> {
  const shelf = dirname(folder);
  await sync(dirname(shelf), disk);
  await sync(shelf, disk);
  // GlusterFS keeps the name of a folder that a file in it asks for.
  await sync(join(folder, 'upload.json'), disk);
}

/** Creates the data of a try, and its folder: once more where that is just removed, with all tries of a picture that is whole, or as an empty one. */
async function createIn(own: string, disk: Disk): Promise<DiskFile> {
  for (let left = 10; ; left--) {
    try {
      await disk.mkdir(own, { recursive: true });
      return await disk.open(join(own, 'data'), 'wx+');
    } catch (error) {
      if (left === 0 || !hasCode(error, 'ENOENT')) throw error;
    }
  }
}

/** The bytes of a file from one offset up to another, or its end; each piece is read while the one before it is used. */
async function* read(path: string, from: number, to: number, disk: Disk): AsyncIterableIterator<Buffer> {
  const file = await disk.open(path, 'r');
  const piece = async (at: number, end: number): Promise<Buffer> => {
    const bytes = Buffer.allocUnsafe(Math.min(readBytes, end - at));
    return bytes.subarray(0, (await file.read(bytes, 0, bytes.length, at)).bytesRead);
  };
  try {
    const end = Math.min(to, (await file.stat()).size);
    let next = piece(from, end);
    for (let at = from; at < end;) {
      const bytes = await next;
      if (bytes.length === 0) return;
      at += bytes.length;
      next = piece(at, end);
      next.catch(() => {});
      yield bytes;
    }
  } finally {
    await file.close();
  }
}

async function writeAll(handle: DiskFile, chunk: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < chunk.length;) {
    done += (await handle.write(chunk, done, chunk.length - done, at + done)).bytesWritten;
  }
}

/** Whatever calls this has checked the id before; a path is built from nothing else. */
function checkedId(id: string): string {
  const problem = idProblem(id);
  if (problem !== undefined) throw new RangeError(problem);
  return id;
}
