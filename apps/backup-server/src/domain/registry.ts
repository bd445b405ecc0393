/**
 * The registry of nodes and the schedule, as pure state: what is registered, what is due, what is under way, and how the last
 * try of each ended. The nodes manager feeds it messages and ticks, and keeps `saved(...)` on disk.
 */
import type { KeepRules } from './retention.ts';

/** What an admin registered; (node, path) names it. */
export interface Registration extends KeepRules {
  node: string;
  address: string;
  path: string;
  /** As it was typed: `30s`, `5m`, a cron expression. */
  every: string;
  /** Patterns of what is left out (exclude.ts). */
  exclude?: string[] | undefined;
  /** Whether what is mounted below the path is left out; it is where this is not said. */
  oneFileSystem?: boolean | undefined;
}

export type Result = 'version' | 'unchanged' | 'healed' | 'superseded' | 'failed';

/** How one try ended. */
export interface Outcome {
  result: Result;
  /** The newest version after it. */
  version?: number | undefined;
  files: number;
  bytes: number;
  /** File content that travelled, before compression. */
  sentBytes: number;
  /** What the store grew by. */
  storedBytes: number;
  /** Versions that no rule keeps any more. */
  removed?: number | undefined;
  elapsedMs: number;
  /** Why it failed, or what the version's notes say. */
  reason?: string | undefined;
}

export interface Progress {
  files: number;
  bytes: number;
  sentBytes: number;
}

export interface Task extends Registration {
  dueMs: number;
  /** First; a registry of before this was kept has none. */
  registeredMs?: number | undefined;
  /** When the last try ended that did not fail. */
  succeededMs?: number | undefined;
  /** Tries that have ended. */
  attempts: number;
  /** Of the last tries in a row. */
  failures: number;
  last?: (Outcome & { endedMs: number }) | undefined;
  current?: Attempt | undefined;
}

/** A try that is queued or under way. */
export interface Attempt {
  attempt: string;
  /** Its place in the queue among all that are queued or under way. */
  order: number;
  begunMs: number;
  /** Silent since then. */
  heardMs: number;
  /** One that was queued later is under way: this one is no longer in the queue. */
  isOvertaken?: boolean;
  /** From when a requester has taken it. */
  progress?: Progress | undefined;
}

export type Registry = ReadonlyMap<string, Task>;

export const keyOf = ({ node, path }: { node: string; path: string }): string => `${node}\0${path}`;

/** As it is spoken of. */
export const registered = ({ node, path }: { node: string; path: string }): string => `"${path}" of node ${node}`;

/**
 * A requester says each second how far it is; one that has said nothing for so long is gone, and its task is due again. Two at
 * once do no harm. What nobody has taken yet is not silent: it is in the queue, however long that is.
 */
export const silenceMsMax = 60_000;

/** Where no requester is at work at all, what is queued is asked for again, in case that the queue has lost it. */
export const queuedMsMax = 3_600_000;

/** After a failure, the first wait; each further one doubles it. */
const backOffMsMin = 1_000;
const backOffMsMax = 300_000;

export function backOffMs(failures: number): number {
  return Math.min(backOffMsMax, backOffMsMin * 2 ** Math.min(failures - 1, 30));
}

/** A new registration is due at once; one that is registered again keeps its history and takes the new settings. */
export function register(registry: Registry, registration: Registration, nowMs: number): Registry {
  const known = registry.get(keyOf(registration));
  const { attempts = 0, failures = 0, registeredMs = nowMs, succeededMs, last, current } = known ?? {};
  const task: Task = { ...registration, registeredMs, succeededMs, attempts, failures, last, current, dueMs: nowMs };
  return new Map(registry).set(keyOf(registration), task);
}

export function unregister(registry: Registry, named: { node: string; path: string }): Registry {
  const rest = new Map(registry);
  rest.delete(keyOf(named));
  return rest;
}

/** An admin wants a backup now; one that is under way is that. */
export function makeDue(registry: Registry, named: { node: string; path: string }, nowMs: number): Registry {
  const task = registry.get(keyOf(named));
  return task === undefined || task.current !== undefined
    ? registry
    : new Map(registry).set(keyOf(named), { ...task, dueMs: nowMs });
}

/** What must be asked for now; `begun` it, and it is not asked for again until it has ended, has fallen silent, or seems to be lost from the queue. */
export function dueTasks(registry: Registry, nowMs: number): Task[] {
  const tasks = [...registry.values()];
  // Where somebody is at work the queue moves, however slowly.
  const queuedMs = tasks.some(({ current }) => current?.progress !== undefined) ? Infinity : queuedMsMax;
  return tasks.filter(({ dueMs, current }) =>
    current === undefined ? dueMs <= nowMs : nowMs - current.heardMs > (isGone(current) ? silenceMsMax : queuedMs),
  );
}

const isGone = ({ progress, isOvertaken }: Attempt): boolean => progress !== undefined || isOvertaken === true;

export function begun(registry: Registry, task: Task, attempt: string, nowMs: number): Registry {
  const order = 1 + Math.max(0, ...[...registry.values()].map(({ current }) => current?.order ?? 0));
  return new Map(registry).set(keyOf(task), { ...task, current: { attempt, order, begunMs: nowMs, heardMs: nowMs } });
}

/** The queue keeps its order: a try has been taken, so all that were queued before it have been, and should be heard of from now on. */
function taken(registry: Registry, { order }: Attempt, nowMs: number): Registry {
  const isLate = ({ current }: Task): boolean => current !== undefined && current.order < order && !isGone(current);
  if (![...registry.values()].some(isLate)) return registry;
  return new Map(
    [...registry].map(([key, task]) => [
      key,
      isLate(task) ? { ...task, current: { ...task.current!, isOvertaken: true, heardMs: nowMs } } : task,
    ]),
  );
}

export function heard(registry: Registry, key: string, attempt: string, progress: Progress, nowMs: number): Registry {
  const task = registry.get(key);
  if (task?.current?.attempt !== attempt) return registry;
  const rest = task.current.progress === undefined ? taken(registry, task.current, nowMs) : registry;
  return new Map(rest).set(key, { ...task, current: { ...task.current, heardMs: nowMs, progress } });
}

/**
 * A try has ended. `next` says when the schedule's next time is. A try that an earlier or a parallel one made superfluous
 * counts as an end too, but only the one that is current sets the schedule.
 */
export function ended(
  registry: Registry,
  key: string,
  attempt: string,
  outcome: Outcome,
  nowMs: number,
  next: (task: Task) => number,
): Registry {
  const task = registry.get(key);
  if (task === undefined || task.current?.attempt !== attempt) return registry;
  const failures = outcome.result === 'failed' ? task.failures + 1 : 0;
  return new Map(taken(registry, task.current, nowMs)).set(key, {
    ...task,
    attempts: task.attempts + 1,
    failures,
    succeededMs: failures === 0 ? nowMs : task.succeededMs,
    last: { ...outcome, endedMs: nowMs },
    current: undefined,
    // Registered again while it was under way: then that is due.
    dueMs: task.dueMs > task.current.begunMs ? task.dueMs : failures > 0 ? nowMs + backOffMs(failures) : next(task),
  });
}

/**
 * The time of day went back, or may have. Nothing is due later than its schedule, or the wait after its failures, has it from now on, which
 * `next` tells; and nothing was heard or begun after now.
 */
export function setBack(registry: Registry, nowMs: number, next: (task: Task) => number): Registry {
  const tasks = [...registry.values()].map((task): Task => {
    const { current, dueMs, failures } = task;
    const latestMs = failures > 0 ? nowMs + backOffMs(failures) : next(task);
    const { begunMs = 0, heardMs = 0 } = current ?? {};
    const seen = current && { ...current, begunMs: Math.min(begunMs, nowMs), heardMs: Math.min(heardMs, nowMs) };
    return {
      ...task,
      dueMs: Math.min(dueMs, latestMs),
      succeededMs: task.succeededMs && Math.min(task.succeededMs, nowMs),
      current: seen,
    };
  });
  return new Map(tasks.map((task) => [keyOf(task), task]));
}

/** Whether more than two intervals have passed since the last success, or since the registration; `schedule` says when it is next after a time. */
export function isLate({ succeededMs, registeredMs = 0 }: Task, nowMs: number, schedule: (afterMs: number) => number): boolean {
  return schedule(schedule(succeededMs ?? registeredMs)) < nowMs;
}

/** The settings of a task alone. */
export function registrationOf(task: Task): Registration {
  const { attempts, failures, registeredMs, succeededMs, last, current, dueMs, ...registration } = task;
  return registration;
}

/** What survives a restart. What was under way is due again: the try itself may have ended without anybody to hear of it. */
export function saved(registry: Registry): Task[] {
  return [...registry.values()].map(({ current, ...task }) => task);
}

export function restored(tasks: readonly Task[]): Registry {
  // What never comes again is null in JSON.
  return new Map(tasks.map((task) => [keyOf(task), { ...task, dueMs: (task.dueMs as number | null) ?? Infinity }]));
}
