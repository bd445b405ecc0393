/** The system as `npx nx up` starts it, on a real RabbitMQ, ZooKeeper and GlusterFS. */
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '@lab/testing';
import { docker, rabbitmqFolder } from '@lab/testing/containers';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makePicture } from '../data/make.ts';
import { ImageComposeSystem, sha256Of } from './compose-system.ts';

const data = join(import.meta.dirname, '../data');
const samples: Readonly<Record<string, readonly string[]>> = {
  'harbour.jpg': ['harbour', 'boats', 'größer <&> ok'],
  'fjord.webp': ['fjord', 'water'],
  'dunes.png': ['dunes', 'sand'],
  'evening.gif': ['evening', 'sky'],
  'lake.tiff': ['lake', 'water'],
  'ridge.avif': ['ridge', 'mountains'],
};
const servers = ['svc-1', 'svc-2', 'svc-3'];
const roles = ['registry', ...servers, 'worker'];
/** Of whatever starts anew: every role mounts, connects, joins and reads the catalog. */
const patience = { timeoutMs: 60_000, intervalMs: 500 };

let system: ImageComposeSystem;
/** What has to be there from its upload on: the SHA-256 of each by its id. */
const uploaded = new Map<string, string>();

beforeAll(async () => {
  system = await ImageComposeSystem.start('integration');
}, 300_000);

afterAll(async () => {
  await system[Symbol.asyncDispose]();
});

async function uploadFile(name: string, keywords: readonly string[]): Promise<string> {
  const { id } = await system.upload(name, keywords);
  uploaded.set(id, await sha256Of(join(system.folder, name)));
  return id;
}

/** Every picture that was ever uploaded is listed and tagged, no other is, and all come back as they are listed. */
async function expectAllWhole(): Promise<void> {
  const listed = await eventually(async () => {
    const all = await system.list();
    expect(all.map(({ id, sha256, state }) => `${id} ${sha256} ${state}`).sort()).toEqual(
      [...uploaded].map(([id, sha256]) => `${id} ${sha256} tagged`).sort(),
    );
    return all;
  }, patience);
  const ids = listed.map(({ id }) => id);
  const originals = await system.downloadAll(ids, { original: true });
  expect(originals.map(({ sha256 }) => sha256)).toEqual(listed.map(({ sha256 }) => sha256));
  const tagged = await system.downloadAll(ids, { original: false });
  expect(tagged.map(({ sha256 }) => sha256)).toEqual(listed.map(({ taggedSha256 }) => taggedSha256));
}

const serverNames = async (): Promise<string[]> => (await system.servers()).map(({ name }) => name).sort();

describe.each(Object.entries(samples))('%s', (name, keywords) => {
  it('is uploaded, tagged, found by its keywords, and comes back as it was and tagged', async () => {
    await copyFile(join(data, name), join(system.folder, name));
    const id = await uploadFile(name, keywords);
    const { taggedSha256 } = await system.waitUntilTagged(id);
    for (const keyword of [...keywords, keywords[0]!.toUpperCase()])
      expect((await system.search(keyword)).map((found) => found.id)).toContain(id);
    expect((await system.download(id, '--original')).sha256).toBe(uploaded.get(id));
    const { path, tagged, sha256 } = await system.download(id);
    expect({ tagged, sha256 }).toEqual({ tagged: true, sha256: taggedSha256 });
    const bytes = await readFile(path);
    // sharp knows no XMP in GIFs; there it stands in the file as text.
    const { xmp = bytes } = await sharp(bytes, { failOn: 'warning' }).metadata();
    const escaped = keywords.map((keyword) => keyword.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;'));
    for (const keyword of escaped) expect(xmp.includes(keyword), keyword).toBe(true);
  });
});

it('stores an upload once, however often it comes, and sends nothing of it again', async () => {
  const [name, keywords] = Object.entries(samples)[0]!;
  const again = await Promise.all([1, 2, 3].map(() => system.upload(name, keywords)));
  for (const { id, known, sentBytes } of again)
    expect({ stored: uploaded.has(id), known, sentBytes }).toEqual({ stored: true, known: true, sentBytes: 0 });
  expect(await system.list()).toHaveLength(uploaded.size);
});

it('answers the calls of gRPC for health and reflection', async () => {
  for (const address of ['registry:8000', ...servers.map((server) => `${server}:9001`)])
    expect(await system.program(standardCalls, address), address).toEqual({
      health: 'SERVING',
      services: expect.arrayContaining(['lab.images.v1.Images', 'lab.images.v1.Registry']) as string[],
    });
});

const standardCalls = `
  import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
  import { loadSync } from '@grpc/proto-loader';
  const packageOf = (proto) => loadPackageDefinition(loadSync('/kit/node_modules/' + proto, { enums: String, keepCase: true }));
  const [address] = process.argv.slice(1);
  const { Health } = packageOf('grpc-health-check/proto/health/v1/health.proto').grpc.health.v1;
  const health = await new Promise((resolve, reject) => {
    new Health(address, credentials.createInsecure()).check({}, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
  const { ServerReflection } = packageOf('@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto').grpc.reflection.v1;
  const call = new ServerReflection(address, credentials.createInsecure()).ServerReflectionInfo();
  call.end({ list_services: '' });
  for await (const { list_services_response } of call)
    console.log(JSON.stringify({ health: health.status, services: list_services_response.service.map(({ name }) => name) }));
  process.exit();
`;

it('may be configured again at any time', async () => {
  const configure = () => system.compose('run', '--rm', '--no-deps', 'configurator');
  expect(await configure()).toBe(await configure());
  await uploadMade(1);
  await expectAllWhole();
});

/** A picture of its own for each seed. */
async function uploadMade(seed: number): Promise<string> {
  const name = `made-${seed}.jpg`;
  await writeFile(join(system.folder, name), await makePicture({ seed, width: 320, height: 240, format: 'jpeg' }));
  return uploadFile(name, [`seed-${seed}`]);
}

it('has a server that joins late serve what was uploaded before, alone if need be', async () => {
  const name = `${system.project}-svc-4`;
  const command = ['server', '--name', 'svc-4', '--listen', '0.0.0.0:9001', '--address', `${name}:9001`];
  await system.compose('run', '--detach', '--no-deps', '--name', name, 'svc-1', ...command);
  await eventually(async () => expect(await serverNames()).toEqual([...servers, 'svc-4']), patience);
  await system.compose('stop', ...servers);
  expect(await serverNames()).toEqual(['svc-4']);
  await expectAllWhole();
  await uploadMade(2);
  await system.compose('start', ...servers);
  await eventually(async () => expect(await serverNames()).toEqual([...servers, 'svc-4']), patience);
  await docker('rm', '--force', name);
}, 120_000);

it('keeps all pictures over a restart of all roles', async () => {
  await system.compose('restart', ...roles);
  await expectAllWhole();
});

it('keeps all pictures when all containers are removed and made anew', async () => {
  await system.down();
  await system.up();
  await expectAllWhole();
});

it('goes on with what its members know when RabbitMQ loses its disk under their hands', async () => {
  const pending = await uploadMade(4);
  const rabbitmq = system.container('rabbitmq');
  await rabbitmq.kill();
  await rabbitmq.empty(rabbitmqFolder);
  await rabbitmq.start();
  expect(await system.status(pending)).toMatchObject({ id: pending });
  await system.compose('run', '--rm', '--no-deps', 'configurator');
  await eventually(() => uploadMade(5), patience);
  await expectAllWhole();
});

it('finds all pictures in the folder when RabbitMQ has lost everything, and tags what was not tagged', async () => {
  await system.compose('stop', 'worker');
  const pending = await uploadMade(3);
  expect(await system.status(pending)).toMatchObject({ state: 'pending' });
  await system.compose('rm', '--stop', '--force', 'rabbitmq');
  await docker('volume', 'rm', `${system.project}_rabbitmq`);
  await system.up();
  await expectAllWhole();
});
