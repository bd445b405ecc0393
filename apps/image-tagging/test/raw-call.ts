/** Calls as any program may make them, with whatever parts in whatever order. */
import { createHash } from 'node:crypto';
import {
  credentials,
  makeGenericClientConstructor,
  type ClientDuplexStream,
  type ServiceError,
  type StatusObject,
} from '@grpc/grpc-js';
import type {
  DownloadRequest,
  DownloadResponse,
  ImagesClient,
  UploadHeader,
  UploadRequest,
  UploadResponse,
} from '../src/generated/lab/images/v1/images.ts';
import { ImagesService } from '../src/generated/lab/images/v1/images.ts';
import { clientOptions } from '../src/grpc/channels.ts';

export type Part = UploadRequest['part'];

/** Of an upload that has ended. */
export interface Ended {
  /** What the server said was stored, as often as it said so. */
  readonly stored: readonly number[];
  readonly id: string | undefined;
  readonly known: boolean | undefined;
  readonly code: number;
  readonly details: string;
}

const Stub = makeGenericClientConstructor(ImagesService, 'lab.images.v1.Images') as unknown as {
  new (address: string, creds: ReturnType<typeof credentials.createInsecure>, options: object): ImagesClient;
};

export const imagesAt = (address: string): ImagesClient => new Stub(address, credentials.createInsecure(), clientOptions);

let keys = 0;
/** A header that fits the bytes, with a key that no other has. */
export function headerOf(bytes: Uint8Array, changes: Partial<UploadHeader> = {}): UploadHeader {
  return {
    key: `test-upload-number-${keys++}`,
    fileName: 'a.jpg',
    sizeBytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest(),
    keywords: ['lake'],
    ...changes,
  };
}

export const header = (value: UploadHeader): Part => ({ $case: 'header', value });
export const chunk = (bytes: Uint8Array): Part => ({ $case: 'chunk', value: Buffer.from(bytes) });

/** One call of Upload. */
export class UploadCall {
  readonly #call: ClientDuplexStream<UploadRequest, UploadResponse>;
  readonly #stored: number[] = [];
  readonly ended: Promise<Ended>;

  constructor(client: ImagesClient, deadlineMs = 60_000) {
    this.#call = client.upload({ deadline: Date.now() + deadlineMs });
    let result: { id: string; known: boolean } | undefined;
    this.#call.on('data', ({ part }: UploadResponse) => {
      if (part?.$case === 'result') result = part.value;
      else this.#stored.push(part?.value ?? 0);
    });
    // Its status says the same.
    this.#call.on('error', () => {});
    this.ended = new Promise((resolve) =>
      this.#call.on('status', ({ code, details }: StatusObject) =>
        resolve({ stored: this.#stored, id: result?.id, known: result?.known, code, details }),
      ),
    );
  }

  get stored(): readonly number[] {
    return this.#stored;
  }

  send(...parts: readonly Part[]): this {
    for (const part of parts) this.#call.write({ part });
    return this;
  }

  end(): Promise<Ended> {
    this.#call.end();
    return this.ended;
  }

  cancel(): void {
    this.#call.cancel();
  }
}

/** One call with all of these parts. */
export const upload = (client: ImagesClient, ...parts: readonly Part[]): Promise<Ended> =>
  new UploadCall(client).send(...parts).end();

/** The bytes of a download, or what it was refused with. */
export async function download(
  client: ImagesClient,
  request: Partial<DownloadRequest> & { id: string },
): Promise<{ bytes: Buffer; tagged: boolean | undefined; code: number; details: string }> {
  const call = client.download({ original: false, offset: 0, ...request }, { deadline: Date.now() + 60_000 });
  const chunks: Buffer[] = [];
  let tagged: boolean | undefined;
  call.on('data', ({ part }: DownloadResponse) => {
    if (part?.$case === 'chunk') chunks.push(part.value);
    else tagged = part?.value.tagged;
  });
  call.on('error', () => {});
  const { code, details } = await new Promise<StatusObject>((resolve) => call.on('status', resolve));
  return { bytes: Buffer.concat(chunks), tagged, code, details };
}

/** What a call of one answer gave, or was refused with. */
export function ask<Answer>(
  call: (done: (error: ServiceError | null, answer?: Answer) => void) => unknown,
): Promise<{ answer: Answer | undefined; code: number; details: string }> {
  return new Promise((resolve) =>
    call((error, answer) => resolve({ answer, code: error?.code ?? 0, details: error?.details ?? '' })),
  );
}
