/** What is in the store, which server and requesters share: versions of the paths of nodes, each with a manifest of its tree. */
import { ExitError, exitCodes, pathError } from '@lab/process';
import { NoStoreError, Store, type Stored, type StoreOptions } from '@lab/store';
import { chunksOf, ManifestReader, type Entry } from './domain/manifest.ts';

export interface Key {
  node: string;
  path: string;
}

export interface Note {
  path: string;
  note: string;
}

/** The record of a version. */
export interface VersionRecord extends Key {
  /** Of its key, as `nameOf` makes it. */
  name: string;
  createdMs: number;
  checksum: string;
  files: number;
  bytes: number;
  /** What the store grew by when it was made. */
  storedBytes: number;
  /** Blobs that are its manifest, in order. */
  manifest: string[];
  /** What could not be backed up as it was: unreadable, or changing all the time. */
  notes: Note[];
}

export type Version = Stored<VersionRecord>;
export type BackupStore = Store<VersionRecord>;

/** Opens the store, or makes one in an empty or missing folder; `readOnly` writes nothing. */
export const openStore = (directory: string, host: Omit<StoreOptions, 'kind' | 'hashesIn'> = {}): Promise<BackupStore> =>
  Store.open<VersionRecord>(directory, {
    ...host,
    kind: 'lab backup-server',
    async *hashesIn(manifest) {
      for await (const entry of entriesIn(manifest)) if (entry.type === 'file') for (const [hash] of chunksOf(entry)) yield hash;
    },
  });

/** A store that a user named: where it cannot be opened, the error says so. */
export async function openNamed(...named: Parameters<typeof openStore>): Promise<BackupStore> {
  try {
    return await openStore(...named);
  } catch (error) {
    if (error instanceof NoStoreError) throw new ExitError(error.message, exitCodes.usage, { cause: error });
    throw pathError(error, 'the store cannot be opened: ');
  }
}

/** What the store calls a path of a node. */
export const nameOf = ({ node, path }: Key): string => JSON.stringify([node, path]);

/** Of a name whose file is damaged, nobody knows whose it is. */
export function keyOf(name: string): Key {
  const [node, path] = name === '?' ? ['?', '?'] : (JSON.parse(name) as [string, string]);
  return { node, path };
}

/** The entries of a version. Rejects with `MissingBlobsError` where its manifest is damaged. */
export const entriesOf = (store: BackupStore, version: VersionRecord): AsyncGenerator<Entry> =>
  entriesIn(store.manifestOf(version));

async function* entriesIn(manifest: AsyncIterable<Uint8Array>): AsyncGenerator<Entry> {
  const reader = new ManifestReader();
  for await (const piece of manifest) yield* reader.push(piece);
  reader.end();
}
