/** The whole system in one process: a registry, three servers and two workers on memory's group, broker and a folder; and a client that checks what it gets. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { makeMemoryGroups } from '@lab/group';
import { makeMemoryServer } from '@lab/middleware';
import { traced } from '@lab/middleware/traced';
import { ExitError, interruptible, makeLogger, systemClock, type Role } from '@lab/process';
import { Lives } from '@lab/process/lives';
import type { DemoPage } from '@lab/watch/demo';
import sharp from 'sharp';
import { PictureClient } from './client/picture-client.ts';
import type { DemoConfig } from './config.ts';
import { ImageState } from './generated/lab/images/v1/images.ts';
import { makePicture } from '../data/make.ts';
import { describeMessage } from './messages.ts';
import { PictureStore } from './store/picture-store.ts';
import { defaultNames, topologyOf } from './topology.ts';
import { makeRegistry, makeServer, makeWorker, type ServingRole, type StoreHost } from './wiring.ts';

const samples: Readonly<Record<string, readonly string[]>> = {
  'harbour.jpg': ['harbour', 'boats', 'evening'],
  'fjord.webp': ['fjord', 'water'],
  'dunes.png': ['dunes', 'sand'],
  'evening.gif': ['evening', 'sky'],
  'lake.tiff': ['lake', 'water'],
  'ridge.avif': ['ridge', 'mountains'],
};
const tagMs = 60_000;
/** What a button of the page ends is there again before. */
const patienceMs = 60_000;

export async function demo({ keep, watch }: DemoConfig): Promise<void> {
  await using page = watch ? await (await import('@lab/watch/demo')).openDemoPage('image-tagging') : undefined;
  await interruptible(async (interrupted) => {
    const folder = await mkdtemp(join(tmpdir(), 'lab-image-tagging-'));
    const system = new DemoSystem(join(folder, 'store'), page);
    try {
      await system.start();
      const pictures = await choosePictures(folder);
      const client = new PictureClient({ registry: system.registry, patienceMs });
      try {
        await page?.goOn('pictures are about to be uploaded, tagged, found and downloaded', { interrupted });
        await show(client, pictures, join(folder, 'downloads'), interrupted);
      } finally {
        client.close();
      }
    } finally {
      await system.stop();
      if (keep) console.log(`all of it is in ${folder}`);
      else await rm(folder, { recursive: true, force: true });
    }
  });
  await page?.keep();
}

interface Chosen {
  readonly path: string;
  readonly keywords: readonly string[];
}

/** The sample pictures, and some that nobody has seen before. */
async function choosePictures(folder: string): Promise<Chosen[]> {
  const data = join(import.meta.dirname, '../data');
  const chosen = Object.entries(samples).map(([name, keywords]) => ({ path: join(data, name), keywords }));
  const made = join(folder, 'made');
  await mkdir(made);
  for (const format of ['jpeg', 'png'] as const) {
    const path = join(made, `new.${format}`);
    await writeFile(path, await makePicture({ seed: Math.floor(Math.random() * 2 ** 31), width: 1200, height: 800, format }));
    chosen.push({ path, keywords: ['new', format, 'größer <&> ok'] });
  }
  return chosen;
}

async function show(
  client: PictureClient,
  pictures: readonly Chosen[],
  downloads: string,
  interrupted: AbortSignal,
): Promise<void> {
  const ids: string[] = [];
  for (const { path, keywords } of pictures) {
    interrupted.throwIfAborted();
    const { id, bytes } = await client.upload(path, keywords);
    console.log(
      `uploaded ${path.slice(path.lastIndexOf('/') + 1).padEnd(12)} ${String(bytes).padStart(7)} bytes  ${id}  ${keywords.join(', ')}`,
    );
    ids.push(id);
  }
  const again = await client.upload(pictures[0]!.path, pictures[0]!.keywords);
  require(again.known && again.id === ids[0] && again.sentBytes === 0, 'the same upload again sends nothing and has the same id');
  await Promise.all(ids.map((id) => tagged(client, id, interrupted)));
  console.log(`tagged all ${ids.length}`);
  const found: string[] = [];
  for await (const { id, fileName } of client.list(['Evening'])) found.push(fileName, id);
  require(found.length === 4, `two pictures have the keyword evening, not ${found.length / 2}`);
  console.log(`found ${found[0]} and ${found[2]} by the keyword evening`);
  for (const [index, id] of ids.entries()) {
    interrupted.throwIfAborted();
    await check(client, id, pictures[index]!, downloads);
  }
  for (const { name, activeClients, leader } of await client.servers())
    console.log(`${name} has ${activeClients} clients${leader ? ', and leads' : ''}`);
  console.log(
    `Checked: ${ids.length} pictures came back, the originals byte for byte, the tagged ones with all of their keywords.`,
  );
}

async function tagged(client: PictureClient, id: string, interrupted: AbortSignal): Promise<void> {
  const deadlineMs = performance.now() + tagMs;
  for (;;) {
    const { state, reason, fileName } = await client.status(id);
    if (state === ImageState.TAGGED) return;
    require(state !== ImageState.FAILED, `${fileName} could not be tagged: ${reason}`);
    require(performance.now() < deadlineMs, `${fileName} was not tagged within ${tagMs / 1000} s`);
    await wait(50, undefined, { signal: interrupted });
  }
}

async function check(client: PictureClient, id: string, { path, keywords }: Chosen, downloads: string): Promise<void> {
  const original = await client.download(id, downloads, true);
  const same = (await readFile(original.path)).equals(await readFile(path));
  require(same, `${path} came back with other bytes`);
  const result = await client.download(id, downloads, false);
  require(result.tagged, `${path} came back without a mark`);
  const bytes = await readFile(result.path);
  require(createHash('sha256').update(bytes).digest('hex') === result.sha256, `${result.path} is not what the server announced`);
  // sharp knows no XMP in GIFs; there it stands in the file as text.
  const { xmp = bytes } = await sharp(bytes, { failOn: 'warning' }).metadata();
  const escaped = keywords.map((keyword) => keyword.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;'));
  require(escaped.every((keyword) => xmp.includes(keyword)), `${result.path} lacks a keyword of ${keywords.join(', ')}`);
}

function require(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new ExitError(`not as it should be: ${otherwise}`);
}

class DemoSystem {
  readonly #folder: string;
  readonly #page: DemoPage | undefined;
  readonly #lives: Lives;
  /** Where who serves is: its next lives are there, too. */
  readonly #ports = new Map<string, number>();

  constructor(folder: string, page?: DemoPage) {
    this.#folder = folder;
    this.#page = page;
    this.#lives = new Lives(page);
  }

  get registry(): string {
    return addressAt(this.#ports.get('registry') ?? 0);
  }

  async start(): Promise<void> {
    const log = makeLogger({ name: 'demo', level: 'warn' });
    const memory = makeMemoryServer();
    const groups = makeMemoryGroups({ clock: systemClock, newToken: randomUUID });
    const store = await PictureStore.open(this.#folder);
    const first = memory.connect();
    await first.declare(topologyOf(defaultNames));
    await first.close();
    const begin = (name: string, make: (host: StoreHost) => Role | ServingRole): Promise<void> =>
      this.#lives.begin(name, () => {
        const [group, broker, tracer] = [groups.connect(), memory.connect(), this.#page?.tracer(name)];
        const host = { group, clock: systemClock, nowMs: Date.now, newId: randomUUID, log, tracer };
        const role = make({ ...host, store, broker: traced(broker, tracer, describeMessage) });
        return {
          role,
          started: () => void this.#ports.set(name, 'port' in role ? role.port : 0),
          kill() {
            groups.kill(group);
            memory.kill(broker);
            // It listens no more; for the others in its group it waits for ever.
            void role.stop();
          },
          async close() {
            await group.close();
            await broker.close();
          },
        };
      });
    const shared = { group: 'images', limitMegapixels: 100 };
    await begin('registry', (host) => makeRegistry(host, { ...shared, name: 'registry', listen: this.registry }));
    for (const name of ['svc-1', 'svc-2', 'svc-3']) {
      const settings = { ...shared, ...defaultNames, name, listen: addressAt(0), address: addressAt, limitBytes: 2 * 1024 ** 3 };
      await begin(name, (host) => makeServer(host, settings));
    }
    const { queue } = defaultNames;
    for (const name of ['worker-1', 'worker-2'])
      await begin(name, (host) => makeWorker(host, { ...shared, name, queue, jobs: 1 }));
    console.log('a registry, 3 servers and 2 workers are running in this process');
  }

  stop(): Promise<void> {
    return this.#lives.stop();
  }
}

const addressAt = (port: number): string => `127.0.0.1:${port}`;
