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
  drill?: Drill | undefined;
  /** When a version of it was restored into nothing last, and was whole. */
  provenMs?: number | undefined;
  current?: Attempt | undefined;
}

/** A try that is queued or under way. */
export interface Attempt {
  attempt: string;
  /** Its place in the queue among all that are queued or under way. */
  order: number;
  /** Silent since then. */
  heardMs: number;
  /** Registered or wanted again since it began: another one is due after it. */
  isOutdated?: boolean;
  /** One that was queued later is under way: this one is no longer in the queue. */
  isOvertaken?: boolean;
  /** From when a requester has taken it. */
  progress?: Progress | undefined;
}

/** How a restore into nothing ended. */
export interface Drill {
  endedMs: number;
  version?: number | undefined;
  /** Why the version cannot be restored. */
  problem?: string | undefined;
}

export type Registry = ReadonlyMap<string, Task>;

export interface Now {
  /** Time of day, for schedules: ms since 1970. */
  dayMs: number;
  /** For waits: ms, by a clock that nobody sets. */
  clockMs: number;
}

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

/** A new registration is due at once; one that is registered again keeps its history, takes the new settings, and waits no longer. */
export function register(registry: Registry, registration: Registration, nowMs: number): Registry {
  const known = registry.get(keyOf(registration));
  const { attempts = 0, registeredMs = nowMs, succeededMs, last, drill, provenMs } = known ?? {};
  const current = known?.current && { ...known.current, isOutdated: true };
  const history = { registeredMs, succeededMs, attempts, last, drill, provenMs };
  const task: Task = { ...registration, ...history, failures: 0, current, dueMs: nowMs };
  const next = new Map(registry).set(keyOf(registration), task);
  const length = JSON.stringify([...next.values()].map(registrationOf)).length;
  if (known === undefined && length > lengths.registrations)
    throw new RangeError(
      `all registrations together have ${length} characters; at most ${lengths.registrations} are allowed: unregister a path, or register one above several`,
    );
  return next;
}

/** In characters: a status has all of it in one message, and a broker takes 16 MiB. */
const lengths = { registrations: 2 * 1024 * 1024, reasons: 2 * 1024 * 1024 };

/** For a status: the more tasks there are, the less of what each failed on. */
export function shown(registry: Registry): Task[] {
  const most = Math.floor(lengths.reasons / (2 * registry.size));
  return [...registry.values()].map((task) => ({
    ...task,
    last: task.last && { ...task.last, reason: task.last.reason?.slice(0, most) },
    drill: task.drill && { ...task.drill, problem: task.drill.problem?.slice(0, most) },
  }));
}

export function unregister(registry: Registry, named: { node: string; path: string }): Registry {
  const rest = new Map(registry);
  rest.delete(keyOf(named));
  return rest;
}

/**
 * An admin wants a backup of what is there now. One that is queued is that; one that is under way may have passed it, so another is
 * due after it.
 */
export function makeDue(registry: Registry, named: { node: string; path: string }, nowMs: number): Registry {
  const task = registry.get(keyOf(named));
  if (task === undefined || (task.current !== undefined && !isUnderWay(task))) return registry;
  const current = task.current && { ...task.current, isOutdated: true };
  return new Map(registry).set(keyOf(named), { ...task, current, dueMs: nowMs });
}

/** Whether a requester has taken it. */
export const isUnderWay = ({ current }: Task): boolean => current?.progress !== undefined;

/**
 * Of one node, and of paths that failed the last time, no more tries are queued or under way at once: one that takes hours, or says
 * so, leaves a place to others. A requester has four.
 */
export const triesMax = { ofNode: 2, ofFailed: 3 };

/**
 * What must be asked for now, the longest due first; `begun` the first, and it is not asked for again until it has ended, has fallen
 * silent, or seems to be lost from the queue.
 */
export function dueTasks(registry: Registry, { dayMs, clockMs }: Now): Task[] {
  const tasks = [...registry.values()];
  const open = tasks.filter(({ current }) => current !== undefined);
  const ofNodes = Map.groupBy(open, ({ node }) => node);
  const ofFailed = open.filter(({ failures }) => failures > 0).length;
  const hasPlace = ({ node, failures }: Task): boolean =>
    (ofNodes.get(node)?.length ?? 0) < triesMax.ofNode && (failures === 0 || ofFailed < triesMax.ofFailed);
  // Where somebody is at work the queue moves, however slowly.
  const queuedMs = open.some(isUnderWay) ? Infinity : queuedMsMax;
  const isDue = (task: Task): boolean => {
    const { dueMs, current } = task;
    if (current === undefined) return dueMs <= dayMs && hasPlace(task);
    return clockMs - current.heardMs > (isGone(current) ? silenceMsMax : queuedMs);
  };
  return tasks.filter(isDue).sort((one, other) => one.dueMs - other.dueMs);
}

const isGone = ({ progress, isOvertaken }: Attempt): boolean => progress !== undefined || isOvertaken === true;

export function begun(registry: Registry, task: Task, attempt: string, clockMs: number): Registry {
  const order = 1 + Math.max(0, ...[...registry.values()].map(({ current }) => current?.order ?? 0));
  const isOutdated = task.current?.isOutdated === true ? { isOutdated: true } : {};
  return new Map(registry).set(keyOf(task), { ...task, current: { attempt, order, heardMs: clockMs, ...isOutdated } });
}

/** It could not be asked for: what was `begun` is due again. */
export function unasked(registry: Registry, key: string, attempt: string): Registry {
  const task = registry.get(key);
  return task?.current?.attempt === attempt ? new Map(registry).set(key, { ...task, current: undefined }) : registry;
}

/** The queue keeps its order: a try has been taken, so all that were queued before it have been, and should be heard of from now on. */
function taken(registry: Registry, { order }: Attempt, clockMs: number): Registry {
  const isLate = ({ current }: Task): boolean => current !== undefined && current.order < order && !isGone(current);
  if (![...registry.values()].some(isLate)) return registry;
  return new Map(
    [...registry].map(([key, task]) => [
      key,
      isLate(task) ? { ...task, current: { ...task.current!, isOvertaken: true, heardMs: clockMs } } : task,
    ]),
  );
}

export function heard(registry: Registry, key: string, attempt: string, progress: Progress, clockMs: number): Registry {
  const task = registry.get(key);
  if (task?.current?.attempt !== attempt) return registry;
  const rest = task.current.progress === undefined ? taken(registry, task.current, clockMs) : registry;
  return new Map(rest).set(key, { ...task, current: { ...task.current, heardMs: clockMs, progress } });
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
  { dayMs, clockMs }: Now,
  next: (task: Task) => number,
): Registry {
  const task = registry.get(key);
  if (task === undefined || task.current?.attempt !== attempt) return registry;
  const failures = outcome.result === 'failed' ? task.failures + 1 : 0;
  return new Map(taken(registry, task.current, clockMs)).set(key, {
    ...task,
    attempts: task.attempts + 1,
    failures,
    succeededMs: failures === 0 ? dayMs : task.succeededMs,
    last: { ...outcome, endedMs: dayMs },
    drill: outcome.result === 'healed' ? undefined : task.drill,
    current: undefined,
    dueMs: task.current.isOutdated === true ? task.dueMs : latestMs(failures, dayMs, next(task)),
  });
}

/** After a failure a path is due as its schedule has it, or earlier. */
const latestMs = (failures: number, nowMs: number, nextMs: number): number =>
  failures > 0 ? Math.min(nowMs + backOffMs(failures), nextMs) : nextMs;

/**
 * The time of day went back, or may have. Nothing is due later than its schedule, or the wait after its failures, has it from now on, which `next`
 * tells, and nothing has happened later than now.
 */
export function setBack(registry: Registry, nowMs: number, next: (task: Task) => number): Registry {
  const past = (ms: number): number => Math.min(ms, nowMs);
  const tasks = [...registry.values()].map((task): Task => ({
    ...task,
    dueMs: Math.min(task.dueMs, latestMs(task.failures, nowMs, next(task))),
    registeredMs: task.registeredMs && past(task.registeredMs),
    succeededMs: task.succeededMs && past(task.succeededMs),
    last: task.last && { ...task.last, endedMs: past(task.last.endedMs) },
    drill: task.drill && { ...task.drill, endedMs: past(task.drill.endedMs) },
    provenMs: task.provenMs && past(task.provenMs),
  }));
  return new Map(tasks.map((task) => [keyOf(task), task]));
}

/** Of the paths the one whose last drill is longest ago, or that has had none. */
export function nextDrill(registry: Registry): Task | undefined {
  const drilledMs = ({ drill }: Task): number => drill?.endedMs ?? -Infinity;
  return [...registry.values()].reduce<Task | undefined>(
    (oldest, task) => (oldest === undefined || drilledMs(task) < drilledMs(oldest) ? task : oldest),
    undefined,
  );
}

export function drilled(registry: Registry, key: string, drill: Drill): Registry {
  const task = registry.get(key);
  if (task === undefined) return registry;
  const isProven = drill.version !== undefined && drill.problem === undefined;
  return new Map(registry).set(key, { ...task, drill, provenMs: isProven ? drill.endedMs : task.provenMs });
}

/** Whether more than two intervals have passed since the last success, or since the registration; `schedule` says when it is next after a time. */
export function isLate({ succeededMs, registeredMs = 0 }: Task, nowMs: number, schedule: (afterMs: number) => number): boolean {
  return schedule(schedule(succeededMs ?? registeredMs)) < nowMs;
}

/** The settings of a task alone. */
export function registrationOf(task: Task): Registration {
  const { attempts, failures, registeredMs, succeededMs, last, drill, provenMs, current, dueMs, ...registration } = task;
  return registration;
}

/**
 * What survives a restart. What was under way is due again: the try itself may have ended without anybody to hear of it. If another
 * one is due after it, that is the one; it counts as ended, for whoever waits for the next.
 */
export function saved(registry: Registry): Task[] {
  return [...registry.values()].map(({ current, ...task }) => ({
    ...task,
    attempts: task.attempts + (current?.isOutdated === true ? 1 : 0),
  }));
}

export function restored(tasks: readonly Task[]): Registry {
  // What never comes again is null in JSON.
  return new Map(tasks.map((task) => [keyOf(task), { ...task, dueMs: (task.dueMs as number | null) ?? Infinity }]));
}
