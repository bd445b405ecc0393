/** The thread of a restore, and who hands it what it asks the server for. */
import { Worker } from 'node:worker_threads';
import { ExitError } from '@lab/process';
import { isOwn, type Channel } from '../channel/channel.ts';
import { DamagedError, sourceOf } from './download.ts';
import type { Restored } from './restore.ts';
import type { Said, Told, Work } from './restore-thread.ts';

/** Bundles that the thread has not taken yet: one has half a megabyte in most cases. */
const aheadMax = 8;

/** Of the thread, for young objects: V8 gives them up to 128 MB, which a million entries fill twice, here and there. */
const youngMb = 16;

/** It loads what it needs, which takes a fifth of a second, and waits for work. Who starts it ends it. */
export const startThread = (): Worker =>
  new Worker(new URL('restore-thread.ts', import.meta.url), { resourceLimits: { maxYoungGenerationSizeMb: youngMb } });

/** As `restoreTo`, with what the channel's peer sends. What has been written when this rejects stays. */
export async function restoreInThread(
  worker: Worker,
  channel: Channel,
  work: Work,
  { begun, progress }: { begun: () => void; progress: (bytes: number) => void },
): Promise<Restored> {
  const ended = Promise.withResolvers<Restored>();
  let [ahead, isOver] = [0, false];
  let onRoom = Promise.withResolvers<void>();
  let failure: unknown;
  const source = sourceOf(channel);
  const tell = (told: Told, ...given: ArrayBufferLike[]): void => worker.postMessage(told, given as ArrayBuffer[]);
  const fail = (error: unknown): void => {
    failure ??= error;
    tell({ kind: 'broken' });
  };
  /** What one `need` brings. It is read to its end whatever becomes of the thread: others read behind it. */
  const relay = async (): Promise<void> => {
    for (;;) {
      while (ahead >= aheadMax && !isOver) await onRoom.promise;
      const opened = await source.next();
      if (opened === undefined) return tell({ kind: 'sent' });
      ahead++;
      // The memory goes along, so that nothing is copied.
      tell({ kind: 'bundle', opened }, ...(isOwn(opened.memory) ? [opened.memory.buffer] : []));
    }
  };
  let relayed = Promise.resolve();
  const obey = (said: Said): void => {
    if (said.kind === 'begun') begun();
    else if (said.kind === 'progress') progress(said.bytes);
    else if (said.kind === 'restored') ended.resolve(said.restored);
    else if (said.kind === 'failed') ended.reject(failure ?? new ExitError(said.message, said.exitCode));
    else if (said.kind === 'damaged') ended.reject(new DamagedError(said.message, said.hash));
    else if (said.kind === 'need') {
      source.need(said.body).catch(fail);
      relayed = relayed.then(relay);
      relayed.catch(fail);
    } else {
      ahead--;
      onRoom.resolve();
      onRoom = Promise.withResolvers();
    }
  };
  worker.on('message', (said: Said) => {
    try {
      obey(said);
    } catch (error) {
      fail(error);
    }
  });
  worker.on('error', ended.reject);
  worker.on('exit', (code) => ended.reject(new Error(`the thread that writes ended with ${code}`)));
  worker.postMessage(work);
  try {
    return await ended.promise;
  } finally {
    isOver = true;
    onRoom.resolve();
    await relayed.catch(() => undefined);
  }
}
