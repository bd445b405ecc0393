export { systemDisk, type Disk, type DiskFile } from './disk.ts';
export { scrub, sliceCount, sweep, type Finding, type Scrubbed, type SweepOptions, type Swept } from './housekeeping.ts';
export { LockedError } from './lock.ts';
export type { ManifestWriter } from './manifest-writer.ts';
export { ownRecord, type OwnRecord } from './record.ts';
export {
  isLost,
  MissingBlobsError,
  NoStoreError,
  Store,
  SupersededError,
  type LostVersion,
  type Stored,
  type StoredBundle,
  type StoreOptions,
  type Version,
} from './store.ts';
