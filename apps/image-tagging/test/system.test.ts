/** The whole system when all goes well, and when its entry point does not. */
import { readFile } from 'node:fs/promises';
import { Client, credentials } from '@grpc/grpc-js';
import { eventually } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { clientOptions } from '../src/grpc/channels.ts';
import { collect } from './collect.ts';
import { picture } from './pictures.ts';
import { keywords, start, system, systemForEach } from './scene.ts';

systemForEach();

describe('the system', () => {
  it('tags what was uploaded, finds it by its keywords, and gives back the original and the tagged one', async () => {
    await start();
    const client = system.client();
    const { id, known, sentBytes } = await client.upload(await system.file(picture), keywords);
    expect({ known, sentBytes }).toEqual({ known: false, sentBytes: picture.length });
    await system.tagged(id);
    expect((await collect(client.list(['LAKE']))).map((image) => image.id)).toEqual([id]);
    expect(await collect(client.list(['lake', 'hill']))).toEqual([]);
    const original = await client.download(id, system.folder, true);
    expect(await readFile(original.path)).toEqual(picture);
    const result = await client.download(id, system.folder, false);
    expect(result.tagged).toBe(true);
    expect((await readFile(result.path)).includes('lake')).toBe(true);
    await system.idle();
  });

  it('sends nothing again of an upload that it knows, and publishes its job again', async () => {
    await start({ workers: 0 });
    const client = system.client();
    const file = await system.file(picture);
    const { id } = await client.upload(file, keywords);
    await system.loseJobs();
    expect(await client.upload(file, keywords)).toMatchObject({ id, known: true, sentBytes: 0 });
    await system.startWorker('worker-1');
    await system.tagged(id);
    expect(await system.storedIds()).toEqual([id]);
  });

  it('lists pictures with all the keywords that there may be, a page that a client takes at a time', async () => {
    await start({ servers: 1, workers: 0 });
    const upload = {
      ...{ fileName: 'a.jpg', bytes: 1, sha256: '0'.repeat(64), mediaType: 'image/jpeg', width: 1, height: 1, uploadedMs: 1 },
      keywords: Array.from({ length: 100 }, (_, index) => `${index}`.padEnd(100, '\u6e2f')),
    };
    const ids = Array.from({ length: 200 }, (_, index) =>
      `${index}`.padStart(20, 'a').replaceAll(/[0189]/g, (digit) => 'bcde'['0189'.indexOf(digit)]!),
    );
    for (const id of ids) await system.observer.tell({ type: 'picture-uploaded', upload: { ...upload, id } });
    const listed = await collect(system.client().list([]));
    expect(listed.map(({ id }) => id)).toEqual(ids.toSorted());
  });

  it('answers questions about its health, and says what it can be asked', async () => {
    await start({ servers: 1, workers: 0 });
    const bytes = (value: Buffer): Buffer => value;
    for (const [address, service] of [
      [system.registry, 'lab.images.v1.Registry'],
      [system.addressOf('svc-1'), 'lab.images.v1.Images'],
    ] as const) {
      const client = new Client(address, credentials.createInsecure(), clientOptions);
      const health = await new Promise((resolve, reject) =>
        client.makeUnaryRequest('/grpc.health.v1.Health/Check', bytes, bytes, Buffer.alloc(0), (error, answer) =>
          error === null ? resolve(answer) : reject(error),
        ),
      );
      const serving = Buffer.from([8, 1]);
      expect(health).toEqual(serving);
      const reflection = client.makeBidiStreamRequest('/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', bytes, bytes);
      const listServices = Buffer.from('\x3a\x01*');
      reflection.end(listServices);
      const answers = (await reflection.toArray()) as Buffer[];
      expect(Buffer.concat(answers).toString()).toContain(service);
      client.close();
    }
  });
});

describe('a registry that is killed', () => {
  it('is missed by its clients until there is another, which knows what it must', async () => {
    await start();
    const client = system.client();
    const [before] = await Promise.all([client.servers()]);
    await system.kill('registry');
    const retries: string[] = [];
    const waiting = system.client({ onRetry: (reason) => retries.push(reason) }).upload(await system.file(picture), keywords);
    await eventually(() => retries.length > 0);
    await system.startRegistry();
    await system.tagged((await waiting).id);
    const after = await eventually(async () => (await client.servers()).filter(({ address }) => address !== ''));
    expect(after.map(({ address }) => address)).toEqual(before.map(({ address }) => address));
  });
});
