/** A download, as its client writes it. */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import type { DownloadHeader, DownloadResponse, Image, ImagesClient } from '../generated/lab/images/v1/images.ts';
import { deadline } from '../grpc/channels.ts';
import { extensionOf } from '../pictures/inspect.ts';
import { damaged, unavailable } from './outcome.ts';
import type { Progress } from './picture-client.ts';
import { Stall } from './stall.ts';

/** The file that a download makes, over all tries. */
export class Sink {
  readonly #handle: FileHandle;
  #hash = createHash('sha256');
  bytes = 0;
  /** Of the file that these are bytes of. */
  sha256: string | undefined;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async write(chunk: Buffer): Promise<void> {
    this.#hash.update(chunk);
    await this.#handle.write(chunk, 0, chunk.length, this.bytes);
    this.bytes += chunk.length;
  }

  /** Forgets all of it. */
  async reset(): Promise<void> {
    await this.#handle.truncate(0);
    this.#hash = createHash('sha256');
    this.bytes = 0;
    this.sha256 = undefined;
  }

  digest(): string {
    return this.#hash.copy().digest('hex');
  }
}

/** One try of a download: goes on behind what is there, if it is of the same file. */
export async function receive(
  server: ImagesClient,
  { id, original }: { id: string; original: boolean },
  sink: Sink,
  moved: () => void,
  onProgress: Progress,
): Promise<DownloadHeader> {
  const call = server.download({ id, original, offset: sink.bytes }, deadline(24 * 3_600_000));
  const stall = new Stall(call);
  let header: DownloadHeader | undefined;
  try {
    for await (const { part } of call as AsyncIterable<DownloadResponse>) {
      stall.moved();
      if (part?.$case === 'header') {
        header = part.value;
        const sha256 = header.sha256.toString('hex');
        // Tagged meanwhile: another file.
        if (sink.bytes > 0 && sink.sha256 !== sha256) {
          await sink.reset();
          throw unavailable('the picture was tagged meanwhile: beginning anew');
        }
        sink.sha256 = sha256;
      } else if (part !== undefined && header !== undefined) {
        await sink.write(part.value);
        moved();
        onProgress(sink.bytes, header.sizeBytes);
      }
    }
  } finally {
    stall.stop();
    call.on('error', () => {});
    call.cancel();
  }
  if (header === undefined || sink.bytes < header.sizeBytes) throw unavailable('the download ended early');
  if (sink.digest() === sink.sha256 && sink.bytes === header.sizeBytes) return header;
  await sink.reset();
  throw damaged('what came is not what the server announced: its SHA-256 differs');
}

/** The name that it had, made harmless, with its id, for two pictures may have one name. */
export function savedName(image: Image, { tagged, mediaType }: DownloadHeader): string {
  const stem = basename(image.fileName, extname(image.fileName))
    .replaceAll(/[^\p{L}\p{N} _.()-]/gu, '_')
    .replace(/^\.+/, '');
  return `${cut(stem) || 'picture'}-${image.id}${tagged ? '' : '-original'}.${extensionOf(mediaType)}`;
}

/** A name has 255 bytes at most in a file system; a character that does not fit is left out. */
const cut = (stem: string): string => new TextDecoder().decode(Buffer.from(stem).subarray(0, 200)).replace(/\ufffd$/, '');
