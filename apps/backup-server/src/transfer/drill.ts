/** A restore into nothing, without being asked: whether a version is still what its manifest says, and its manifest what was backed up. */
import { createHash } from 'node:crypto';
import { isLost } from '@lab/store';
import { chunksOf, count, type FileEntry } from '../domain/manifest.ts';
import { TreeChecksum } from '../messages.ts';
import { entriesOf, nameOf, type BackupStore, type Key, type Version } from '../versions.ts';

/** Of the versions of a path one is tried, by `pick`; its number, and why it cannot be restored. `undefined` where there is none. */
export async function drill(
  store: BackupStore,
  key: Key,
  pick: number,
): Promise<{ version: number; problem?: string } | undefined> {
  await store.refresh();
  const versions = await store.versions(nameOf(key));
  const version = versions[pick % versions.length];
  if (version === undefined) return undefined;
  if (isLost(version)) return { version: version.version, problem: 'its record is damaged' };
  try {
    await restoreIntoNothing(store, version);
    return { version: version.version };
  } catch (error) {
    // What has been forgotten meanwhile proves nothing.
    const isThere = (await store.versions(nameOf(key))).some((each) => each.version === version.version);
    return isThere ? { version: version.version, problem: (error as Error).message } : undefined;
  }
}

async function restoreIntoNothing(store: BackupStore, version: Version): Promise<void> {
  const read = store.reader();
  const checksum = new TreeChecksum();
  const totals = { files: 0, bytes: 0 };
  for await (const entry of entriesOf(store, version)) {
    if (entry.type === 'file') await readFile(entry, read);
    checksum.add(entry);
    count(totals, entry);
  }
  if (checksum.digest() !== version.checksum || totals.files !== version.files || totals.bytes !== version.bytes)
    throw new Error('its manifest is not that of its record');
}

async function readFile(file: FileEntry, read: (hash: string) => Promise<Uint8Array>): Promise<void> {
  const content = createHash('sha256');
  let bytes = 0;
  for (const [hash] of chunksOf(file)) {
    const chunk = await read(hash);
    content.update(chunk);
    bytes += chunk.length;
  }
  if (bytes !== file.size || content.digest('hex') !== file.sha256)
    throw new Error(`"${file.path}" is not what its manifest says`);
}
