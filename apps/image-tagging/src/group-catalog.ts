/** The catalog, kept the same at all members by their group. */
import { IndefiniteError, Replica, type Group, type Machine, type View } from '@lab/group';
import { inTime, retry, type Clock, type Role } from '@lab/process';
import { Catalog, serverNamePrefix, type CatalogEvent, type UploadOutcome } from './domain/catalog.ts';
import { decodeEvent, encodeEvent } from './messages.ts';
import { Refusal } from './refusal.ts';

/** For an event to come back: as long as a group may need to notice a death and go on, several times over. */
const tellMs = 30_000;
/** At most, before an event is told again that may have been lost. */
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
  tell(event: CatalogEvent): Promise<UploadOutcome | undefined> {
    const late = (): Refusal => new Refusal('unavailable', `the group did not answer within ${tellMs / 1000} s`);
    return inTime(this.#options.clock, tellMs, this.#tellUntilKnown(encodeEvent(event)), late);
  }

  async #tellUntilKnown(event: Buffer): Promise<UploadOutcome | undefined> {
    await this.#started.promise;
    const worthwhile = (error: unknown): boolean => error instanceof IndefiniteError && !this.#stopped;
    const pauses = { clock: this.#options.clock, withinMs: tellMs, pauseMs: againMs };
    try {
      return (await retry(() => this.#replica.submit(event), { ...pauses, worthwhile })) as UploadOutcome | undefined;
    } catch (error) {
      throw this.#stopped ? new Refusal('unavailable', 'this server is stopping', { cause: error }) : error;
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
