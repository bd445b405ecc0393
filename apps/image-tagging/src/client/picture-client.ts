/**
 * A client of the system: asks the registry for a server, and where that one dies or hangs, asks again and goes on where it was. What a server refuses for good is an error at once;
 * everything else is tried until nothing has moved for as long as the client is patient.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import {
  credentials,
  connectivityState,
  makeGenericClientConstructor,
  Metadata,
  status,
  type Client,
  type ClientDuplexStream,
  type ServiceError,
} from '@grpc/grpc-js';
import { ExitError, exitCodes } from '@lab/process';
import type {
  DownloadHeader,
  Image,
  ImagesClient,
  RegistryClient,
  Server,
  UploadHeader,
  UploadRequest,
  UploadResponse,
  UploadResult,
} from '../generated/lab/images/v1/images.ts';
import { imagesService, registryService } from '../grpc/definitions.ts';
import { channelOptions } from '../grpc/serve.ts';
import { extensionOf } from '../pictures/inspect.ts';

const ImagesStub = makeGenericClientConstructor(imagesService, 'lab.images.v1.Images') as unknown as {
  new (address: string, creds: ReturnType<typeof credentials.createInsecure>, options: object): ImagesClient;
};
const RegistryStub = makeGenericClientConstructor(registryService, 'lab.images.v1.Registry') as unknown as {
  new (address: string, creds: ReturnType<typeof credentials.createInsecure>, options: object): RegistryClient;
};

/** Bytes of one chunk. */
export const chunkBytes = 256 * 1024;
/** Bytes sent and not stored yet: what a cut costs. More than a server stores between two words of progress. */
const aheadBytes = 3 * 1024 * 1024;
/** For a connection. */
const connectMs = 3_000;
/** For an answer to a question. */
const unaryMs = 35_000;
/** For the registry, which needs nobody else to answer. */
const registryMs = 5_000;
/** A transfer without a byte for so long is begun anew elsewhere. */
const stallMs = 12_000;
/** Behind the last byte stand the disk, the group and the broker. */
const resultMs = 65_000;
/** A stream's deadline: so much, and what the slowest line would take. */
const streamBaseMs = 120_000;
const slowestBytesPerMs = 50;
const pauseMs = 200;

/** What trying again does not change. */
const final = new Set([
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.PERMISSION_DENIED,
  status.UNIMPLEMENTED,
  status.RESOURCE_EXHAUSTED,
  status.INTERNAL,
]);

export interface Progress {
  (doneBytes: number, totalBytes: number, what?: 'hashing'): void;
}

export interface Uploaded {
  readonly id: string;
  /** It was there already. */
  readonly known: boolean;
  /** Over all tries. */
  readonly sentBytes: number;
  readonly bytes: number;
  readonly tries: number;
}

export interface Downloaded {
  readonly path: string;
  readonly image: Image;
  readonly tagged: boolean;
  readonly bytes: number;
  readonly sha256: string;
}

export interface PictureClientOptions {
  /** HOST:PORT of the registry. */
  readonly registry: string;
  /** How long to go on without any progress. */
  readonly patienceMs: number;
  /** Told why something is tried again. */
  readonly onRetry?: (reason: string) => void;
}

export class PictureClient {
  readonly #options: PictureClientOptions;
  #registry: RegistryClient | undefined;
  readonly #servers = new Map<string, ImagesClient>();
  readonly #avoid = new Set<string>();

  constructor(options: PictureClientOptions) {
    this.#options = options;
  }

  close(): void {
    this.#registry?.close();
    for (const server of this.#servers.values()) server.close();
  }

  async upload(file: string, keywords: readonly string[], key?: string, onProgress: Progress = () => {}): Promise<Uploaded> {
    const { size, sha256 } = await hashed(file, onProgress);
    const fileName = basename(file);
    const header: UploadHeader = {
      key: key ?? keyOf(sha256, fileName, keywords),
      ...{ fileName, sizeBytes: size, sha256, keywords: [...keywords] },
    };
    let sentBytes = 0;
    let tries = 0;
    const { id, known } = await this.#withServer(async (server, moved) => {
      tries++;
      return await sendFile(
        server,
        file,
        header,
        (sent) => {
          sentBytes += sent;
          moved();
        },
        onProgress,
      );
    });
    return { id, known, sentBytes, bytes: size, tries };
  }

  async download(id: string, folder: string, original: boolean, onProgress: Progress = () => {}): Promise<Downloaded> {
    await mkdir(folder, { recursive: true });
    const path = join(folder, `.${id.replace(/[^a-z0-9]/gi, '_')}-${process.pid}.part`);
    const handle = await open(path, 'w+');
    try {
      const sink = new Sink(handle);
      const header = await this.#withServer((server, moved) => receive(server, { id, original }, sink, moved, onProgress));
      await handle.sync();
      const target = join(folder, savedName(header.image!, header));
      await rename(path, target);
      return {
        path: target,
        image: header.image!,
        tagged: header.tagged,
        bytes: header.sizeBytes,
        sha256: header.sha256.toString('hex'),
      };
    } finally {
      await handle.close();
      await rm(path, { force: true });
    }
  }

  status(id: string): Promise<Image> {
    return this.#withServer((server) => promised((done) => server.getImage({ id }, new Metadata(), deadline(unaryMs), done)));
  }

  /** With all of the keywords, or all there are; newest first. */
  async *list(keywords: readonly string[]): AsyncGenerator<Image> {
    let page = '';
    do {
      const request = { keywords: [...keywords], pageSize: 1_000, page };
      const answer = await this.#withServer((server) =>
        promised<{ images: Image[]; nextPage: string }>((done) =>
          server.listImages(request, new Metadata(), deadline(unaryMs), done),
        ),
      );
      yield* answer.images;
      page = answer.nextPage;
    } while (page !== '');
  }

  async servers(): Promise<Server[]> {
    const { servers } = await this.#patiently(async () => {
      const registry = await this.#registryClient();
      return promised<{ servers: Server[] }>((done) => registry.listServers({}, new Metadata(), deadline(registryMs), done));
    });
    return servers;
  }

  /** Runs a call at a server of the registry's choice, again at another where it fails for a reason that may pass. */
  #withServer<T>(run: (server: ImagesClient, moved: () => void) => Promise<T>): Promise<T> {
    return this.#patiently(async (moved) => {
      const registry = await this.#registryClient();
      const { address } = await promised<{ address: string }>((done) =>
        registry.findServer({ avoid: [...this.#avoid] }, new Metadata(), deadline(registryMs), done),
      );
      try {
        return await run(await this.#serverAt(address), moved);
      } catch (error) {
        // The registry gives it again where there is no other.
        if (!isFinal(error)) this.#avoid.add(address);
        throw error;
      }
    });
  }

  async #patiently<T>(run: (moved: () => void) => Promise<T>): Promise<T> {
    const { patienceMs, onRetry = () => {} } = this.#options;
    let movedMs = performance.now();
    let damaged = 0;
    for (;;) {
      try {
        return await run(() => (movedMs = performance.now()));
      } catch (error) {
        if (isFinal(error) || (codeOf(error) === status.DATA_LOSS && ++damaged > 2)) throw inWords(error);
        if (performance.now() - movedMs > patienceMs) throw inWords(error, `nothing has moved for ${patienceMs / 1000} s; `);
        onRetry(detailsOf(error));
        await new Promise((resolve) => setTimeout(resolve, pauseMs * (1 + Math.random())));
        // Whoever was dead may be back.
        if (performance.now() - movedMs > 10 * pauseMs) this.#avoid.clear();
      }
    }
  }

  async #serverAt(address: string): Promise<ImagesClient> {
    const server = this.#servers.get(address) ?? new ImagesStub(address, credentials.createInsecure(), clientOptions);
    this.#servers.set(address, server);
    await connected(server, address, () => this.#servers.delete(address));
    return server;
  }

  async #registryClient(): Promise<RegistryClient> {
    const { registry } = this.#options;
    const client = (this.#registry ??= new RegistryStub(registry, credentials.createInsecure(), clientOptions));
    await connected(client, registry, () => (this.#registry = undefined));
    return client;
  }
}

/** Not shared between channels: the next channel to an address would take over one that waits for a machine that is gone. */
const clientOptions = { ...channelOptions, 'grpc.use_local_subchannel_pool': 1 };

/** Waits for the connection, and throws the client away where none comes: a machine that is gone says nothing, and gRPC waits for it as long as the kernel does, two minutes. */
async function connected(client: Client, address: string, forget: () => void): Promise<void> {
  const channel = client.getChannel();
  const deadlineMs = Date.now() + connectMs;
  for (let goesOn = true; goesOn;) {
    const state = channel.getConnectivityState(true);
    if (state === connectivityState.READY) return;
    if (state === connectivityState.TRANSIENT_FAILURE || state === connectivityState.SHUTDOWN) break;
    goesOn = await new Promise((resolve) =>
      channel.watchConnectivityState(state, deadlineMs, (error) => resolve(error === undefined)),
    );
  }
  client.close();
  forget();
  throw unavailable(`${address} takes no connection`);
}

const deadline = (ms: number): { deadline: number } => ({ deadline: Date.now() + ms });

function promised<T>(call: (done: (error: ServiceError | null, value?: T) => void) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, value) => (error === null ? resolve(value!) : reject(error)));
  });
}

const codeOf = (error: unknown): status | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : undefined;
const detailsOf = (error: unknown): string =>
  error instanceof Error && 'details' in error ? String(error.details) : String(error);

/** A server's refusal, or a fault of this machine: a file that is not there, a full disk. */
function isFinal(error: unknown): boolean {
  const code = codeOf(error);
  // A connection that breaks in mid-call comes as INTERNAL too, with words of HTTP/2.
  if (code === status.INTERNAL) return !/RST_STREAM|stream|connection|GOAWAY/i.test(detailsOf(error));
  return code === undefined || final.has(code);
}

function inWords(error: unknown, before = ''): Error {
  const code = codeOf(error);
  // A fault of this machine, or a mistake of this program: as it is.
  if (code === undefined) return error as Error;
  const exitCode = final.has(code) || code === status.DATA_LOSS ? exitCodes.failed : exitCodes.unavailable;
  return new ExitError(`${before}${detailsOf(error)} (${status[code]})`, exitCode, { cause: error });
}

async function hashed(file: string, onProgress: Progress): Promise<{ size: number; sha256: Buffer }> {
  const found = await stat(file);
  if (!found.isFile()) throw new ExitError(`${file} is not a file`);
  const { size } = found;
  const hash = createHash('sha256');
  let done = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) {
    hash.update(chunk as Buffer);
    onProgress((done += (chunk as Buffer).length), size, 'hashing');
  }
  return { size, sha256: hash.digest() };
}

/** The same for the same upload, so that a command that was interrupted goes on when it is typed again. */
function keyOf(sha256: Buffer, fileName: string, keywords: readonly string[]): string {
  return createHash('sha256')
    .update(JSON.stringify([sha256.toString('hex'), fileName, keywords]))
    .digest('hex');
}

/** One try of an upload: asks how much is stored, sends the rest, waits for the result. */
async function sendFile(
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

/** The file that a download makes, over all tries. */
class Sink {
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

  async reset(sha256?: string): Promise<void> {
    await this.#handle.truncate(0);
    this.#hash = createHash('sha256');
    this.bytes = 0;
    this.sha256 = sha256;
  }

  digest(): string {
    return this.#hash.copy().digest('hex');
  }
}

/** One try of a download: goes on behind what is there, if it is of the same file. */
async function receive(
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
    for await (const { part } of call as AsyncIterable<{
      part?: { $case: 'header'; value: DownloadHeader } | { $case: 'chunk'; value: Buffer };
    }>) {
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
  throw Object.assign(new Error(), {
    code: status.DATA_LOSS,
    details: 'what came is not what the server announced: its SHA-256 differs',
  });
}

const unavailable = (details: string): Error => Object.assign(new Error(details), { code: status.UNAVAILABLE, details });

/** Ends a call in which nothing moves for too long, with an error that says so. */
class Stall {
  #movedMs = performance.now();
  #limitMs = stallMs;
  readonly #timer: NodeJS.Timeout;

  constructor(call: { destroy(error: Error): unknown; cancel(): void }) {
    this.#timer = setInterval(() => {
      if (performance.now() - this.#movedMs <= this.#limitMs) return;
      this.stop();
      call.destroy(unavailable(`nothing has moved for ${this.#limitMs / 1000} s`));
      call.cancel();
    }, 500);
    this.#timer.unref();
  }

  moved(limitMs = this.#limitMs): void {
    this.#movedMs = performance.now();
    this.#limitMs = limitMs;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** The name that it had, made harmless, with its id, for two pictures may have one name. */
function savedName(image: Image, { tagged, mediaType }: DownloadHeader): string {
  const stem = basename(image.fileName, extname(image.fileName))
    .replaceAll(/[^\p{L}\p{N} _.()-]/gu, '_')
    .replace(/^\.+/, '');
  return `${cut(stem) || 'picture'}-${image.id}${tagged ? '' : '-original'}.${extensionOf(mediaType)}`;
}

/** A name has 255 bytes at most in a file system; a character that does not fit is left out. */
const cut = (stem: string): string => new TextDecoder().decode(Buffer.from(stem).subarray(0, 200)).replace(/\ufffd$/, '');
