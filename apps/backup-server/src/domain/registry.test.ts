import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  backOffMs,
  begun,
  dueTasks,
  ended,
  heard,
  isLate,
  keyOf,
  makeDue,
  queuedMsMax,
  register,
  registrationOf,
  restored,
  saved,
  drilled,
  nextDrill,
  setBack,
  shown,
  silenceMsMax,
  unasked,
  unregister,
  type Now,
  type Outcome,
  type Registration,
  type Registry,
  type Task,
} from './registry.ts';

const docs: Registration = { node: 'a', address: 'host:1', path: 'docs', every: '30' };
const outcome = (result: Outcome['result'] = 'version'): Outcome => ({
  result,
  files: 1,
  bytes: 2,
  sentBytes: 3,
  storedBytes: 4,
  elapsedMs: 5,
});
const taskOf = (registry: Registry, registration = docs) => registry.get(keyOf(registration))!;
const start = (registry: Registry, nowMs: number, attempt = 'one'): Registry => begun(registry, taskOf(registry), attempt, nowMs);
const at = (ms: number): Now => ({ dayMs: ms, clockMs: ms });
const due = (registry: Registry, ms: number): Task[] => dueTasks(registry, at(ms));
const end = (
  registry: Registry,
  key: string,
  attempt: string,
  how: Outcome,
  ms: number,
  next: (task: Task) => number,
): Registry => ended(registry, key, attempt, how, at(ms), next);
const in30s = (nowMs: number) => () => nowMs + 30_000;

describe('a registration', () => {
  it('is due at once', () => {
    expect(due(register(new Map(), docs, 1000), 1000)).toMatchObject([{ ...docs, attempts: 0, failures: 0 }]);
    expect(due(register(new Map(), docs, 1000), 999)).toEqual([]);
  });

  it('again takes the new settings, keeps the history, and is due', () => {
    let registry = start(register(new Map(), { ...docs, keep: 3 }, 0), 10);
    registry = end(registry, keyOf(docs), 'one', outcome(), 20, in30s(20));
    registry = register(registry, { ...docs, every: '1h', address: 'other:2' }, 5000);
    expect(registry.size).toBe(1);
    expect(taskOf(registry).keep).toBeUndefined();
    expect(taskOf(registry)).toMatchObject({
      every: '1h',
      address: 'other:2',
      attempts: 1,
      dueMs: 5000,
      last: { result: 'version' },
    });
  });

  it('again while a backup is under way makes another one due after it', () => {
    let registry = start(register(new Map(), docs, 0), 10);
    registry = register(registry, docs, 500);
    expect(due(registry, 500)).toEqual([]);
    registry = end(registry, keyOf(docs), 'one', outcome(), 1000, in30s(1000));
    expect(due(registry, 1000)).toHaveLength(1);
  });

  it('is named by node and path: no two of them are one', () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[a-z.]{1,3}$/),
        fc.stringMatching(/^[a-z./]{1,3}$/),
        fc.stringMatching(/^[a-z.]{1,3}$/),
        fc.stringMatching(/^[a-z./]{1,3}$/),
        (a, b, c, d) => void expect(keyOf({ node: a, path: b }) === keyOf({ node: c, path: d })).toBe(a === c && b === d),
      ),
    );
  });

  it('goes with all that is under way for it', () => {
    let registry = start(register(new Map(), docs, 0), 0);
    registry = unregister(registry, docs);
    expect(registry.size).toBe(0);
    expect(end(registry, keyOf(docs), 'one', outcome(), 5, in30s(5)).size).toBe(0);
    expect(heard(registry, keyOf(docs), 'one', { files: 0, bytes: 0, sentBytes: 0 }, 5).size).toBe(0);
    expect(makeDue(registry, docs, 5).size).toBe(0);
  });

  it('leaves the registry that it was put into as it is', () => {
    const before = register(new Map(), docs, 0);
    register(before, { ...docs, path: 'other' }, 1);
    unregister(before, docs);
    start(before, 1);
    expect(before.size).toBe(1);
    expect(taskOf(before).current).toBeUndefined();
  });
});

describe('a task', () => {
  it('is not asked for twice, and is due again when the schedule says', () => {
    let registry = start(register(new Map(), docs, 0), 100);
    expect(due(registry, 5000)).toEqual([]);
    registry = end(registry, keyOf(docs), 'one', outcome(), 6000, in30s(6000));
    expect(due(registry, 35_999)).toEqual([]);
    expect(due(registry, 36_000)).toHaveLength(1);
    expect(taskOf(registry)).toMatchObject({
      attempts: 1,
      failures: 0,
      current: undefined,
      last: { ...outcome(), endedMs: 6000 },
    });
  });

  it('whose requester fell silent is due again, and its late end counts no more', () => {
    let registry = start(register(new Map(), docs, 0), 0);
    registry = heard(registry, keyOf(docs), 'one', { files: 1, bytes: 2, sentBytes: 3 }, 40_000);
    expect(taskOf(registry).current?.progress).toEqual({ files: 1, bytes: 2, sentBytes: 3 });
    expect(due(registry, 40_000 + silenceMsMax)).toEqual([]);
    expect(due(registry, 40_001 + silenceMsMax)).toHaveLength(1);
    registry = start(registry, 200_000, 'two');
    for (const late of [
      end(registry, keyOf(docs), 'one', outcome('failed'), 200_001, in30s(0)),
      heard(registry, keyOf(docs), 'one', { files: 9, bytes: 9, sentBytes: 9 }, 300_000),
    ])
      expect(late).toBe(registry);
    expect(end(registry, keyOf(docs), 'two', outcome(), 200_002, in30s(200_002))).not.toBe(registry);
  });

  it('that waits in a long queue is asked for once: a round of 24 paths on a slow requester is 24 tries', () => {
    const paths = Array.from({ length: 24 }, (_, index) => ({ ...docs, path: `p${index}`, every: '1h' }));
    let registry = paths.reduce((so, each) => register(so, each, 0), new Map() as Registry);
    const queue: { key: string; attempt: string }[] = [];
    let published = 0;
    const ask = (nowMs: number): void => {
      for (const task of due(registry, nowMs)) {
        const attempt = `${published++}`;
        registry = begun(registry, task, attempt, nowMs);
        queue.push({ key: keyOf(task), attempt });
      }
    };
    ask(0);
    for (let nowMs = 0; queue.length > 0 && published <= 24; nowMs += 1_000) {
      const { key, attempt } = queue[0]!;
      registry = heard(registry, key, attempt, { files: 1, bytes: 2, sentBytes: 3 }, nowMs);
      ask(nowMs);
      if (nowMs % 120_000 !== 119_000) continue;
      queue.shift();
      registry = end(registry, key, attempt, outcome(), nowMs, () => nowMs + 3_600_000_000);
    }
    expect(published).toBe(24);
    expect([...registry.values()].map(({ attempts }) => attempts)).toEqual(paths.map(() => 1));
  });

  it('that was lost from the queue is asked for again when a later one has been taken and it stays silent', () => {
    const other = { ...docs, path: 'other' };
    let registry = start(register(new Map(), docs, 0), 0);
    registry = begun(register(registry, other, 0), { ...taskOf(registry), ...other }, 'two', 0);
    expect(due(registry, 10 * silenceMsMax)).toEqual([]);
    registry = heard(registry, keyOf(other), 'two', { files: 1, bytes: 2, sentBytes: 3 }, 10 * silenceMsMax);
    registry = heard(registry, keyOf(other), 'two', { files: 2, bytes: 2, sentBytes: 3 }, 11 * silenceMsMax);
    expect(due(registry, 11 * silenceMsMax)).toEqual([]);
    expect(due(registry, 11 * silenceMsMax + 1).map(({ path }) => path)).toEqual(['docs']);
  });

  it('is asked for again after an hour in which no requester has been at work', () => {
    const registry = start(register(new Map(), docs, 0), 0);
    expect(due(registry, queuedMsMax)).toEqual([]);
    expect(due(registry, queuedMsMax + 1)).toHaveLength(1);
  });

  it('that failed is tried again soon, then later and later, and after a success as scheduled', () => {
    let registry = register(new Map(), docs, 0);
    let nowMs = 0;
    const waits: number[] = [];
    for (let attempt = 0; attempt < 12; attempt++) {
      const next = (): number => nowMs + 3_600_000;
      registry = end(start(registry, nowMs, `${attempt}`), keyOf(docs), `${attempt}`, outcome('failed'), nowMs, next);
      waits.push(taskOf(registry).dueMs - nowMs);
      nowMs = taskOf(registry).dueMs;
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300].map((seconds) => seconds * 1000));
    registry = end(start(registry, nowMs, 'good'), keyOf(docs), 'good', outcome('superseded'), nowMs, in30s(nowMs));
    expect(taskOf(registry)).toMatchObject({ failures: 0, dueMs: nowMs + 30_000, attempts: 13 });
    expect(backOffMs(10_000)).toBe(300_000);
  });

  it('that fails waits no longer than its interval, and not at all once it is registered again', () => {
    let registry = register(new Map(), docs, 0);
    for (let attempt = 0; attempt < 12; attempt++)
      registry = end(start(registry, 0, `${attempt}`), keyOf(docs), `${attempt}`, outcome('failed'), 0, in30s(0));
    expect(taskOf(registry)).toMatchObject({ failures: 12, dueMs: 30_000 });
    registry = register(registry, docs, 5);
    expect(taskOf(registry)).toMatchObject({ failures: 0, dueMs: 5, attempts: 12 });
    registry = end(start(registry, 5, 'next'), keyOf(docs), 'next', outcome('failed'), 5, in30s(5));
    expect(taskOf(registry).dueMs).toBe(1_005);
  });

  it('that is under way is no more silent for a clock that jumps', () => {
    const registry = heard(start(register(new Map(), docs, 0), 0), keyOf(docs), 'one', { files: 0, bytes: 0, sentBytes: 0 }, 0);
    for (const dayMs of [-1e12, 1e12]) {
      expect(dueTasks(registry, { dayMs, clockMs: silenceMsMax })).toEqual([]);
      expect(dueTasks(registry, { dayMs, clockMs: silenceMsMax + 1 })).toHaveLength(1);
    }
  });

  it('is made due by an admin, unless it is queued', () => {
    let registry = start(register(new Map(), docs, 0), 0);
    expect(makeDue(registry, docs, 100)).toBe(registry);
    registry = end(registry, keyOf(docs), 'one', outcome(), 200, in30s(200));
    expect(due(makeDue(registry, docs, 300), 300)).toHaveLength(1);
  });

  const progress = { files: 0, bytes: 0, sentBytes: 0 };

  it('that an admin wants while it is under way is due again after it, also when it falls silent', () => {
    let registry = heard(start(register(new Map(), docs, 0), 0), keyOf(docs), 'one', progress, 50);
    registry = makeDue(registry, docs, 100);
    expect(due(registry, 100)).toEqual([]);
    registry = start(registry, 100_000, 'two');
    registry = end(registry, keyOf(docs), 'two', outcome(), 100_200, in30s(100_200));
    expect(due(registry, 100_200)).toHaveLength(1);
    registry = end(start(registry, 100_300, 'three'), keyOf(docs), 'three', outcome(), 100_400, in30s(100_400));
    expect(due(registry, 100_400)).toEqual([]);
  });

  it('that was to be due again after it has one end less to wait for after a restart', () => {
    const registry = makeDue(heard(start(register(new Map(), docs, 0), 0), keyOf(docs), 'one', progress, 50), docs, 100);
    const back = restored(saved(registry));
    expect(due(back, 100)).toMatchObject([{ attempts: 1 }]);
  });

  it('that could not be asked for is due again, unless another try of it is under way by then', () => {
    const registry = start(register(new Map(), docs, 0), 10);
    expect(due(unasked(registry, keyOf(docs), 'one'), 10)).toHaveLength(1);
    expect(unasked(registry, keyOf(docs), 'two')).toBe(registry);
    expect(unasked(new Map(), keyOf(docs), 'one').size).toBe(0);
  });
});

describe('what is saved', () => {
  it('comes back through JSON, and what was under way is due again', () => {
    let registry = register(new Map(), { ...docs, keep: 2 }, 0);
    registry = end(start(registry, 0), keyOf(docs), 'one', outcome(), 10, in30s(10));
    registry = register(registry, { ...docs, path: 'other' }, 20);
    registry = begun(registry, registry.get(keyOf({ node: 'a', path: 'other' }))!, 'two', 30);
    const back = restored(JSON.parse(JSON.stringify(saved(registry))) as ReturnType<typeof saved>);
    expect([...back.keys()]).toEqual([...registry.keys()]);
    expect(back.get(keyOf(docs))).toEqual(registry.get(keyOf(docs)));
    expect(due(back, 30).map(({ path }) => path)).toEqual(['other']);
  });
});

describe('a time of day that goes back', () => {
  const hourMs = 3_600_000;

  it('makes nothing due later than its schedule has it from then on', () => {
    const ahead = register(new Map(), docs, hourMs);
    const done = end(start(ahead, hourMs), keyOf(docs), 'one', outcome(), hourMs, in30s(hourMs));
    expect(taskOf(setBack(done, 10, in30s(10))).dueMs).toBe(30_010);
    const failed = end(start(ahead, hourMs), keyOf(docs), 'one', outcome('failed'), hourMs, in30s(hourMs));
    expect(taskOf(setBack(failed, 10, in30s(10))).dueMs).toBe(1_010);
    expect(taskOf(setBack(register(new Map(), docs, 5), 10, in30s(10))).dueMs).toBe(5);
  });
});

describe('a path', () => {
  const every10 = (afterMs: number): number => afterMs + 10;
  const late = (registry: Registry, nowMs: number): boolean => isLate(taskOf(registry), nowMs, every10);

  it('is late when two intervals have passed since its registration, or its last success', () => {
    let registry = register(new Map(), docs, 100);
    expect([late(registry, 120), late(registry, 121)]).toEqual([false, true]);
    registry = ended(start(registry, 121), keyOf(docs), 'one', outcome('unchanged'), at(130), in30s(130));
    expect([late(registry, 150), late(registry, 151)]).toEqual([false, true]);
    registry = ended(start(registry, 150, 'two'), keyOf(docs), 'two', outcome('failed'), at(151), in30s(151));
    expect(late(registry, 151)).toBe(true);
    expect(taskOf(register(registry, docs, 160))).toMatchObject({ registeredMs: 100, succeededMs: 130 });
  });

  it('is not on time for ever because the clock was once ahead', () => {
    const registry = ended(start(register(new Map(), docs, 9000), 9000), keyOf(docs), 'one', outcome(), at(9001), in30s(9001));
    expect(taskOf(setBack(registry, 50, () => 60))).toMatchObject({ registeredMs: 50, succeededMs: 50, last: { endedMs: 50 } });
  });

  it('is not proven later than now, and has its turn for a drill', () => {
    const both = register(register(new Map(), docs, 1), { ...docs, path: 'other' }, 1);
    const ahead = drilled(drilled(both, keyOf(docs), { version: 1, endedMs: 9000 }), keyOf({ ...docs, path: 'other' }), {
      version: 1,
      endedMs: 9001,
    });
    const back = setBack(ahead, 50, () => 60);
    expect(taskOf(back)).toMatchObject({ provenMs: 50, drill: { endedMs: 50 } });
    const again = drilled(back, keyOf(nextDrill(back)!), { version: 1, endedMs: 51 });
    expect(keyOf(nextDrill(again)!)).not.toBe(keyOf(nextDrill(back)!));
  });

  it('has of its history nothing in what a requester is told', () => {
    const registry = ended(
      start(register(new Map(), { ...docs, keep: 3 }, 1), 1),
      keyOf(docs),
      'one',
      outcome(),
      at(2),
      in30s(2),
    );
    expect(registrationOf(taskOf(registry))).toEqual({ ...docs, keep: 3 });
  });
});

describe('places', () => {
  const nothing = { files: 0, bytes: 0, sentBytes: 0 };
  /** Asks for all that is due, as far as there are places; their paths. */
  const askAll = (registry: Registry, dayMs: number): [Registry, string[]] => {
    const asked: string[] = [];
    for (let task; (task = dueTasks(registry, { dayMs, clockMs: 0 })[0]) !== undefined;) {
      registry = begun(registry, task, `${task.node} ${task.path}`, 0);
      asked.push(task.path);
    }
    return [registry, asked];
  };

  it('are two for a node, and what was due first has the next', () => {
    let registry: Registry = new Map();
    for (const [dueMs, path] of ['third', 'second', 'fourth', 'first'].entries())
      registry = register(registry, { ...docs, path }, [2, 1, 3, 0][dueMs]!);
    registry = register(registry, { ...docs, node: 'b', path: 'other' }, 4);
    const [begun, asked] = askAll(registry, 4);
    expect(asked).toEqual(['first', 'second', 'other']);
    registry = heard(begun, keyOf({ node: 'a', path: 'second' }), 'a second', nothing, 0);
    registry = ended(registry, keyOf({ node: 'a', path: 'second' }), 'a second', outcome(), at(5), () => 5);
    expect(askAll(registry, 5)[1]).toEqual(['third']);
  });

  it('are three for paths that have failed, of the four of a requester', () => {
    let registry: Registry = new Map();
    for (const node of ['a', 'b', 'c', 'd']) {
      registry = register(registry, { ...docs, node }, 0);
      [registry] = askAll(registry, 0);
      registry = ended(registry, keyOf({ ...docs, node }), `${node} docs`, outcome('failed'), at(0), () => 1e9);
    }
    registry = register(registry, { ...docs, node: 'e', path: 'sound' }, 5_000);
    expect(askAll(registry, 5_000)[1]).toEqual(['docs', 'docs', 'docs', 'sound']);
  });
});

describe('what a status shows', () => {
  const mib = 1024 * 1024;

  it('has all of what a few failed on', () => {
    const reason = 'é'.repeat(8192);
    const drill = { endedMs: 0, version: 1, problem: reason };
    const last = { ...outcome('failed'), reason, endedMs: 0 };
    const failed: Task = { ...docs, dueMs: 0, attempts: 1, failures: 1, drill, last };
    expect(shown(restored([failed]))).toEqual([failed]);
  });

  it('is no longer than a message, for no more is registered', () => {
    const long = (path: number): Registration => ({ ...docs, path: `${path}`.padEnd(4000, 'x'), exclude: ['y'.repeat(4000)] });
    let registry = restored(Array.from({ length: 250 }, (_, path) => ({ ...long(path), dueMs: 0, attempts: 0, failures: 0 })));
    const addTo = (): void => {
      for (let path = 250; path < 300; path++) registry = register(registry, long(path), 0);
    };
    expect(addTo).toThrow(/all registrations together have \d+ characters; at most 2097152 are allowed: unregister a path/);
    expect(JSON.stringify([...registry.values()].map(registrationOf)).length).toBeLessThan(2 * mib);
    // What is there may still be changed.
    expect(taskOf(register(registry, { ...long(0), every: '1h' }, 0), long(0)).every).toBe('1h');
  });
});
