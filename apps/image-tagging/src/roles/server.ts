/**
 * Takes pictures and gives them back. An upload is answered when it is stored, in the group's order, and its job is safe with the broker: whatever dies then, nothing is lost, and
 * whatever died before, the client tries again with the same key.
 */
import { UnavailableError, UnroutableError, type Broker } from '@lab/middleware';
import { inTime, type Role } from '@lab/process';
import type { Picture, Upload } from '../domain/catalog.ts';
import { idProblem } from '../domain/limits.ts';
import { encodeJob } from '../messages.ts';
import { Refusal } from '../refusal.ts';
import type { Names } from '../topology.ts';
import { Incoming, type UploadPart } from './incoming.ts';
import { Leader, type LeaderParts } from './leader.ts';
import { Presence, type PresenceParts } from './presence.ts';
import { Receipt, type UploadParts } from './receipt.ts';

export interface ServerParts extends Omit<LeaderParts, 'publishJob'>, PresenceParts, UploadParts {
  readonly broker: Broker;
  readonly names: Pick<Names, 'exchange' | 'routingKey'>;
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
/** After it a job that had nowhere to go is tried again. */
const owedMs = 5_000;

export class ServerRole implements Role {
  readonly #parts: ServerParts;
  readonly #leader: Leader;
  readonly #presence: Presence;
  /** By picture, jobs that the exchange led nowhere: the group knows the pictures, and their clients may not come back. */
  readonly #owed = new Map<string, readonly string[]>();
  #stopListening = (): void => {};
  #stopOwed = (): void => {};

  constructor(parts: ServerParts) {
    this.#parts = parts;
    this.#presence = new Presence(parts);
    this.#leader = new Leader({ ...parts, publishJob: (id, keywords) => this.#publishJob(id, keywords) });
  }

  async start(): Promise<void> {
    const { members } = this.#parts;
    this.#stopListening = members.onChange(() => this.#onChange());
    this.#leader.start();
    this.#watchBroker();
    this.#stopOwed = this.#parts.clock.every(owedMs, () => void this.#publishOwed().catch(() => undefined));
    await members.start();
    this.#onChange();
  }

  /** With its disk, jobs are gone. */
  #watchBroker(): void {
    this.#parts.broker.lost.catch(() => {
      this.#leader.beginAgain();
      this.#watchBroker();
    });
  }

  get failed(): Promise<never> {
    return this.#parts.members.failed;
  }

  async stop(): Promise<void> {
    this.#presence.stop();
    this.#stopOwed();
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
    this.#presence.isIn(members.view?.self);
  }

  async *upload(parts: AsyncIterable<UploadPart>): AsyncGenerator<UploadAnswer> {
    this.#presence.count(1);
    const incoming = new Incoming(parts, this.#parts.clock);
    try {
      const upload = yield* new Receipt(this.#parts).take(incoming);
      yield { id: upload.id, known: (await this.#register(upload)) === 'known' };
    } finally {
      incoming.stop();
      this.#presence.count(-1);
    }
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
    const publishing = broker.publish({ exchange, routingKey, body: encodeJob({ id, keywords: [...keywords] }) });
    const late = (): Refusal => new Refusal('unavailable', `RabbitMQ did not take the job within ${publishMs / 1000} s`);
    try {
      await inTime(clock, publishMs, publishing, late);
      this.#owed.delete(id);
    } catch (error) {
      if (error instanceof UnavailableError) throw new Refusal('unavailable', error.message, { cause: error });
      if (!(error instanceof UnroutableError)) throw error;
      this.#owed.set(id, keywords);
      const what = `exchange "${exchange}" leads nowhere with routing key "${routingKey}": run the configurator`;
      throw new Refusal('unavailable', what, { cause: error });
    }
  }

  /** The first that leads nowhere again ends it. */
  async #publishOwed(): Promise<void> {
    for (const [id, keywords] of this.#owed) await this.#publishJob(id, keywords);
  }

  async *download(id: string, original: boolean, offset: number): AsyncGenerator<DownloadAnswer> {
    this.#presence.count(1);
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
      this.#presence.count(-1);
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
