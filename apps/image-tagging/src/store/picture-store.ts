/**
 * Pictures in a folder that all servers and workers share. A picture is a folder of its own:
 *
 * | path                              | what it is                                                           |
 * |-----------------------------------|----------------------------------------------------------------------|
 * | `partial/<id>/data`               | an upload, as far as it has come                                     |
 * | `images/<2>/<id>/data`            | the original, whole                                                  |
 * | `images/<2>/<id>/upload.json`     | what was uploaded: there from the moment at which the picture is      |
 * | `images/<2>/<id>/tagged-*.<type>` | what a worker made                                                   |
 * | `images/<2>/<id>/result.json`     | which of these counts, or why there is none: made once, never changed |
 *
 * So the folder tells all, should everything else be lost. An upload becomes a picture by one rename of its folder; a result counts from one link on.
 */
import { createHash, randomUUID, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Upload } from '../domain/catalog.ts';
import { idProblem } from '../domain/limits.ts';
import { resultSchema, uploadSchema, type Result } from '../messages.ts';
import { createOnce, hasCode, replaceFile, syncFolder } from './durable.ts';

/** As much as one read takes from a file. */
const readBytes = 1024 * 1024;

export class PictureStore {
  readonly #images: string;
  readonly #partial: string;

  private constructor(folder: string) {
    this.#images = join(folder, 'images');
    this.#partial = join(folder, 'partial');
  }

  static async open(folder: string): Promise<PictureStore> {
    const store = new PictureStore(folder);
    await mkdir(store.#images, { recursive: true });
    await mkdir(store.#partial, { recursive: true });
    return store;
  }

  /** A picture's upload, if it was stored whole. */
  async stored(id: string): Promise<Upload | undefined> {
    const text = await readIfThere(join(this.#folderOf(id), 'upload.json'));
    return text === undefined ? undefined : uploadSchema.parse(JSON.parse(text));
  }

  /** Goes on with an upload where it stopped, or begins it. */
  async resume(id: string): Promise<PartialUpload> {
    const folder = join(this.#partial, checkedId(id));
    await mkdir(folder, { recursive: true });
    const path = join(folder, 'data');
    const handle = await open(path, 'a+').then(async (made) => (await made.close(), open(path, 'r+')));
    const { size } = await handle.stat();
    return new PartialUpload(folder, this.#folderOf(id), this.#images, handle, size);
  }

  /** Erases the uploads that nobody has gone on with since `beforeMs` (milliseconds since 1970); tells how many. */
  async eraseAbandoned(beforeMs: number): Promise<number> {
    let erased = 0;
    for (const id of await readdir(this.#partial)) {
      const folder = join(this.#partial, id);
      const { mtimeMs } = await stat(join(folder, 'data')).catch(() => stat(folder).catch(() => ({ mtimeMs: Infinity })));
      if (mtimeMs >= beforeMs) continue;
      await rm(folder, { recursive: true, force: true });
      erased++;
    }
    return erased;
  }

  /** Ids of all that was stored, in no order. */
  async *ids(): AsyncIterableIterator<string> {
    for (const shelf of await readdir(this.#images)) {
      for (const id of await readdir(join(this.#images, shelf))) if (idProblem(id) === undefined) yield id;
    }
  }

  originalPath(id: string): string {
    return join(this.#folderOf(id), 'data');
  }

  taggedPath(id: string, name: string): string {
    return join(this.#folderOf(id), name);
  }

  /** The bytes of a file from an offset on; what it reads from must be one of the two paths above. */
  async *read(path: string, offset: number): AsyncIterableIterator<Buffer> {
    yield* createReadStream(path, { start: offset, highWaterMark: readBytes }) as AsyncIterable<Buffer>;
  }

  async result(id: string): Promise<Result | undefined> {
    const text = await readIfThere(join(this.#folderOf(id), 'result.json'));
    return text === undefined ? undefined : resultSchema.parse(JSON.parse(text));
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
    const name = `tagged-${randomUUID()}.${extension}`;
    const output = this.taggedPath(id, name);
    let mine: Result;
    try {
      const { bytes, sha256 } = await make(this.originalPath(id), output);
      await syncFile(output);
      mine = { tagged: { name, bytes, sha256 } };
    } catch (error) {
      await rm(output, { force: true });
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
    const decided = await createOnce(join(this.#folderOf(id), 'result.json'), text);
    if (decided !== text && output !== undefined) await rm(output, { force: true });
    return resultSchema.parse(JSON.parse(decided));
  }

  #folderOf(id: string): string {
    return join(this.#images, checkedId(id).slice(0, 2), id);
  }
}

/** An upload on its way: its bytes are appended in order, hashed, and checked in the end. */
export class PartialUpload {
  readonly #folder: string;
  readonly #target: string;
  readonly #images: string;
  readonly #handle: FileHandle;
  readonly #hash: Hash = createHash('sha256');
  /** Already there when this began. */
  readonly storedBytes: number;
  #bytes: number;
  #writing: Promise<unknown> = Promise.resolve();

  constructor(folder: string, target: string, images: string, handle: FileHandle, storedBytes: number) {
    this.#folder = folder;
    this.#target = target;
    this.#images = images;
    this.#handle = handle;
    this.storedBytes = storedBytes;
    this.#bytes = storedBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes what is stored into the hash; before the first `append`. */
  async rehash(): Promise<void> {
    if (this.storedBytes === 0) return;
    const end = this.storedBytes - 1;
    await pipeline(
      createReadStream(join(this.#folder, 'data'), { end, highWaterMark: readBytes }),
      async (chunks: AsyncIterable<Buffer>) => {
        for await (const chunk of chunks) this.#hash.update(chunk);
      },
    );
  }

  /** The first bytes, at most so many. */
  async head(length: number): Promise<Buffer> {
    await this.#writing;
    const { buffer, bytesRead } = await this.#handle.read(Buffer.alloc(length), 0, length, 0);
    return buffer.subarray(0, bytesRead);
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

  /** Makes it a picture, unless an upload with this id is one already: then that one stays. Safe when it resolves. */
  async commit(upload: Upload): Promise<void> {
    await this.#writing;
    await this.#handle.datasync();
    const shelf = join(this.#target, '..');
    if ((await mkdir(shelf, { recursive: true })) !== undefined) await syncFolder(this.#images);
    try {
      await replaceFile(join(this.#folder, 'upload.json'), JSON.stringify(upload));
      await syncFolder(this.#folder);
      await rename(this.#folder, this.#target);
    } catch (error) {
      // Another server was faster: with the same folder, or with one of its own.
      if (!hasCode(error, 'ENOENT', 'ENOTEMPTY', 'EEXIST')) throw error;
      await stat(join(this.#target, 'upload.json'));
      await rm(this.#folder, { recursive: true, force: true });
    }
    await syncFolder(shelf);
  }

  /** What was stored is of no use: the next try begins anew. */
  async erase(): Promise<void> {
    await this.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** What was stored stays, for the next try. */
  async close(): Promise<void> {
    await this.#writing.catch(() => {});
    await this.#handle.close();
  }
}

async function writeAll(handle: FileHandle, chunk: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < chunk.length;) {
    done += (await handle.write(chunk, done, chunk.length - done, at + done)).bytesWritten;
  }
}

async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Whatever calls this has checked the id before; a path is built from nothing else. */
function checkedId(id: string): string {
  const problem = idProblem(id);
  if (problem !== undefined) throw new RangeError(problem);
  return id;
}
