import { createCipheriv, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeMemoryServer } from '@lab/middleware';
import { silentLogger } from '@lab/process';
import { encodeBundle, hashOf, type Blob } from '@lab/store/bundle';
import { FakeDisk } from '@lab/store/fake-disk';
import { eventually, FakeClock } from '@lab/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Channel } from '../channel/channel.ts';
import { manifestLine, type Entry } from '../domain/manifest.ts';
import type { Outcome } from '../domain/registry.ts';
import { checksumOf, decode, encode, packJson, packOffer, pieces, type Head, type Message } from '../messages.ts';
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

const due = (path: string): Head<'due'> => ({
  ...{ kind: 'due', attempt: randomUUID(), node: 'a', address: 'a:1', path, every: '1h' },
});

/** A requester of nodes that say what `said` has for a path, and then nothing more. */
async function begin(store: BackupStore, said: (path: string) => readonly Message[] = () => []) {
  const clock = new FakeClock();
  const broker = makeMemoryServer({ clock }).connect();
  await broker.declare(topology);
  const outcomes: Outcome[] = [];
  const hear = ({ body }: { body: Buffer }): void => {
    const { head } = decode(body, 'progress', 'ended');
    if (head.kind === 'ended') outcomes.push(head.outcome);
  };
  await broker.consume(queueOf.outcomes, hear, { prefetch: 100 });
  let silent = 0;
  const connect = async ({ path }: { path: string }): Promise<Channel> => {
    const broken = Promise.withResolvers<never>();
    const left = [...said(path)];
    const node = {
      send: () => Promise.resolve(),
      expect: () => (left.length > 0 ? Promise.resolve(left.shift()) : (silent++, broken.promise)),
      close: () => Promise.resolve(),
      destroy: (error = new Error('destroyed')) => broken.reject(error),
    };
    broken.promise.catch(() => undefined);
    return node as unknown as Channel;
  };
  const role = new BackupRequesterRole({
    ...{ broker, store, clock, connect },
    ...{ log: silentLogger, nowMs: () => clock.nowMs(), fail: () => {} },
  });
  await role.start();
  const backUp = (path: string): Promise<void> => broker.publish({ routingKey: queueOf.due, body: encode(due(path)) });
  const untilSilent = (): Promise<unknown> => eventually(() => silent > 0);
  return { clock, role, backUp, outcomes, untilSilent };
}

it('a node that says for an hour that it works, and gets no further, is given up', async () => {
  const { clock, role, backUp, outcomes, untilSilent } = await begin(store);
  await backUp('x');
  await untilSilent();
  clock.advance(3_602_000);
  await eventually(() => expect(outcomes).toHaveLength(1));
  expect(outcomes).toMatchObject([{ result: 'failed', reason: 'the node has got no further for 60 minutes' }]);
  await role.stop();
});

it('a third try of one node breaks off the first, which may hold a place for hours', async () => {
  const { role, backUp, outcomes } = await begin(store);
  for (const path of ['one', 'two', 'three']) await backUp(path);
  await eventually(() => expect(outcomes).toMatchObject([{ result: 'failed', reason: 'a later try has come' }]));
  await role.stop();
});

it('what a backup has left that found the disk full is swept at once: the next one fits', async () => {
  const blob = (fill: number): Blob => {
    const bytes = createCipheriv('aes-256-ctr', Buffer.alloc(32, fill), Buffer.alloc(16)).update(Buffer.alloc(1_000_000));
    return { hash: hashOf(bytes), bytes };
  };
  /** All that a node says of a tree with these files. */
  const treeOf = (blobs: readonly Blob[]): Message[] => {
    const top: Entry = { type: 'folder', path: '', mode: 0o755, mtimeMs: 0 };
    const files = blobs.map(({ hash: sha256 }, index): Entry => ({
      type: 'file',
      path: `${index}`,
      mode: 0o644,
      mtimeMs: 0,
      size: 1_000_000,
      sha256,
    }));
    const entries = [top, ...files];
    return [
      { head: { kind: 'offer' }, body: packOffer(blobs.map(({ hash, bytes }) => [hash, bytes.length])) },
      ...blobs.map((each): Message => ({ head: { kind: 'bundle' }, body: encodeBundle([each]) })),
      ...pieces('manifest', entries.map(manifestLine).join('')),
      { head: { kind: 'tree', checksum: checksumOf(entries) }, body: packJson({ notes: [], leftOut: 0 }) },
    ];
  };
  const disk = new FakeDisk();
  disk.bytesMax = 2_500_000;
  const full = await openStore('/store', { disk });
  const trees: Record<string, Message[]> = {
    // Two bundles, and then something that no node says.
    'broken off': [...treeOf([1, 2].map(blob)).slice(0, 3), { head: { kind: 'offer' }, body: Buffer.of(1) }],
    large: treeOf([3, 4].map(blob)),
    small: treeOf([5].map(blob)),
  };
  const { role, backUp, outcomes } = await begin(full, (path) => trees[path]!);
  for (const path of Object.keys(trees)) {
    const before = outcomes.length;
    await backUp(path);
    await eventually(() => outcomes.length > before);
  }
  expect(outcomes).toMatchObject([
    { result: 'failed', reason: 'an offer of 1 bytes' },
    { result: 'failed', reason: expect.stringContaining('ENOSPC') as string },
    { result: 'version', version: 1 },
  ]);
  await role.stop();
  await full.close();
});
