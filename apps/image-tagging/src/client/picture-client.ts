/**
 * A client of the system: asks the registry for a server, and where that one dies or hangs, asks again and goes on where it was. What a server refuses for good is an error at once;
 * everything else is tried until nothing has moved for as long as the client is patient.
 */
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { status, type Client } from '@grpc/grpc-js';
import { retry, systemClock, type Clock } from '@lab/process';
import type {
  FindServerResponse,
  Image,
  ImagesClient,
  ListImagesResponse,
  ListServersResponse,
  RegistryClient,
  Server,
} from '../generated/lab/images/v1/images.ts';
import { ask, imagesAt, isConnected, registryAt } from '../grpc/channels.ts';
import { receive, savedName, Sink } from './download.ts';
import { codeOf, detailsOf, inWords, isFinal, unavailable } from './outcome.ts';
import { headerOf, sendFile } from './upload.ts';

/** For an answer to a question. */
const unaryMs = 35_000;
/** For the registry, which needs nobody else to answer. */
const registryMs = 5_000;
/** Between two tries, at least. */
const pauseMs = 200;

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
  /** Of the pauses and the patience. Default `systemClock`. */
  readonly clock?: Clock;
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
    const header = await headerOf(file, keywords, key, onProgress);
    let sentBytes = 0;
    let tries = 0;
    const { id, known } = await this.#withServer((server, moved) => {
      tries++;
      const onSent = (bytes: number): void => {
        sentBytes += bytes;
        moved();
      };
      return sendFile(server, file, header, onSent, onProgress);
    });
    return { id, known, sentBytes, bytes: header.sizeBytes, tries };
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
    return this.#withServer((server) => ask<Image>(unaryMs, (...rest) => server.getImage({ id }, ...rest)));
  }

  /** With all of the keywords, or all there are; newest first. */
  async *list(keywords: readonly string[]): AsyncGenerator<Image> {
    let page = '';
    do {
      const request = { keywords: [...keywords], pageSize: 1_000, page };
      const answer = await this.#withServer((server) =>
        ask<ListImagesResponse>(unaryMs, (...rest) => server.listImages(request, ...rest)),
      );
      yield* answer.images;
      page = answer.nextPage;
    } while (page !== '');
  }

  async servers(): Promise<Server[]> {
    const { servers } = await this.#patiently(async () => {
      const registry = await this.#registryClient();
      return ask<ListServersResponse>(registryMs, (...rest) => registry.listServers({}, ...rest));
    });
    return servers;
  }

  /** Runs a call at a server of the registry's choice, again at another where it fails for a reason that may pass. */
  #withServer<T>(run: (server: ImagesClient, moved: () => void) => Promise<T>): Promise<T> {
    return this.#patiently(async (moved) => {
      const registry = await this.#registryClient();
      const request = { avoid: [...this.#avoid] };
      const { address } = await ask<FindServerResponse>(registryMs, (...rest) => registry.findServer(request, ...rest));
      try {
        return await run(await this.#serverAt(address), moved);
      } catch (error) {
        // The registry gives it again where there is no other.
        if (!isFinal(error)) this.#avoid.add(address);
        throw error;
      }
    });
  }

  /** Again and again, until nothing has moved for too long; bytes that come damaged a third time are not waited for. */
  async #patiently<T>(run: (moved: () => void) => Promise<T>): Promise<T> {
    const { patienceMs, onRetry = () => {}, clock = systemClock } = this.#options;
    let movedMs = clock.nowMs();
    let damaged = 0;
    let impatient = '';
    const worthwhile = (error: unknown): boolean => {
      if (isFinal(error) || (codeOf(error) === status.DATA_LOSS && ++damaged > 2)) return false;
      const stillMs = clock.nowMs() - movedMs;
      // Whoever was dead may be back.
      if (stillMs > 10 * pauseMs) this.#avoid.clear();
      if (stillMs > patienceMs) impatient = `nothing has moved for ${patienceMs / 1000} s; `;
      return impatient === '';
    };
    try {
      return await retry(() => run(() => (movedMs = clock.nowMs())), {
        ...{ clock, withinMs: Infinity, pauseMs: 2 * pauseMs, worthwhile },
        onRetry: (error) => onRetry(detailsOf(error)),
      });
    } catch (error) {
      throw inWords(error, impatient);
    }
  }

  async #serverAt(address: string): Promise<ImagesClient> {
    const server = this.#servers.get(address) ?? imagesAt(address);
    this.#servers.set(address, server);
    return connected(server, address, () => this.#servers.delete(address));
  }

  #registryClient(): Promise<RegistryClient> {
    const { registry } = this.#options;
    this.#registry ??= registryAt(registry);
    return connected(this.#registry, registry, () => (this.#registry = undefined));
  }
}

/** Waits for the connection, and throws the client away where none comes. */
async function connected<T extends Client>(client: T, address: string, forget: () => void): Promise<T> {
  if (await isConnected(client)) return client;
  client.close();
  forget();
  throw unavailable(`${address} takes no connection`);
}
