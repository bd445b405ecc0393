import { mkdtemp, readdir, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemDisk } from '@lab/store';
import { FakeClock } from '@lab/testing';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { manifestLine } from '../domain/manifest.ts';
import { nameOf, openStore, type BackupStore } from '../versions.ts';
import { DamagedPaths } from './damaged-paths.ts';

let folder: string;
let store: BackupStore;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'damaged-'));
  store = await openStore(folder);
});
afterEach(async () => {
  await store.close();
  await rm(folder, { recursive: true });
});

const keyOf = (path: string) => ({ node: 'desk', path });

/** Of an empty folder, in a pack of its own, whose files it names. */
async function keep(mode: number): Promise<{ manifest: string[]; pack: string[] }> {
  const packs = async (): Promise<string[]> => readdir(join(folder, 'packs'));
  const before = await packs();
  const writer = store.writeManifest();
  await writer.write(Buffer.from(manifestLine({ type: 'folder', path: '', mode, mtimeMs: 0 })));
  const { hashes: manifest } = await writer.end();
  await store.flush();
  return { manifest, pack: (await packs()).filter((name) => !before.includes(name)) };
}

async function version(path: string, mode: number): Promise<string[]> {
  const { manifest, pack } = await keep(mode);
  const record = { ...keyOf(path), name: nameOf(keyOf(path)), createdMs: 0, checksum: '', files: 0, bytes: 0, storedBytes: 0 };
  await store.commit({ ...record, manifest, notes: [] }, { base: 0, hashes: [] });
  return pack;
}

it('while nothing more is lost, only what was damaged is looked at again', async () => {
  const pack = await version('a', 0o755);
  await version('b', 0o700);
  const clock = new FakeClock();
  const damaged = new DamagedPaths(store, clock);
  await damaged.look();
  expect(damaged.found).toEqual([]);
  for (const name of pack) await rm(join(folder, 'packs', name));
  const versions = vi.spyOn(store, 'versions');
  const looked = async (): Promise<Set<string | undefined>> => {
    versions.mockClear();
    await damaged.look();
    return new Set(versions.mock.calls.map(([only]) => only));
  };
  expect(await looked()).toContain(undefined);
  expect(damaged.found).toEqual([{ ...keyOf('a'), versions: 1, stopSweeps: 1 }]);
  expect(await looked()).toEqual(new Set([nameOf(keyOf('a'))]));
  expect(damaged.found).toEqual([{ ...keyOf('a'), versions: 1, stopSweeps: 1 }]);
  await clock.advanceAsync(3_600_000);
  expect(await looked()).toContain(undefined);
  await keep(0o755);
  await looked();
  expect(damaged.found).toEqual([]);
});

it('a look for what is shown reads and lists nothing while no folder looks changed, however many versions there are', async () => {
  await version('a', 0o755);
  await version('b', 0o700);
  const calls: string[] = [];
  const disk = new Proxy(systemDisk, {
    get(target, name: string) {
      calls.push(name);
      return Reflect.get(target, name) as unknown;
    },
  });
  const other = await openStore(folder, { disk });
  const damaged = new DamagedPaths(other, new FakeClock());
  const looked = async (): Promise<string[]> => {
    calls.length = 0;
    await damaged.look(() => other.refreshShown());
    return [...calls];
  };
  await damaged.look();
  expect(await looked()).toEqual(['stat', 'stat']);
  await utimes(join(folder, 'packs'), 1, 1);
  expect(await looked()).toContain('readdir');
  await other.close();
});
