/** One backup, as a requester takes it: checked, for a node may say anything. */
import { release } from '@lab/process/release';
import type { ManifestWriter } from '@lab/store';
import { decodeHeader } from '@lab/store/bundle';
import { isOwn, type Channel } from '../channel/channel.ts';
import { chunksOf, count, ManifestReader, type Chunk, type Totals } from '../domain/manifest.ts';
import { notesSchema, packOffer, TreeChecksum, unpackJson, unpackOffer, unpackPiece, type Head } from '../messages.ts';
import type { BackupStore, Note } from '../versions.ts';
import type { Taking } from './quota.ts';

export interface Progress extends Totals {
  sentBytes: number;
}

export interface ReceivedTree {
  totals: Totals;
  /** What the store grew by. */
  storedBytes: number;
  /** The blobs of its manifest, all in the store as what it needs, and not yet durable. */
  manifest: string[];
  checksum: string;
  notes: Note[];
  /** Content that its files have, as in offers: a million files are held as bytes, not as objects. */
  needs: readonly Buffer[];
}

function* chunksIn(needs: readonly Buffer[]): Generator<Chunk> {
  for (const offer of needs) yield* unpackOffer(offer);
}

export function* hashesIn(needs: readonly Buffer[]): Generator<string> {
  for (const [hash] of chunksIn(needs)) yield hash;
}

/** What a node sends in one backup, checked: blobs that were wanted and hash right, and a manifest of blobs that are there. */
export class Receiving {
  readonly #channel: Channel;
  readonly #store: BackupStore;
  readonly #progress: Progress;
  readonly #taking: Taking;
  readonly #mayBeUnchanged: boolean;
  /** Blobs that were asked for and have not come, and the sizes that the node gave them. */
  readonly #asked = new Map<string, number>();
  readonly #keeping = new Set<Promise<void>>();
  readonly #reader = new ManifestReader();
  readonly #manifest: ManifestWriter;
  readonly #checksum = new TreeChecksum();
  readonly #totals = { files: 0, bytes: 0 };
  readonly #needs: Buffer[] = [];
  #failure: Error | undefined;
  #storedBytes = 0;
  #keepingBytes = 0;

  /** A node that was given no checksum cannot know that nothing has changed. */
  constructor(
    channel: Channel,
    store: BackupStore,
    { progress, taking, mayBeUnchanged }: { progress: Progress; taking: Taking; mayBeUnchanged: boolean },
  ) {
    this.#channel = channel;
    this.#store = store;
    this.#progress = progress;
    this.#taking = taking;
    this.#mayBeUnchanged = mayBeUnchanged;
    this.#manifest = store.writeManifest();
  }

  /** The tree, all of its blobs in the store but not yet durable; `undefined` where it is the newest version's. */
  async run(): Promise<ReceivedTree | undefined> {
    for (;;) {
      const { head, body } = await this.#channel.expect('working', 'unchanged', 'offer', 'bundle', 'manifest', 'tree');
      if (this.#failure !== undefined) throw this.#failure;
      if (head.kind === 'unchanged') {
        if (!this.#mayBeUnchanged) throw new Error('the node says that nothing has changed, and was not told since when');
        Object.assign(this.#progress, { files: head.files, bytes: head.bytes });
        return undefined;
      }
      if (head.kind === 'working') Object.assign(this.#progress, { files: head.files, bytes: head.bytes });
      else if (head.kind === 'offer') await this.#answer(body);
      else if (head.kind === 'bundle') await this.#keep(body);
      else if (head.kind === 'manifest') await this.#list(unpackPiece(body));
      else return this.#finish(body, head);
    }
  }

  async #answer(body: Buffer): Promise<void> {
    const offered = unpackOffer(body);
    const wanted = Buffer.alloc(offered.length);
    offered.forEach(([hash, size], index) => {
      if (this.#asked.has(hash) || !this.#store.lacks(hash)) return;
      this.#asked.set(hash, size);
      wanted[index] = 1;
    });
    await this.#channel.send({ kind: 'want' }, wanted);
  }

  /** The store checks each blob against its hash. That it has is not waited for: the node has few bundles under way. */
  async #keep(bundle: Buffer): Promise<void> {
    const { blobs } = decodeHeader(bundle);
    for (const blob of blobs) {
      if (this.#asked.get(blob.hash) !== blob.bytes)
        throw new Error('the node sent a blob that nobody asked for, or one of another size than it had said');
      this.#asked.delete(blob.hash);
    }
    await this.#taking.fits(this.#keepingBytes + bundle.length);
    this.#keepingBytes += bundle.length;
    const bytes = blobs.reduce((sum, blob) => sum + blob.bytes, 0);
    this.#progress.sentBytes += bytes;
    const keeping = this.#store.keep(bundle).then(async (storedBytes) => {
      this.#storedBytes += storedBytes;
      this.#keepingBytes -= bundle.length;
      if (isOwn(bundle)) release(bundle);
      this.#taking.stored(storedBytes, blobs.at(-1)!.hash);
      await this.#channel.send({ kind: 'kept', bytes });
    });
    this.#keeping.add(keeping);
    keeping.then(
      () => this.#keeping.delete(keeping),
      (error: Error) => {
        this.#failure ??= error;
        this.#channel.destroy(error);
      },
    );
  }

  async #list(bytes: Uint8Array): Promise<void> {
    const chunks: Chunk[] = [];
    for (const entry of this.#reader.push(bytes)) {
      this.#checksum.add(entry);
      count(this.#totals, entry);
      if (entry.type === 'file') chunks.push(...chunksOf(entry));
    }
    this.#needs.push(packOffer(chunks));
    await this.#manifest.write(bytes);
    release(bytes);
  }

  async #finish(body: Buffer, { checksum }: Head<'tree'>): Promise<ReceivedTree> {
    const { notes, leftOut } = notesSchema.parse(unpackJson(body));
    await Promise.all(this.#keeping);
    this.#reader.end();
    if (this.#checksum.digest() !== checksum) throw new Error("the node's manifest is not that of its checksum");
    for (const [hash, size] of chunksIn(this.#needs)) {
      const stored = this.#store.sizeOf(hash);
      if (stored === undefined) throw new Error(`the node's manifest names a blob that it has not sent: ${hash}`);
      if (stored !== size) throw new Error(`the node's manifest gives blob ${hash} another size than it has: ${size}`);
    }
    const { hashes: manifest, storedBytes } = await this.#manifest.end();
    if (storedBytes > 0) this.#taking.stored(storedBytes, manifest.at(-1)!);
    const more = leftOut > 0 ? [{ path: '', note: `and ${leftOut} notes more` }] : [];
    return {
      totals: this.#totals,
      storedBytes: this.#storedBytes + storedBytes,
      manifest,
      checksum,
      notes: [...notes, ...more],
      needs: this.#needs,
    };
  }
}
