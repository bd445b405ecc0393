/** Which paths have versions that cannot be restored as they were. Looked for only when what is known to be damaged has changed. */
import type { Clock } from '@lab/process';
import { nameOf, type BackupStore, type Key } from '../versions.ts';
import { listed } from './store-commands.ts';

export interface DamagedPath extends Key {
  versions: number;
  /** So many of them stop sweeps. */
  stopSweeps: number;
}

/** Of a record that is damaged nobody hears until it is read. */
const lookAgainMs = 3_600_000;

export class DamagedPaths {
  readonly #store: BackupStore;
  readonly #clock: Clock;
  #found: readonly DamagedPath[] = [];
  #changes = -1;
  #lookedMs = -Infinity;
  #looking: Promise<void> | undefined;

  constructor(store: BackupStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** As was found last; it may be looked for anew meanwhile, which reads the manifests of all versions. */
  get found(): readonly DamagedPath[] {
    return this.#found;
  }

  /** Resolves when `found` is what is so now, as far as `refresh` takes it in. */
  async look(refresh = (): Promise<void> => this.#store.refresh()): Promise<void> {
    await refresh();
    const isOld = this.#clock.nowMs() - this.#lookedMs >= lookAgainMs;
    // What is brought again is there at once.
    if (this.#store.changes === this.#changes && this.#found.length === 0 && !isOld) return;
    this.#looking ??= this.#lookAnew(isOld).finally(() => (this.#looking = undefined));
    await this.#looking;
  }

  /** Where nothing more was lost, only at what was damaged: of some the node's name is. */
  async #lookAnew(isOld: boolean): Promise<void> {
    const { changes } = this.#store;
    const isKnown = !isOld && changes === this.#changes && this.#found.every(({ node }) => node !== '?');
    const places = isKnown ? this.#found : [{}];
    const found = new Map<string, DamagedPath>();
    for (const place of places)
      for (const { node, path, state, stopsSweeps } of await listed(this.#store, place)) {
        if (state === 'whole') continue;
        const known = found.get(nameOf({ node, path })) ?? { node, path, versions: 0, stopSweeps: 0 };
        known.versions++;
        if (stopsSweeps) known.stopSweeps++;
        found.set(nameOf({ node, path }), known);
      }
    this.#found = [...found.values()];
    if (!isKnown) this.#lookedMs = this.#clock.nowMs();
    this.#changes = changes;
  }
}
