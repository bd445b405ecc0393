/** What the system must bear, as little of it as shows the promise, or as much as a long run takes. */
import { createHash } from 'node:crypto';
import { systemClock } from '@lab/process';
import { seededRandom } from '@lab/testing';
import { expect } from 'vitest';
import { mebibyte, numbered } from './pictures.ts';
import { download, imagesAt } from './raw-call.ts';
import { System } from './system.ts';

const keywords = ['lake', 'boats'];
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** All are stored under ids of their own, and tagged. */
export async function uploadAtOnce({ uploads }: { uploads: number }): Promise<void> {
  await using system = await System.start({ workers: 2 });
  const client = system.client();
  const files = await Promise.all(Array.from({ length: uploads }, (_, index) => system.file(numbered(index), `${index}.jpg`)));
  const ids = (await Promise.all(files.map((file) => client.upload(file, keywords)))).map(({ id }) => id);
  expect(new Set(ids).size).toBe(uploads);
  expect((await system.storedIds()).toSorted()).toEqual(ids.toSorted());
  for (const id of ids) await system.tagged(id);
  await system.idle();
}

/** It goes on each time, sends at most 4 MiB again, and comes back as it was sent. */
export async function uploadThroughCuts({ mebibytes, cutCount }: { mebibytes: number; cutCount: number }): Promise<void> {
  await using system = await System.start();
  // As slow as a disk: what is in flight is in buffers then, and a cut loses it.
  for (const name of system.servers)
    system.fault(name, (point) => {
      if (point === 'append') return new Promise((resolve) => void systemClock.after(1, resolve));
    });
  const bytes = numbered(0, mebibytes * mebibyte);
  const random = seededRandom(7);
  const cuts = Array.from({ length: cutCount }, () => random.integer(1, mebibytes - 1) * mebibyte).sort((a, b) => a - b);
  const retries: string[] = [];
  const client = system.client({ onRetry: (reason) => retries.push(reason) });
  const { id, sentBytes } = await client.upload(await system.file(bytes), keywords, undefined, (stored, _total, what) => {
    if (what === 'hashing' || cuts[0] === undefined || stored < cuts[0]) return;
    cuts.shift();
    for (const name of system.servers) system.proxyOf(name).reset();
  });
  expect(cuts).toEqual([]);
  expect(retries.length).toBeGreaterThanOrEqual(cutCount);
  expect(sentBytes - bytes.length).toBeLessThanOrEqual(retries.length * 4 * mebibyte);
  const { bytes: back } = await download(imagesAt(system.addressOf('svc-1')), { id, original: true });
  expect(sha256(back)).toBe(sha256(bytes));
  await system.idle();
}

/** Whatever dies meanwhile, all that were answered are stored once, and tagged in the end. */
export async function uploadAmongKills({ uploads }: { uploads: number }): Promise<void> {
  await using system = await System.start({ servers: 3, workers: 2 });
  const random = seededRandom(11);
  let done = false;
  const kills: string[] = [];
  const killing = (async () => {
    while (!done || kills.length < 4) {
      await new Promise<void>((resolve) => void systemClock.after(random.integer(50, 300), resolve));
      const name = random.pick(system.names);
      kills.push(name);
      await system.kill(name);
      if (name === 'registry') await system.startRegistry();
      else if (name.startsWith('svc')) await system.startServer(name);
      else await system.startWorker(name);
    }
  })();
  const client = system.client();
  const ids: string[] = [];
  for (let number = 0; number < uploads; number += 4) {
    const four = [0, 1, 2, 3].map((offset) => number + offset);
    const files = await Promise.all(four.map((each) => system.file(numbered(each, 2 * mebibyte), `${each}.jpg`)));
    ids.push(...(await Promise.all(files.map((file) => client.upload(file, keywords)))).map(({ id }) => id));
  }
  done = true;
  await killing;
  for (const id of ids) await system.tagged(id);
  expect((await system.storedIds()).toSorted()).toEqual(ids.toSorted());
  await system.idle();
}
