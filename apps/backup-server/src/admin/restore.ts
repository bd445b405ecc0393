/**
 * Writes a version into a folder that is new or empty, so that nothing that is there can lead a path elsewhere. Files are
 * written by a thread of their own: making twenty thousand of them takes as long as all the rest. Links come after all files,
 * and folders get their modes and times when nothing more comes into them.
 */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { ExitError, exitCodes } from '@lab/process';
import type { Download } from './download.ts';
import { chunksOf, type Entry, type FileEntry } from '../domain/manifest.ts';
import type { Piece } from './restore-thread.ts';

/** Pieces travel to the thread in batches, of which few are under way. */
const batchBytes = 2 * 1024 * 1024;
const batchPieces = 256;
const batchesMax = 6;

/** Makes the folder, or takes an empty one; before anything is asked of the server. */
export async function checkEmpty(folder: string): Promise<void> {
  await mkdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  const there = await readdir(folder);
  if (there.length > 0) throw new ExitError(`${folder} is not empty: give a folder that is, or a new one`, exitCodes.usage);
}

/** `folder` is there, and empty. */
export async function restoreTo(
  folder: string,
  {
    entries,
    download,
    progress,
    name,
  }: { entries: readonly Entry[]; download: Download; progress: (bytes: number) => void; name: string },
): Promise<void> {
  const thread = new Thread(folder);
  try {
    // A path that is a single file goes into the folder by its name.
    const single = entries[0]?.path === '' && entries[0].type !== 'folder';
    const placed = entries.map((entry) => ({ ...entry, path: single ? name : entry.path }));
    for (const entry of placed) {
      if (entry.type === 'folder') await thread.do({ what: 'folder', path: entry.path });
      else if (entry.type === 'file') await writeFile(thread, entry, download, progress);
    }
    for (const entry of placed)
      if (entry.type === 'link')
        await thread.do({ what: 'link', path: entry.path, target: entry.target, mtimeMs: entry.mtimeMs });
    for (const entry of placed.reverse())
      if (entry.type === 'folder') await thread.do({ what: 'seal', path: entry.path, mode: entry.mode, mtimeMs: entry.mtimeMs });
    await thread.end();
  } catch (error) {
    await thread.terminate();
    // It was empty: what is in it now is a part of a version, and nothing says so.
    for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true, force: true });
    throw error;
  } finally {
    await thread.terminate();
  }
}

async function writeFile(thread: Thread, file: FileEntry, download: Download, progress: (bytes: number) => void): Promise<void> {
  const { path, mode, mtimeMs, size } = file;
  const chunks = chunksOf(file);
  if (chunks.length === 0)
    return thread.do({ what: 'file', path, mode, mtimeMs, size, at: 0, bytes: new Uint8Array(), last: true });
  let at = 0;
  for (const [index, [, chunkBytes]] of chunks.entries()) {
    // A copy of its own, to be handed over: the blob is a view of a bundle.
    const bytes = new Uint8Array(await download.next());
    await thread.do({ what: 'file', path, mode, mtimeMs, size, at, bytes, last: index === chunks.length - 1 });
    at += chunkBytes;
    progress(chunkBytes);
  }
}

class Thread {
  readonly #worker: Worker;
  readonly #failed = Promise.withResolvers<never>();
  #batch: Piece[] = [];
  #batchBytes = 0;
  #underWay = 0;
  #done = Promise.withResolvers<void>();

  constructor(folder: string) {
    this.#worker = new Worker(new URL('restore-thread.ts', import.meta.url), { workerData: folder });
    this.#failed.promise.catch(() => undefined);
    this.#worker.on('error', (error) => this.#failed.reject(error));
    this.#worker.on('message', (message: { failed?: string }) => {
      if (message.failed !== undefined) return this.#failed.reject(new ExitError(message.failed));
      this.#underWay--;
      this.#done.resolve();
      this.#done = Promise.withResolvers();
    });
  }

  async do(piece: Piece): Promise<void> {
    this.#batch.push(piece);
    if (piece.what === 'file') this.#batchBytes += piece.bytes.length;
    if (this.#batchBytes >= batchBytes || this.#batch.length >= batchPieces) await this.#send();
  }

  /** Resolves when everything is written. */
  async end(): Promise<void> {
    await this.#send();
    while (this.#underWay > 0) await this.#oneDone();
  }

  async terminate(): Promise<void> {
    this.#worker.postMessage('end');
    await Promise.race([once(this.#worker, 'exit'), this.#failed.promise]).catch(() => undefined);
    await this.#worker.terminate();
  }

  async #send(): Promise<void> {
    while (this.#underWay >= batchesMax) await this.#oneDone();
    const transfer = this.#batch.flatMap((piece) => (piece.what === 'file' ? [piece.bytes.buffer as ArrayBuffer] : []));
    this.#worker.postMessage(this.#batch, transfer);
    this.#underWay++;
    this.#batch = [];
    this.#batchBytes = 0;
  }

  #oneDone(): Promise<void> {
    return Promise.race([this.#done.promise, this.#failed.promise]);
  }
}
