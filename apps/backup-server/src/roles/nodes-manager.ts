/**
 * Nodes manager: keeps the registry and the schedule. Each second it looks what is due and puts it into the requesters' queue;
 * from them it hears how far each try is and how it ended. What is registered is on disk before it is answered, so a restart
 * forgets nothing; a try that was under way is due again.
 */
import { consumeAlone, type Broker, type Consumer, type Delivery, type Handler } from '@lab/middleware';
import type { Clock, Logger, Role } from '@lab/process';
import { sliceCount, type OwnRecord } from '@lab/store';
import { normalPath } from '../domain/paths.ts';
import {
  begun,
  drilled,
  dueTasks,
  ended,
  heard,
  isLate,
  isUnderWay,
  keyOf,
  makeDue,
  nextDrill,
  register,
  registered,
  registrationOf,
  restored,
  saved,
  setBack,
  shown,
  unasked,
  unregister,
  type Now,
  type Registry,
  type Task,
} from '../domain/registry.ts';
import { decode, encode, packJson, reasonLength, type Head } from '../messages.ts';
import { parseSchedule } from '../schedule.ts';
import { failureLimit, queueOf } from '../topology.ts';
import { loadRegistry } from './registry-file.ts';

/** What the nodes manager keeps on disk. */
export interface SavedRegistry {
  tasks: Task[];
  /** The next slice of the store to be scrubbed, and when. */
  scrub: { slice: number; dueMs: number };
}

export interface NodesManagerParts {
  broker: Broker;
  clock: Clock;
  log: Logger;
  /** Milliseconds since 1970: schedules outlive what they run in. */
  nowMs: () => number;
  newId: () => string;
  /** A consumer is lost for good. */
  fail: (reason: unknown) => void;
  /** Where the registry is kept. */
  file: OwnRecord<SavedRegistry>;
  /** Whether the store has any. */
  hasVersions: () => Promise<boolean>;
  /** In which every stored byte is read again. */
  scrubCycleMs: number;
  /** How often packs are looked through for what no version needs, after versions were made. */
  sweepIntervalMs: number;
}

const tickMs = 1_000;
const limits = { prefetch: 100, failureLimit };
/** Drills rest for so many times as long as they take. */
const drillRest = 9;
/** One of which nothing is heard for so long is lost. */
const drillLostMs = 86_400_000;

export interface StatusTask extends Task {
  /** The last success is more than two intervals ago. */
  isLate: boolean;
}

/** What `status` is told of the registry. */
export interface RegistryView {
  tasks: StatusTask[];
  /** Why nothing is backed up. */
  problem?: string | undefined;
  nowMs: number;
  scrub: SavedRegistry['scrub'];
}

export class NodesManagerRole implements Role {
  readonly #parts: NodesManagerParts;
  /** The registry has been loaded: commands may come before. */
  readonly #ready = Promise.withResolvers<void>();
  #registry: Registry = new Map();
  #scrub = { slice: 0, dueMs: 0 };
  /** At the start at once: whoever was here before may have left something. */
  #sweepDueMs = -Infinity;
  /** By the clock that nobody sets. */
  #drillDueMs = 0;
  /** As it was seen last; before that, it may have gone back. */
  #seenMs = Infinity;
  #changed = false;
  #problem: string | undefined = 'the registry has not been read yet';
  #isUnreadable = false;
  #saving: Promise<void> = Promise.resolve();
  #consumers: Consumer[] = [];
  #stopTicks: () => void = () => {};

  constructor(parts: NodesManagerParts) {
    this.#parts = parts;
  }

  get tasks(): readonly Task[] {
    return [...this.#registry.values()];
  }

  async start(): Promise<void> {
    const { broker, clock, log } = this.#parts;
    // Alone from here on: only then is the file ours.
    const command: Handler = (delivery) => this.#ready.promise.then(() => this.#command(delivery));
    this.#keep(await consumeAlone(this.#parts, queueOf.commands, command, limits));
    await this.#load();
    this.#drillDueMs = clock.nowMs() + this.#sliceMs;
    this.#keep(await broker.consume(queueOf.outcomes, (delivery) => this.#hear(delivery), limits));
    // A disk that is full stops no role: it lists and restores.
    const tick = (): Promise<void> => this.#tick().catch((error: unknown) => log.error({ err: error }, 'tick failed'));
    this.#stopTicks = clock.every(tickMs, () => void tick());
    this.#ready.resolve();
    log.info({ paths: this.#registry.size }, 'registry loaded');
    await tick();
  }

  /** Again at each command while it is not there, or cannot be read: somebody may put it back, or move it away. */
  async #load(): Promise<void> {
    const { file, hasVersions, log } = this.#parts;
    const { known, problem, isUnreadable } = await loadRegistry(file, hasVersions);
    // Another command was quicker.
    if (this.#problem === undefined) return;
    if (problem !== undefined && problem !== this.#problem) log.error(problem);
    [this.#problem, this.#isUnreadable] = [problem, isUnreadable];
    this.#registry = restored(known?.tasks ?? []);
    this.#scrub = known?.scrub ?? { slice: 0, dueMs: this.#parts.nowMs() + this.#sliceMs };
    // What it says may be due in what is the future again.
    this.#seenMs = Infinity;
    this.#now();
  }

  #statusTasks(nowMs: number): StatusTask[] {
    return shown(this.#registry).map((task) => ({ ...task, isLate: isLate(task, nowMs, parseSchedule(task.every)) }));
  }

  #keep(consumer: Consumer): void {
    consumer.closed.catch(this.#parts.fail);
    this.#consumers.push(consumer);
  }

  async stop(): Promise<void> {
    this.#stopTicks();
    for (const consumer of this.#consumers) await consumer.stop({ drainMs: 2_000 });
    await this.#saveChanges();
    await this.#saving;
    this.#parts.file.close();
  }

  /** Where the time of day has gone back, nothing stays due in what is the future again. */
  #now(): Now {
    const { clock, log, nowMs } = this.#parts;
    const now = { dayMs: nowMs(), clockMs: clock.nowMs() };
    if (now.dayMs < this.#seenMs) {
      const before = this.#registry;
      this.#registry = setBack(before, now.dayMs, ({ every }) => parseSchedule(every)(now.dayMs));
      const moved = this.tasks.filter((task) => task.dueMs !== before.get(keyOf(task))!.dueMs);
      if (moved.length > 0)
        log.warn({ paths: moved.map(registered) }, 'due too far ahead, as after a clock was set back: due earlier now');
      this.#scrub = { ...this.#scrub, dueMs: Math.min(this.#scrub.dueMs, now.dayMs + this.#sliceMs) };
      if (this.#sweepDueMs < Infinity) this.#sweepDueMs = Math.min(this.#sweepDueMs, now.dayMs + this.#parts.sweepIntervalMs);
      this.#changed = true;
    }
    this.#seenMs = now.dayMs;
    return now;
  }

  get #sliceMs(): number {
    return this.#parts.scrubCycleMs / sliceCount;
  }

  async #command(delivery: Delivery): Promise<void> {
    const { head, body } = decode(delivery.body, 'command');
    const { head: command } = decode(body, 'register', 'unregister', 'backupNow', 'status');
    const { broker, log } = this.#parts;
    let reply: Head<'reply'> = { kind: 'reply', id: head.id };
    let answer: unknown;
    try {
      answer = await this.#obey(command);
    } catch (error) {
      // Whatever it is, its admin should read it: a full disk, most likely.
      reply = { ...reply, failed: (error as Error).message.slice(0, reasonLength) };
      if (!(error instanceof RangeError)) log.error({ err: error }, 'command failed');
    }
    const message = { routingKey: head.replyTo, body: encode(reply, packJson(answer ?? null)), causes: [delivery] };
    await broker.publish(message).catch((error: unknown) => {
      // The server that asked is gone, and its queue with it.
      log.warn({ err: error }, 'nobody hears the reply');
    });
  }

  /** Does it and says what an admin wants to know; a `RangeError` says why not. */
  async #obey(command: Head<'register' | 'unregister' | 'backupNow' | 'status'>): Promise<unknown> {
    if (this.#problem !== undefined) await this.#load();
    const now = this.#now();
    const nowMs = now.dayMs;
    if (command.kind === 'status')
      return { tasks: this.#statusTasks(nowMs), nowMs, scrub: this.#scrub, problem: this.#problem } satisfies RegistryView;
    if (this.#isUnreadable) throw new RangeError(this.#problem);
    const path = normalPath(command.path);
    if ('problem' in path) throw new RangeError(`"${command.path}": ${path.problem}`);
    const named = { node: command.node, path: path.path };
    const known = this.#registry.get(keyOf(named));
    if (command.kind === 'register') {
      parseSchedule(command.every);
      const { kind, ...registration } = command;
      await this.#save((registry) => register(registry, { ...registration, ...named }, nowMs));
      this.#problem = undefined;
      await this.#publishDue(now);
      return { ...named, changed: known !== undefined };
    }
    if (known === undefined && command.kind === 'unregister' && command.forget) return named;
    if (known === undefined) throw new RangeError(`${registered(named)} is not registered; "status" shows what is`);
    if (command.kind === 'unregister') {
      await this.#save((registry) => unregister(registry, named));
      this.#sweepSoon(nowMs);
      return named;
    }
    this.#registry = makeDue(this.#registry, named, nowMs);
    this.#changed = true;
    await this.#publishDue(now);
    // Of one that is under way the admin does not want the end, but that of the next.
    return { ...named, attempts: known.attempts + (isUnderWay(known) ? 1 : 0) };
  }

  async #hear({ body }: Delivery): Promise<void> {
    const { head } = decode(body, 'progress', 'ended', 'drilled');
    const now = this.#now();
    const key = keyOf(head);
    if (head.kind === 'progress') {
      const { attempt, files, bytes, sentBytes } = head;
      this.#registry = heard(this.#registry, key, attempt, { files, bytes, sentBytes }, now.clockMs);
      return;
    }
    this.#changed = true;
    if (head.kind === 'drilled') {
      const { version, problem, elapsedMs } = head;
      this.#registry = drilled(this.#registry, key, { endedMs: now.dayMs, version, problem });
      this.#drillDueMs = now.clockMs + Math.max(this.#sliceMs, drillRest * elapsedMs);
      if (problem !== undefined) this.#parts.log.error({ path: registered(head), version, problem }, 'cannot be restored');
      return;
    }
    this.#registry = ended(this.#registry, key, head.attempt, head.outcome, now, (task) => this.#next(task, now.dayMs));
    if (head.outcome.result !== 'unchanged' || head.outcome.removed) this.#sweepSoon(now.dayMs);
    // Another of that node may have waited for this. Itself waits for the next look: who polls sees how this has ended.
    await this.#publishDue(now, key);
  }

  #sweepSoon(nowMs: number): void {
    this.#sweepDueMs = Math.min(this.#sweepDueMs, nowMs + this.#parts.sweepIntervalMs);
  }

  /** An interval counts from when the last backup was due: backups keep their times, and what was missed is not made up for. */
  #next(task: Task, nowMs: number): number {
    const schedule = parseSchedule(task.every);
    const next = schedule(task.dueMs);
    return next > nowMs ? next : schedule(nowMs);
  }

  async #publishDue(now: Now, except?: string): Promise<void> {
    const { broker, newId, log } = this.#parts;
    // While one is published another may be unregistered, or begun.
    for (let task; (task = dueTasks(this.#registry, now).find((each) => keyOf(each) !== except)) !== undefined;) {
      const { node, path, current } = task;
      // Nobody has taken it: should it be in the queue still, whichever comes first is the try.
      const attempt = current?.progress === undefined ? (current?.attempt ?? newId()) : newId();
      this.#registry = begun(this.#registry, task, attempt, now.clockMs);
      log.debug({ node, path }, 'due');
      try {
        await broker.publish({ routingKey: queueOf.due, body: encode({ kind: 'due', attempt, ...registrationOf(task) }) });
      } catch (error) {
        // It is due still: what made it so has happened, and the next look tries again.
        this.#registry = unasked(this.#registry, keyOf(task), attempt);
        return log.warn({ err: error }, 'nobody can be asked for what is due');
      }
    }
  }

  async #tick(): Promise<void> {
    const { broker, newId, sweepIntervalMs } = this.#parts;
    const now = this.#now();
    await this.#publishDue(now);
    if (now.dayMs >= this.#scrub.dueMs) {
      const { slice } = this.#scrub;
      this.#scrub = { slice: (slice + 1) % sliceCount, dueMs: now.dayMs + this.#sliceMs };
      this.#changed = true;
      await broker.publish({ routingKey: queueOf.due, body: encode({ kind: 'scrub', slice }) });
    }
    if (now.dayMs >= this.#sweepDueMs) {
      this.#sweepDueMs = Infinity;
      await broker.publish({ routingKey: queueOf.due, body: encode({ kind: 'sweep', graceMs: sweepIntervalMs }) });
    }
    const task = now.clockMs >= this.#drillDueMs ? nextDrill(this.#registry) : undefined;
    if (task !== undefined) {
      this.#drillDueMs = now.clockMs + drillLostMs;
      const pick = Number.parseInt(newId().slice(0, 8), 16);
      await broker.publish({
        routingKey: queueOf.due,
        body: encode({ kind: 'drill', node: task.node, path: task.path, pick }),
      });
    }
    await this.#saveChanges();
  }

  /** An empty registry never replaces what somebody may put back. */
  async #saveChanges(): Promise<void> {
    if (this.#changed && this.#problem === undefined) await this.#save();
  }

  /** One at a time. A change is made when it is on disk, or not at all. */
  #save(change: (registry: Registry) => Registry = (registry) => registry): Promise<void> {
    const saving = this.#saving.then(async () => {
      this.#changed = false;
      await this.#parts.file.save({ tasks: saved(change(this.#registry)), scrub: this.#scrub });
      // Others have heard of tries meanwhile.
      this.#registry = change(this.#registry);
    });
    this.#saving = saving.catch(() => void (this.#changed = true));
    return saving;
  }
}
