import { readdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '@lab/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { blobOf, newFolder, remove } from '../test/small-store.ts';
import { systemDisk, type Disk } from './disk.ts';
import { encodeBundle, encodeHeader, type BundleHeader } from './bundle.ts';
import { PackWriter } from './pack-writer.ts';
import type { PackedBundle } from './pack-index.ts';

/** As long as `held` is there, no pack is made to count: its index waits. */
const gate: { held: PromiseWithResolvers<void> | undefined; waiting: number } = { held: undefined, waiting: 0 };
const gatedDisk: Disk = {
  ...systemDisk,
  open: async (path, ...how) => {
    if (String(path).endsWith('.index')) {
      gate.waiting++;
      await gate.held?.promise;
    }
    return systemDisk.open(path, ...how);
  },
};

let directory: string;
let sealed: Set<string>;
let writer: PackWriter;
beforeEach(async () => {
  gate.waiting = 0;
  directory = newFolder();
  for (const name of ['packs', 'incoming']) await mkdir(join(directory, name));
  sealed = new Set();
  writer = new PackWriter(directory, gatedDisk, onSealed);
  await writer.takeOver();
});
afterEach(async () => {
  gate.held?.resolve();
  gate.held = undefined;
  await writer.stop().catch(() => undefined);
  remove(directory);
});

function onSealed(_: string, bundles: readonly PackedBundle[]): void {
  for (const { header } of bundles) for (const { hash } of header.blobs) sealed.add(hash);
}

const megabytes = Buffer.alloc(4 * 1024 * 1024);
/** Four of them are a pack. Nobody looks at what is in it. */
function largeBundle(name: string): { hash: string; bundle: Buffer; header: BundleHeader } {
  const { hash } = blobOf(name);
  const header = { compressed: false, payloadBytes: megabytes.length, payloadCrc: 0, blobs: [{ hash, bytes: megabytes.length }] };
  return { hash, bundle: Buffer.concat([encodeHeader(header), megabytes]), header };
}

describe('what was appended', () => {
  it('counts after a flush, and not before', async () => {
    const { hash } = blobOf('x');
    await writer.append(encodeBundle([blobOf('x')]));
    expect([writer.sizeOf(hash) !== undefined, sealed.has(hash)]).toEqual([true, false]);
    await writer.flush();
    expect([writer.sizeOf(hash) !== undefined, sealed.has(hash)]).toEqual([false, true]);
    expect(readdirSync(join(directory, 'packs'))).toHaveLength(2);
  });

  it('before a flush counts after it, also what waited for packs to be closed', async () => {
    gate.held = Promise.withResolvers();
    const bundles = Array.from({ length: 9 }, (_, index) => largeBundle(`${index}`));
    for (const { bundle, header } of bundles.slice(0, 8)) await writer.append(bundle, header);
    const { bundle, header } = bundles.at(-1)!;
    const waiting = writer.append(bundle, header);
    const flushed = writer.flush();
    expect(sealed.size).toBe(0);
    gate.held.resolve();
    await flushed;
    expect(bundles.map(({ hash }) => sealed.has(hash))).toEqual(bundles.map(() => true));
    await waiting;
  });

  it('waits while two packs are being closed, so that memory and disk are not run over', async () => {
    gate.held = Promise.withResolvers();
    const bundles = Array.from({ length: 9 }, (_, index) => largeBundle(`${index}`));
    let appended = 0;
    const all = (async () => {
      for (const { bundle, header } of bundles) await writer.append(bundle, header).then(() => appended++);
    })();
    await eventually(() => appended === 8);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(appended).toBe(8);
    gate.held.resolve();
    await all;
    await writer.flush();
    expect(sealed.size).toBe(9);
  });

  it('while two packs cannot be written waits for them no longer than that is known', async () => {
    gate.held = Promise.withResolvers();
    gate.held.promise.catch(() => undefined);
    const bundles = Array.from({ length: 9 }, (_, index) => largeBundle(`${index}`));
    for (const { bundle, header } of bundles.slice(0, 8)) await writer.append(bundle, header);
    const { bundle, header } = bundles.at(-1)!;
    const waiting = writer.append(bundle, header);
    await eventually(() => gate.waiting === 2);
    gate.held.reject(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }));
    gate.held = undefined;
    await waiting;
    await eventually(() => writer.flush().then(() => true));
    expect(bundles.map(({ hash }) => sealed.has(hash))).toEqual(bundles.map((_, index) => index === 8));
  });

  it('is said to be there when all that stands before it is', async () => {
    const first = Promise.withResolvers<void>();
    let [begun, done] = [0, 0];
    const open: Disk['open'] = async (...how) => {
      const file = await systemDisk.open(...how);
      const write = file.write.bind(file) as (...parts: unknown[]) => Promise<unknown>;
      const late = async (...parts: unknown[]): Promise<unknown> => {
        if (begun++ === 0) await first.promise;
        return write(...parts).finally(() => done++);
      };
      return Object.assign(file, { write: late as typeof file.write });
    };
    const other = new PackWriter(directory, { ...systemDisk, open }, onSealed);
    await other.takeOver();
    const kept: string[] = [];
    const keep = (name: string): Promise<unknown> => other.append(encodeBundle([blobOf(name)])).then(() => kept.push(name));
    const keeping = ['first', 'second'].map(keep);
    await eventually(() => done === 1);
    expect(kept).toEqual([]);
    first.resolve();
    await Promise.all(keeping);
    await other.stop();
  });

  it('is in its pack whenever the index of that is there', async () => {
    const moments: string[][] = [];
    const rename: Disk['rename'] = async (from, to) => {
      await systemDisk.rename(from, to);
      moments.push(readdirSync(join(directory, 'packs')));
    };
    const other = new PackWriter(directory, { ...systemDisk, rename }, onSealed);
    await other.takeOver();
    await other.append(encodeBundle([blobOf('x')]));
    await other.stop();
    const indexes = moments.flatMap((names) =>
      names.filter((name) => name.endsWith('.index')).map((index) => ({ index, names })),
    );
    expect(indexes).not.toEqual([]);
    for (const { index, names } of indexes) expect(names).toContain(index.replace('.index', '.pack'));
  });

  it('and could not be written is not there any more, and said so to whoever flushes', async () => {
    gate.held = Promise.withResolvers();
    gate.held.promise.catch(() => undefined);
    await writer.append(encodeBundle([blobOf('lost')]));
    const flushed = writer.flush();
    gate.held.reject(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }));
    await expect(flushed).rejects.toThrow('no space left on device');
    expect([writer.sizeOf(blobOf('lost').hash), sealed.size]).toEqual([undefined, 0]);
    expect(readdirSync(join(directory, 'packs'))).toEqual([]);
    gate.held = undefined;
    await eventually(async () => {
      await writer.append(encodeBundle([blobOf('next')]));
      await writer.flush();
      return sealed.has(blobOf('next').hash);
    });
    expect(
      readdirSync(join(directory, 'incoming'), { recursive: true }).filter((name) => String(name).endsWith('.pack')),
    ).toEqual([]);
  });
});

describe('the folder of a writer', () => {
  it('goes with it, and only one that nobody has is taken over', async () => {
    const other = new PackWriter(directory, gatedDisk, onSealed);
    await other.takeOver();
    await writer.append(encodeBundle([blobOf('mine')]));
    await other.takeOver();
    expect(sealed.size).toBe(0);
    expect(readdirSync(join(directory, 'incoming'))).toHaveLength(1);
    await other.stop();
    await writer.stop();
    expect(readdirSync(join(directory, 'incoming'))).toEqual([]);
    expect(sealed).toEqual(new Set([blobOf('mine').hash]));
  });

  it('that is half gone, or has not begun, stands in nobody’s way', async () => {
    await mkdir(join(directory, 'incoming', 'begun'));
    await mkdir(join(directory, 'incoming', '.gone-x', 'deep'), { recursive: true });
    await writer.takeOver();
    expect(readdirSync(join(directory, 'incoming'))).not.toContain('.gone-x');
  });

  it('remembers transfers, the oldest of all processes', async () => {
    const other = new PackWriter(directory, gatedDisk, onSealed);
    await other.takeOver();
    expect(await writer.oldestTransferMs()).toBe(Infinity);
    const endFirst = await other.beginTransfer();
    const firstMs = await writer.oldestTransferMs();
    const endSecond = await writer.beginTransfer();
    expect(await writer.oldestTransferMs()).toBe(firstMs);
    await endFirst();
    expect(await other.oldestTransferMs()).toBeGreaterThanOrEqual(firstMs);
    await endSecond();
    expect(await other.oldestTransferMs()).toBe(Infinity);
    await other.stop();
  });
});
