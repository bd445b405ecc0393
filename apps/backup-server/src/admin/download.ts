/**
 * The content of a version, in the order of its files. The server sends whole bundles: what comes along with a blob that is needed
 * now is kept, within a limit, for it is likely needed soon. Every blob is checked against its hash.
 */
import { release } from '@lab/process/release';
import { blobsOf, decodeHeader, headerBytesOf, type Blob } from '@lab/store/bundle';
import { isOwn, type Channel } from '../channel/channel.ts';
import type { Chunk } from '../domain/manifest.ts';
import { packHashes, unpackJson } from '../messages.ts';
import type { SuspectAnswer } from '../roles/store-commands.ts';

/** Blobs are asked for by so many bytes or so many of them, and the next before the last have come. */
const windowBytes = 4 * 1024 * 1024;
const windowBlobsMax = 8_192;
const windowsAhead = 3;
/** Of what came along, the oldest of which goes first, or may be needed again. A blob counts so much more than its bytes. */
const sparesBytesMax = 32 * 1024 * 1024;
const spareBytes = 400;

/** A bundle that came, taken apart: its blobs that are what their hashes say, and the memory that all of them are in. */
export interface Opened {
  blobs: readonly Blob[];
  memory: Uint8Array;
}

/** Whoever sends content. */
export interface Source {
  /** Asks for the bundles that have these. */
  need: (hashes: Uint8Array) => Promise<void>;
  /** The next of them; `undefined` when all have come that one `need` has asked for. */
  next: () => Promise<Opened | undefined>;
}

/** The server at the other end. */
export const sourceOf = (channel: Channel): Source => ({
  need: (hashes) => channel.send({ kind: 'need' }, hashes),
  async next() {
    const { head, body } = await channel.expect('bundle', 'sent');
    return head.kind === 'sent' ? undefined : openBundle(body);
  },
});

function openBundle(bundle: Buffer): Opened {
  const header = decodeHeader(bundle);
  const all = blobsOf(header, bundle.subarray(headerBytesOf(header.blobs.length)));
  // A damaged copy may have come along with what is sound; a sound one of it is elsewhere.
  const blobs = all.filter((blob) => blob !== undefined);
  if (!header.compressed) return { blobs, memory: bundle };
  if (isOwn(bundle)) release(bundle);
  return { blobs, memory: blobs[0]?.bytes ?? new Uint8Array() };
}

/** What a bundle had: its memory goes back when so many blobs have been taken. */
interface Held {
  bytes: Uint8Array;
  blobs: number;
}

/** A blob that has been asked for and not been taken as often. */
interface Pinned {
  uses: number;
  bytes: Uint8Array | undefined;
  held: Held | undefined;
  /** It did not come as it should. */
  isDamaged: boolean;
}

/** What came is not what its hash says, and asking again does not help. With its hash the server can look at it. */
export class DamagedError extends Error {
  override readonly name = 'DamagedError';
  readonly hash: string | undefined;
  constructor(message: string, hash?: string) {
    super(message);
    this.hash = hash;
  }
}

export class Download {
  readonly #source: Source;
  /** Of what is to be asked for. */
  readonly #needs: Iterator<Chunk>;
  #isAllAsked = false;
  /** Asked for, and not yet come. */
  readonly #windows: ReadonlySet<string>[] = [];
  readonly #pinned = new Map<string, Pinned>();
  readonly #spares = new Map<string, Uint8Array>();
  /** Goes through them but once: a map finds its first key the later the more have been deleted before it. */
  #oldest = this.#spares.keys();
  #sparesBytes = 0;
  /** Of the blob that was taken last. */
  #lastHeld: Held | undefined;

  /** What will be taken, in this order: it is gone through ahead of that. */
  constructor(source: Source, needs: Iterable<Chunk>) {
    this.#source = source;
    this.#needs = needs[Symbol.iterator]();
  }

  /** The next chunk, there until the next call. Rejects with a `DamagedError` where it does not come as it should; those after it may. */
  async take([hash, size]: Chunk): Promise<Uint8Array> {
    giveBack(this.#lastHeld);
    this.#lastHeld = undefined;
    while (this.#windows.length < windowsAhead && !this.#isAllAsked) await this.#askWindow();
    const pinned = this.#pinned.get(hash)!;
    while (pinned.bytes === undefined && !pinned.isDamaged) await this.#receiveWindow();
    const { bytes, held } = pinned;
    if (bytes === undefined) throw new DamagedError(`blob ${hash} came damaged`, hash);
    if (bytes.length !== size) throw new DamagedError(`blob ${hash} has ${bytes.length} bytes, and its manifest says ${size}`);
    if (--pinned.uses === 0) {
      this.#pinned.delete(hash);
      this.#lastHeld = held;
      // It may be needed again; what comes along is likelier to be.
      if (this.#sparesBytes + bytes.length + spareBytes <= sparesBytesMax) this.#spare(hash, bytes);
    }
    return bytes;
  }

  async #askWindow(): Promise<void> {
    const hashes = new Set<string>();
    for (let bytes = 0; bytes < windowBytes && hashes.size < windowBlobsMax;) {
      const next = this.#needs.next();
      if (next.done === true) {
        this.#isAllAsked = true;
        break;
      }
      const [hash, size] = next.value;
      bytes += size;
      const pinned = this.#pinned.get(hash) ?? { uses: 0, bytes: this.#unspare(hash), held: undefined, isDamaged: false };
      if (pinned.uses++ > 0) continue;
      this.#pinned.set(hash, pinned);
      if (pinned.bytes === undefined) hashes.add(hash);
    }
    if (hashes.size === 0) return;
    this.#windows.push(hashes);
    await this.#source.need(packHashes([...hashes]));
  }

  async #receiveWindow(): Promise<void> {
    for (let opened = await this.#source.next(); opened !== undefined; opened = await this.#source.next()) this.#receive(opened);
    for (const hash of this.#windows.shift()!) {
      const pinned = this.#pinned.get(hash);
      if (pinned !== undefined) pinned.isDamaged = pinned.bytes === undefined;
    }
  }

  #receive({ blobs, memory }: Opened): void {
    const held: Held = { bytes: memory, blobs: 1 };
    for (const { hash, bytes } of blobs) {
      const pinned = this.#pinned.get(hash);
      if (pinned?.bytes !== undefined || this.#spares.has(hash)) continue;
      if (pinned === undefined) this.#spare(hash, bytes);
      else {
        Object.assign(pinned, { bytes, held });
        held.blobs++;
      }
    }
    giveBack(held);
  }

  /** A copy: one small blob would hold the whole bundle. */
  #spare(hash: string, bytes: Uint8Array): void {
    this.#spares.set(hash, new Uint8Array(bytes));
    this.#sparesBytes += bytes.length + spareBytes;
    while (this.#sparesBytes > sparesBytesMax) {
      const next = this.#oldest.next();
      if (next.done === true) this.#oldest = this.#spares.keys();
      else this.#unspare(next.value);
    }
  }

  #unspare(hash: string): Uint8Array | undefined {
    const bytes = this.#spares.get(hash);
    if (bytes !== undefined) this.#sparesBytes -= bytes.length + spareBytes;
    this.#spares.delete(hash);
    return bytes;
  }
}

function giveBack(held: Held | undefined): void {
  if (held !== undefined && --held.blobs === 0 && isOwn(held.bytes)) release(held.bytes);
}

export const damageText =
  'the store has damage that nobody knew of until now: "verify" names the files; the next backup brings back what the node still has; --partial takes the rest';
export const goneText = 'the version was removed meanwhile, by its --keep rules or by an admin: "list" shows what there is';

/** Tells the server what came damaged, so that it looks and marks it. Whether the version is there still. */
export async function reportDamage(channel: Channel, { hash }: { hash: string | undefined }): Promise<boolean> {
  if (hash === undefined) return true;
  await channel.send({ kind: 'suspect', hash });
  for (;;) {
    const { head, body } = await channel.expect('answer', 'bundle', 'sent');
    if (head.kind === 'answer') return (unpackJson(body) as SuspectAnswer).isThere;
  }
}
