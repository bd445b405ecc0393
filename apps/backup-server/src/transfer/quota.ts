/**
 * How much of the store a node may take, as one requester counts it: what its versions stored, and what tries stored that made none.
 * Without the second, a node would get past any quota by trying again, for a try goes on from what is there.
 */
import { isLost } from '@lab/store';
import type { BackupStore, Key } from '../versions.ts';

/** What one try of a path has stored. */
interface Stored extends Key {
  bytes: number;
  /** The blob that came last: while the store has it, a sweep has not taken what this try stored. */
  last?: string;
  isOver: boolean;
}

/** What a try takes of the store. */
export interface Taking {
  /** Rejects unless so many bytes more fit. */
  fits: (bytes: number) => Promise<void>;
  /** The store has grown by so many bytes, and has this blob. */
  stored: (bytes: number, last: string) => void;
}

export class NodeQuota {
  readonly #store: BackupStore;
  readonly #bytesMax: number;
  readonly #tries = new Set<Stored>();
  /** What the versions of a node have stored; asked for once in a try, and only when content comes. */
  readonly #versions = new Map<string, Promise<number>>();

  constructor(store: BackupStore, bytesMax: number) {
    this.#store = store;
    this.#bytesMax = bytesMax;
  }

  begin({ node, path }: Key): Taking & Disposable {
    for (const each of this.#tries)
      if (each.isOver && (each.last === undefined || this.#store.lacks(each.last))) this.#tries.delete(each);
    this.#versions.delete(node);
    const stored: Stored = { node, path, bytes: 0, isOver: false };
    this.#tries.add(stored);
    return {
      fits: (bytes) => this.#check(node, bytes),
      stored(bytes, last) {
        stored.bytes += bytes;
        stored.last = last;
      },
      [Symbol.dispose]: () => void (stored.isOver = true),
    };
  }

  /** What a version that is made now has to count: all that tries of its path stored. Rejects where that is too much. */
  async ofVersion({ node, path }: Key): Promise<number> {
    await this.#check(node, 0);
    return this.#sum((each) => each.node === node && each.path === path);
  }

  /** A version counts it. */
  settle({ node, path }: Key): void {
    for (const each of this.#tries) if (each.node === node && each.path === path) this.#tries.delete(each);
    this.#versions.delete(node);
  }

  async #check(node: string, bytes: number): Promise<void> {
    if (this.#bytesMax === Infinity) return;
    const versions = this.#versions.get(node) ?? this.#storedByVersions(node);
    this.#versions.set(node, versions);
    const taken = (await versions) + this.#sum((each) => each.node === node);
    if (taken + bytes <= this.#bytesMax) return;
    throw new Error(
      `node ${node} may take ${this.#bytesMax} bytes of the store (--node-quota) and has taken ${taken}; ${bytes} more do not ` +
        'fit: forget versions of it, or set a larger quota',
    );
  }

  async #storedByVersions(node: string): Promise<number> {
    const versions = await this.#store.versions();
    return versions.reduce((sum, each) => sum + (!isLost(each) && each.node === node ? each.storedBytes : 0), 0);
  }

  #sum(which: (stored: Stored) => boolean): number {
    let sum = 0;
    for (const each of this.#tries) if (which(each)) sum += each.bytes;
    return sum;
  }
}
