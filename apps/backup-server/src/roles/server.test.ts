import { randomUUID } from 'node:crypto';
import { duplexPair } from 'node:stream';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeMemoryServer, type Broker, type Delivery, type MemoryServer } from '@lab/middleware';
import { silentLogger } from '@lab/process';
import { FramedSocket, type FramedServer } from '@lab/protocol';
import { eventually, FakeClock } from '@lab/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ask } from '../admin/ask.ts';
import { Channel, limits } from '../channel/channel.ts';
import { manifestLine } from '../domain/manifest.ts';
import { decode, encode, packJson } from '../messages.ts';
import { ordersTopology, queueOf, topology } from '../topology.ts';
import { nameOf, openStore, type BackupStore } from '../versions.ts';
import { ServerRole } from './server.ts';

let folder: string;
let store: BackupStore;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'server-'));
  store = await openStore(folder);
});
afterEach(async () => {
  await store.close();
  await rm(folder, { recursive: true });
});

/** A server, and an admin's end of a connection to it. */
function serve() {
  const [near, far] = duplexPair().map((stream) => new Channel(new FramedSocket(stream, limits))) as [Channel, Channel];
  const clock = new FakeClock();
  const memory = makeMemoryServer({ clock });
  const broker: Broker = Object.assign(memory.connect(), { features: { durable: false, shared: true } });
  const server: FramedServer = { host: '', port: 0, close: async () => {} };
  const role = new ServerRole({
    ...{ broker, store, clock, log: silentLogger, instance: randomUUID(), sweepIntervalMs: 1e9, newId: randomUUID },
    join: async () => {
      await broker.declare(topology);
      await broker.declare(ordersTopology('server'));
    },
    fail: () => {},
    listen: async (serve) => {
      void serve(far).catch(() => undefined);
      return server;
    },
  });
  return { near, clock, memory, role, [Symbol.dispose]: () => [near, far].forEach((end) => end.destroy()) };
}

it('whoever connects again soon after an admin said shutdown is told so', async () => {
  using system = serve();
  const { near, clock, memory, role } = system;
  await role.start();
  await ask(near, { kind: 'shutdown' });
  const stopped = role.stop();
  const late = memory.connect();
  await late.declare(ordersTopology('late'));
  let orders = 0;
  await late.consume(queueOf.orders('late'), ({ body }) => void (decode(body, 'stop') && orders++), { prefetch: 1 });
  expect(orders).toBe(0);
  await eventually(async () => {
    await clock.advanceAsync(1_000);
    return orders > 0;
  });
  await clock.advanceAsync(8_000);
  await stopped;
});

describe('a path with a version', () => {
  const key = { node: 'desk', path: 'a' };
  beforeEach(async () => {
    const writer = store.writeManifest();
    await writer.write(Buffer.from(manifestLine({ type: 'folder', path: '', mode: 0o700, mtimeMs: 0 })));
    const { hashes: manifest } = await writer.end();
    const record = { ...key, name: nameOf(key), createdMs: 0, checksum: '', files: 0, bytes: 0, storedBytes: 0, notes: [] };
    await store.commit({ ...record, manifest }, { base: 0, hashes: [] });
  });

  /** A nodes manager that fails with this, if any, at what it is told; and which sweeps are due. */
  async function answer(memory: MemoryServer, failed?: string): Promise<number[]> {
    const manager = memory.connect();
    await manager.declare(topology);
    const command = async ({ body: bytes }: Delivery): Promise<void> => {
      const { head, body } = decode(bytes, 'command');
      expect(decode(body, 'unregister').head).toMatchObject({ ...key, forget: true });
      const reply = encode({ kind: 'reply', id: head.id, failed }, packJson(key));
      await manager.publish({ routingKey: head.replyTo, body: reply });
    };
    await manager.consume(queueOf.commands, command, { prefetch: 1 });
    const sweeps: number[] = [];
    await manager.consume(queueOf.due, ({ body }) => void sweeps.push(decode(body, 'sweep').head.graceMs), { prefetch: 1 });
    return sweeps;
  }

  it('keeps it when it could not be unregistered, whatever the reason', async () => {
    using system = serve();
    const sweeps = await answer(system.memory, 'ENOSPC: no space left');
    await system.role.start();
    await expect(ask(system.near, { kind: 'unregister', ...key, forget: true })).rejects.toThrow('ENOSPC');
    expect(await store.versions(nameOf(key))).toHaveLength(1);
    await system.role.stop();
    expect(sweeps).toEqual([]);
  });

  it.each([
    { kind: 'unregister', ...key, forget: true },
    { kind: 'forget', ...key, version: 1 },
  ] as const)('has the store swept at once when an admin says $kind', async (command) => {
    using system = serve();
    const sweeps = await answer(system.memory);
    await system.role.start();
    await ask(system.near, command);
    expect(await store.versions(nameOf(key))).toEqual([]);
    await eventually(() => expect(sweeps).toEqual([1e9]));
    await system.role.stop();
  });
});
