/** The client against servers that answer as a test wants them to. */
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { status, type Deadline, type ServerDuplexStream, type ServerWritableStream } from '@grpc/grpc-js';
import { ExitError, systemClock, type Clock } from '@lab/process';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
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
import { collect } from '../../test/collect.ts';
import { imagesService, registryService } from '../grpc/definitions.ts';
import { serve, type ServingCalls } from '../grpc/serve.ts';
import { PictureClient } from './picture-client.ts';

const id = 'abcdefghijklmnopqr27';
const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();
const content = Buffer.alloc(700_000, 'some bytes of a picture ');

const image = (changes: Partial<Image> = {}): Image => ({
  ...{ id, fileName: 'lake.jpg', sizeBytes: content.length, sha256: sha256(content), keywords: ['lake'] },
  ...{ state: ImageState.PENDING, reason: '', uploadedMs: 0, width: 4, height: 3, taggedBytes: 0, taggedSha256: Buffer.alloc(0) },
  ...changes,
});

type Uploading = ServerDuplexStream<UploadRequest, UploadResponse>;
type Downloading = ServerWritableStream<DownloadRequest, DownloadResponse>;
/** What a server does with its first call, its second...; the last one for all that follow. */
type Script<Call> = readonly ((call: Call) => unknown)[];

/** Pauses take no time, and yet count. */
class HastyClock implements Clock {
  #nowMs = 0;
  nowMs(): number {
    return this.#nowMs;
  }
  after(delayMs: number, run: () => void): () => void {
    this.#nowMs += delayMs;
    return systemClock.after(0, run);
  }
  every(intervalMs: number, run: () => void): () => void {
    return systemClock.every(intervalMs, run);
  }
}

let folder: string;
let file: string;
let serving: ServingCalls | undefined;
let client: PictureClient | undefined;
/** Of every call that came, in milliseconds since 1970. */
let deadlines: Deadline[];
let retries: string[];
let avoided: string[][];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'client-'));
  file = join(folder, 'lake.jpg');
  await writeFile(file, content);
  [deadlines, retries, avoided] = [[], [], []];
});

afterEach(async () => {
  vi.unstubAllEnvs();
  client?.close();
  await serving?.stop(0);
  serving = undefined;
  await rm(folder, { recursive: true });
});

/** Registry and server in one. */
async function play({
  upload = [],
  download = [],
}: { upload?: Script<Uploading>; download?: Script<Downloading> } = {}): Promise<PictureClient> {
  let [uploads, downloads] = [0, 0];
  const images: ImagesServer = {
    upload: (call) => (deadlines.push(call.getDeadline()), void upload[Math.min(uploads++, upload.length - 1)]!(call)),
    download: (call) => (deadlines.push(call.getDeadline()), void download[Math.min(downloads++, download.length - 1)]!(call)),
    getImage: (call, done) => (deadlines.push(call.getDeadline()), done(null, image())),
    listImages: (call, done) => {
      deadlines.push(call.getDeadline());
      done(null, {
        images: [image({ fileName: `page ${call.request.page}` })],
        nextPage: call.request.page === '' ? 'next' : '',
      });
    },
  };
  const registry: RegistryServer = {
    findServer: (call, done) => {
      deadlines.push(call.getDeadline());
      avoided.push(call.request.avoid);
      done(null, { address: `127.0.0.1:${serving!.port}` });
    },
    listServers: (call, done) => (deadlines.push(call.getDeadline()), done(null, { servers: [] })),
  };
  serving = await serve({
    listen: '127.0.0.1:0',
    services: [
      { definition: imagesService, implementation: images },
      { definition: registryService, implementation: registry },
    ],
  });
  client = new PictureClient({
    registry: `127.0.0.1:${serving.port}`,
    patienceMs: 1_500,
    clock: new HastyClock(),
    onRetry: (reason) => retries.push(reason),
  });
  return client;
}

const refuse = (code: status, details: string) => (call: Uploading | Downloading) => call.emit('error', { code, details });

/** Says that so much is stored, takes the rest, and answers. */
const take =
  (stored: number, received: Buffer[] = []) =>
  (call: Uploading) => {
    let bytes = stored;
    call.on('data', ({ part }: UploadRequest) => {
      if (part?.$case === 'header') return call.write({ part: { $case: 'storedBytes', value: stored } });
      received.push(part!.value);
      bytes += part!.value.length;
      call.write({ part: { $case: 'storedBytes', value: bytes } });
      if (bytes < content.length) return undefined;
      call.write({ part: { $case: 'result', value: { id, known: false } } });
      return call.end();
    });
  };

/** Takes so many bytes, then is gone. */
const die = (afterBytes: number) => (call: Uploading) => {
  let bytes = 0;
  call.on('data', ({ part }: UploadRequest) => {
    if (part?.$case === 'header') return call.write({ part: { $case: 'storedBytes', value: 0 } });
    bytes += part!.value.length;
    return bytes < afterBytes || call.emit('error', { code: status.UNAVAILABLE, details: 'gone' });
  });
};

/** Sends this from the offset on, under a header; all of it, or up to a place where it breaks. */
const send = (bytes: Buffer, { from, to = bytes.length, ...changes }: Partial<Image> & { from?: Buffer; to?: number } = {}) => {
  return (call: Downloading) => {
    const header = {
      image: image(changes),
      tagged: false,
      sizeBytes: bytes.length,
      sha256: sha256(from ?? bytes),
      mediaType: 'image/jpeg',
    };
    call.write({ part: { $case: 'header', value: header } });
    for (let at = call.request.offset; at < to; at += 100_000)
      call.write({ part: { $case: 'chunk', value: bytes.subarray(at, Math.min(to, at + 100_000)) } });
    if (to < bytes.length) call.emit('error', { code: status.UNAVAILABLE, details: 'gone' });
    else call.end();
  };
};

const failure = async (work: Promise<unknown>): Promise<ExitError> => {
  const error = await work.then(
    () => new Error('it has succeeded'),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ExitError);
  return error as ExitError;
};

describe('an upload', () => {
  it('sends what the server does not have, and nothing else', async () => {
    const received: Buffer[] = [];
    const { sentBytes } = await (await play({ upload: [take(123_456, received)] })).upload(file, ['lake']);
    expect(Buffer.concat(received).equals(content.subarray(123_456))).toBe(true);
    expect(sentBytes).toBe(content.length - 123_456);
  });

  it('goes on where the next server says, and avoids the one that died', async () => {
    const received: Buffer[] = [];
    const playing = await play({ upload: [die(300_000), take(262_144, received)] });
    expect(await playing.upload(file, ['lake'])).toMatchObject({ id, tries: 2 });
    expect(Buffer.concat(received).equals(content.subarray(262_144))).toBe(true);
    expect(avoided).toEqual([[], [`127.0.0.1:${serving!.port}`]]);
    expect(retries).toEqual(['gone']);
  });

  it('has the same key when it is the same, and another for other content, name or keywords', async () => {
    const keys: string[] = [];
    const answer = (call: Uploading) =>
      call.once('data', ({ part }: UploadRequest) => {
        if (part?.$case === 'header') keys.push(part.value.key);
        call.write({ part: { $case: 'result', value: { id, known: true } } });
        call.end();
      });
    const playing = await play({ upload: [answer] });
    const [renamed, changed] = [join(folder, 'hill.jpg'), join(folder, 'sub.jpg')];
    await writeFile(renamed, content);
    await writeFile(changed, 'other');
    for (const [path, words] of [
      [file, ['a']],
      [file, ['a']],
      [file, ['b']],
      [renamed, ['a']],
      [changed, ['a']],
    ] as const)
      await playing.upload(path, words);
    await playing.upload(file, ['a'], 'a-key-of-my-own-choice');
    expect(keys[0]).toBe(keys[1]);
    expect(new Set(keys).size).toBe(5);
    expect(keys[5]).toBe('a-key-of-my-own-choice');
    for (const key of keys) expect(key).toMatch(/^[A-Za-z0-9._-]{16,200}$/);
  });

  it.each([
    status.INVALID_ARGUMENT,
    status.ALREADY_EXISTS,
    status.NOT_FOUND,
    status.INTERNAL,
    status.RESOURCE_EXHAUSTED,
    status.UNIMPLEMENTED,
  ])("that is refused with status %i is not tried again, and says the server's sentence", async (code) => {
    const playing = await play({ upload: [refuse(code, 'this is why'), take(0)] });
    const { message, exitCode } = await failure(playing.upload(file, ['lake']));
    expect([message, exitCode]).toEqual([`this is why (${status[code]})`, 1]);
    expect(retries).toEqual([]);
  });

  it.each([status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.ABORTED, status.CANCELLED, status.UNKNOWN, status.DATA_LOSS])(
    'that fails with status %i is tried again',
    async (code) => {
      const playing = await play({ upload: [refuse(code, 'this passes'), take(0)] });
      expect(await playing.upload(file, ['lake'])).toMatchObject({ tries: 2 });
    },
  );

  it('whose bytes are damaged on the way is tried three times', async () => {
    const playing = await play({ upload: [refuse(status.DATA_LOSS, 'other bytes came')] });
    expect((await failure(playing.upload(file, ['lake']))).message).toBe('other bytes came (DATA_LOSS)');
    expect(retries).toHaveLength(2);
  });

  it("that moves nothing is given up after the client's patience, with an exit code that says: later", async () => {
    const playing = await play({ upload: [refuse(status.UNAVAILABLE, 'no broker')] });
    const { message, exitCode } = await failure(playing.upload(file, ['lake']));
    expect(message).toBe('nothing has moved for 1.5 s; no broker (UNAVAILABLE)');
    expect(exitCode).toBe(3);
  });

  it('of a file that is not there, or is none, says so, and asks nobody', async () => {
    const playing = await play();
    await expect(playing.upload(join(folder, 'no.jpg'), ['a'])).rejects.toThrow(/ENOENT.*no\.jpg/);
    expect((await failure(playing.upload(folder, ['a']))).message).toMatch(/is not a file/);
    expect((await failure(playing.upload('/dev/zero', ['a']))).message).toMatch(/is not a file/);
    expect(deadlines).toEqual([]);
  });
});

describe('a download', () => {
  it('goes on behind what came, and is whole', async () => {
    const playing = await play({ download: [send(content, { to: 300_000 }), send(content)] });
    const { path, bytes } = await playing.download(id, folder, true);
    expect(await readFile(path)).toEqual(content);
    expect(bytes).toBe(content.length);
    expect(retries).toHaveLength(1);
  });

  it('begins anew when the picture was tagged meanwhile', async () => {
    const tagged = Buffer.alloc(500_000, 'tagged');
    const playing = await play({ download: [send(content, { to: 300_000 }), send(tagged), send(tagged)] });
    const { path } = await playing.download(id, folder, false);
    expect(await readFile(path)).toEqual(tagged);
  });

  it('that is damaged on the way is begun anew; damaged again and again it is given up, and leaves no file', async () => {
    const wrong = send(Buffer.alloc(content.length, 'x'), { from: content });
    const playing = await play({ download: [wrong, send(content), wrong] });
    expect(await readFile((await playing.download(id, folder, true)).path)).toEqual(content);
    const into = join(folder, 'into');
    expect((await failure(playing.download(id, into, true))).message).toMatch(/SHA-256 differs \(DATA_LOSS\)/);
    expect(await readdir(into)).toEqual([]);
  });

  it('of an unknown picture leaves no file', async () => {
    const playing = await play({ download: [refuse(status.NOT_FOUND, 'no such picture')] });
    const into = join(folder, 'into');
    expect((await failure(playing.download('../../x', into, true))).message).toBe('no such picture (NOT_FOUND)');
    expect(await readdir(into)).toEqual([]);
  });

  it.each([
    ['../../../../etc/passwd', `passwd-${id}-original.jpg`],
    ['..', `picture-${id}-original.jpg`],
    ['.hidden.jpg', `hidden-${id}-original.jpg`],
    ['', `picture-${id}-original.jpg`],
    ['C:\\x\\lake.jpg', `C__x_lake-${id}-original.jpg`],
    ['a\u001b[31m\nb.jpg', `a__31m_b-${id}-original.jpg`],
    ['größe гавань.jpeg', `größe гавань-${id}-original.jpg`],
  ])('of a picture that is called %j is saved in the folder under a harmless name', async (fileName, expected) => {
    const playing = await play({ download: [send(content, { fileName })] });
    const { path } = await playing.download(id, folder, true);
    expect(dirname(path)).toBe(folder);
    expect(basename(path)).toBe(expected);
  });

  it.each([
    ['letters of three bytes', '港'.repeat(251) + '.jpg'],
    ['letters of four bytes, cut between', `a${'𠀀'.repeat(125)}.jpg`],
  ])('of a picture with a name of 255 characters is saved: %s', async (_, fileName) => {
    const playing = await play({ download: [send(content, { fileName })] });
    const name = basename((await playing.download(id, folder, true)).path);
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255);
    expect(name.isWellFormed() && !name.includes('\ufffd')).toBe(true);
  });
});

describe('every call', () => {
  it('has a deadline', async () => {
    const playing = await play({ upload: [take(0)], download: [send(content)] });
    await playing.upload(file, ['a']);
    await playing.download(id, folder, true);
    await playing.status(id);
    const listed = await collect(playing.list([]));
    await playing.servers();
    expect(listed.map(({ fileName }) => fileName)).toEqual(['page ', 'page next']);
    expect(deadlines).toHaveLength(11);
    for (const deadline of deadlines) expect(Number(deadline)).toBeLessThanOrEqual(Date.now() + 24 * 3_600_000);
  });

  it('goes to the machines themselves, whatever proxy the environment names', async () => {
    for (const name of ['grpc_proxy', 'http_proxy', 'https_proxy']) vi.stubEnv(name, 'http://127.0.0.1:1');
    for (const name of ['no_grpc_proxy', 'no_proxy']) vi.stubEnv(name, undefined);
    const playing = await play();
    expect(await playing.status(id)).toMatchObject({ id });
  });

  it('is tried while no registry answers, then given up with an exit code that says: later', async () => {
    client = new PictureClient({ registry: '127.0.0.1:1', patienceMs: 500, clock: new HastyClock() });
    const { message, exitCode } = await failure(client.servers());
    expect(message).toMatch(/^nothing has moved for 0.5 s; /);
    expect(exitCode).toBe(3);
  });
});
