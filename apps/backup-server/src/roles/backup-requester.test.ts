import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeMemoryServer } from '@lab/middleware';
import { silentLogger } from '@lab/process';
import { FakeClock } from '@lab/testing';
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

it('a node that says for an hour that it works, and gets no further, is given up', async () => {
  const clock = new FakeClock();
  const broker = makeMemoryServer({ clock }).connect();
  await broker.declare(topology);
  const ended = Promise.withResolvers<Outcome>();
  const hear = ({ body }: { body: Buffer }): void => {
    const { head } = decode(body, 'progress', 'ended');
    if (head.kind === 'ended') ended.resolve(head.outcome);
  };
  await broker.consume(queueOf.outcomes, hear, { prefetch: 100 });
  const asked = Promise.withResolvers<void>();
  const broken = Promise.withResolvers<never>();
  const node = {
    send: () => Promise.resolve(),
    expect: () => (asked.resolve(), broken.promise),
    close: () => Promise.resolve(),
    destroy: (error = new Error('destroyed')) => broken.reject(error),
  };
  const connect = (): Promise<Channel> => Promise.resolve(node as unknown as Channel);
  const role = new BackupRequesterRole({
    ...{ broker, store, clock, connect },
    ...{ log: silentLogger, nowMs: () => clock.nowMs(), fail: () => {} },
  });
  await role.start();
  const due: Head<'due'> = { kind: 'due', attempt: randomUUID(), node: 'a', address: 'a:1', path: 'x', every: '1h' };
  await broker.publish({ routingKey: queueOf.due, body: encode(due) });
  await asked.promise;
  clock.advance(3_602_000);
  expect(await ended.promise).toMatchObject({ result: 'failed', reason: 'the node has got no further for 60 minutes' });
  await role.stop();
});
