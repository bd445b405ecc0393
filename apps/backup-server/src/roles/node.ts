/**
 * A node: serves backups of paths below its root to requesters. It offers hashes, and sends what is wanted; of that, no more
 * than one chunk is ever under way that the requester has not kept, so that is what an interruption costs.
 */
import type { Clock, Logger, Role } from '@lab/process';
import type { FramedServer } from '@lab/protocol';
import { blobsMax, bundleBytes, bundleParts, type Blob } from '@lab/store/bundle';
import type { Channel } from '../channel/channel.ts';
import {
  chunkBytesMax,
  chunksOf,
  manifestText,
  sorted,
  totalsOf,
  type Chunk,
  type Entry,
  type FileEntry,
} from '../domain/manifest.ts';
import { checksumOf, noteLengths, packJson, packOffer, pieces, type Head } from '../messages.ts';
import { PathError, type Survey, type SurveyedFile, type Tree, type TreeNote } from '../tree/tree.ts';

/** The files that it serves. */
export type NodeTree = Pick<Tree, 'survey' | 'read' | 'saveCache'>;

export interface NodeParts {
  name: string;
  tree: NodeTree;
  clock: Clock;
  log: Logger;
  listen: (serve: (channel: Channel) => Promise<void>) => Promise<FramedServer>;
}

const workingMs = 1_000;
/** Notes that a version keeps; the rest is a number. */
const notesMax = 100;

export class NodeRole implements Role {
  readonly #parts: NodeParts;
  #server: FramedServer | undefined;

  constructor(parts: NodeParts) {
    this.#parts = parts;
  }

  /** The port that it listens at, from its start on. */
  get port(): number {
    return this.#server?.port ?? 0;
  }

  async start(): Promise<void> {
    this.#server = await this.#parts.listen((channel) => this.#serve(channel));
    const { host, port } = this.#server;
    this.#parts.log.info({ host, port }, 'serving backups');
  }

  async stop(): Promise<void> {
    await this.#server?.close();
  }

  async #serve(channel: Channel): Promise<void> {
    for (let message = await channel.receive('backup'); message !== undefined; message = await channel.receive('backup')) {
      try {
        await this.#backUp(channel, message.head);
      } catch (error) {
        this.#parts.log.warn({ path: message.head.path, err: error }, 'backup broken off');
        if (!(error instanceof PathError)) throw error;
        await channel.send({ kind: 'failed', reason: error.message });
      }
    }
  }

  async #backUp(channel: Channel, { path, checksum, ...scope }: Head<'backup'>): Promise<void> {
    const { tree, clock, log } = this.#parts;
    const working = { files: 0, bytes: 0, sentBytes: 0 };
    const stopWorking = clock.every(workingMs, () => void channel.send({ kind: 'working', ...working }).catch(() => undefined));
    try {
      const survey = await tree.survey(path, (files, bytes) => Object.assign(working, { files, bytes }), scope);
      const known = entriesKnown(survey);
      if (checksum !== undefined && known !== undefined && checksumOf(known) === checksum) {
        await channel.send({ kind: 'unchanged', ...totalsOf(known) });
        return log.debug({ path }, 'unchanged');
      }
      const sending = new Sending(channel, tree, path, survey, working);
      const { outcome } = await sending.run();
      log.info({ path, ...outcome }, 'backed up');
      await tree.saveCache(path, survey).catch((error: unknown) => log.warn({ err: error }, 'the cache could not be written'));
    } finally {
      stopWorking();
    }
  }
}

/** All entries, if nothing has to be read for them. */
function entriesKnown({ items }: Survey): Entry[] | undefined {
  const entries: Entry[] = [];
  for (const item of items) {
    if (item.type !== 'file') entries.push(item);
    else if (item.known === undefined) return undefined;
    else entries.push(entryOf(item, item.known));
  }
  return entries;
}

function entryOf({ known, ...file }: SurveyedFile, { sha256, chunks }: { sha256: string; chunks?: Chunk[] }): FileEntry {
  return { ...file, sha256, ...(chunks !== undefined && { chunks }) };
}

/** A blob that was offered: with its bytes, or the file that they can be read from. */
interface Offered {
  chunk: Chunk;
  bytes: Uint8Array | undefined;
  file: SurveyedFile;
}

interface Offer {
  blobs: Offered[];
  answer: PromiseWithResolvers<Buffer>;
}

/** Bytes held for an offer that has not been answered, and its blobs. */
const offerBytesMax = 4 * 1024 * 1024;
const offerBlobsMax = 2048;
/** Bytes of bundles that are ready. */
const outboxBytesMax = 8 * 1024 * 1024;
/** Offers under way: the next is read while the last is answered. */
const offersMax = 3;

/** One backup, from the first offer to the last word. */
class Sending {
  readonly #channel: Channel;
  readonly #tree: NodeTree;
  readonly #path: string;
  readonly #survey: Survey;
  readonly #working: { files: number; bytes: number; sentBytes: number };
  readonly #entries = new Map<string, Entry>();
  readonly #notes: TreeNote[];

  #offer: Offered[] = [];
  #offerBytes = 0;
  /** In the order in which they were sent, which is that of the answers. */
  readonly #unanswered: Offer[] = [];
  readonly #answered: Offer[] = [];
  /** Files whose content was thought to be in the store and is not; and what of it is wanted, which is offered once only. */
  readonly #again = new Set<SurveyedFile>();
  readonly #owed = new Set<string>();
  #bundle: Blob[] = [];
  #bundleBytes = 0;
  /** Made, and waiting for their turn: the next ones are read and compressed while the last are written at the other end. */
  readonly #outbox: { bundle: Uint8Array[]; bytes: number }[] = [];
  #outboxBytes = 0;
  /** Bytes of blobs that were sent and are not kept yet. */
  #underWay = 0;
  #onKept = Promise.withResolvers<void>();
  readonly #stored = Promise.withResolvers<Head<'stored'>>();

  constructor(
    channel: Channel,
    tree: NodeTree,
    path: string,
    survey: Survey,
    working: { files: number; bytes: number; sentBytes: number },
  ) {
    this.#channel = channel;
    this.#tree = tree;
    this.#path = path;
    this.#survey = survey;
    this.#working = working;
    this.#notes = [...survey.notes];
    this.#stored.promise.catch(() => undefined);
  }

  async run(): Promise<Head<'stored'>> {
    void this.#listen();
    Object.assign(this.#working, { files: 0, bytes: 0 });
    for (const item of this.#survey.items) {
      if (item.type !== 'file') this.#entries.set(item.path, item);
      else if (item.known === undefined) await this.#read(item);
      else await this.#offerKnown(item, item.known);
    }
    await this.#settleOffers();
    while (this.#again.size > 0) {
      const files = [...this.#again];
      this.#again.clear();
      for (const file of files) await this.#read(file);
      await this.#settleOffers();
    }
    await this.#sendManifest();
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

  async #read(file: SurveyedFile): Promise<void> {
    const { entry, note } = await this.#tree.read(this.#path, file, ({ hash, bytes }) =>
      this.#add({ chunk: [hash, bytes.length], bytes, file }),
    );
    if (note !== undefined) this.#notes.push({ path: file.path, note });
    if (file.path === '' && entry === undefined) throw new PathError(`"${this.#path}" ${note ?? 'cannot be read'}`);
    if (entry === undefined) return;
    this.#entries.set(entry.path, entry);
    this.#count(entry.size);
  }

  async #offerKnown(file: SurveyedFile, known: { sha256: string; chunks?: Chunk[] }): Promise<void> {
    const entry = entryOf(file, known);
    this.#entries.set(file.path, entry);
    for (const chunk of chunksOf(entry)) await this.#add({ chunk, bytes: undefined, file });
    this.#count(file.size);
  }

  #count(bytes: number): void {
    this.#working.files++;
    this.#working.bytes += bytes;
  }

  async #add(blob: Offered): Promise<void> {
    if (blob.bytes !== undefined && this.#owed.delete(blob.chunk[0]))
      return this.#put({ hash: blob.chunk[0], bytes: blob.bytes });
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
    for (const [index, { bytes, chunk, file }] of blobs.entries()) {
      if (wanted[index] !== 1) continue;
      if (bytes === undefined) this.#readAgain(file, chunk[0]);
      else await this.#put({ hash: chunk[0], bytes });
    }
  }

  /** What was known of it is forgotten: its entry is made anew when it is read. */
  #readAgain(file: SurveyedFile, hash: string): void {
    this.#owed.add(hash);
    this.#again.add(file);
    this.#entries.delete(file.path);
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
    this.#outbox.push({ bundle: bundleParts(blobs), bytes });
    this.#outboxBytes += bytes;
    this.#sendNext();
    while (this.#outboxBytes > outboxBytesMax) await this.#orBroken(this.#onKept.promise);
  }

  /** Sends what may be under way beside what is. */
  #sendNext(): void {
    for (let next = this.#outbox[0]; next !== undefined; next = this.#outbox[0]) {
      if (this.#underWay > 0 && this.#underWay + next.bytes > chunkBytesMax) return;
      this.#outbox.shift();
      this.#outboxBytes -= next.bytes;
      this.#underWay += next.bytes;
      this.#working.sentBytes += next.bytes;
      this.#channel.send({ kind: 'bundle' }, ...next.bundle).catch(() => undefined);
    }
  }

  async #sendManifest(): Promise<void> {
    const entries = sorted([...this.#entries.values()]);
    for (const { head, body } of pieces('manifest', manifestText(entries))) await this.#channel.send(head, body);
    const notes = this.#notes
      .slice(0, notesMax)
      .map(({ path, note }) => ({ path: path.slice(0, noteLengths.path), note: note.slice(0, noteLengths.note) }));
    const body = packJson({ notes, leftOut: this.#notes.length - notes.length });
    await this.#channel.send({ kind: 'tree', checksum: checksumOf(entries) }, body);
  }
}
