/**
 * Every part of the system is killed, paused or cut off in real containers, while clients upload one picture after the other, jobs are pending, and a large upload is in mid-transfer. Clients
 * go on by themselves, every upload that was answered is there once and tagged, and of the large one hardly anything is sent twice.
 */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { eventually } from '@lab/testing';
import type { Container } from '@lab/testing/containers';
import { Load } from '@lab/testing/load';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Uploaded } from '../src/client/picture-client.ts';
import { makePicture } from '../data/make.ts';
import { idOf } from '../src/wiring.ts';
import { ImageComposeSystem, here, sha256Of } from './compose-system.ts';
import { UploadLoad } from './load.ts';

const mib = 1024 * 1024;
/** A second or two of transfer, two thirds of which are left when the fault strikes. */
const largeBytes = 48 * mib;
/** What is on its way to a server at most, and goes with it. */
const lostBytesMax = 4 * mib;
const patience = { timeoutMs: 120_000, intervalMs: 200 };
const servers = ['svc-1', 'svc-2', 'svc-3'];
const slow = 'slow.jpg';

let system: ImageComposeSystem;
let workload: UploadLoad;

beforeAll(async () => {
  system = await ImageComposeSystem.start('chaos');
  workload = new UploadLoad(system);
  // A worker takes most of a second for it.
  await writeFile(join(system.folder, slow), await makePicture({ seed: 1, width: 3000, height: 2000, format: 'jpeg' }));
}, 300_000);

afterAll(async () => {
  await system[Symbol.asyncDispose]();
});

/** Gives the workers something to do for a second or two. */
async function uploadSlowOnes(name: string): Promise<void> {
  const sha256 = await sha256Of(join(system.folder, slow));
  const uploads = [1, 2, 3, 4]
    .map((number) => `slow-${number}-of-${name}`)
    .map((key) => ({ key, ...workload.begin(key, sha256, [key]) }));
  const given = JSON.stringify(uploads.map(({ keywords, key }) => [keywords, key]));
  const ids = await system.program<string[]>(uploadsOfOne, `${here}/${slow}`, given);
  for (const [index, { answered }] of uploads.entries()) answered(ids[index]!);
}

const uploadsOfOne = `
  import { PictureClient } from './src/client/picture-client.ts';
  const [file, given] = process.argv.slice(1);
  const client = new PictureClient({ registry: 'registry:8000', patienceMs: 60_000 });
  const uploads = await Promise.all(JSON.parse(given).map((each) => client.upload(file, ...each)));
  client.close();
  console.log(JSON.stringify(uploads.map(({ id }) => id)));
`;

/** A picture, and megabytes behind its end, which are stored with it and which no decoder reads. */
async function makeLarge(name: string): Promise<string> {
  const picture = await makePicture({ seed: 2, width: 640, height: 480, format: 'jpeg' });
  const file = join(system.folder, name);
  await writeFile(file, Buffer.concat([picture, randomBytes(largeBytes - picture.length)]));
  return sha256Of(file);
}

/** Prints how much a process has written of an upload that it takes at this moment. */
const storedScript = (id: string): string =>
  `find /proc/[0-9]*/fd -lname '/data/partial/${id}/*/data' -exec stat -Lc %s {} + 2>/dev/null | sort -n | tail -1`;

/** The server that an upload is at now, and how much of it is stored. */
async function whereIs(id: string): Promise<{ server: string; storedBytes: number }> {
  for (const server of servers) {
    const storedBytes = Number(await system.inside(server, storedScript(id), '--user', 'node'));
    if (storedBytes > 0) return { server, storedBytes };
  }
  throw new Error(`no server takes ${id}`);
}

/** Uploads one file; when this much is stored, its disk gives a chunk a second, until its standard input ends: nobody takes the client for dead meanwhile. */
const slowedUpload = `
  import { setTimeout as wait } from 'node:timers/promises';
  import fs from 'node:fs';
  import { PictureClient } from './src/client/picture-client.ts';
  const [file, key, keywords, slowBytes] = process.argv.slice(1);
  const { read } = fs;
  let pauseMs = 0;
  fs.read = (...args) => void wait(pauseMs).then(() => read(...args));
  process.stdin.on('end', () => (pauseMs = 0)).resume();
  const client = new PictureClient({ registry: 'registry:8000', patienceMs: 60_000 });
  let slowed = false;
  const uploaded = await client.upload(file, JSON.parse(keywords), key, (doneBytes, totalBytes, what) => {
    if (slowed || what === 'hashing' || doneBytes < Number(slowBytes)) return;
    slowed = true;
    pauseMs = 1_000;
    console.log('slowed');
  });
  client.close();
  console.log(JSON.stringify(uploaded));
`;

interface Transfer {
  /** That it is at. */
  readonly server: string;
  readonly storedBytes: number;
  readonly pendingJobs: number;
  /** Lets the client go on. */
  readonly goOn: () => Promise<Uploaded>;
}

let larges = 0;

/** Uploads something large, which slows down in mid-transfer, and more until jobs are pending. */
async function inMidTransfer(): Promise<Transfer> {
  const key = `large-${++larges}-of-this-test.jpg`;
  const { keywords, answered } = workload.begin(key, await makeLarge(key), ['large', key]);
  const client = system.start(slowedUpload, `${here}/${key}`, key, JSON.stringify(keywords), String(largeBytes / 3));
  const lines = createInterface(client.stdout)[Symbol.asyncIterator]();
  expect((await lines.next()).value, 'the client has ended').toBe('slowed');
  const at = await whereIs(idOf(key));
  let slowOnes = 0;
  const pendingJobs = await eventually(async () => {
    await uploadSlowOnes(`${key}-${++slowOnes}`);
    return (await system.list()).filter(({ state }) => state === 'pending').length;
  }, patience);
  const goOn = async (): Promise<Uploaded> => {
    client.stdin.end();
    const { value } = await lines.next();
    if (value === undefined) throw new Error('the client of the large upload gave up');
    const uploaded = JSON.parse(value) as Uploaded;
    answered(uploaded.id);
    return uploaded;
  };
  return { ...at, pendingJobs, goOn };
}

/** No server has anything to do. */
async function expectIdle(): Promise<void> {
  await eventually(async () => {
    const listed = await system.servers();
    expect(listed.map(({ name, activeClients }) => `${name} ${activeClients}`).sort()).toEqual(
      servers.map((name) => `${name} 0`),
    );
    return true;
  }, patience);
}

async function askZookeeper(service: string, word: string): Promise<string> {
  return system.inside(service, `exec 3<>/dev/tcp/127.0.0.1/2181 && printf ${word} >&3 && cat <&3`);
}

async function zookeeper(mode: 'leader' | 'follower'): Promise<Container> {
  const services = ['zookeeper-1', 'zookeeper-2', 'zookeeper-3'];
  const modes = await Promise.all(services.map((service) => askZookeeper(service, 'srvr')));
  return system.container(services.find((_, index) => modes[index]!.includes(`Mode: ${mode}`))!);
}

/** Members of the group, by their sessions: the registry, three servers and two workers. */
const members = async (): Promise<number> =>
  Number(/Sessions with Ephemerals \((\d+)\)/.exec(await askZookeeper('zookeeper-1', 'dump'))?.[1]);
const membersAll = 6;

type Damage = readonly [done: (container: Container) => Promise<void>, repaired: (container: Container) => Promise<void>];
const killed: Damage = [(container) => container.kill(), (container) => container.start()];
const stopped: Damage = [(container) => container.stop(), (container) => container.start()];
const paused: Damage = [(container) => container.pause(), (container) => container.unpause()];
const cutOff: Damage = [(container) => container.partition(), (container) => container.heal()];

/** A container that is damaged until it is repaired, here at the latest. */
class Harm implements AsyncDisposable {
  readonly #container: Container;
  readonly #damage: Damage;
  #repaired: Promise<void> | undefined;

  constructor(container: Container, damage: Damage) {
    this.#container = container;
    this.#damage = damage;
  }

  done(): Promise<void> {
    return this.#damage[0](this.#container);
  }

  repair(): Promise<void> {
    return (this.#repaired ??= this.#damage[1](this.#container));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.repair();
  }
}

const isOut = async (server: string): Promise<boolean> => (await system.servers()).every(({ name }) => name !== server);
const leader = async (): Promise<string> => (await system.servers()).find((server) => server.leader)!.name;

interface Fault {
  readonly damage: Damage;
  /** What is damaged, where the large upload is at this server. */
  readonly victim: (server: string) => Container | Promise<Container>;
  /** Whether the system has noticed, which takes a session or two. */
  readonly isNoticed?: (server: string) => Promise<boolean>;
  /** Nothing goes on before it is repaired. */
  readonly outage?: boolean;
}

async function survive({ damage, victim, isNoticed, outage = false }: Fault): Promise<void> {
  await using load = new Load(workload, { rate: 4, clients: 4 });
  await load.goesOn();
  const { server, storedBytes, pendingJobs, goOn } = await inMidTransfer();
  await using harm = new Harm(await victim(server), damage);
  const uploading = goOn();
  uploading.catch(() => {});
  await harm.done();
  const stored = `${Math.round(storedBytes / mib)} of ${largeBytes / mib} MiB were stored at ${server}`;
  console.log(`struck when ${stored}, ${pendingJobs} jobs were pending, ${workload.answered.size} uploads answered`);
  if (isNoticed !== undefined) await eventually(() => isNoticed(server), patience);
  if (outage) await harm.repair();
  await load.goesOn();
  const { sentBytes, bytes, tries } = await uploading;
  console.log(`uploaded in ${tries} tries, ${sentBytes - bytes} bytes were sent again`);
  expect(sentBytes).toBeLessThanOrEqual(bytes + lostBytesMax);
  await harm.repair();
  await eventually(async () => (await members()) === membersAll, patience);
  const verdicts = await load.verdicts();
  expect(verdicts, JSON.stringify(verdicts)).toEqual(verdicts.map((verdict) => ({ ...verdict, kept: true })));
  expect(load.counts, 'a client has given up').toMatchObject({ refused: 0, unknown: 0 });
  await expectIdle();
}

/** With CHAOS=all, as `nx chaos` sets it. Otherwise each kind of machine and each kind of damage has its turn without these. */
const more = (name: string, run: () => Promise<void>): void => {
  if (process.env['CHAOS'] === 'all') it(name, run);
};

describe('in mid-transfer, under load,', { timeout: 600_000 }, () => {
  const itself = (server: string): Container => system.container(server);

  /** Wherever the large upload is. */
  async function leading(damage: Damage): Promise<void> {
    const name = await leader();
    await survive({ damage, victim: () => system.container(name), isNoticed: () => isOut(name) });
  }

  more('the leading server is killed', () => leading(killed));

  it('the leading server hangs for longer than its session, and thaws', () => leading(paused));

  it('the leading server is cut off for longer than its session, and comes back', () => leading(cutOff));

  it('the server of the transfer is killed', async () => {
    await survive({ damage: killed, victim: itself, isNoticed: isOut });
  });

  more('the server of the transfer is told to stop', async () => {
    await survive({ damage: stopped, victim: itself, isNoticed: isOut });
  });

  it('a worker is killed', async () => {
    await survive({ damage: killed, victim: () => system.container('worker') });
  });

  more('a worker hangs for longer than its session, and thaws', async () => {
    const isNoticed = async (): Promise<boolean> => (await members()) < membersAll;
    await survive({ damage: paused, victim: () => system.container('worker'), isNoticed });
  });

  it('the registry is killed, and knows the servers when it is back', async () => {
    await survive({ damage: killed, victim: () => system.container('registry'), outage: true });
  });

  it('RabbitMQ is killed', async () => {
    await survive({ damage: killed, victim: () => system.container('rabbitmq'), outage: true });
  });

  it("ZooKeeper's leader is killed", () => survive({ damage: killed, victim: () => zookeeper('leader') }));

  more("ZooKeeper's follower is killed", () => survive({ damage: killed, victim: () => zookeeper('follower') }));

  it('a brick is killed', async () => {
    await survive({ damage: killed, victim: () => system.container('gluster-2') });
    await bricksHealed();
  });

  more('a brick hangs, and thaws', async () => {
    await survive({ damage: paused, victim: () => system.container('gluster-3') });
    await bricksHealed();
  });
});

/** The brick that was away has all that it missed: another may go. */
async function bricksHealed(): Promise<void> {
  await eventually(async () => {
    const summary = await system.inside('gluster-1', 'gluster volume heal images info summary');
    expect(summary.match(/^Total Number of entries: .*/gm)).toEqual(Array(3).fill('Total Number of entries: 0'));
    return true;
  }, patience);
}

it('gives back every picture that was ever answered, as it was and tagged', async () => {
  const { answered } = workload;
  const listed = await system.list();
  const ids = listed.map(({ id }) => id);
  expect(ids.toSorted(), 'an upload was stored twice').toEqual([...answered.keys()].toSorted());
  const originals = await system.downloadAll(ids, { original: true });
  expect(originals.map(({ sha256 }) => sha256)).toEqual(ids.map((id) => answered.get(id)?.sha256));
  const tagged = await system.downloadAll(ids, { original: false });
  expect(tagged.map(({ sha256 }) => sha256)).toEqual(listed.map(({ taggedSha256 }) => taggedSha256));
});
