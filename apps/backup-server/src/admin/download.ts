/**
 * The content of a version, in the order of its files. The server sends whole bundles: what comes with a blob that is needed
 * now and is needed later is kept, within a limit. Every blob is checked against its hash.
 */
import { blobsOf, decodeHeader, headerBytesOf, type Blob } from '@lab/store/bundle';
import type { Channel } from '../channel/channel.ts';
import { chunksOf, type Chunk, type Entry } from '../domain/manifest.ts';
import { packHashes, unpackJson } from '../messages.ts';
import type { SuspectAnswer } from '../roles/store-commands.ts';

/** Blobs are asked for by so many bytes or so many of them, and the next before the last have come. */
const windowBytes = 4 * 1024 * 1024;
const windowBlobsMax = 8_192;
const windowsAhead = 3;
/** Of what came along and is needed later. */
const sparesBytesMax = 48 * 1024 * 1024;

/** What came is not what its hash says, and asking again does not help. */
export class DamagedError extends Error {
  override readonly name = 'DamagedError';
}

export class Download {
  readonly #channel: Channel;
  readonly #needs: Chunk[];
  /** How often each blob is still needed. */
  readonly #uses = new Map<string, number>();
  /** Up to here blobs have been asked for, or were there. */
  #asked = 0;
  /** Asked for, and not yet come. */
  readonly #windows: ReadonlySet<string>[] = [];
  #taken = 0;
  readonly #blobs = new Map<string, Uint8Array>();
  /** Blobs that have been asked for and not been taken; how often. */
  readonly #pinned = new Map<string, number>();
  #sparesBytes = 0;
  /** Asked for, and did not come as they should. */
  readonly #damaged = new Set<string>();

  constructor(channel: Channel, entries: readonly Entry[]) {
    this.#channel = channel;
    this.#needs = entries.flatMap((entry) => (entry.type === 'file' ? chunksOf(entry) : []));
    for (const [hash] of this.#needs) this.#uses.set(hash, (this.#uses.get(hash) ?? 0) + 1);
  }

  /** The next chunk in the order of the manifest. Rejects with a `DamagedError` where it does not come as it should; those after it may. */
  async next(): Promise<Uint8Array> {
    const [hash, size] = this.#needs[this.#taken++]!;
    while (this.#windows.length < windowsAhead && this.#asked < this.#needs.length) await this.#askWindow();
    while (!this.#blobs.has(hash) && !this.#damaged.has(hash)) await this.#receiveWindow();
    const bytes = this.#blobs.get(hash);
    if (bytes === undefined) throw new DamagedBlob(hash);
    if (bytes.length !== size) throw new DamagedError(`blob ${hash} has ${bytes.length} bytes, and its manifest says ${size}`);
    this.#release(hash, bytes);
    return bytes;
  }

  async #askWindow(): Promise<void> {
    const hashes = new Set<string>();
    let bytes = 0;
    for (; this.#asked < this.#needs.length && bytes < windowBytes && hashes.size < windowBlobsMax; this.#asked++) {
      const [hash, size] = this.#needs[this.#asked]!;
      const pins = this.#pinned.get(hash) ?? 0;
      if (pins === 0) {
        const spare = this.#blobs.get(hash);
        if (spare === undefined) hashes.add(hash);
        else this.#sparesBytes -= spare.length;
      }
      this.#pinned.set(hash, pins + 1);
      bytes += size;
    }
    if (hashes.size === 0) return;
    this.#windows.push(hashes);
    await this.#channel.send({ kind: 'need' }, packHashes([...hashes]));
  }

  async #receiveWindow(): Promise<void> {
    for (;;) {
      const { head, body } = await this.#channel.expect('bundle', 'sent');
      if (head.kind === 'sent') break;
      this.#take(body);
    }
    for (const hash of this.#windows.shift()!) if (this.#pinned.has(hash) && !this.#blobs.has(hash)) this.#damaged.add(hash);
  }

  #take(bundle: Buffer): void {
    const header = decodeHeader(bundle);
    const blobs = blobsOf(header, bundle.subarray(headerBytesOf(header.blobs.length)));
    for (const [index, blob] of blobs.entries()) {
      const { hash } = header.blobs[index]!;
      // A damaged copy may have come along with what is sound; a sound one of it is elsewhere.
      if (blob !== undefined && this.#uses.has(hash) && !this.#blobs.has(hash)) this.#put(blob);
    }
  }

  #put({ hash, bytes }: Blob): void {
    const pinned = this.#pinned.has(hash);
    if (!pinned && this.#sparesBytes + bytes.length > sparesBytesMax) return;
    if (!pinned) this.#sparesBytes += bytes.length;
    this.#blobs.set(hash, bytes);
  }

  #release(hash: string, bytes: Uint8Array): void {
    const uses = this.#uses.get(hash)! - 1;
    const pins = this.#pinned.get(hash)! - 1;
    if (uses === 0) this.#uses.delete(hash);
    else this.#uses.set(hash, uses);
    if (pins > 0) return void this.#pinned.set(hash, pins);
    this.#pinned.delete(hash);
    if (uses > 0 && this.#sparesBytes + bytes.length <= sparesBytesMax) this.#sparesBytes += bytes.length;
    else this.#blobs.delete(hash);
  }
}

/** Carries the hash to whoever tells the server. */
class DamagedBlob extends DamagedError {
  readonly hash: string;
  constructor(hash: string) {
    super(`blob ${hash} came damaged`);
    this.hash = hash;
  }
}

export const damageText =
  'the store has damage that nobody knew of until now: the server has marked it. "list" names the files; the next backup brings back what the node still has; --partial takes the rest';
export const goneText = 'the version was removed meanwhile, by its --keep rules or by an admin: "list" shows what there is';

/** Tells the server what came damaged, so that it looks and marks it. Whether the version is there still. */
export async function reportDamage(channel: Channel, error: DamagedError): Promise<boolean> {
  if (!(error instanceof DamagedBlob)) return true;
  await channel.send({ kind: 'suspect', hash: error.hash });
  for (;;) {
    const { head, body } = await channel.expect('answer', 'bundle', 'sent');
    if (head.kind === 'answer') return (unpackJson(body) as SuspectAnswer).isThere;
  }
}
