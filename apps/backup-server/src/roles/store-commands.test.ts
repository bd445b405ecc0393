import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { manifestLine } from '../domain/manifest.ts';
import { nameOf, openStore } from '../versions.ts';
import { listed } from './store-commands.ts';

it('where a version is removed while it is looked at, those that have come are listed', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'listed-'));
  const store = await openStore(folder);
  const key = { node: 'desk', path: 'a' };
  const commit = async (base: number): Promise<string[]> => {
    const writer = store.writeManifest();
    await writer.write(Buffer.from(manifestLine({ type: 'folder', path: '', mode: 0o700 + base, mtimeMs: 0 })));
    const { hashes: manifest } = await writer.end();
    const record = { ...key, name: nameOf(key), createdMs: 0, checksum: '', files: 0, bytes: 0, storedBytes: 0, notes: [] };
    await store.commit({ ...record, manifest }, { base, hashes: [] });
    return manifest;
  };
  const manifest = await commit(0);
  vi.spyOn(store, 'missingOf').mockImplementationOnce(async () => {
    await commit(1);
    await store.forget(nameOf(key), () => [1]);
    return manifest;
  });
  expect(await listed(store)).toMatchObject([{ ...key, version: 2, state: 'whole' }]);
  await store.close();
  await rm(folder, { recursive: true });
});
