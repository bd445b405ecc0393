/** What a memory registry knows, and of whom. Nothing here waits: a change is made, and all that it concerns are told, within the call. */
import type { Instance, RecordState } from '../port.ts';
import { decodeEndpoint } from '../validate.ts';

/** What one session put into the registry. */
export interface Thing {
  remove(): void;
}

/** The registry's side of a session: what goes with it. */
export class MemorySession {
  readonly #things = new Set<Thing>();
  #ended = false;

  get ended(): boolean {
    return this.#ended;
  }

  add(remove: () => void): Thing {
    const thing = {
      remove: () => {
        if (this.#things.delete(thing)) remove();
      },
    };
    this.#things.add(thing);
    return thing;
  }

  end(): void {
    this.#ended = true;
    for (const thing of this.#things) thing.remove();
  }
}

/** Something that can be watched. */
export abstract class Observed<Value> {
  readonly #listeners = new Set<() => void>();
  #revision = 0;

  /** Grows with each change. */
  get revision(): number {
    return this.#revision;
  }

  /** `undefined` while there is nothing to show. */
  abstract value(): Value | undefined;

  /** Calls `onChange` after each change; the returned function ends that. */
  observe(onChange: () => void): () => void {
    this.#listeners.add(onChange);
    return () => void this.#listeners.delete(onChange);
  }

  protected changed(): void {
    this.#revision++;
    for (const listener of this.#listeners) listener();
  }
}

export class MemoryService extends Observed<readonly Instance[]> {
  /** In the order of their sequences. */
  readonly #instances = new Map<number, Instance>();
  #next = 0;

  announce(session: MemorySession, json: string): { sequence: number; thing: Thing } {
    const sequence = this.#next++;
    this.#instances.set(sequence, Object.freeze({ sequence, endpoint: decodeEndpoint(json) }));
    const thing = session.add(() => {
      this.#instances.delete(sequence);
      this.changed();
    });
    this.changed();
    return { sequence, thing };
  }

  value(): readonly Instance[] {
    return [...this.#instances.values()];
  }
}

export class MemoryRole {
  /** Their `onFirst`, those who wait longest first. */
  readonly #candidates = new Set<() => void>();
  #epoch = 0;

  /** Calls `onFirst` when it becomes the first in the line, but not from here: ask `isFirst`. */
  enter(session: MemorySession, onFirst: () => void): Thing {
    const thing = session.add(() => {
      const wasFirst = this.isFirst(onFirst);
      this.#candidates.delete(onFirst);
      const [next] = this.#candidates;
      if (wasFirst) next?.();
    });
    this.#candidates.add(onFirst);
    return thing;
  }

  isFirst(onFirst: () => void): boolean {
    const [first] = this.#candidates;
    return first === onFirst;
  }

  raiseEpoch(): number {
    return ++this.#epoch;
  }
}

export class MemoryRecord extends Observed<RecordState> {
  #state: RecordState | undefined;

  value(): RecordState | undefined {
    return this.#state;
  }

  write(text: string, version: number | undefined): number | undefined {
    if (this.#state?.version !== version) return undefined;
    const next = (version ?? -1) + 1;
    this.#state = Object.freeze({ text, version: next });
    this.changed();
    return next;
  }
}

/** All of it, made when it is first named. */
export class RegistryState {
  readonly #services = new Map<string, MemoryService>();
  readonly #roles = new Map<string, MemoryRole>();
  readonly #records = new Map<string, MemoryRecord>();

  service(name: string): MemoryService {
    return getOrMake(this.#services, name, () => new MemoryService());
  }

  role(name: string): MemoryRole {
    return getOrMake(this.#roles, name, () => new MemoryRole());
  }

  record(name: string): MemoryRecord {
    return getOrMake(this.#records, name, () => new MemoryRecord());
  }
}

function getOrMake<Value>(map: Map<string, Value>, name: string, make: () => Value): Value {
  const found = map.get(name) ?? make();
  map.set(name, found);
  return found;
}
