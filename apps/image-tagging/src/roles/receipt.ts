/** An upload on its way into the folder: from its header to a picture that is there whole. */
import { isSameUpload, type Upload } from '../domain/catalog.ts';
import { uploadProblem, type UploadRequest } from '../domain/limits.ts';
import { headBytes, inspect } from '../pictures/inspect.ts';
import { Refusal } from '../refusal.ts';
import type { PartialUpload, PictureStore } from '../store/picture-store.ts';
import type { Incoming } from './incoming.ts';

export interface UploadParts {
  readonly store: PictureStore;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  /** The id of the upload with this key. */
  readonly idOf: (key: string) => string;
  readonly limitBytes: number;
  readonly limitPixels: number;
}

/** So much is stored between two words of progress. */
const progressBytes = 1024 * 1024;
/** So much is taken over from an earlier try between two signs of life. */
const takeOverBytes = 16 * 1024 * 1024;

/** One upload, whose bytes come or were there before. */
export class Receipt {
  readonly #parts: UploadParts;

  constructor(parts: UploadParts) {
    this.#parts = parts;
  }

  /** Says how much is stored, now and then, and gives what is in the folder in the end, whoever put it there. */
  async *take(incoming: Incoming): AsyncGenerator<{ readonly storedBytes: number }, Upload> {
    const { store, limitBytes, idOf } = this.#parts;
    const first = await incoming.next();
    if (first === undefined || !('header' in first)) throw new Refusal('invalid', 'an upload begins with its header');
    const { header } = first;
    const problem = uploadProblem(header, limitBytes);
    if (problem !== undefined) throw new Refusal('invalid', problem);
    const id = idOf(header.key);
    let stored = await store.stored(id);
    if (stored !== undefined) await store.sync(id);
    else {
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
    return stored;
  }

  /** From where it stopped to its end. */
  async *#receive(
    partial: PartialUpload,
    header: UploadRequest,
    incoming: Incoming,
  ): AsyncGenerator<{ readonly storedBytes: number }> {
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
    if (inspection.ok) return inspection;
    if (partial.storedBytes === 0) throw await this.#useless(partial, inspection.reason);
    // The client's bytes may be right: those of an earlier try may have lost their power before they were synced.
    throw await this.#useless(
      partial,
      `what was stored before is no picture: send all of it again. ${inspection.reason}`,
      'damaged',
    );
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
}
