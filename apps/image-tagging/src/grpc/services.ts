/** The roles as gRPC has them: calls in, answers out. What a role yields is written when the client has taken what was written before. */
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import type { sendUnaryData, ServerDuplexStream, ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js';
import type { Logger } from '@lab/process';
import type { Picture } from '../domain/catalog.ts';
import {
  ImageState,
  type DownloadRequest,
  type DownloadResponse,
  type Image,
  type ImagesServer,
  type RegistryServer,
  type UploadRequest,
  type UploadResponse,
} from '../generated/lab/images/v1/images.ts';
import { Refusal } from '../refusal.ts';
import type { RegistryRole } from '../roles/registry.ts';
import type { UploadPart } from '../roles/incoming.ts';
import type { DownloadAnswer, ServerRole, UploadAnswer } from '../roles/server.ts';
import { errorOf } from './serve.ts';

export function registryImplementation(registry: RegistryRole, log: Logger): RegistryServer {
  return {
    findServer: unary(log, ({ avoid }) => ({ address: registry.findServer(avoid) })),
    listServers: unary(log, () => ({
      servers: registry
        .listServers()
        .map(({ server: { name, address = '', activeClients }, leader }) => ({ name, address, activeClients, leader })),
    })),
  };
}

const pageSizeDefault = 100;
const pageSizeMax = 1_000;
/** gRPC's clients take 4 MiB. */
const pageBytesMax = 1024 * 1024;
/** Of an image without its texts. */
const imageBytes = 200;
/** A client that takes nothing for so long is given up. */
const idleMs = 60_000;

export function imagesImplementation(server: ServerRole, log: Logger): ImagesServer {
  return {
    upload: (call: ServerDuplexStream<UploadRequest, UploadResponse>) => answer(call, uploadAnswers(server, call), log),
    download: (call: ServerWritableStream<DownloadRequest, DownloadResponse>) =>
      answer(call, downloadAnswers(server, call.request), log),
    getImage: unary(log, async ({ id }) => imageOf(await server.picture(id))),
    listImages: unary(log, async ({ keywords, pageSize, page }) => {
      if (pageSize > pageSizeMax) throw new Refusal('invalid', `page_size is ${pageSize}: ${pageSizeMax} is the most`);
      const { pictures, more } = await server.list(
        keywords,
        pageSize === 0 ? pageSizeDefault : pageSize,
        page === '' ? undefined : page,
      );
      const fitting = pictures.slice(0, fittingCount(pictures));
      return {
        images: fitting.map(imageOf),
        nextPage: more || fitting.length < pictures.length ? (fitting.at(-1)?.id ?? '') : '',
      };
    }),
  };
}

/** How many of them fit into a page, one at least. */
function fittingCount(pictures: readonly Picture[]): number {
  let bytes = 0;
  const tooMany = pictures.findIndex(({ fileName, keywords, reason = '' }) => {
    // A character has 3 bytes at most, or 4 for two.
    bytes += imageBytes + 3 * (fileName.length + reason.length + keywords.join().length);
    return bytes > pageBytesMax;
  });
  return tooMany < 0 ? pictures.length : Math.max(1, tooMany);
}

function unary<Request, Response>(log: Logger, run: (request: Request) => Response | Promise<Response>) {
  return (call: ServerUnaryCall<Request, Response>, done: sendUnaryData<Response>): void => {
    Promise.resolve()
      .then(() => run(call.request))
      .then(
        (response) => done(null, response),
        (error: unknown) => done(errorOf(error, log)),
      );
  };
}

type Answering<Response> = {
  write(response: Response): boolean;
  end(): void;
  destroy(error?: Error): unknown;
  readonly cancelled: boolean;
} & NodeJS.EventEmitter;

/** Writes the answers one after the other. A call that its client has given up is destroyed, so that whoever waits for it goes on. */
function answer<Response>(call: Answering<Response>, answers: AsyncGenerator<Response>, log: Logger): void {
  const given = new AbortController();
  call.on('cancelled', () => {
    given.abort();
    call.destroy();
  });
  call.on('error', () => given.abort());
  const run = async (): Promise<void> => {
    try {
      for await (const each of answers) {
        if (given.signal.aborted) return;
        if (!call.write(each)) await drained(call, given.signal);
      }
      call.end();
    } catch (error) {
      if (!given.signal.aborted) call.emit('error', errorOf(error, log));
    }
  };
  void run();
}

async function drained(call: NodeJS.EventEmitter, signal: AbortSignal): Promise<void> {
  const late = AbortSignal.timeout(idleMs);
  try {
    await once(call, 'drain', { signal: AbortSignal.any([signal, late]) });
  } catch (error) {
    throw late.aborted ? new Refusal('too-slow', `the client took nothing for ${idleMs / 1000} s`) : error;
  }
}

async function* uploadAnswers(server: ServerRole, call: Readable): AsyncGenerator<UploadResponse> {
  for await (const each of server.upload(uploadParts(call))) yield uploadResponse(each);
}

function uploadResponse(each: UploadAnswer): UploadResponse {
  if ('storedBytes' in each) return { part: { $case: 'storedBytes', value: each.storedBytes } };
  return { part: { $case: 'result', value: each } };
}

async function* uploadParts(call: Readable): AsyncGenerator<UploadPart> {
  // Otherwise a refusal from here would destroy the call before it could be told.
  for await (const { part } of call.iterator({ destroyOnReturn: false }) as AsyncIterable<UploadRequest>) {
    if (part?.$case === 'chunk') yield { chunk: part.value };
    else if (part?.$case === 'header') {
      const { sizeBytes, sha256, ...rest } = part.value;
      yield { header: { ...rest, bytes: sizeBytes, sha256: Buffer.from(sha256).toString('hex') } };
    } else throw new Refusal('invalid', 'a part of the upload is neither a header nor a chunk, or has a number beyond 2^53');
  }
}

async function* downloadAnswers(server: ServerRole, { id, original, offset }: DownloadRequest): AsyncGenerator<DownloadResponse> {
  for await (const each of server.download(id, original, offset)) yield downloadResponse(each);
}

function downloadResponse(each: DownloadAnswer): DownloadResponse {
  if ('chunk' in each) return { part: { $case: 'chunk', value: each.chunk } };
  const { picture, tagged, bytes, sha256 } = each.header;
  const { mediaType } = picture;
  const value = { image: imageOf(picture), tagged, sizeBytes: bytes, sha256: Buffer.from(sha256, 'hex'), mediaType };
  return { part: { $case: 'header', value } };
}

const states = { pending: ImageState.PENDING, tagged: ImageState.TAGGED, failed: ImageState.FAILED };

function imageOf({
  id,
  fileName,
  bytes,
  sha256,
  keywords,
  state,
  reason = '',
  uploadedMs,
  width,
  height,
  tagged,
}: Picture): Image {
  return {
    ...{
      id,
      fileName,
      sizeBytes: bytes,
      sha256: Buffer.from(sha256, 'hex'),
      keywords: [...keywords],
      state: states[state],
      reason,
    },
    ...{ uploadedMs, width, height },
    taggedBytes: tagged?.bytes ?? 0,
    taggedSha256: Buffer.from(tagged?.sha256 ?? '', 'hex'),
  };
}
