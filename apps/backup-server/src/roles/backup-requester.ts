/**
 * Backup requester: takes what is due from the queue, asks the node, and writes what it lacks into the store. Any number of
 * them share the queue and the store. A message is acknowledged when its outcome has been reported; whoever dies before gives
 * it back, and what it had received stays in the store.
 */
import type { Broker, Consumer, Delivery } from '@lab/middleware';
import type { Clock, Logger, Role } from '@lab/process';
import { scrub, SupersededError, sweep } from '@lab/store';
import type { Channel } from '../channel/channel.ts';
import { Patience } from '../domain/patience.ts';
import { triesMax, type Outcome, type Registration } from '../domain/registry.ts';
import { surplus } from '../domain/retention.ts';
import { decode, encode, reasonLength, type Head } from '../messages.ts';
import { failureLimit, queueOf } from '../topology.ts';
import { drill } from '../transfer/drill.ts';
import { NodeQuota, type Taking } from '../transfer/quota.ts';
import { hashesIn, Receiving, type Progress, type ReceivedTree } from '../transfer/receiving.ts';
import { nameOf, type BackupStore, type Note, type Version } from '../versions.ts';

export interface BackupRequesterParts {
  broker: Broker;
  store: BackupStore;
  clock: Clock;
  log: Logger;
  /** Milliseconds since 1970, for records. */
  nowMs: () => number;
  /** Connects to a node; rejects where none answers, or another one does. */
  connect: (registration: Registration) => Promise<Channel>;
  /** Bytes of the store that a node may take; any, without it. */
  nodeQuota?: number | undefined;
  /** A consumer is lost for good. */
  fail: (reason: unknown) => void;
}

/** Backups at once in one requester: enough to wait for one node while another sends. */
const backupsAtOnce = 4;
const progressMs = 1_000;

export class BackupRequesterRole implements Role {
  readonly #parts: BackupRequesterParts;
  /** Under way, the oldest first, each with its node. */
  readonly #channels = new Map<Channel, string>();
  readonly #quota: NodeQuota;
  #consumer: Consumer | undefined;
  #stopping = false;

  constructor(parts: BackupRequesterParts) {
    this.#parts = parts;
    this.#quota = new NodeQuota(parts.store, parts.nodeQuota ?? Infinity);
  }

  async start(): Promise<void> {
    this.#consumer = await this.#parts.broker.consume(queueOf.due, (delivery) => this.#take(delivery), {
      prefetch: backupsAtOnce,
      failureLimit,
    });
    this.#consumer.closed.catch(this.#parts.fail);
  }

  /** Breaks off what is under way: what was received is kept, the message goes back, and the next attempt goes on from there. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const channel of this.#channels.keys()) channel.destroy();
    await this.#consumer?.stop({ drainMs: 5_000 });
  }

  async #take(delivery: Delivery): Promise<void> {
    const { head } = decode(delivery.body, 'due', 'drill', 'scrub', 'sweep');
    const { store, log } = this.#parts;
    if (head.kind === 'due') return this.#backUp(head, [delivery]);
    if (head.kind === 'drill') return this.#drill(head, [delivery]);
    if (head.kind === 'sweep') return this.#sweep(head.graceMs);
    const { bytes, findings } = await scrub(store, head.slice);
    for (const finding of findings) log.error(finding, 'damage found');
    log.debug({ slice: head.slice, bytes }, 'scrubbed');
  }

  async #drill({ node, path, pick }: Head<'drill'>, causes: readonly Delivery[]): Promise<void> {
    const { broker, clock, log, store } = this.#parts;
    const begunMs = clock.nowMs();
    const found = await drill(store, { node, path }, pick);
    log.debug({ node, path, ...found }, 'drilled');
    const problem = found?.problem?.slice(0, reasonLength);
    const elapsedMs = Math.round(clock.nowMs() - begunMs);
    const drilled: Head<'drilled'> = { kind: 'drilled', node, path, version: found?.version, problem, elapsedMs };
    await broker.publish({ routingKey: queueOf.outcomes, body: encode(drilled), causes });
  }

  async #sweep(graceMs: number): Promise<void> {
    const { log, nowMs, store } = this.#parts;
    const { unknown, ...swept } = await sweep(store, { nowMs: nowMs(), graceMs });
    if (swept.packs > 0) log.info(swept, 'packs removed or written anew');
    if (unknown.length > 0) log.error({ unknown }, 'nobody knows what these versions need: nothing older is removed');
  }

  async #backUp(due: Head<'due'>, causes: readonly Delivery[]): Promise<void> {
    const { broker, clock, log, store } = this.#parts;
    const { node, path, attempt } = due;
    const progress = { files: 0, bytes: 0, sentBytes: 0 };
    const begunMs = clock.nowMs();
    const tooLong = new AbortController();
    const patience = new Patience(begunMs);
    const report = (): void => {
      const end = patience.endOf(progress, clock.nowMs());
      if (end !== undefined) tooLong.abort(end);
      // The next second's makes up for one that is lost.
      broker
        .publish({ routingKey: queueOf.outcomes, body: encode({ kind: 'progress', attempt, node, path, ...progress }), causes })
        .catch(() => undefined);
    };
    report();
    const stopReports = clock.every(progressMs, report);
    let endTransfer: (() => Promise<void>) | undefined;
    const taking = this.#quota.begin(due);
    let outcome: Outcome;
    try {
      endTransfer = await store.beginTransfer();
      outcome = await this.#attempt(due, progress, taking, () => clock.nowMs() - begunMs, tooLong.signal);
      outcome.removed = await this.#retain(due);
    } catch (error) {
      if (this.#stopping) throw error;
      const reason = (error as Error).message.slice(0, 2000);
      outcome = {
        result: error instanceof SupersededError ? 'superseded' : 'failed',
        ...progress,
        storedBytes: 0,
        elapsedMs: clock.nowMs() - begunMs,
        reason,
      };
    } finally {
      stopReports();
      // What was received before it failed is there for the next attempt, whichever requester makes it.
      await store.flush().catch((error: unknown) => log.error({ err: error }, 'what was received could not be kept'));
      taking[Symbol.dispose]();
      await endTransfer?.();
    }
    // Room is needed at once: also what was interrupted goes, unless it is under way.
    if (/\b(ENOSPC|EDQUOT)\b/.test(outcome.reason ?? ''))
      await this.#sweep(0).catch((error: unknown) => log.error({ err: error }, 'no room could be made'));
    log[outcome.result === 'failed' ? 'warn' : 'info']({ node, path, ...outcome }, 'backup ended');
    await broker.publish({ routingKey: queueOf.outcomes, body: encode({ kind: 'ended', attempt, node, path, outcome }), causes });
  }

  async #attempt(
    due: Head<'due'>,
    progress: Progress,
    taking: Taking,
    elapsedMs: () => number,
    tooLong: AbortSignal,
  ): Promise<Outcome> {
    const { store } = this.#parts;
    await store.takeOver();
    const { number, version } = await store.newest(nameOf(due));
    // A version with damage has to be brought again, as far as the node still has it: then all is offered.
    const whole = version !== undefined && (await store.missingOf(version)).length === 0;
    const channel = await this.#parts.connect(due);
    this.#channels.set(channel, due.node);
    const ofNode = [...this.#channels].filter(([, node]) => node === due.node);
    // No more are asked for at once: as after a restart, the oldest are those that nobody waits for.
    for (const [older] of ofNode.slice(0, -triesMax.ofNode)) older.destroy(new Error('a later try has come'));
    tooLong.addEventListener('abort', () => channel.destroy(tooLong.reason as Error));
    try {
      const { path, exclude, oneFileSystem } = due;
      await channel.send({ kind: 'backup', path, exclude, oneFileSystem, ...(whole && { checksum: version.checksum }) });
      const tree = await new Receiving(channel, store, { progress, taking, mayBeUnchanged: whole }).run();
      if (tree === undefined)
        return { result: 'unchanged', version: version?.version, ...progress, storedBytes: 0, elapsedMs: elapsedMs() };
      const outcome = await this.#store(due, tree, number, { version, whole });
      const ended = { ...outcome, ...progress, ...tree.totals, elapsedMs: elapsedMs() };
      await channel.send({ kind: 'stored', outcome: ended });
      await channel.close().catch(() => undefined);
      return ended;
    } catch (error) {
      await channel.send({ kind: 'failed', reason: (error as Error).message }).catch(() => undefined);
      await channel.close().catch(() => undefined);
      throw error;
    } finally {
      this.#channels.delete(channel);
      channel.destroy();
    }
  }

  /** What no rule keeps goes, also where nothing has changed: time passes all the same. How many versions that were. */
  async #retain(due: Head<'due'>): Promise<number> {
    const { store, log } = this.#parts;
    const name = nameOf(due);
    try {
      if (surplus(await store.versions(name), due).length === 0) return 0;
      return await store.forget(name, (versions) => surplus(versions, due));
    } catch (error) {
      // The version is made; they go the next time.
      log.error({ err: error }, 'what is too old could not be removed');
      return 0;
    }
  }

  /** Everything that the tree needs has come; makes a version of it, unless it is the newest one. */
  async #store(
    due: Head<'due'>,
    { totals, storedBytes, manifest, checksum, notes, needs }: ReceivedTree,
    base: number,
    newest: { version: Version | undefined; whole: boolean },
  ): Promise<Pick<Outcome, 'result' | 'version' | 'storedBytes' | 'reason'>> {
    const { store } = this.#parts;
    const reason = notes.length === 0 ? {} : { reason: notesText(notes) };
    const same = newest.version?.checksum === checksum ? newest.version : undefined;
    if (same !== undefined && newest.whole) return { result: 'unchanged', version: same.version, storedBytes, ...reason };
    if (same !== undefined) {
      await store.flush();
      await store.refresh();
      // A manifest whose times have changed since is another one: then what is damaged stays so, and a new version is whole.
      if ((await store.missingOf(same)).length === 0) {
        // It counts what it needs already.
        this.#quota.settle(due);
        return { result: 'healed', version: same.version, storedBytes, ...reason };
      }
    }
    const record = {
      name: nameOf(due),
      node: due.node,
      path: due.path,
      createdMs: this.#parts.nowMs(),
      checksum,
      ...totals,
      storedBytes: await this.#quota.ofVersion(due),
      manifest,
      notes,
    };
    const version = await store.commit(record, { base, hashes: hashesIn(needs) });
    this.#quota.settle(due);
    return { result: 'version', version, storedBytes, ...reason };
  }
}

function notesText(notes: readonly Note[]): string {
  const [first] = notes;
  return `${notes.length === 1 ? '1 note' : `${notes.length} notes`}: "${first!.path}" ${first!.note}`;
}
