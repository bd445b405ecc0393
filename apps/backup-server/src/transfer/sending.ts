/** One backup, as the node does it: it offers what it finds, sends what is wanted, and says last what the tree is. */
import { release } from '@lab/process/release';
import { blobsMax, bundleBytes, type Blob, type BundleParts } from '@lab/store/bundle';
import type { Channel } from '../channel/channel.ts';
import { chunkBytesMax, chunksOf, manifestLine, type Chunk, type Entry, type FileEntry } from '../domain/manifest.ts';
import { noteLengths, packJson, packOffer, pieceBytes, pieces, TreeChecksum, type Head } from '../messages.ts';
import { PathError, type Found, type FoundFile, type Walk } from '../tree/tree.ts';

/** The walk gives others a turn after so many entries: about 5 ms. */
const entriesPerTurn = 500;

export async function* inTurns(walk: Walk): AsyncGenerator<Found> {
  let entries = 0;
  for (const item of walk) {
    if (++entries % entriesPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
    yield item;
  }
}

export function entryOf({ known: _, ...file }: FoundFile, { sha256, chunks }: { sha256: string; chunks?: Chunk[] }): FileEntry {
  return { ...file, sha256, ...(chunks !== undefined && { chunks }) };
}

/** What was found, on its way into the manifest: there it keeps its place. */
interface Slot {
  entry: Entry | undefined;
  /** Answers and reads that may still change it. */
  waits: number;
}

/** A blob that was offered: with its bytes, or the file that they can be read from. */
interface Offered {
  chunk: Chunk;
  bytes: Uint8Array | undefined;
  file: FoundFile;
  slot: Slot;
}

interface Offer {
  blobs: Offered[];
  answer: PromiseWithResolvers<Buffer>;
}

/** A bundle, once it is made, and the bytes that it has. */
interface Parcel {
  bundle: BundleParts | undefined;
  bytes: number;
}

/** Bytes held for an offer that has not been answered, and its blobs. */
const offerBytesMax = 4 * 1024 * 1024;
const offerBlobsMax = 2048;
/** Bytes of bundles that are made, or being made. */
const outboxBytesMax = 8 * 1024 * 1024;
/** Offers under way: the next is read while the last is answered. */
const offersMax = 3;

/** From the first offer to the last word. */
export class Sending {
  readonly #channel: Channel;
  readonly #walk: Walk;
  readonly #make: (blobs: readonly Blob[]) => Promise<BundleParts>;
  readonly #path: string;
  readonly #working: { files: number; bytes: number; sentBytes: number };

  /** In the order of the manifest, from the first that is not in it yet. */
  #slots: Slot[] = [];
  #lines = '';
  readonly #checksum = new TreeChecksum();

  #offer: Offered[] = [];
  #offerBytes = 0;
  /** In the order in which they were sent, which is that of the answers. */
  readonly #unanswered: Offer[] = [];
  readonly #answered: Offer[] = [];
  /** Files whose content was thought to be in the store and is not; and what of it is wanted, which is offered once only. */
  readonly #again = new Map<Slot, FoundFile>();
  readonly #owed = new Set<string>();
  #bundle: Blob[] = [];
  #bundleBytes = 0;
  /** In the order in which they are sent: the next ones are read and compressed while the last are written at the other end. */
  readonly #outbox: Parcel[] = [];
  #outboxBytes = 0;
  /** Bundles under way, whose memory the socket may still read. */
  readonly #sent: Uint8Array[][] = [];
  /** Bytes of blobs that were sent and are not kept yet. */
  #underWay = 0;
  #onKept = Promise.withResolvers<void>();
  readonly #stored = Promise.withResolvers<Head<'stored'>>();

  constructor(
    { channel, walk, bundle }: { channel: Channel; walk: Walk; bundle: (blobs: readonly Blob[]) => Promise<BundleParts> },
    path: string,
    working: { files: number; bytes: number; sentBytes: number },
  ) {
    this.#channel = channel;
    this.#walk = walk;
    this.#make = bundle;
    this.#path = path;
    this.#working = working;
    this.#stored.promise.catch(() => undefined);
  }

  async run(): Promise<Head<'stored'>> {
    void this.#listen();
    for await (const item of inTurns(this.#walk)) {
      const slot: Slot = { entry: undefined, waits: 0 };
      this.#slots.push(slot);
      if (item.type !== 'file') slot.entry = item;
      else if (item.known === undefined) await this.#read(item, slot);
      else await this.#offerKnown(item, slot, item.known);
      if (this.#again.size > 0) await this.#readAgain();
      await this.#sendLines(pieceBytes);
    }
    await this.#settleOffers();
    while (this.#again.size > 0) {
      await this.#readAgain();
      await this.#settleOffers();
    }
    await this.#sendLines(0);
    this.#walk.forgetOthers();
    const { list, leftOut } = this.#walk.notes;
    const notes = list.map(({ path, note }) => ({
      path: path.slice(0, noteLengths.path),
      note: note.slice(0, noteLengths.note),
    }));
    await this.#channel.send({ kind: 'tree', checksum: this.#checksum.digest() }, packJson({ notes, leftOut }));
    return this.#stored.promise;
  }

  /** All that comes from the requester. What breaks the connection ends every wait. */
  async #listen(): Promise<void> {
    try {
      for (;;) {
        const { head, body } = await this.#channel.expect('want', 'kept', 'stored');
        if (head.kind === 'stored') return this.#stored.resolve(head);
        if (head.kind === 'want') {
          const offer = this.#unanswered.shift();
          if (offer === undefined) throw new Error('an answer to no offer');
          offer.answer.resolve(body);
        } else {
          this.#underWay -= head.bytes;
          // They come in order: whoever keeps one has had those before it.
          for (const part of this.#sent.shift() ?? []) release(part);
          this.#sendNext();
          this.#onKept.resolve();
          this.#onKept = Promise.withResolvers();
        }
      }
    } catch (error) {
      this.#stored.reject(error);
    }
  }

  /** Waits, unless the connection breaks. */
  #orBroken<T>(wait: Promise<T>): Promise<T> {
    return Promise.race([wait, this.#stored.promise.then(() => wait)]);
  }

  async #read(file: FoundFile, slot: Slot): Promise<void> {
    slot.waits++;
    const { entry, note } = await this.#walk.read(file, ({ hash, bytes }) => {
      // As it goes: of a large file others must see that it does.
      this.#working.bytes += bytes.length;
      return this.#add({ chunk: [hash, bytes.length], bytes, file, slot });
    });
    slot.waits--;
    slot.entry = entry;
    if (note !== undefined) this.#walk.notes.add(file.path, note);
    if (file.path === '' && entry === undefined) throw new PathError(`"${this.#path}" ${note ?? 'cannot be read'}`);
    if (entry !== undefined) this.#working.files++;
  }

  async #offerKnown(file: FoundFile, slot: Slot, known: { sha256: string; chunks?: Chunk[] }): Promise<void> {
    const entry = entryOf(file, known);
    slot.entry = entry;
    slot.waits++;
    for (const chunk of chunksOf(entry)) await this.#add({ chunk, bytes: undefined, file, slot });
    slot.waits--;
    this.#walk.seen(file);
    this.#working.files++;
    this.#working.bytes += file.size;
  }

  async #add(blob: Offered): Promise<void> {
    if (blob.bytes !== undefined && this.#owed.delete(blob.chunk[0]))
      return this.#put({ hash: blob.chunk[0], bytes: blob.bytes });
    blob.slot.waits++;
    this.#offer.push(blob);
    this.#offerBytes += blob.bytes?.length ?? 0;
    if (this.#offerBytes >= offerBytesMax || this.#offer.length >= offerBlobsMax) await this.#sendOffer();
  }

  async #sendOffer(): Promise<void> {
    if (this.#offer.length === 0) return;
    const offer: Offer = { blobs: this.#offer, answer: Promise.withResolvers() };
    this.#offer = [];
    this.#offerBytes = 0;
    this.#unanswered.push(offer);
    this.#answered.push(offer);
    await this.#channel.send({ kind: 'offer' }, packOffer(offer.blobs.map(({ chunk }) => chunk)));
    while (this.#answered.length >= offersMax) await this.#takeAnswer();
  }

  async #settleOffers(): Promise<void> {
    await this.#sendOffer();
    while (this.#answered.length > 0) await this.#takeAnswer();
    await this.#sendBundle();
    while (this.#underWay > 0 || this.#outbox.length > 0) await this.#orBroken(this.#onKept.promise);
  }

  async #takeAnswer(): Promise<void> {
    const { blobs, answer } = this.#answered.shift()!;
    const wanted = await this.#orBroken(answer.promise);
    for (const [index, { bytes, chunk, file, slot }] of blobs.entries()) {
      slot.waits--;
      // What is wanted once is not wanted again: of two files that had it the first may have another content by now.
      if (wanted[index] !== 1 && !this.#owed.has(chunk[0])) {
        if (bytes !== undefined) release(bytes);
        continue;
      }
      if (bytes !== undefined) {
        this.#owed.delete(chunk[0]);
        await this.#put({ hash: chunk[0], bytes });
        continue;
      }
      this.#owed.add(chunk[0]);
      if (!this.#again.has(slot)) slot.waits++;
      this.#again.set(slot, file);
    }
  }

  /** Those of which all that is wanted is known. Their entries are made anew. */
  async #readAgain(): Promise<void> {
    for (const [slot, file] of [...this.#again]) {
      if (slot.waits > 1) continue;
      this.#again.delete(slot);
      slot.waits--;
      // Another file may have had all of it meanwhile.
      if (slot.entry?.type !== 'file' || !chunksOf(slot.entry).some(([hash]) => this.#owed.has(hash))) continue;
      await this.#read(file, slot);
      // Once was counted when it was offered as it was known.
      this.#working.files--;
      this.#working.bytes -= file.size;
    }
  }

  /** Sends the lines that nothing can change any more, if they are so many. */
  async #sendLines(least: number): Promise<void> {
    const end = this.#slots.findIndex(({ waits }) => waits > 0);
    for (const { entry } of this.#slots.splice(0, end < 0 ? this.#slots.length : end)) {
      if (entry === undefined) continue;
      this.#lines += manifestLine(entry);
      this.#checksum.add(entry);
    }
    if (this.#lines.length <= least) return;
    for (const { head, body } of pieces('manifest', this.#lines, true)) await this.#channel.send(head, body);
    this.#lines = '';
  }

  async #put(blob: Blob): Promise<void> {
    if (this.#bundleBytes + blob.bytes.length > bundleBytes || this.#bundle.length === blobsMax) await this.#sendBundle();
    this.#bundle.push(blob);
    this.#bundleBytes += blob.bytes.length;
  }

  async #sendBundle(): Promise<void> {
    if (this.#bundle.length === 0) return;
    const [blobs, bytes] = [this.#bundle, this.#bundleBytes];
    this.#bundle = [];
    this.#bundleBytes = 0;
    const next: Parcel = { bundle: undefined, bytes };
    this.#outbox.push(next);
    this.#outboxBytes += bytes;
    const made = this.#make(blobs).then((bundle) => {
      next.bundle = bundle;
      this.#sendNext();
    });
    made.catch((error: unknown) => this.#stored.reject(error));
    while (this.#outboxBytes > outboxBytesMax) await this.#orBroken(this.#onKept.promise);
  }

  /** Sends what may be under way beside what is. */
  #sendNext(): void {
    for (let next = this.#outbox[0]; next?.bundle !== undefined; next = this.#outbox[0]) {
      if (this.#underWay > 0 && this.#underWay + next.bytes > chunkBytesMax) return;
      this.#outbox.shift();
      this.#outboxBytes -= next.bytes;
      this.#underWay += next.bytes;
      this.#working.sentBytes += next.bytes;
      this.#sent.push(next.bundle);
      this.#channel.send({ kind: 'bundle' }, ...next.bundle).catch(() => undefined);
    }
  }
}
