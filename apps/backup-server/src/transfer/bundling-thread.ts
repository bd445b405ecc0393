/** The thread that compresses (bundling.ts). */
import { parentPort } from 'node:worker_threads';
import { release } from '@lab/process/release';
import { bundleOf, type BundleHeader } from '@lab/store/bundle';

export interface Making {
  raw: Uint8Array;
  blobs: BundleHeader['blobs'];
}
export type Made = [header: Uint8Array, payload: Uint8Array];

parentPort!.on('message', ({ raw, blobs }: Making) => {
  const [header, payload] = bundleOf(raw, blobs);
  if (payload !== raw) release(raw);
  // Neither is of Node's pool, which no one may give away: they are too large for it.
  parentPort!.postMessage([header, payload] satisfies Made, [payload.buffer as ArrayBuffer]);
});
