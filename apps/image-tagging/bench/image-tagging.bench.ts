/**
 * Transfers through a server against a bare grpc-js stream that also hashes, writes and syncs; the registry's answers; tagging against a bare sharp loop; and how thirty clients are spread.
 * `--mib N` is the size of a transfer, `--rounds N` and `--pictures N` how much is measured, `--json FILE` writes the rows.
 */
import { createHash, randomBytes, randomUUID, type Hash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, open, readFile, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Client, credentials, Metadata, type ClientReadableStream, type ClientWritableStream } from '@grpc/grpc-js';
import { makeMemoryGroups } from '@lab/group';
import { makeMemoryServer } from '@lab/middleware';
import { makeLogger, systemClock } from '@lab/process';
import { compareInTurn, explainBench, reportBench, type BenchRow } from '@lab/testing';
import { startProcess, type RunningProcess } from '@lab/testing/processes';
import sharp from 'sharp';
import type { DownloadResponse, ImagesClient, RegistryClient, UploadResponse } from '../src/generated/lab/images/v1/images.ts';
import { clientOptions, imagesAt, registryAt } from '../src/grpc/channels.ts';
import { encodeJob } from '../src/messages.ts';
import { captionBand } from '../src/pictures/caption.ts';
import { exifFields } from '../src/pictures/exif.ts';
import { makePicture } from '../data/make.ts';
import { xmpPacket } from '../src/pictures/xmp.ts';
import { PictureStore } from '../src/store/picture-store.ts';
import { defaultNames, topologyOf } from '../src/topology.ts';
import { idOf, makeWorker } from '../src/wiring.ts';
import { bareService, chunkBytesUp } from './bare.ts';

explainBench();

const { values } = parseArgs({
  options: {
    mib: { type: 'string', default: '512' },
    rounds: { type: 'string', default: '3' },
    pictures: { type: 'string', default: '40' },
    json: { type: 'string' },
  },
});
const mib = Number(values.mib);
const rounds = Number(values.rounds);
const pictures = Number(values.pictures);
const say = (text: string): void => void process.stderr.write(`${text}\n`);

const folder = await mkdtemp(join(tmpdir(), 'lab-image-bench-'));
const processes: RunningProcess[] = [];
interface Peer {
  readonly registry: string;
  readonly servers: readonly string[];
  readonly process: RunningProcess;
}

async function start(kind: 'ours' | 'bare'): Promise<Peer> {
  const store = join(folder, kind);
  await mkdir(store);
  const peer = startProcess([join(import.meta.dirname, 'server-process.ts'), kind, store]);
  processes.push(peer);
  return { ...(JSON.parse(await peer.line()) as Omit<Peer, 'process'>), process: peer };
}

async function transfers(): Promise<BenchRow[]> {
  const [ours, bare] = [await start('ours'), await start('bare')];
  const file = join(folder, 'large.jpg');
  await makeLarge(file);
  const bytes = await readFile(file)
    .then((content) => content.length)
    .catch(() => mib * 2 ** 20);
  const images = imagesAt(ours.servers[0]!);
  const bareClient = new Client(bare.servers[0]!, credentials.createInsecure(), {
    ...clientOptions,
    'grpc.max_receive_message_length': -1,
  });
  let id = '';
  let barePath = -1;
  say(`uploads of ${mib} MiB, ${rounds} times each ...`);
  const upload = await compareInTurn(rounds, {
    ours: () => timed(bytes, async () => (id = await uploadOurs(images, file, bytes))),
    theirs: () => timed(bytes, async () => (await uploadBare(bareClient, file), barePath++)),
  });
  say('downloads ...');
  const download = await compareInTurn(rounds, {
    ours: () => timed(bytes, () => downloadOurs(images, id)),
    theirs: () => timed(bytes, () => downloadBare(bareClient, join(folder, 'bare', 'bare-0'))),
  });
  const { peakMb } = ours.process;
  const spread = await spreadOf(ours);
  const [p50, p99] = await registryTimes(ours.registry);
  return [
    ratio('upload through a server / bare stream', upload.ratio, 0.8),
    shown('upload through a server', upload.ours, 'MiB/s'),
    ratio('download through a server / bare stream', download.ratio, 0.8),
    shown('download through a server', download.ours, 'MiB/s'),
    { name: 'peak memory of the process with three servers', value: peakMb, unit: 'MB', target: '<= 300', holds: peakMb <= 300 },
    shown('registry call, p50 of 32 at a time', p50, 'ms'),
    shown('registry call, p99 of 32 at a time', p99, 'ms'),
    {
      name: 'most loaded of 3 servers / mean, 30 clients in a second',
      value: spread,
      unit: '',
      target: '<= 1.3',
      holds: spread <= 1.3,
    },
  ];
}

const ratio = (name: string, value: number, least: number): BenchRow => ({
  name,
  value,
  unit: '',
  target: `>= ${least}`,
  holds: value >= least,
});
const shown = (name: string, value: number, unit: string): BenchRow => ({ name, value, unit, target: null, holds: null });

/** Runs it, and gives MiB a second. */
async function timed(bytes: number, run: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await run();
  return bytes / 2 ** 20 / ((performance.now() - startMs) / 1000);
}

/** A picture that ends long before its file does: what a server looks at is there, the rest no compression or cache makes faster. */
async function makeLarge(file: string): Promise<void> {
  const handle = await open(file, 'w');
  let left = mib * 2 ** 20;
  const head = await makePicture({ seed: 1, width: 640, height: 480, format: 'jpeg' });
  await handle.write(head);
  left -= head.length;
  const block = randomBytes(2 ** 20);
  for (; left > 0; left -= block.length) {
    block.writeUInt32LE(left >>> 0);
    await handle.write(block, 0, Math.min(left, block.length));
  }
  await handle.sync();
  await handle.close();
}

let sha256Cache: Buffer | undefined;
async function sha256Of(file: string): Promise<Buffer> {
  if (sha256Cache !== undefined) return sha256Cache;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return (sha256Cache = hash.digest());
}

async function uploadOurs(images: ImagesClient, file: string, bytes: number): Promise<string> {
  const sha256 = await sha256Of(file);
  const call = images.upload();
  const result = new Promise<string>((resolve, reject) => {
    call.on('error', reject);
    call.on('data', ({ part }: UploadResponse) => void (part?.$case === 'result' && resolve(part.value.id)));
  });
  const value = { key: `bench-${randomUUID()}`, fileName: 'large.jpg', sizeBytes: bytes, sha256, keywords: ['bench'] };
  call.write({ part: { $case: 'header', value } });
  for await (const chunk of createReadStream(file, { highWaterMark: chunkBytesUp })) {
    if (!call.write({ part: { $case: 'chunk', value: chunk as Buffer } })) await once(call, 'drain');
  }
  call.end();
  return result;
}

async function uploadBare(client: Client, file: string): Promise<void> {
  const { path, requestSerialize, responseDeserialize } = bareService.upload;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const call: ClientWritableStream<Buffer> = client.makeClientStreamRequest(
    path,
    requestSerialize,
    responseDeserialize,
    new Metadata(),
    {},
    (error) => (error === null ? resolve() : reject(error)),
  );
  for await (const chunk of createReadStream(file, { highWaterMark: chunkBytesUp }))
    if (!call.write(chunk as Buffer)) await once(call, 'drain');
  call.end();
  await promise;
}

/** Hashes, writes and syncs what comes, as the client does. */
async function keep(chunks: AsyncIterable<Buffer | undefined>): Promise<void> {
  const handle: FileHandle = await open(join(folder, 'download'), 'w');
  const hash: Hash = createHash('sha256');
  for await (const chunk of chunks) {
    if (chunk === undefined) continue;
    hash.update(chunk);
    await handle.write(chunk);
  }
  await handle.sync();
  await handle.close();
  hash.digest();
}

async function downloadOurs(images: ImagesClient, id: string): Promise<void> {
  const call = images.download({ id, original: true, offset: 0 }) as AsyncIterable<DownloadResponse>;
  await keep(
    (async function* () {
      for await (const { part } of call) yield part?.$case === 'chunk' ? part.value : undefined;
    })(),
  );
}

async function downloadBare(client: Client, file: string): Promise<void> {
  const { path, requestSerialize, responseDeserialize } = bareService.download;
  const call: ClientReadableStream<Buffer> = client.makeServerStreamRequest(
    path,
    requestSerialize,
    responseDeserialize,
    Buffer.from(file),
    new Metadata(),
    {},
  );
  await keep(call as AsyncIterable<Buffer>);
}

/** Thirty clients within a second, each of which begins an upload where it is sent: how many more than the mean the most loaded server has. */
async function spreadOf({ registry }: Peer): Promise<number> {
  say('30 clients ...');
  const client = registryAt(registry);
  const counts = new Map<string, number>();
  const calls = await Promise.all(
    Array.from({ length: 30 }, async () => {
      const address = await findServer(client);
      counts.set(address, (counts.get(address) ?? 0) + 1);
      return imagesAt(address).upload();
    }),
  );
  for (const call of calls) {
    call.on('error', () => {});
    call.cancel();
  }
  return Math.max(...counts.values()) / 10;
}

const findServer = (client: RegistryClient): Promise<string> =>
  new Promise((resolve, reject) =>
    client.findServer({ avoid: [] }, (error, answer) => (error === null ? resolve(answer.address) : reject(error))),
  );

async function registryTimes(address: string): Promise<[number, number]> {
  const client = registryAt(address);
  const times: number[] = [];
  const one = async (): Promise<void> => {
    for (let count = 0; count < 100; count++) {
      const startMs = performance.now();
      await findServer(client);
      times.push(performance.now() - startMs);
    }
  };
  await Promise.all(Array.from({ length: 32 }, one));
  times.sort((a, b) => a - b);
  return [times[Math.floor(times.length * 0.5)]!, times[Math.floor(times.length * 0.99)]!];
}

const keywords = ['harbour', 'evening', 'two boats'];
/** At a time, in the worker and in the loop. */
const jobs = 2;

/** A worker against a loop that does what must be done: read, decode, caption, metadata, encode, write. */
async function tagging(): Promise<BenchRow[]> {
  say(`tagging ${pictures} pictures ...`);
  const files: string[] = [];
  for (let index = 0; index < Math.min(8, pictures); index++) {
    const file = join(folder, `picture-${index}.jpg`);
    await writeFile(file, await makePicture({ seed: index + 1, width: 3000, height: 2000, format: 'jpeg' }));
    files.push(file);
  }
  const all = Array.from({ length: pictures }, (_, index) => files[index % files.length]!);
  const compared = await compareInTurn(rounds, { ours: () => tagOurs(all), theirs: () => tagBare(all) });
  return [
    ratio('pictures tagged by a worker / bare sharp loop', compared.ratio, 0.9),
    shown('pictures tagged by a worker', compared.ours, 'pictures/s'),
  ];
}

async function tagBare(all: readonly string[]): Promise<number> {
  const startMs = performance.now();
  const left = [...all.entries()];
  const loop = async (): Promise<void> => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const [index, file] = next;
      const input = await readFile(file);
      const image = sharp(input, { failOn: 'warning' });
      const { width, height, chromaSubsampling = '4:4:4' } = await image.metadata();
      const band = await captionBand(keywords, { width, height });
      if (band !== undefined)
        image.composite([
          {
            input: band.data,
            raw: { width: band.width, height: band.height, channels: 4 },
            left: 0,
            top: height - band.height,
          },
        ]);
      const data = await image
        .keepMetadata()
        .withXmp(xmpPacket(keywords))
        .withExifMerge({ IFD0: exifFields(keywords, 0) })

        .removeAlpha()
        .jpeg({ quality: 90, chromaSubsampling, optimiseCoding: false })
        .toBuffer();
      const handle = await open(join(folder, `bare-tagged-${index}.jpg`), 'w');
      await handle.write(data);
      await handle.sync();
      await handle.close();
    }
  };
  await Promise.all(Array.from({ length: jobs }, loop));
  return all.length / ((performance.now() - startMs) / 1000);
}

const { exchange, routingKey, queue } = defaultNames;
let batches = 0;
async function tagOurs(all: readonly string[]): Promise<number> {
  const groups = makeMemoryGroups({ clock: systemClock, newToken: randomUUID });
  const broker = makeMemoryServer().connect();
  await broker.declare(topologyOf(defaultNames));
  const store = await PictureStore.open(join(folder, `tagging-${batches++}`));
  const ids: string[] = [];
  for (const [index, file] of all.entries()) {
    const id = idOf(`${index}-${randomUUID()}`);
    const content = await readFile(file);
    const hash = createHash('sha256').update(content).digest('hex');
    const partial = await store.resume(id, { sha256: hash, bytes: content.length });
    await partial.append(content);
    const sha256 = await partial.digest();
    const upload = {
      id,
      fileName: 'x.jpg',
      bytes: content.length,
      sha256,
      keywords,
      mediaType: 'image/jpeg',
      width: 3000,
      height: 2000,
      uploadedMs: 0,
    };
    await partial.commit(upload);
    await partial.close();
    ids.push(id);
  }
  const group = groups.connect();
  const host = {
    group,
    clock: systemClock,
    nowMs: Date.now,
    newId: randomUUID,
    log: makeLogger({ name: 'worker', level: 'error' }),
  };
  const worker = makeWorker({ ...host, store, broker }, { group: 'images', name: 'worker', queue, jobs, limitMegapixels: 100 });
  await worker.start();
  const startMs = performance.now();
  for (const id of ids) await broker.publish({ exchange, routingKey, body: encodeJob({ id, keywords }) });
  for (const id of ids) while ((await store.result(id)) === undefined) await new Promise((resolve) => setTimeout(resolve, 20));
  const seconds = (performance.now() - startMs) / 1000;
  await worker.stop();
  await group.close();
  return all.length / seconds;
}

try {
  const rows = [...(await transfers()), ...(await tagging())];
  await reportBench(rows, process.argv.slice(2));
} finally {
  for (const each of processes) await each.kill();
  await rm(folder, { recursive: true, force: true });
}
