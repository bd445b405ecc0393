/** For tests of the store: versions of some small files, made and read back, and the folder as a crash would leave it. */
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
} from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Random } from '@lab/testing';
import { afterEach } from 'vitest';
import { systemDisk, type Disk } from '../src/disk.ts';
import { encodeBundle, hashOf, type Blob } from '../src/bundle.ts';
import { isLost, Store, type Stored, type StoreOptions, type Version } from '../src/store.ts';

/** Path and content of every file. */
export type Files = ReadonlyMap<string, Buffer>;

/** A manifest is JSON: of each file its path, and the hashes of its blobs. */
type Manifest = [path: string, hashes: string[]][];

const parse = (manifest: Buffer): Manifest => JSON.parse(manifest.toString()) as Manifest;
/** All pieces of a manifest. */
export async function whole(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const piece of pieces) parts.push(new Uint8Array(piece));
  return Buffer.concat(parts);
}
export const options: StoreOptions = {
  kind: 'some small files',
  async *hashesIn(manifest) {
    for (const [, hashes] of parse(await whole(manifest))) yield* hashes;
  },
};

/** `Class` may be a mutant. */
export const openStore = (directory: string, disk: Disk = systemDisk, Class = Store): Promise<Store<Version>> =>
  Class.open(directory, { ...options, disk });
/** Only to read. */
export const openReadOnly = (directory: string, disk: Disk = systemDisk): Promise<Store<Version>> =>
  Store.open(directory, { ...options, disk, readOnly: true });

/** For `sweep`: everything is old enough. */
export const afterGrace = { nowMs: Number.MAX_SAFE_INTEGER, graceMs: 0 };

/** In memory where there is such a folder: thousands of syncs cost nothing there. */
export const newFolder = (): string => mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'backup-store-'));
export const remove = (folder: string): void => rmSync(folder, { recursive: true, force: true });

/** Folders and stores of the tests of a file, closed and removed after each. */
export function ownStores(): { folder: (made?: string) => string; open: (directory?: string) => Promise<Store<Version>> } {
  let folders: string[] = [];
  let stores: Store<Version>[] = [];
  afterEach(async () => {
    for (const store of stores) await store.close().catch(() => undefined);
    folders.forEach(remove);
    [folders, stores] = [[], []];
  });
  const folder = (made = newFolder()): string => {
    folders.push(made);
    return made;
  };
  const open = async (directory = folder()): Promise<Store<Version>> => {
    const store = await openStore(directory);
    stores.push(store);
    return store;
  };
  return { folder, open };
}

export const blobOf = (content: Uint8Array | string): Blob => {
  const bytes = Buffer.from(content);
  return { hash: hashOf(bytes), bytes };
};

/** Nothing that a compressor could shrink. */
export const noise = (random: Random, length: number): Buffer =>
  Buffer.from(Array.from({ length }, () => random.integer(0, 255)));
/** What shrinks. */
export const text = (random: Random, length: number): Buffer =>
  Buffer.alloc(length, `${random.integer(0, 999_999)} lorem ipsum `);

/** Files of the tests are cut after so many bytes. */
const chunkBytes = 1000;

export function blobsIn(content: Buffer): Blob[] {
  return Array.from({ length: Math.ceil(content.length / chunkBytes) }, (_, index) =>
    blobOf(content.subarray(index * chunkBytes, (index + 1) * chunkBytes)),
  );
}

export const manifestFor = (files: Files): Buffer =>
  Buffer.from(
    JSON.stringify([...files].map(([path, content]) => [path, blobsIn(content).map(({ hash }) => hash)]) satisfies Manifest),
  );

/** Stores what the store lacks of these files; some blobs in a bundle. */
export async function keepBlobs(store: Store<Version>, files: Files, blobsInBundle = 3): Promise<void> {
  const blobs = [...files.values()].flatMap(blobsIn).filter(({ hash }) => store.lacks(hash));
  for (let at = 0; at < blobs.length; at += blobsInBundle) await store.keep(encodeBundle(blobs.slice(at, at + blobsInBundle)));
}

export interface Settings {
  base?: number;
  keep?: number | undefined;
  blobsInBundle?: number;
}

/** Makes a version of these files. Returns its number. */
export async function backUp(
  store: Store<Version>,
  name: string,
  files: Files,
  { base, keep, blobsInBundle }: Settings = {},
): Promise<number> {
  await store.takeOver();
  const newest = base ?? (await store.newest(name)).number;
  await keepBlobs(store, files, blobsInBundle);
  const { record, hashes } = await recordOf(store, name, files);
  const version = await store.commit(record, { base: newest, hashes });
  if (keep !== undefined) await store.forget(name, (versions) => versions.slice(0, -keep).map((each) => each.version));
  return version;
}

/** What `commit` takes; the manifest is kept. */
export async function recordOf(
  store: Store<Version>,
  name: string,
  files: Files,
): Promise<{ record: Version; hashes: Set<string> }> {
  const writer = store.writeManifest();
  await writer.write(manifestFor(files));
  const manifest = await writer.end();
  const hashes = new Set([...files.values()].flatMap(blobsIn).map(({ hash }) => hash));
  return { record: { name, manifest: manifest.hashes }, hashes };
}

/** Every file of a version, out of its blobs; those that are in `known` are not read again. */
export async function readBack(
  store: Store<Version>,
  version: Version,
  known = new Map<string, Uint8Array>(),
): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const [path, hashes] of parse(await whole(store.manifestOf(version)))) {
    const blobs: Uint8Array[] = [];
    for (const hash of hashes) {
      const bytes = known.get(hash) ?? (await store.readBlob(hash));
      known.set(hash, bytes);
      blobs.push(bytes);
    }
    files.set(path, Buffer.concat(blobs));
  }
  return files;
}

/** All that is listed; a lost version is an error. */
export async function versionsIn(store: Store<Version>): Promise<Stored<Version>[]> {
  return (await store.versions()).map((version) => {
    if (isLost(version)) throw new Error(`version ${version.version} of ${version.name} is lost`);
    return version;
  });
}

export async function onlyVersion(store: Store<Version>): Promise<Stored<Version>> {
  const versions = await versionsIn(store);
  if (versions.length !== 1) throw new Error(`${versions.length} versions`);
  return versions[0]!;
}

/**
 * What is on disk now, in a folder of its own: what a process leaves that is killed at this moment. Hard links stay what they
 * are.
 */
export function copyOf(folder: string): string {
  for (let tries = 1; ; tries++) {
    const copy = newFolder();
    try {
      copyInto(folder, copy, new Map());
      return copy;
    } catch (error) {
      // A file was renamed while it was copied.
      remove(copy);
      if (tries === 20) throw error;
    }
  }
}

function copyInto(folder: string, copy: string, byInode: Map<number, string>): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const [from, to] = [join(folder, entry.name), join(copy, entry.name)];
    if (entry.isDirectory()) {
      mkdirSync(to);
      copyInto(from, to, byInode);
      continue;
    }
    const { ino, atimeMs, mtimeMs } = statSync(from);
    const same = byInode.get(ino);
    if (same !== undefined) linkSync(same, to);
    else copyFileSync(from, to);
    utimesSync(to, atimeMs / 1000, mtimeMs / 1000);
    byInode.set(ino, to);
  }
}

/** A power loss takes what was not synced: packs that were being written end anywhere. */
export function cutUnfinished(folder: string, random: Random): void {
  for (const name of readdirSync(join(folder, 'incoming'), { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.pack')) continue;
    const path = join(folder, 'incoming', name);
    truncateSync(path, random.integer(0, statSync(path).size));
  }
}

/** Every file of a folder, by its path. */
export async function bytesIn(folder: string): Promise<Map<string, Buffer>> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = names.filter((each) => each.isFile()).map((each) => join(each.parentPath, each.name));
  return new Map(await Promise.all(files.map(async (file) => [file, await readFile(file)] as const)));
}
