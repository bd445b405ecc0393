/** The roles as gRPC has them: calls in, answers out. What a role yields is written when the client has taken what was written before. */
import { once } from 'node:events';
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
import type { DownloadAnswer, ServerRole, UploadAnswer, UploadPart } from '../roles/server.ts';
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
      return { images: pictures.map(imageOf), nextPage: more ? (pictures.at(-1)?.id ?? '') : '' };
    }),
  };
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
        if (!call.write(each)) await once(call, 'drain', { signal: given.signal });
      }
      call.end();
    } catch (error) {
      if (!given.signal.aborted) call.emit('error', errorOf(error, log));
    }
  };
  void run();
}

async function* uploadAnswers(server: ServerRole, call: AsyncIterable<UploadRequest>): AsyncGenerator<UploadResponse> {
  for await (const each of server.upload(uploadParts(call))) yield uploadResponse(each);
}

function uploadResponse(each: UploadAnswer): UploadResponse {
  if ('storedBytes' in each) return { part: { $case: 'storedBytes', value: each.storedBytes } };
  return { part: { $case: 'result', value: each } };
}

async function* uploadParts(call: AsyncIterable<UploadRequest>): AsyncGenerator<UploadPart> {
  for await (const { part } of call) {
    if (part?.$case === 'chunk') yield { chunk: part.value };
    else if (part?.$case === 'header') {
      const { sizeBytes, sha256, ...rest } = part.value;
      yield { header: { ...rest, bytes: sizeBytes, sha256: Buffer.from(sha256).toString('hex') } };
    } else throw new Refusal('invalid', 'a part of the upload is neither a header nor a chunk');
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
