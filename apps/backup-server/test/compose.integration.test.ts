/** The system as `npx nx up` starts it, on a real RabbitMQ. */
import { eventually } from '@lab/testing';
import { queueDepths } from '@lab/testing/containers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { queueOf } from '../src/topology.ts';
import { BackupComposeSystem } from './compose-system.ts';

let system: BackupComposeSystem;

beforeAll(async () => {
  system = await BackupComposeSystem.start('integration');
}, 300_000);

afterAll(async () => {
  await system[Symbol.asyncDispose]();
});

it('backs up what is registered, and what changes, by itself', async () => {
  await system.onNode("mkdir -p notes/empty; echo one > notes/a; ln -s a notes/link; chmod 750 notes; printf x > 'notes/b c'");
  await system.admin(
    'register',
    '--node',
    'node-1',
    '--address',
    'node-1:7600',
    '--path',
    'notes',
    '--every',
    '1s',
    '--keep',
    '3',
  );
  await eventually(async () => (await system.list()).length === 1, { timeoutMs: 120_000 });
  await system.onNode('echo two >> notes/a');
  const changed = await system.listed('notes');
  await eventually(async () => (await system.list()).length === 2, { timeoutMs: 120_000 });
  expect(await system.restored('notes', 2)).toBe(changed);
  expect(await system.restored('notes', 1)).not.toBe(changed);
});

it('has a health check of every role, which passes', async () => {
  const states = async (): Promise<string[]> => {
    const lines = (await system.compose('ps', '--format', '{{.Service}} {{.Health}}')).trim().split('\n');
    return lines.filter((line) => !line.endsWith(' healthy'));
  };
  await eventually(async () => (await states()).length === 0, { timeoutMs: 120_000 });
});

it('says in status why a node is not backed up, and when it is tried again', async () => {
  await system.admin('register', '--node', 'nobody', '--address', 'nobody:7600', '--path', 'notes', '--every', '1s');
  await eventually(
    async () => {
      const { tasks } = await system.status();
      const task = tasks.find(({ node }) => node === 'nobody');
      return task!.failures >= 2 && task?.last?.reason?.includes('nobody:7600');
    },
    { timeoutMs: 120_000 },
  );
  await system.admin('unregister', '--node', 'nobody', '--path', 'notes');
});

it('refuses a second nodes manager, with the reason', async () => {
  const refused = await system.compose('run', '--rm', '--no-deps', 'nodes-manager').catch((error: Error) => error);
  expect(JSON.stringify(refused)).toContain('has one consumer only, and another instance is it');
});

it('keeps what is registered over a restart of the nodes manager', async () => {
  await system.compose('restart', 'nodes-manager');
  await eventually(async () => (await system.status()).tasks.length === 1, { timeoutMs: 60_000 });
});

it('lists, verifies and restores without RabbitMQ, also when it starts; all else says that it is away', async () => {
  const before = await system.list();
  const [rabbitmq, server] = [system.container('rabbitmq'), system.container('server')];
  await rabbitmq.stop();
  await server.stop();
  await server.start();
  await eventually(() => system.list(), { timeoutMs: 120_000 });
  expect((await system.list()).length).toBeGreaterThanOrEqual(before.length);
  expect(await system.admin('verify')).toMatchObject({ damaged: [] });
  expect(await system.restored('notes', before.at(-1)!.version)).not.toBe('');
  const refused = system.status().catch((error: unknown) => error);
  expect(await refused).toMatchObject({ code: 3, stderr: expect.stringContaining('RabbitMQ') as string });
  await rabbitmq.start();
  await eventually(async () => (await system.status()).tasks.length === 1, { timeoutMs: 120_000 });
  // Server, nodes manager and two requesters: who has not come back yet hears no order.
  const listening = async (): Promise<number> =>
    [...(await queueDepths(rabbitmq)).keys()].filter((name) => name.startsWith(queueOf.orders(''))).length;
  await eventually(async () => (await listening()) === 4, { timeoutMs: 120_000 });
});

it('shuts down server, nodes manager and requesters for good, and leaves the nodes', async () => {
  await system.admin('shutdown');
  const running = async (): Promise<string[]> =>
    (await system.compose('ps', '--services', '--status', 'running')).trim().split('\n').sort();
  await eventually(async () => !(await running()).some((service) => /server|manager|requester/.test(service)), {
    timeoutMs: 120_000,
  });
  expect(await running()).toEqual(['content-creator-1', 'node-1', 'rabbitmq']);
});
