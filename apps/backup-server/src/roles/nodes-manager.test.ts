import { randomUUID } from 'node:crypto';
import { makeMemoryServer } from '@lab/middleware';
import { silentLogger } from '@lab/process';
import { FakeClock } from '@lab/testing';
import { expect, it, vi } from 'vitest';
import { decode, encode } from '../messages.ts';
import { queueOf, topology } from '../topology.ts';
import { NodesManagerRole, type SavedRegistry } from './nodes-manager.ts';

const taskOf = (path: string) => ({ ...{ node: 'a', address: 'a:1', path, every: '1h' }, dueMs: 0, attempts: 0, failures: 0 });

it('what is unregistered while another path is published as due stays so', async () => {
  const clock = new FakeClock();
  const server = makeMemoryServer({ clock });
  const [broker, admin] = [server.connect(), server.connect()];
  await broker.declare(topology);
  await admin.declare({ queues: [{ name: 'replies' }] });
  const replied = Promise.withResolvers<void>();
  await admin.consume('replies', () => replied.resolve(), { prefetch: 1 });
  const due: string[] = [];
  const publish = broker.publish.bind(broker);
  vi.spyOn(broker, 'publish').mockImplementation(async (message) => {
    if (message.routingKey === queueOf.due) {
      due.push(decode(Buffer.from(message.body), 'due').head.path);
      const command = encode({ kind: 'unregister', node: 'a', path: 'two', forget: false });
      const body = encode({ kind: 'command', id: randomUUID(), replyTo: 'replies' }, command);
      await admin.publish({ routingKey: queueOf.commands, body });
      await replied.promise;
    }
    return publish(message);
  });
  let registry: SavedRegistry = { tasks: [taskOf('one'), taskOf('two')], scrub: { slice: 0, dueMs: 1e9 } };
  const file = {
    load: () => Promise.resolve(registry),
    save: async (saved: SavedRegistry) => void (registry = saved),
    close: () => {},
  };
  const host = { broker, clock, file, log: silentLogger, nowMs: () => clock.nowMs(), newId: randomUUID, fail: () => {} };
  const role = new NodesManagerRole({ ...host, hasVersions: async () => false, scrubCycleMs: 1e9, sweepIntervalMs: 1e9 });
  await role.start();
  await role.stop();
  expect(due).toEqual(['one']);
  expect(registry.tasks.map(({ path }) => path)).toEqual(['one']);
});
