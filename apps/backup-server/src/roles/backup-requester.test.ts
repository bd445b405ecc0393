import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeMemoryServer } from '@lab/middleware';
import { silentLogger } from '@lab/process';
import { eventually, FakeClock } from '@lab/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Channel } from '../channel/channel.ts';
import type { Outcome } from '../domain/registry.ts';
import { decode, encode, type Head } from '../messages.ts';
import { queueOf, topology } from '../topology.ts';
import { openStore, type BackupStore } from '../versions.ts';
import { BackupRequesterRole } from './backup-requester.ts';

let folder: string;
let store: BackupStore;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'requester-'));
  store = await openStore(join(folder, 'store'));
});
afterEach(async () => {
  await store.close();
  await rm(folder, { recursive: true });
});

/** A node that says each second that it works: of so many files more. */
function worker(clock: FakeClock, more: number): Channel {
  let files = 0;
  let broken = Promise.withResolvers<never>();
  const message = (): { head: Head<'working'>; body: Buffer } => ({
    head: { kind: 'working', files: (files += more), bytes: 0, sentBytes: 0 },
    body: Buffer.alloc(0),
  });
  const channel = {
    send: () => Promise.resolve(),
    expect: () => Promise.race([new Promise((resolve) => clock.after(1_000, () => resolve(message()))), broken.promise]),
    close: () => Promise.resolve(),
    destroy: (error?: Error) => {
      broken.promise.catch(() => undefined);
      broken.reject(error ?? new Error('destroyed'));
      broken = Promise.withResolvers<never>();
      broken.promise.catch(() => undefined);
      broken.reject(error ?? new Error('destroyed'));
    },
  };
  return channel as unknown as Channel;
}

it.each([
  ['gets no further', 0, 3_600_000, 'the node has got no further for 60 minutes'],
  ['gets further for ever', 1, 86_400_000, 'the backup was not done after 24 hours'],
])('a node that %s is given up', async (_, more, lastsMs, reason) => {
  const clock = new FakeClock();
  const broker = makeMemoryServer({ clock }).connect();
  await broker.declare(topology);
  let outcome: Outcome | undefined;
  const hear = ({ body }: { body: Buffer }): void => {
    const { head } = decode(body, 'progress', 'ended');
    if (head.kind === 'ended') outcome = head.outcome;
  };
  await broker.consume(queueOf.outcomes, hear, { prefetch: 100 });
  const connect = (): Promise<Channel> => Promise.resolve(worker(clock, more));
  const role = new BackupRequesterRole({
    ...{ broker, store, clock, connect },
    ...{ log: silentLogger, nowMs: () => clock.nowMs(), fail: () => {} },
  });
  await role.start();
  const due: Head<'due'> = { kind: 'due', attempt: randomUUID(), node: 'a', address: 'a:1', path: 'x', every: '1h' };
  await broker.publish({ routingKey: queueOf.due, body: encode(due) });
  // In steps in which the node is heard once.
  const stepMs = 1_500_000;
  const pass = async (): Promise<void> => {
    clock.advance(stepMs);
    await clock.advanceAsync(0);
  };
  await eventually(() => pass().then(() => clock.nowMs() + stepMs > lastsMs), { intervalMs: 0 });
  expect(outcome).toBeUndefined();
  await eventually(() => pass().then(() => outcome !== undefined), { intervalMs: 1 });
  expect(outcome).toMatchObject({ result: 'failed', reason });
  await role.stop();
});
