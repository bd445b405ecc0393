/** Makes bundles in a thread of its own: to compress takes as long as to read and to hash. */
import { Worker } from 'node:worker_threads';
import { release } from '@lab/process/release';
import { bundleOf, joined, type Blob, type BundleParts } from '@lab/store/bundle';
import type { Made, Making } from './bundling-thread.ts';

/** Smaller ones are made sooner than they are handed over. */
const asideBytesMin = 64 * 1024;

/** What makes bundles of blobs, whose memory is gone then. The thread begins with the first. */
export function bundleAside(): (blobs: readonly Blob[]) => Promise<BundleParts> {
  const waiting: PromiseWithResolvers<BundleParts>[] = [];
  let worker: Worker | undefined;
  const fail = (error: Error): void => {
    worker = undefined;
    for (const each of waiting.splice(0)) each.reject(error);
  };
  const start = (): Worker => {
    const started = new Worker(new URL('bundling-thread.ts', import.meta.url));
    started.on('message', (made: Made) => {
      waiting.shift()!.resolve([Buffer.from(made[0]), made[1]]);
      // One that has nothing to do keeps no process from its end.
      if (waiting.length === 0) started.unref();
    });
    started.on('error', fail);
    started.on('exit', (code) => fail(new Error(`the thread that compresses ended with ${code}`)));
    return started;
  };
  return async (blobs) => {
    const sizes = blobs.map(({ hash, bytes }) => ({ hash, bytes: bytes.length }));
    const raw = joined(blobs);
    for (const { bytes } of blobs) if (bytes !== raw) release(bytes);
    if (raw.length < asideBytesMin) return bundleOf(raw, sizes);
    worker ??= start();
    worker.ref();
    const next = Promise.withResolvers<BundleParts>();
    waiting.push(next);
    worker.postMessage({ raw, blobs: sizes } satisfies Making, [raw.buffer as ArrayBuffer]);
    return next.promise;
  };
}
