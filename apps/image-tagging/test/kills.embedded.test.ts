/** What is left of the system's promises when its parts die at the worst moments. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { eventually, FakeClock } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { mebibyte, numbered, picture } from './pictures.ts';
import { chunk, download, header, headerOf, imagesAt, upload, UploadCall } from './raw-call.ts';
import { keywords, sha256, start, system, systemForEach } from './scene.ts';
import type { Point } from './system.ts';

systemForEach();

describe('a server that is killed', () => {
  it.each<[string, Point]>([
    ['in the middle of the bytes', 'append'],
    ['before the upload is a picture', 'commit'],
    ['when it is stored, before the group knows', 'committed'],
    ['when the group knows, before its job is published', 'publish'],
    ['when its job is published, before the client has its answer', 'published'],
  ])('%s loses no upload: its client gets the one id elsewhere, and the picture is tagged once', async (_, point) => {
    await start();
    const killed = system.killAt(point, system.servers, point === 'append' ? 3 : 1);
    const bytes = numbered(0, mebibyte);
    const { id, tries } = await system.client().upload(await system.file(bytes), keywords);
    expect(tries).toBe(2);
    await killed;
    await system.tagged(id);
    expect(await system.storedIds()).toEqual([id]);
    expect(await system.partialFiles()).toEqual([]);
    const [survivor] = system.servers;
    expect((await download(imagesAt(system.addressOf(survivor!)), { id, original: true })).bytes).toEqual(bytes);
    await eventually(() => system.observer.catalog.servers().length === 2);
    await system.idle();
  });

  it('with a picture that only the folder knows: the next leader tells the group, and it is tagged', async () => {
    await start();
    const { leader } = system;
    const killed = system.killAt('committed', [leader!]);
    const raw = imagesAt(system.addressOf(leader!));
    const ended = await upload(raw, header(headerOf(picture)), chunk(picture));
    raw.close();
    expect(status[ended.code]).toBe('UNAVAILABLE');
    await killed;
    await eventually(async () => (await system.storedIds()).length === 1);
    const [id] = await system.storedIds();
    await system.tagged(id!);
  });

  it('as the leader, with jobs that the broker has lost: the next one publishes them again', async () => {
    await start({ workers: 0 });
    const client = system.client();
    const ids: string[] = [];
    for (let number = 0; number < 3; number++) ids.push((await client.upload(await system.file(numbered(number)), keywords)).id);
    await system.loseJobs();
    const { leader } = system;
    await system.kill(leader!);
    await eventually(() => system.leader !== undefined && system.leader !== leader);
    await system.startWorker('worker-1');
    for (const id of ids) await system.tagged(id);
  });

  it('is not given to clients once the view says so, nor are its clients counted', async () => {
    await start();
    const dead = system.addressOf('svc-2');
    const raw = imagesAt(dead);
    const call = new UploadCall(raw).send(header(headerOf(picture)));
    const entry = () => system.observer.catalog.servers().find(({ name }) => name === 'svc-2');
    await eventually(() => entry()?.activeClients === 1);
    await system.kill('svc-2');
    await call.ended;
    raw.close();
    const client = system.client();
    await eventually(async () => (await client.servers()).length === 2);
    for (let number = 0; number < 12; number++) await client.upload(await system.file(numbered(number)), keywords);
    expect((await client.servers()).map(({ address }) => address)).not.toContain(dead);
    await system.idle();
  });

  it('during a download does not end it: the rest comes from another', async () => {
    await start({ workers: 0 });
    const bytes = numbered(0, 12 * mebibyte);
    const client = system.client();
    const { id } = await client.upload(await system.file(bytes), keywords);
    let killed: Promise<void> | undefined;
    const { path } = await client.download(id, join(system.folder, 'down'), true, (done) => {
      const serving = system.observer.catalog.servers().find(({ activeClients }) => activeClients > 0);
      if (done > 3 * mebibyte && serving !== undefined) killed ??= system.kill(serving.name);
    });
    expect(killed).toBeDefined();
    await killed;
    expect(sha256(await readFile(path))).toBe(sha256(bytes));
  });
});

describe('a worker that is killed', () => {
  it.each<[string, Point]>([
    ['before it has a result', 'tag'],
    ['when the result is in the folder, before the group knows', 'tagged'],
  ])('%s leaves the job to another, and one result counts', async (_, point) => {
    await start({ workers: 2 });
    const killed = system.killAt(point, ['worker-1', 'worker-2']);
    const { id } = await system.client().upload(await system.file(picture), keywords);
    await killed;
    await system.tagged(id);
    const folder = join(system.folder, 'store/images', id.slice(0, 2), id);
    const files = await readdir(folder);
    const known = system.observer.catalog.picture(id)!.tagged!;
    expect(files.toSorted()).toEqual(['data', 'result.json', known.name, 'upload.json'].toSorted());
    expect(sha256(await readFile(join(folder, known.name)))).toBe(known.sha256);
  });

  it('never makes a picture fail, nor does a folder that is away for long', async () => {
    const clock = new FakeClock();
    await start({ workers: 1, servers: 1, clock });
    let failures = 0;
    system.fault('worker-1', (point) => {
      if (point === 'tag' && ++failures <= 15) throw new Error('the folder is away');
    });
    const { id } = await system.client().upload(await system.file(picture), keywords);
    await eventually(() => (clock.advance(1_000), system.stateOf(id) !== 'pending'), { intervalMs: 10 });
    expect(system.observer.catalog.picture(id)).toMatchObject({ state: 'tagged' });
    expect(failures).toBeGreaterThan(15);
  });
});
