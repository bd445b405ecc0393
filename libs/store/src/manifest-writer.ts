/** Keeps a manifest as it comes, in blobs that are cut by its content: two that differ little share nearly all. */
import { bundleBytes, encodeBundle, hashOf, type Blob } from './bundle.ts';
import { chunksIn, manifestChunks } from './chunker.ts';

interface Keeper {
  lacks: (hash: string) => boolean;
  keep: (bundle: Buffer) => Promise<number>;
}

export class ManifestWriter {
  readonly #store: Keeper;
  /** Less than two of the largest chunks, of which the last is not whole yet. */
  #rest: Uint8Array = new Uint8Array();
  readonly #hashes: string[] = [];
  #blobs: Blob[] = [];
  #blobsBytes = 0;
  #storedBytes = 0;

  /** @internal By `Store.writeManifest`. */
  constructor(store: Keeper) {
    this.#store = store;
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#cut(Buffer.concat([this.#rest, bytes]), manifestChunks.max);
  }

  /** The blobs that are the manifest, in order, and the bytes that the store grew by. */
  async end(): Promise<{ hashes: string[]; storedBytes: number }> {
    await this.#cut(this.#rest, 0);
    await this.#keep();
    return { hashes: this.#hashes, storedBytes: this.#storedBytes };
  }

  /** Where a chunk ends depends on so many bytes as it can have. */
  async #cut(bytes: Uint8Array, restMin: number): Promise<void> {
    let at = 0;
    for (const chunk of chunksIn(bytes, manifestChunks)) {
      if (bytes.length - at < restMin) break;
      at += chunk.length;
      await this.#add({ hash: hashOf(chunk), bytes: chunk });
    }
    this.#rest = bytes.subarray(at);
  }

  async #add(blob: Blob): Promise<void> {
    this.#hashes.push(blob.hash);
    if (!this.#store.lacks(blob.hash)) return;
    this.#blobs.push(blob);
    this.#blobsBytes += blob.bytes.length;
    if (this.#blobsBytes >= bundleBytes) await this.#keep();
  }

  async #keep(): Promise<void> {
    if (this.#blobs.length > 0) this.#storedBytes += await this.#store.keep(encodeBundle(this.#blobs));
    this.#blobs = [];
    this.#blobsBytes = 0;
  }
}
