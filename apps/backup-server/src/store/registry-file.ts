/**
 * The registry on disk: a sealed record in the store's folder, so that whoever takes the nodes manager's place finds it. Its lock is held as long as it is open:
 * two nodes managers on one store would each overwrite what the other was told.
 */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { readIfThere, replaceFile, seal, unseal } from '@lab/store/durable';
import type { NodesManagerParts, SavedRegistry } from '../roles/nodes-manager.ts';
import { tryLock, type HeldLock } from './lock.ts';
import type { Store } from './store.ts';

/** A predecessor that was asked to stop takes a few seconds. */
const patienceMs = 10_000;
const retryMs = 100;

export function registryFile(store: Store): NodesManagerParts['file'] {
  let lock: HeldLock | undefined;
  return {
    async load() {
      lock = await acquire(store);
      const path = join(store.directory, 'registry');
      const bytes = await readIfThere(path);
      if (bytes === undefined) return undefined;
      const record = unseal(bytes);
      if (record === undefined)
        throw new Error(
          `both copies in ${path} are damaged: move it away and register the nodes again; the versions are not touched`,
        );
      return record.value as SavedRegistry;
    },
    save: (registry) => store.mutex.run(() => replaceFile(join(store.directory, 'registry'), seal(registry))),
    close: () => lock?.release(),
  };
}

async function acquire(store: Store): Promise<HeldLock> {
  const deadlineMs = performance.now() + patienceMs;
  for (;;) {
    const lock = tryLock(join(store.directory, 'nodes-manager.lock'));
    if (lock !== undefined) return lock;
    if (performance.now() > deadlineMs)
      throw new Error(
        `another nodes manager, or standalone, has the store ${store.directory}: stop it, or give this one a store of its own`,
      );
    await pause(retryMs);
  }
}
