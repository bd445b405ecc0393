import { randomUUID } from 'node:crypto';
import { makeMemoryServer, UnavailableError, type Delivery } from '@lab/middleware';
import { silentLogger } from '@lab/process';
import { eventually, FakeClock } from '@lab/testing';
import { expect, it, vi } from 'vitest';
import { decode, encode, unpackJson, type Head } from '../messages.ts';
import { queueOf, topology } from '../topology.ts';
import { NodesManagerRole, type SavedRegistry } from './nodes-manager.ts';

const taskOf = (path: string) => ({ ...{ node: 'a', address: 'a:1', path, every: '1h' }, dueMs: 0, attempts: 0, failures: 0 });

const sliceMs = 60_000;

/** A nodes manager on a record, an admin's side of its queues, and what it has published as due. */
async function begin(tasks: SavedRegistry['tasks'], sweepIntervalMs = 1e9) {
  const clock = new FakeClock();
  const server = makeMemoryServer({ clock });
  const [broker, admin] = [server.connect(), server.connect()];
  await broker.declare(topology);
  await admin.declare({ queues: [{ name: 'replies' }] });
  const replies = new Map<string, (failed: string | undefined) => void>();
  const onReply = ({ body }: Delivery): void => {
    const { head } = decode(body, 'reply');
    replies.get(head.id)!(head.failed);
  };
  await admin.consume('replies', onReply, { prefetch: 1 });
  /** Resolves with why it could not be done. */
  const command = async (head: Head<'register' | 'unregister' | 'backupNow' | 'status'>): Promise<string | undefined> => {
    const id = randomUUID();
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    replies.set(id, resolve);
    const body = encode({ kind: 'command', id, replyTo: 'replies' }, encode(head));
    await admin.publish({ routingKey: queueOf.commands, body });
    return promise;
  };
  const state = { saved: { tasks, scrub: { slice: 0, dueMs: 1e15 } }, isFull: false };
  const file = {
    load: () => Promise.resolve(state.saved),
    async save(saved: SavedRegistry) {
      if (state.isFull) throw Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' });
      state.saved = JSON.parse(JSON.stringify(saved)) as SavedRegistry;
    },
    close: () => {},
  };
  const host = { broker, clock, file, log: silentLogger, nowMs: () => 0, newId: randomUUID, fail: () => {} };
  const role = new NodesManagerRole({
    ...host,
    hasVersions: async () => false,
    scrubCycleMs: 256 * sliceMs,
    sweepIntervalMs,
  });
  const outcome = (head: Head<'drilled' | 'ended'>): Promise<void> =>
    admin.publish({ routingKey: queueOf.outcomes, body: encode(head) });
  return { broker, clock, command, outcome, state, role };
}

const pathsIn = (tasks: readonly { path: string }[]): string[] => tasks.map(({ path }) => path);

it('what is unregistered while another path is published as due stays so', async () => {
  const { broker, command, role, state } = await begin([taskOf('one'), taskOf('two')]);
  const due: string[] = [];
  const publish = broker.publish.bind(broker);
  vi.spyOn(broker, 'publish').mockImplementation(async (message) => {
    if (message.routingKey === queueOf.due) {
      due.push(decode(Buffer.from(message.body), 'due').head.path);
      await command({ kind: 'unregister', node: 'a', path: 'two', forget: false });
    }
    return publish(message);
  });
  await role.start();
  await role.stop();
  expect(due).toEqual(['one']);
  expect(pathsIn(state.saved.tasks)).toEqual(['one']);
});

it('what could not be published is due again, and the command that made it so has happened', async () => {
  const { broker, clock, command, role } = await begin([taskOf('one')]);
  const due: string[] = [];
  let isAway = true;
  const publish = broker.publish.bind(broker);
  vi.spyOn(broker, 'publish').mockImplementation(async (message) => {
    if (message.routingKey !== queueOf.due) return publish(message);
    if (isAway) throw new UnavailableError('away');
    due.push(decode(Buffer.from(message.body), 'due', 'sweep').head.kind);
  });
  await role.start();
  expect(await command({ kind: 'backupNow', node: 'a', path: 'one' })).toBeUndefined();
  expect(await command({ kind: 'register', node: 'a', address: 'a:1', path: 'two', every: '1h' })).toBeUndefined();
  isAway = false;
  await clock.advanceAsync(1_000);
  expect(due.filter((kind) => kind === 'due')).toHaveLength(2);
  await role.stop();
});

it('what waits for another path of its node is asked for when that one has ended', async () => {
  const paths = ['one', 'two', 'three', 'four'];
  const { broker, command, outcome, role } = await begin(paths.map(taskOf));
  const asked: Head<'due'>[] = [];
  const take = ({ body }: Delivery): void => {
    const { head } = decode(body, 'due', 'sweep');
    if (head.kind === 'due') asked.push(head);
  };
  await broker.consume(queueOf.due, take, { prefetch: 9 });
  await role.start();
  await eventually(() => expect(pathsIn(asked)).toEqual(['one', 'two']));
  const { attempt, node, path } = asked[1]!;
  // Due again, but not before somebody may have seen how it ended.
  expect(await command({ kind: 'register', node, address: 'a:1', path, every: '1h' })).toBeUndefined();
  const nothing = { files: 0, bytes: 0, sentBytes: 0, storedBytes: 0, elapsedMs: 0 };
  await outcome({ kind: 'ended', attempt, node, path, outcome: { result: 'unchanged', ...nothing } });
  await eventually(() => expect(pathsIn(asked)).toEqual(['one', 'two', 'three']));
  expect(role.tasks[1]).toMatchObject({ path: 'two', attempts: 1, dueMs: 0, current: undefined });
  await role.stop();
});

it('a command that could not be saved has not happened, and one that could has', async () => {
  const { command, role, state } = await begin([taskOf('one')]);
  await role.start();
  state.isFull = true;
  expect(await command({ kind: 'unregister', node: 'a', path: 'one', forget: false })).toContain('ENOSPC');
  expect(await command({ kind: 'unregister', node: 'a', path: 'one', forget: true })).toContain('ENOSPC');
  expect(await command({ kind: 'register', node: 'a', address: 'a:1', path: 'two', every: '1h' })).toContain('ENOSPC');
  expect(pathsIn(role.tasks)).toEqual(['one']);
  state.isFull = false;
  expect(await command({ kind: 'register', node: 'a', address: 'a:1', path: 'two', every: '1h' })).toBeUndefined();
  expect(pathsIn(state.saved.tasks)).toEqual(['one', 'two']);
  expect(await command({ kind: 'unregister', node: 'a', path: 'one', forget: false })).toBeUndefined();
  expect(pathsIn(state.saved.tasks)).toEqual(['two']);
  expect(pathsIn(role.tasks)).toEqual(['two']);
  expect(await command({ kind: 'unregister', node: 'a', path: 'one', forget: false })).toContain('is not registered');
  expect(await command({ kind: 'unregister', node: 'a', path: 'one', forget: true })).toBeUndefined();
  await role.stop();
});

it('a status of thousands of paths that fail is no longer than a broker takes', async () => {
  const reason = 'é'.repeat(8192);
  const nothing = { files: 0, bytes: 0, sentBytes: 0, storedBytes: 0, elapsedMs: 0 };
  const last = { result: 'failed', ...nothing, reason, endedMs: 0 } as const;
  const paths = Array.from({ length: 2_000 }, (_, index) => `${index}`);
  const { broker, command, role } = await begin(paths.map((path) => ({ ...taskOf(path), dueMs: 1e12, last })));
  const published = vi.spyOn(broker, 'publish');
  await role.start();
  await command({ kind: 'status' });
  const reply = published.mock.calls.map(([message]) => message).find(({ routingKey }) => routingKey === 'replies')!;
  const text = JSON.stringify(unpackJson(decode(Buffer.from(reply.body), 'reply').body));
  expect(Buffer.byteLength(text)).toBeLessThan(16 * 1024 * 1024);
  await role.stop();
});

it('what was due in years, by a clock that was once ahead, is due within its interval; so is a scrub; and the log says so', async () => {
  const { role, state } = await begin([{ ...taskOf('one'), dueMs: 1e12 }]);
  const logged = vi.spyOn(silentLogger, 'warn');
  await role.start();
  expect(logged).toHaveBeenCalledWith({ paths: ['"one" of node a'] }, expect.stringContaining('due earlier now'));
  expect(role.tasks).toMatchObject([{ path: 'one', dueMs: 3_600_000 }]);
  await role.stop();
  expect(state.saved).toMatchObject({ tasks: [{ dueMs: 3_600_000 }], scrub: { dueMs: sliceMs } });
});

it('has the store swept at the start, after an attempt that failed, and after a path was unregistered', async () => {
  const { broker, clock, command, outcome, role } = await begin([taskOf('one')], 0);
  let sweeps = 0;
  let isFailing = false;
  await broker.consume(
    queueOf.due,
    async ({ body }) => {
      const { head } = decode(body, 'due', 'drill', 'scrub', 'sweep');
      if (head.kind === 'sweep') sweeps++;
      if (head.kind !== 'due' || !isFailing) return;
      const { attempt, node, path } = head;
      const nothing = { files: 0, bytes: 0, sentBytes: 0, storedBytes: 0, elapsedMs: 0 };
      await outcome({ kind: 'ended', attempt, node, path, outcome: { result: 'failed', ...nothing } });
    },
    { prefetch: 1 },
  );
  const untilSwept = async (): Promise<void> => {
    const before = sweeps;
    for (let ticks = 0; sweeps === before; ticks++) {
      expect(ticks).toBeLessThan(100);
      await clock.advanceAsync(1_000);
    }
  };
  await role.start();
  await untilSwept();
  await clock.advanceAsync(10_000);
  expect(sweeps).toBe(1);
  isFailing = true;
  expect(await command({ kind: 'register', node: 'a', address: 'a:1', path: 'two', every: '1h' })).toBeUndefined();
  await untilSwept();
  isFailing = false;
  await command({ kind: 'unregister', node: 'a', path: 'two', forget: true });
  await untilSwept();
  await role.stop();
});

it('has a version of each path restored into nothing, the one whose turn was longest ago first', async () => {
  const { broker, clock, outcome, role } = await begin([
    { ...taskOf('one'), dueMs: 1e12 },
    { ...taskOf('two'), dueMs: 1e12 },
  ]);
  const drills: string[] = [];
  await broker.consume(
    queueOf.due,
    async ({ body }) => {
      const { head } = decode(body, 'due', 'drill', 'scrub', 'sweep');
      if (head.kind !== 'drill') return;
      const { node, path } = head;
      drills.push(path);
      const problem = path === 'two' ? 'it is damaged' : undefined;
      await outcome({ kind: 'drilled', node, path, version: 3, problem, elapsedMs: 10 });
    },
    { prefetch: 1 },
  );
  await role.start();
  for (let ticks = 0; drills.length < 3; ticks++) {
    expect(ticks, String(drills)).toBeLessThan(100);
    await clock.advanceAsync(sliceMs);
  }
  await role.stop();
  expect(drills).toEqual(['one', 'two', 'one']);
  expect(role.tasks).toMatchObject([
    { path: 'one', provenMs: 0, drill: { version: 3 } },
    { path: 'two', drill: { version: 3, problem: 'it is damaged' } },
  ]);
  expect(role.tasks[1]!.provenMs).toBeUndefined();
});
