/** The registry on disk: a sealed record in the store's folder, so that whoever takes the nodes manager's place finds it. */
import { join } from 'node:path';
import type { NodesManagerParts, SavedRegistry } from '../roles/nodes-manager.ts';
import { readIfThere, replaceDurably, seal, unseal } from './durable.ts';
import type { Store } from './store.ts';

export function registryFile(store: Store): NodesManagerParts['file'] {
  return {
    async load() {
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
    save: (registry) => store.mutex.run(() => replaceDurably(store.directory, 'registry', seal(registry))),
  };
}
