import { seededRandom } from '@lab/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeBundle, hashOf, type Blob } from '@lab/store/bundle';
import type { Channel } from '../channel/channel.ts';
import { DamagedError, Download, reportDamage, sourceOf } from './download.ts';
import { chunksIn, type Chunk, type Entry } from '../domain/manifest.ts';
import { packJson, unpackHashes, type Head } from '../messages.ts';

const blobOf = (bytes: Buffer): Blob => ({ hash: hashOf(bytes), bytes });
const fileOf = (path: string, blobs: readonly Blob[]): Entry => {
  const chunks = blobs.map(({ hash, bytes }): Chunk => [hash, bytes.length]);
  const size = blobs.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const content = Buffer.concat(blobs.map(({ bytes }) => bytes));
  return { type: 'file', path, mode: 0o644, mtimeMs: 0, size, sha256: hashOf(content), ...(chunks.length > 1 && { chunks }) };
};

/** A server of these bundles, that answers at once; what it was asked for, and what it sent. */
class Server {
  readonly #bundles: readonly Buffer[];
  readonly #at = new Map<string, number>();
  readonly #queue: { head: Head; body: Buffer }[] = [];
  readonly asked: string[] = [];
  /** Most hashes in one message. */
  askedMax = 0;
  readonly suspected: string[] = [];
  sent = 0;
  /** Answers that wait to be read. */
  waitingMax = 0;

  constructor(groups: readonly (readonly Blob[])[], change: (bundle: Buffer) => Buffer = (bundle) => bundle) {
    this.#bundles = groups.map((group) => change(encodeBundle(group)));
    for (const [index, group] of groups.entries()) for (const { hash } of group) this.#at.set(hash, index);
  }

  get channel(): Channel {
    return this as unknown as Channel;
  }

  send(head: Head, body: Buffer = Buffer.alloc(0)): Promise<void> {
    if (head.kind === 'suspect') {
      this.suspected.push(head.hash);
      this.#queue.push({ head: { kind: 'answer', more: false }, body: packJson({ isThere: true }) });
      return Promise.resolve();
    }
    const hashes = unpackHashes(body);
    this.asked.push(...hashes);
    this.askedMax = Math.max(this.askedMax, hashes.length);
    for (const index of new Set(hashes.map((hash) => this.#at.get(hash)!))) {
      this.#queue.push({ head: { kind: 'bundle' }, body: this.#bundles[index]! });
      this.sent++;
    }
    this.#queue.push({ head: { kind: 'sent' }, body: Buffer.alloc(0) });
    this.waitingMax = Math.max(this.waitingMax, this.#queue.filter(({ head: { kind } }) => kind === 'sent').length);
    return Promise.resolve();
  }

  expect(): Promise<{ head: Head; body: Buffer }> {
    const message = this.#queue.shift();
    return message === undefined ? Promise.reject(new Error('nothing comes any more')) : Promise.resolve(message);
  }
}

const chunkOf = ({ hash, bytes }: Blob): Chunk => [hash, bytes.length];
const downloadOf = ({ channel }: Server, entries: readonly Entry[]): Download =>
  new Download(sourceOf(channel), chunksIn(entries));
const needsOf = (entries: readonly (readonly Blob[])[]): Blob[] => entries.flat();

async function contentOf(download: Download, needs: readonly Blob[]): Promise<boolean> {
  for (const blob of needs) if (!Buffer.from(await download.take(chunkOf(blob))).equals(blob.bytes)) return false;
  return true;
}

describe('a download', () => {
  it('gives every chunk in the order of the manifest, however they are bundled and however often they are needed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 40 }),
        fc.array(fc.array(fc.nat(), { minLength: 1, maxLength: 5 }), { maxLength: 40 }),
        fc.nat(),
        async (count, files, seed) => {
          const random = seededRandom(seed);
          const blobs = Array.from({ length: count }, (_, index) =>
            blobOf(Buffer.from(`${index} `.repeat(random.integer(1, 50)))),
          );
          const groups: Blob[][] = [];
          for (const blob of random.shuffle(blobs)) {
            if (groups.length === 0 || random.chance(0.3)) groups.push([]);
            groups.at(-1)!.push(blob);
          }
          const contents = files.map((each) => each.map((index) => blobs[index % count]!));
          const server = new Server(groups);
          const download = downloadOf(
            server,
            contents.map((each, index) => fileOf(`f${index}`, each)),
          );
          expect(await contentOf(download, needsOf(contents))).toBe(true);
          expect(new Set(server.asked).size).toBe(server.asked.length);
          expect(server.sent).toBeLessThanOrEqual(groups.length);
        },
      ),
    );
  });

  it('asks ahead by a few megabytes, and for nothing twice that it has', async () => {
    const random = seededRandom(1);
    const blobs = Array.from({ length: 20 }, (_, index) => blobOf(Buffer.alloc(1024 * 1024, index)));
    const contents = [...blobs, ...random.shuffle(blobs), ...blobs].map((blob) => [blob]);
    const server = new Server(blobs.map((blob) => [blob]));
    const download = downloadOf(
      server,
      contents.map((each, index) => fileOf(`f${index}`, each)),
    );
    expect(await contentOf(download, needsOf(contents))).toBe(true);
    expect(server.waitingMax).toBe(3);
    expect(server.asked).toHaveLength(blobs.length);
  });

  it('asks for so many blobs at once that a message holds, however small they are', async () => {
    const blobs = Array.from({ length: 20_000 }, (_, index) => blobOf(Buffer.from(`seven${index}`)));
    const groups = Array.from({ length: 20 }, (_, index) => blobs.slice(1_000 * index, 1_000 * (index + 1)));
    const server = new Server(groups);
    const download = downloadOf(
      server,
      blobs.map((blob, index) => fileOf(`f${index}`, [blob])),
    );
    expect(await contentOf(download, blobs)).toBe(true);
    expect(server.asked).toHaveLength(blobs.length);
    expect(server.askedMax).toBeLessThanOrEqual(8_192);
  });

  it('keeps to its memory: what is needed much later comes again', async () => {
    const blobs = Array.from({ length: 30 }, (_, index) => blobOf(Buffer.alloc(2 * 1024 * 1024, index)));
    const contents = [...blobs, ...blobs].map((blob) => [blob]);
    const server = new Server(blobs.map((blob) => [blob]));
    const download = downloadOf(
      server,
      contents.map((each, index) => fileOf(`f${index}`, each)),
    );
    expect(await contentOf(download, needsOf(contents))).toBe(true);
    expect(server.asked.length).toBeGreaterThan(blobs.length);
    expect(server.asked.length).toBeLessThan(2 * blobs.length);
  });

  it('of nothing asks for nothing', () => {
    const server = new Server([]);
    downloadOf(server, [{ type: 'folder', path: '', mode: 0o755, mtimeMs: 0 }, fileOf('empty', [])]);
    expect(server.asked).toEqual([]);
  });

  it('takes nothing for a blob that is another, and tells the server', async () => {
    const [good, bad] = [blobOf(seededBytes(300, 1)), blobOf(seededBytes(300, 2))];
    const server = new Server([[good], [bad]], (bundle) => {
      const copy = Buffer.from(bundle);
      if (bundle.includes(Buffer.from(bad.bytes.subarray(0, 50)))) copy[copy.length - 1]! ^= 1;
      return copy;
    });
    const download = downloadOf(server, [fileOf('a', [good, bad])]);
    const error = await download.take(chunkOf(good)).catch((caught: unknown) => caught);
    const second = error instanceof Error ? error : await download.take(chunkOf(bad)).catch((caught: unknown) => caught);
    expect(second).toBeInstanceOf(DamagedError);
    expect(await reportDamage(server.channel, second as DamagedError)).toBe(true);
    expect(server.suspected).toEqual([bad.hash]);
  });

  it('looks no further ahead than it asks', async () => {
    const blobs = Array.from({ length: 30 }, (_, index) => blobOf(Buffer.alloc(1024 * 1024, index)));
    let looked = 0;
    function* needs(): Generator<Chunk> {
      for (; looked < blobs.length; looked++) yield chunkOf(blobs[looked]!);
    }
    const server = new Server(blobs.map((blob) => [blob]));
    await new Download(sourceOf(server.channel), needs()).take(chunkOf(blobs[0]!));
    expect(looked).toBeLessThanOrEqual(12);
  });

  it('does not mind damage beside what it needs', async () => {
    const [good, bad] = [blobOf(seededBytes(300, 3)), blobOf(seededBytes(300, 4))];
    const server = new Server([[good, bad]], (bundle) => {
      const copy = Buffer.from(bundle);
      copy[copy.length - 1]! ^= 1;
      return copy;
    });
    const download = downloadOf(server, [fileOf('a', [good])]);
    expect(Buffer.from(await download.take(chunkOf(good))).equals(good.bytes)).toBe(true);
  });

  it('takes a sound copy, though a damaged one came first with what it needs', async () => {
    const [good, twice] = [blobOf(seededBytes(300, 5)), blobOf(seededBytes(300, 6))];
    const server = new Server([[good, twice], [twice]], (bundle) => {
      const copy = Buffer.from(bundle);
      if (copy.includes(Buffer.from(good.bytes))) copy[copy.length - 1]! ^= 1;
      return copy;
    });
    expect(await contentOf(downloadOf(server, [fileOf('a', [good, twice])]), [good, twice])).toBe(true);
  });

  it('gives what comes after damage, and damage only where it is', async () => {
    const blobs = [7, 8, 9].map((seed) => blobOf(seededBytes(300, seed)));
    const server = new Server(
      blobs.map((blob) => [blob]),
      (bundle) => {
        const copy = Buffer.from(bundle);
        if (copy.includes(Buffer.from(blobs[1]!.bytes.subarray(0, 50)))) copy[copy.length - 1]! ^= 1;
        return copy;
      },
    );
    const download = downloadOf(server, [fileOf('a', blobs)]);
    expect(Buffer.from(await download.take(chunkOf(blobs[0]!)))).toEqual(blobs[0]!.bytes);
    await expect(download.take(chunkOf(blobs[1]!))).rejects.toThrow(DamagedError);
    expect(Buffer.from(await download.take(chunkOf(blobs[2]!)))).toEqual(blobs[2]!.bytes);
  });
});

function seededBytes(length: number, seed: number): Buffer {
  const random = seededRandom(seed);
  return Buffer.from(Array.from({ length }, () => random.integer(0, 255)));
}
