/** An upload, as its client sends it. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { ClientDuplexStream } from '@grpc/grpc-js';
import { ExitError, exitCodes } from '@lab/process';
import type {
  ImagesClient,
  UploadHeader,
  UploadRequest,
  UploadResponse,
  UploadResult,
} from '../generated/lab/images/v1/images.ts';
import { deadline } from '../grpc/channels.ts';
import type { Progress } from './picture-client.ts';
import { Stall } from './stall.ts';

/** Bytes of one chunk. */
export const chunkBytes = 256 * 1024;
/** Bytes sent and not stored yet: what a cut costs. More than a server stores between two words of progress. */
const aheadBytes = 3 * 1024 * 1024;
/** Behind the last byte stand the disk, the group and the broker. */
const resultMs = 65_000;
/** A stream's deadline: so much, and what the slowest line would take. */
const streamBaseMs = 120_000;
const slowestBytesPerMs = 50;

/** What is to be uploaded, under a key that is the same for the same upload: a command that was interrupted goes on when it is typed again. */
export async function headerOf(
  file: string,
  keywords: readonly string[],
  key: string | undefined,
  onProgress: Progress,
): Promise<UploadHeader> {
  const { size, sha256 } = await hashed(file, onProgress);
  const fileName = basename(file);
  const ownKey = createHash('sha256').update(JSON.stringify([sha256.toString('hex'), fileName, keywords]));
  return { key: key ?? ownKey.digest('hex'), fileName, sizeBytes: size, sha256, keywords: [...keywords] };
}

async function hashed(file: string, onProgress: Progress): Promise<{ size: number; sha256: Buffer }> {
  const found = await stat(file);
  if (!found.isFile()) throw new ExitError(`${file} is not a file`, exitCodes.usage);
  const { size } = found;
  const hash = createHash('sha256');
  let done = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) {
    hash.update(chunk as Buffer);
    onProgress((done += (chunk as Buffer).length), size, 'hashing');
  }
  return { size, sha256: hash.digest() };
}

/** One try of an upload: asks how much is stored, sends the rest, waits for the result. */
export async function sendFile(
  server: ImagesClient,
  file: string,
  header: UploadHeader,
  onSent: (bytes: number) => void,
  onProgress: Progress,
): Promise<UploadResult> {
  const call = server.upload(deadline(streamBaseMs + header.sizeBytes / slowestBytesPerMs));
  const stall = new Stall(call);
  const stored = new Stored();
  try {
    return await new Promise<UploadResult>((resolve, reject) => {
      call.on('error', (error: Error) => {
        stored.end();
        reject(error);
      });
      call.on('end', () => {
        stored.end();
        reject(new ExitError('the server ended the call without a result', exitCodes.unavailable));
      });
      call.on('data', ({ part }: UploadResponse) => {
        stall.moved();
        if (part?.$case === 'result') return resolve(part.value);
        const begins = stored.bytes === undefined;
        stored.to(part?.value ?? 0);
        onProgress(stored.bytes ?? 0, header.sizeBytes);
        if (begins)
          sendFrom(call, file, stored, (sent) => (stall.moved(), onSent(sent))).then(() => stall.moved(resultMs), reject);
      });
      call.write({ part: { $case: 'header', value: header } });
    });
  } finally {
    stall.stop();
    stored.end();
    call.on('error', () => {});
    call.cancel();
  }
}

/** How much the server has said to have, and somebody who waits for it. */
class Stored {
  bytes: number | undefined;
  ended = false;
  #wake = (): void => {};

  to(bytes: number): void {
    this.bytes = bytes;
    this.#wake();
  }

  end(): void {
    this.ended = true;
    this.#wake();
  }

  /** Resolves when at least so many are stored, or nothing more will be. */
  async reaches(bytes: number): Promise<void> {
    while (!this.ended && (this.bytes ?? 0) < bytes) await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}

/** Never further ahead of what is stored than what may have to be sent again. */
async function sendFrom(
  call: ClientDuplexStream<UploadRequest, UploadResponse>,
  file: string,
  stored: Stored,
  onSent: (bytes: number) => void,
): Promise<void> {
  let sent = stored.bytes ?? 0;
  for await (const chunk of createReadStream(file, { start: sent, highWaterMark: chunkBytes })) {
    const value = chunk as Buffer;
    sent += value.length;
    await stored.reaches(sent - aheadBytes);
    if (stored.ended) return;
    call.write({ part: { $case: 'chunk', value } });
    onSent(value.length);
  }
  call.end();
}
