import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeBundle, hashOf } from '@lab/store/bundle';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { manifestLine, type Entry } from '../domain/manifest.ts';
import { checksumOf } from '../messages.ts';
import { nameOf, openStore, type BackupStore } from '../versions.ts';
import { drill } from './drill.ts';

const key = { node: 'desk', path: 'papers' };
let folder: string;
let store: BackupStore;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'drill-'));
  store = await openStore(folder);
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

/** A version of one file in two chunks; its record and its entry say what they say. */
async function save(entryOf: (entry: Entry) => Entry = (entry) => entry, files = 1): Promise<void> {
  const chunks = ['one ', `and ${Math.random()}`].map((text) => ({ hash: hashOf(Buffer.from(text)), bytes: Buffer.from(text) }));
  await store.keep(encodeBundle(chunks));
  const whole = Buffer.concat(chunks.map(({ bytes }) => bytes));
  const file = entryOf({
    type: 'file',
    path: '',
    mode: 0o644,
    mtimeMs: 0,
    size: whole.length,
    sha256: hashOf(whole),
    chunks: chunks.map(({ hash, bytes }) => [hash, bytes.length]),
  });
  const writer = store.writeManifest();
  await writer.write(Buffer.from(manifestLine(file)));
  const { hashes: manifest } = await writer.end();
  const { number: base } = await store.newest(nameOf(key));
  const totals = { files, bytes: whole.length, storedBytes: 0, createdMs: 0, notes: [] };
  const record = { ...key, name: nameOf(key), manifest, checksum: checksumOf([file]), ...totals };
  await store.commit(record, { base, hashes: chunks.map(({ hash }) => hash) });
}

it('tries the version that chance picks, and finds it as it was', async () => {
  expect(await drill(store, key, 5)).toBeUndefined();
  await save();
  await save();
  expect(await drill(store, key, 6)).toEqual({ version: 1 });
  expect(await drill(store, key, 7)).toEqual({ version: 2 });
});

it('finds a file that is not what its manifest says', async () => {
  await save((entry) => ({ ...entry, sha256: 'a'.repeat(64) }) as Entry);
  expect(await drill(store, key, 0)).toMatchObject({
    version: 1,
    problem: expect.stringContaining('is not what its manifest says') as string,
  });
});

it('finds a manifest that is not that of its record', async () => {
  await save(undefined, 2);
  expect(await drill(store, key, 0)).toEqual({ version: 1, problem: 'its manifest is not that of its record' });
});

it('finds damage that nobody knew of, which is known from then on', async () => {
  await save();
  const missing = async (): Promise<string[]> => store.missingOf((await store.newest(nameOf(key))).version!);
  expect(await missing()).toEqual([]);
  const packs = join(folder, 'packs');
  const pack = join(
    packs,
    readdirSync(packs).find((name) => name.endsWith('.pack'))!,
  );
  writeFileSync(pack, Buffer.alloc(readFileSync(pack).length));
  expect(await drill(store, key, 0)).toMatchObject({
    version: 1,
    problem: expect.stringContaining('damaged or missing') as string,
  });
  expect(await missing()).not.toEqual([]);
});
