import { randomUUID } from 'node:crypto';
import { duplexPair } from 'node:stream';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeMemoryServer, type Broker } from '@lab/middleware';
import { silentLogger } from '@lab/process';
import { FramedSocket, type FramedServer } from '@lab/protocol';
import { eventually, FakeClock } from '@lab/testing';
import { expect, it } from 'vitest';
import { ask } from '../admin/ask.ts';
import { Channel, limits } from '../channel/channel.ts';
import { decode } from '../messages.ts';
import { ordersTopology, queueOf, topology } from '../topology.ts';
import { openStore } from '../versions.ts';
import { ServerRole } from './server.ts';

it('whoever connects again soon after an admin said shutdown is told so', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'server-'));
  const store = await openStore(folder);
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
  try {
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
  } finally {
    near.destroy();
    far.destroy();
    await store.close();
    await rm(folder, { recursive: true });
  }
});
