import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeBundle, hashOf } from '@lab/store/bundle';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { nameOf, openStore, type BackupStore, type Key } from '../versions.ts';
import { NodeQuota } from './quota.ts';

let folder: string;
let store: BackupStore;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quota-'));
  store = await openStore(join(folder, 'store'));
});
afterEach(async () => {
  await store.close();
  await rm(folder, { recursive: true });
});

async function version(key: Key, storedBytes: number): Promise<void> {
  const { number } = await store.newest(nameOf(key));
  const record = { ...key, name: nameOf(key), createdMs: 0, checksum: '', files: 0, bytes: 0, storedBytes };
  await store.commit({ ...record, manifest: [], notes: [] }, { base: number, hashes: [] });
}

const [papers, pictures] = [
  { node: 'desk', path: 'papers' },
  { node: 'desk', path: 'pictures' },
];

it('counts all versions of all paths of the node, and none of another', async () => {
  for (const key of [papers, papers, pictures]) await version(key, 100);
  await version({ node: 'lap', path: 'papers' }, 1000);
  using taking = new NodeQuota(store, 400).begin(papers);
  await taking.fits(100);
  await expect(taking.fits(101)).rejects.toThrow(
    'node desk may take 400 bytes of the store (--node-quota) and has taken 300; 101 more do not fit',
  );
});

it('counts what tries have stored, at once or before, until a version does or the store has it no more', async () => {
  const quota = new NodeQuota(store, 400);
  const content = Buffer.from('content');
  await store.keep(encodeBundle([{ hash: hashOf(content), bytes: content }]));
  using beside = quota.begin(pictures);
  beside.stored(50, hashOf(content));
  for (const [bytes, last] of [
    [100, hashOf(content)],
    [200, hashOf(Buffer.from('swept'))],
  ] as const) {
    using taking = quota.begin(papers);
    taking.stored(bytes, last);
  }
  using taking = quota.begin(papers);
  await expect(taking.fits(251)).rejects.toThrow('has taken 150');
  taking.stored(30, hashOf(content));
  expect(await quota.ofVersion(papers)).toBe(130);
  await version(papers, 130);
  quota.settle(papers);
  await expect(taking.fits(221)).rejects.toThrow('has taken 180');
  await taking.fits(220);
});
