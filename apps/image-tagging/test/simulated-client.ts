/** A client of the simulated system, as `PictureClient` is one of the real: it asks the registry for a server, and where that one fails, asks again and goes on where it was. */
import { sleep } from '@lab/process';
import type { Life } from '@lab/simulation';
import { isFinal, unavailable } from '../src/client/outcome.ts';
import type { UploadRequest } from '../src/domain/limits.ts';
import type { UploadPart } from '../src/roles/incoming.ts';
import type { RegistryRole } from '../src/roles/registry.ts';
import type { DownloadAnswer, ServerRole, UploadAnswer } from '../src/roles/server.ts';
import type { SimulatedCalls } from './simulated-calls.ts';

/** Where the registry is. */
export const registryAddress = 'registry';
/** Between two tries. */
const pauseMs = 300;
/** Whom a client could not reach it does not avoid for longer. */
const avoidMs = 2_000;

/** What a client wants to have stored. */
export interface Wish {
  readonly header: UploadRequest;
  readonly bytes: Buffer;
  /** After one try. */
  readonly givesUp: boolean;
}

/** Those who serve, as clients reach them. */
export interface Network {
  readonly registries: SimulatedCalls<RegistryRole>;
  readonly servers: SimulatedCalls<ServerRole>;
}

export class SimulatedClient {
  readonly #life: Life;
  readonly #network: Network;
  readonly #chunkBytes: number;
  readonly #avoided = new Map<string, number>();

  constructor(life: Life, network: Network, chunkBytes: number) {
    this.#life = life;
    this.#network = network;
    this.#chunkBytes = chunkBytes;
  }

  /** Until it works; rejects with what trying again does not change. */
  async patiently<T>(run: (address: string) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await this.once(run);
      } catch (error) {
        if (isFinal(error)) throw error;
        await sleep(this.#life.clock, pauseMs);
      }
    }
  }

  /** At a server of the registry's choice. */
  async once<T>(run: (address: string) => Promise<T>): Promise<T> {
    const { clock } = this.#life;
    for (const [address, atMs] of this.#avoided) if (clock.nowMs() - atMs > avoidMs) this.#avoided.delete(address);
    const avoid = [...this.#avoided.keys()];
    const address = await this.#network.registries.ask(this.#life, registryAddress, 'which server?', (registry) =>
      registry.findServer(avoid),
    );
    try {
      return await run(address);
    } catch (error) {
      this.#avoided.set(address, clock.nowMs());
      throw error;
    }
  }

  /** One try of an upload: asks how much is stored, sends the rest, waits for the id. `onAnswered` is told when the server has answered, whether this client hears of it or not. */
  upload(address: string, { header, bytes }: Wish, onAnswered: () => void): Promise<string> {
    const serve = (server: ServerRole, parts: AsyncIterable<UploadPart>): AsyncIterable<UploadAnswer> => server.upload(parts);
    const onAnswer = (answer: UploadAnswer): void => {
      if ('id' in answer) onAnswered();
    };
    const about = { address, text: `upload ${header.fileName}`, onAnswer };
    return this.#network.servers.stream(this.#life, about, serve, async (call) => {
      await call.send({ header }, 'header');
      let begun = false;
      for await (const answer of call.answers) {
        if ('id' in answer) return answer.id;
        if (begun) continue;
        begun = true;
        void this.#sendFrom(answer.storedBytes, bytes, call).catch(() => undefined);
      }
      throw unavailable('the server ended the call without a result');
    });
  }

  async #sendFrom(
    storedBytes: number,
    bytes: Buffer,
    call: { send(part: UploadPart, text: string): Promise<void>; sent(): void },
  ): Promise<void> {
    for (let at = storedBytes; at < bytes.length; at += this.#chunkBytes)
      await call.send({ chunk: bytes.subarray(at, at + this.#chunkBytes) }, `bytes from ${at}`);
    call.sent();
  }

  /** What a server gives under an id. */
  download(address: string, id: string, original: boolean): Promise<Buffer> {
    const serve = (server: ServerRole): AsyncIterable<DownloadAnswer> => server.download(id, original, 0);
    return this.#network.servers.stream(this.#life, { address, text: `download ${id}` }, serve, async ({ answers }) => {
      const chunks: Buffer[] = [];
      for await (const answer of answers) if ('chunk' in answer) chunks.push(answer.chunk);
      return Buffer.concat(chunks);
    });
  }

  /** Ids of pictures with a keyword. */
  list(address: string, keyword: string): Promise<string[]> {
    return this.#network.servers.ask(this.#life, address, `list ${keyword}`, async (server) =>
      (await server.list([keyword], 100, undefined)).pictures.map(({ id }) => id),
    );
  }
}
