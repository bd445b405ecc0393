/** The catalog, kept the same at all members by their group. */
import { IndefiniteError, Replica, type Group, type Machine, type View } from '@lab/group';
import type { Clock, Role } from '@lab/process';
import { Catalog, serverNamePrefix, type CatalogEvent, type UploadOutcome } from './domain/catalog.ts';
import { decodeEvent, encodeEvent } from './messages.ts';
import { Refusal } from './refusal.ts';

/** For an event to come back: as long as a group may need to notice a death and go on, several times over. */
const tellMs = 30_000;
/** Before an event is told again that may have been lost. */
const againMs = 100;

export interface GroupCatalogOptions {
  readonly group: Group;
  readonly groupName: string;
  readonly memberName: string;
  readonly clock: Clock;
  readonly newId: () => string;
}

export class GroupCatalog implements Role {
  readonly #options: GroupCatalogOptions;
  readonly #replica: Replica;
  readonly #listeners = new Set<() => void>();
  readonly catalog = new Catalog();
  readonly #started = Promise.withResolvers<void>();
  #stopped = false;

  constructor(options: GroupCatalogOptions) {
    this.#options = options;
    const { group, groupName, memberName, newId } = options;
    this.#replica = new Replica({
      ...{ group, groupName, name: memberName, token: newId(), machine: machineOf(this.catalog) },
      isCandidate: ({ name }) => name.startsWith(serverNamePrefix),
      onChange: () => this.#listeners.forEach((listener) => listener()),
    });
  }

  /** Resolves when the catalog is as the others have it. */
  async start(): Promise<void> {
    await this.#replica.start();
    this.#started.resolve();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#replica.stop();
  }

  get failed(): Promise<never> {
    return this.#replica.failed;
  }

  get view(): View | undefined {
    return this.#replica.view;
  }

  /** Of the server that leads. */
  get leaderId(): string | undefined {
    return this.#replica.leadership?.leader.id;
  }

  /** The epoch in which this member leads, if it does. */
  get leads(): number | undefined {
    return this.#replica.leads;
  }

  /** Calls after every change of the catalog, the view or the leader; the returned function ends that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * Has all members apply an event; resolves when this one has. Told again where nobody knows what became of it, so an event may be applied twice: all of them may.
   * Refuses as `unavailable` when the group does not answer in time.
   */
  async tell(event: CatalogEvent): Promise<UploadOutcome | undefined> {
    const late = Promise.withResolvers<never>();
    const given = { up: false };
    const cancel = this.#options.clock.after(tellMs, () => {
      given.up = true;
      late.reject(new Refusal('unavailable', `the group did not answer within ${tellMs / 1000} s`));
    });
    try {
      return await Promise.race([this.#tellUntilKnown(encodeEvent(event), given), late.promise]);
    } finally {
      cancel();
    }
  }

  async #tellUntilKnown(event: Buffer, given: { readonly up: boolean }): Promise<UploadOutcome | undefined> {
    await this.#started.promise;
    for (;;) {
      try {
        return (await this.#replica.submit(event)) as UploadOutcome | undefined;
      } catch (error) {
        if (this.#stopped) throw new Refusal('unavailable', 'this server is stopping', { cause: error });
        if (!(error instanceof IndefiniteError) || given.up) throw error;
      }
      await new Promise<void>((resolve) => void this.#options.clock.after(againMs, resolve));
    }
  }
}

function machineOf(catalog: Catalog): Machine {
  return {
    apply(command, sender) {
      const event = decodeEvent(command);
      return event && catalog.apply(event, sender);
    },
    viewChanged: (members) => catalog.viewChanged(members),
    snapshot: () => Buffer.from(JSON.stringify(catalog.snapshot())),
    restore: (snapshot) =>
      catalog.restore(snapshot.length === 0 ? undefined : (JSON.parse(snapshot.toString()) as ReturnType<Catalog['snapshot']>)),
  };
}
