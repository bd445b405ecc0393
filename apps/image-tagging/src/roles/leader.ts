/**
 * What the leader does besides serving: sees to it that nothing that was stored is forgotten. All of it may be done twice, so one that does not know yet that another leads does no harm.
 */
import { retry, type Clock, type Logger } from '@lab/process';
import type { GroupCatalog } from '../group-catalog.ts';
import { resultEvent } from '../messages.ts';
import type { PictureStore } from '../store/picture-store.ts';

export interface LeaderParts {
  readonly members: GroupCatalog;
  readonly store: PictureStore;
  readonly clock: Clock;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  readonly publishJob: (id: string, keywords: readonly string[]) => Promise<void>;
}

/** An upload that nobody goes on with is erased after a day. */
const abandonedMs = 24 * 3_600_000;
const eraseIntervalMs = 3_600_000;
/** Between two tries of what a leader begins with. */
const retryMs = 5_000;

export class Leader {
  readonly #parts: LeaderParts;
  #epoch: number | undefined;
  /** Aborted when the epoch ends. */
  #reign = new AbortController();
  #servers: readonly string[] = [];
  #stopErasing = (): void => {};
  #erasing = false;
  #work: Promise<void> = Promise.resolve();

  constructor(parts: LeaderParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#stopErasing = this.#parts.clock.every(eraseIntervalMs, () => void this.#erase());
  }

  async stop(): Promise<void> {
    this.#stopErasing();
    this.#endReign();
    await this.#work;
  }

  /** This server leads in a new epoch, or leads no more; and these servers are there. */
  changed(epoch: number | undefined, servers: readonly string[]): void {
    const lost = this.#servers.some((id) => !servers.includes(id));
    this.#servers = servers;
    const isNew = epoch !== this.#epoch;
    if (isNew) this.#endReign();
    if (epoch === undefined || !(isNew || lost)) return;
    if (isNew) this.#parts.log.info({ epoch }, 'leads the group');
    this.#epoch = epoch;
    // A server that is gone may have told the group of a picture, and not published its job yet.
    this.beginAgain();
  }

  /** Does again what a leader begins with, if this server leads: jobs may be lost. */
  beginAgain(): void {
    if (this.#epoch === undefined) return;
    const { signal } = this.#reign;
    this.#work = this.#work.then(() => this.#begin(signal));
  }

  #endReign(): void {
    this.#epoch = undefined;
    this.#reign.abort();
    this.#reign = new AbortController();
  }

  /** Publishes again what is pending (the one that was to publish it may have died), and tells the group what only the folder knows. */
  async #begin(signal: AbortSignal): Promise<void> {
    const { log, clock } = this.#parts;
    const attempt = async (): Promise<void> => {
      await this.#republish(signal);
      await this.#reconcile(signal);
      void this.#erase();
    };
    await retry(attempt, {
      // Nobody else does it in this epoch.
      ...{ clock, withinMs: Infinity, pauseMs: retryMs, signal },
      onRetry: (error) => log.warn({ err: error }, 'what a leader begins with has failed, trying again'),
    }).catch(() => {});
  }

  async #republish(signal: AbortSignal): Promise<void> {
    const { members, publishJob, log } = this.#parts;
    const { pending } = members.catalog;
    for (const id of pending) {
      const picture = members.catalog.picture(id);
      if (!signal.aborted && picture?.state === 'pending') await publishJob(id, picture.keywords);
    }
    if (pending.length > 0) log.info({ jobs: pending.length }, 'published again what is pending');
  }

  /** A server that died between storing and telling, or a group that has lost its memory: the folder has the picture. */
  async #reconcile(signal: AbortSignal): Promise<void> {
    const { members, store, publishJob, log } = this.#parts;
    let found = 0;
    for await (const id of store.ids()) {
      if (signal.aborted) return;
      if (members.catalog.picture(id) !== undefined) continue;
      const upload = await store.stored(id).catch((error: unknown) => {
        // The folder's trouble, and not this picture's: all is tried again.
        if (error instanceof Error && 'syscall' in error) throw error;
        log.error({ err: error, id }, 'the folder of a picture cannot be read');
      });
      if (upload === undefined) continue;
      // Whoever stored it may have died before it was safe.
      await store.sync(id);
      await members.tell({ type: 'picture-uploaded', upload });
      const result = await store.result(id);
      if (result === undefined) await publishJob(id, upload.keywords);
      else await members.tell(resultEvent(id, result));
      found++;
    }
    if (found > 0) log.info({ pictures: found }, 'told the group of pictures that only the folder knew');
  }

  /** Beside the rest, and nobody waits for it: a removal may hang as long as another client of the folder does. */
  async #erase(): Promise<void> {
    const { store, nowMs, log } = this.#parts;
    if (this.#epoch === undefined || this.#erasing) return;
    this.#erasing = true;
    try {
      const erased = await store.eraseAbandoned(nowMs() - abandonedMs);
      if (erased > 0) log.info({ uploads: erased }, 'erased uploads that nobody has gone on with for a day');
    } catch (error) {
      log.warn({ err: error }, 'abandoned uploads could not be erased');
    } finally {
      this.#erasing = false;
    }
  }
}
