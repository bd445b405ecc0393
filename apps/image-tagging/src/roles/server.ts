/**
 * Takes pictures and gives them back. An upload is answered when it is stored, in the group's order, and its job is safe with the broker: whatever dies then, nothing is lost, and
 * whatever died before, the client tries again with the same key.
 */
import { UnroutableError, type Broker } from '@lab/middleware';
import type { Role } from '@lab/process';
import { isSameUpload, type CatalogEvent, type Picture, type Upload } from '../domain/catalog.ts';
import { idProblem, uploadProblem, type UploadRequest } from '../domain/limits.ts';
import { encodeJob } from '../messages.ts';
import { headBytes, inspect } from '../pictures/inspect.ts';
import { Refusal } from '../refusal.ts';
import type { PartialUpload } from '../store/picture-store.ts';
import type { Names } from '../topology.ts';
import { Incoming, type UploadPart } from './incoming.ts';
import { Leader, type LeaderParts } from './leader.ts';

export interface ServerParts extends Omit<LeaderParts, 'publishJob'> {
  readonly broker: Broker;
  readonly names: Pick<Names, 'exchange' | 'routingKey'>;
  /** HOST:PORT at which clients find this server. */
  readonly address: string;
  /** The id of the upload with this key. */
  readonly idOf: (key: string) => string;
  readonly limitBytes: number;
  readonly limitPixels: number;
}

export type UploadAnswer = { readonly storedBytes: number } | { readonly id: string; readonly known: boolean };
export type DownloadAnswer = { readonly header: DownloadHeader } | { readonly chunk: Buffer };
export interface DownloadHeader {
  readonly picture: Picture;
  readonly tagged: boolean;
  readonly bytes: number;
  readonly sha256: string;
}

/** For the broker to take a job. */
const publishMs = 30_000;
/** Between two tries to tell a group that does not answer. */
const againMs = 1_000;
/** So much is stored between two words of progress. */
const progressBytes = 1024 * 1024;
/** So much is taken over from an earlier try between two signs of life. */
const takeOverBytes = 16 * 1024 * 1024;

export class ServerRole implements Role {
  readonly #parts: ServerParts;
  readonly #leader: Leader;
  #self: string | undefined;
  #active = 0;
  #told: number | undefined;
  #telling = false;
  #stopped = false;
  #stopListening = (): void => {};

  constructor(parts: ServerParts) {
    this.#parts = parts;
    this.#leader = new Leader({ ...parts, publishJob: (id, keywords) => this.#publishJob(id, keywords) });
  }

  async start(): Promise<void> {
    const { members } = this.#parts;
    this.#stopListening = members.onChange(() => this.#onChange());
    this.#leader.start();
    await members.start();
    this.#onChange();
  }

  get failed(): Promise<never> {
    return this.#parts.members.failed;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stopListening();
    const leading = this.#leader.stop();
    await this.#parts.members.stop();
    await leading;
  }

  #onChange(): void {
    const { members } = this.#parts;
    this.#leader.changed(
      members.leads,
      members.catalog.servers().map(({ id }) => id),
    );
    const self = members.view?.self;
    if (self === undefined || self === this.#self) return;
    this.#self = self;
    this.#told = undefined;
    void this.#tellUntilTold({ type: 'server-started', address: this.#parts.address }).then(() => this.#tellClients());
  }

  /** A group that is silent for long is told when it speaks again. */
  async #tellUntilTold(event: CatalogEvent): Promise<void> {
    const { members, clock, log } = this.#parts;
    while (!this.#stopped) {
      try {
        return void (await members.tell(event));
      } catch (error) {
        if (this.#stopped) return;
        log.warn({ err: error, event: event.type }, 'the group does not answer, telling it again');
        await new Promise<void>((resolve) => void clock.after(againMs, resolve));
      }
    }
  }

  /** Tells the group how many clients are being served, once more whenever that has changed meanwhile. */
  #tellClients(): void {
    if (this.#telling || this.#told === this.#active || this.#self === undefined || this.#stopped) return;
    const count = this.#active;
    this.#told = count;
    this.#telling = true;
    void this.#tellUntilTold({ type: 'clients-counted', count }).then(() => {
      this.#telling = false;
      this.#tellClients();
    });
  }

  #count(change: 1 | -1): void {
    this.#active += change;
    this.#tellClients();
  }

  async *upload(parts: AsyncIterable<UploadPart>): AsyncGenerator<UploadAnswer> {
    this.#count(1);
    const incoming = new Incoming(parts, this.#parts.clock);
    try {
      yield* this.#upload(incoming);
    } finally {
      incoming.stop();
      this.#count(-1);
    }
  }

  async *#upload(incoming: Incoming): AsyncGenerator<UploadAnswer> {
    const { store, limitBytes, idOf } = this.#parts;
    const first = await incoming.next();
    if (first === undefined || !('header' in first)) throw new Refusal('invalid', 'an upload begins with its header');
    const { header } = first;
    const problem = uploadProblem(header, limitBytes);
    if (problem !== undefined) throw new Refusal('invalid', problem);
    const id = idOf(header.key);
    let stored = await store.stored(id);
    if (stored === undefined) {
      const partial = await store.resume(id, header);
      try {
        yield* this.#receive(partial, header, incoming);
        await this.#commit(partial, header, id);
      } finally {
        await partial.close();
      }
      stored = await store.stored(id);
    }
    // What is in the folder counts, whoever put it there.
    if (stored === undefined) throw new Refusal('unavailable', 'another try of this upload has gone on from here: try again');
    if (!isSameUpload(stored, header))
      throw new Refusal('exists', `the key belongs to another upload, ${id}: choose another key`);
    yield { id, known: (await this.#register(stored)) === 'known' };
  }

  /** From where it stopped to its end. */
  async *#receive(partial: PartialUpload, header: UploadRequest, incoming: Incoming): AsyncGenerator<UploadAnswer> {
    const { bytes } = header;
    const { storedBytes } = partial;
    yield { storedBytes };
    // Said again now and then, so that the client knows that something is going on.
    let saidAt = 0;
    for await (const taken of partial.takeOver()) {
      if (taken - saidAt < takeOverBytes) continue;
      saidAt = taken;
      yield { storedBytes };
    }
    const wanted = Math.min(bytes, headBytes);
    let inspected = false;
    let toldBytes = storedBytes;
    while (partial.bytes < bytes) {
      const part = await incoming.next();
      if (part === undefined)
        throw new Refusal('invalid', `the upload ended after ${partial.bytes} of ${bytes} bytes: go on from there`);
      if (!('chunk' in part)) throw new Refusal('invalid', 'an upload has one header');
      if (partial.bytes + part.chunk.length > bytes)
        throw await this.#useless(partial, `more came than the ${bytes} bytes that were announced`);
      await partial.append(part.chunk);
      if (!inspected && partial.bytes >= wanted) {
        await this.#inspect(partial, header);
        inspected = true;
      }
      if (partial.bytes - toldBytes < progressBytes) continue;
      toldBytes = partial.bytes;
      yield { storedBytes: toldBytes };
    }
  }

  /** What stops an upload that can never become a picture: nothing of it stays. */
  async #useless(partial: PartialUpload, reason: string, kind: 'invalid' | 'damaged' = 'invalid'): Promise<Refusal> {
    await partial.erase();
    return new Refusal(kind, reason);
  }

  async #inspect(partial: PartialUpload, { bytes }: UploadRequest) {
    const inspection = inspect(await partial.head(headBytes), bytes, this.#parts.limitPixels);
    if (!inspection.ok) throw await this.#useless(partial, inspection.reason);
    return inspection;
  }

  async #commit(partial: PartialUpload, header: UploadRequest, id: string): Promise<void> {
    const { format, size } = await this.#inspect(partial, header);
    const sha256 = await partial.digest();
    if (sha256 !== header.sha256) {
      throw await this.#useless(
        partial,
        `the bytes that came have SHA-256 ${sha256}, not ${header.sha256}: send them again`,
        'damaged',
      );
    }
    const { fileName, bytes, keywords } = header;
    const { mediaType } = format;
    const { width, height } = size ?? { width: 0, height: 0 };
    await partial.commit({ id, fileName, bytes, sha256, keywords, mediaType, width, height, uploadedMs: this.#parts.nowMs() });
  }

  /** Tells the group and, where it is not tagged yet, a worker: even if an earlier try has told both, for it may have died before. */
  async #register(upload: Upload): Promise<'new' | 'known'> {
    const { members } = this.#parts;
    const outcome = await members.tell({ type: 'picture-uploaded', upload });
    if (outcome !== 'new' && outcome !== 'known')
      throw new Refusal('exists', `the key belongs to another upload, ${upload.id}: choose another key`);
    if (members.catalog.picture(upload.id)?.state === 'pending') await this.#publishJob(upload.id, upload.keywords);
    return outcome;
  }

  async #publishJob(id: string, keywords: readonly string[]): Promise<void> {
    const { broker, names, clock } = this.#parts;
    const { exchange, routingKey } = names;
    const late = Promise.withResolvers<never>();
    const cancel = clock.after(publishMs, () =>
      late.reject(new Refusal('unavailable', `RabbitMQ did not take the job within ${publishMs / 1000} s`)),
    );
    try {
      const body = encodeJob({ id, keywords: [...keywords] });
      await Promise.race([broker.publish({ exchange, routingKey, body }), late.promise]);
    } catch (error) {
      if (!(error instanceof UnroutableError)) throw error;
      throw new Refusal(
        'unavailable',
        `exchange "${exchange}" leads nowhere with routing key "${routingKey}": run the configurator`,
        { cause: error },
      );
    } finally {
      cancel();
    }
  }

  async *download(id: string, original: boolean, offset: number): AsyncGenerator<DownloadAnswer> {
    this.#count(1);
    try {
      const { store } = this.#parts;
      const picture = await this.picture(id);
      const file = original ? undefined : picture.tagged;
      const { bytes, sha256 } = file ?? picture;
      if (offset > bytes) throw new Refusal('invalid', `the offset is ${offset}: the file has ${bytes} bytes`);
      yield { header: { picture, tagged: file !== undefined, bytes, sha256 } };
      const path = file === undefined ? store.originalPath(id) : store.taggedPath(id, file.name);
      for await (const chunk of store.read(path, offset)) yield { chunk };
    } finally {
      this.#count(-1);
    }
  }

  /** Refuses what is no id, and what no picture has. Who has just uploaded it at another server finds it here. */
  async picture(id: string): Promise<Picture> {
    const problem = idProblem(id);
    if (problem !== undefined) throw new Refusal('invalid', problem);
    const { members } = this.#parts;
    const known = members.catalog.picture(id);
    if (known !== undefined && known.state !== 'pending') return known;
    // Another server may know more by now, and this client may have heard it there.
    await members.tell({ type: 'asked' });
    const picture = members.catalog.picture(id);
    if (picture === undefined) throw new Refusal('not-found', `there is no picture ${id}`);
    return picture;
  }

  /** A page of pictures, and whether there are more after it. */
  async list(
    keywords: readonly string[],
    limit: number,
    after: string | undefined,
  ): Promise<{ pictures: Picture[]; more: boolean }> {
    const { members } = this.#parts;
    await members.tell({ type: 'asked' });
    if (after !== undefined && members.catalog.picture(after) === undefined)
      throw new Refusal('invalid', `there is no page after ${JSON.stringify(after.slice(0, 60))}`);
    return members.catalog.list(keywords, limit, after);
  }
}
