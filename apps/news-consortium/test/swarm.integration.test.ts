/** The stack of deploy/stack.yaml on a swarm of one machine: nodes are added and taken away while clients post and read. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { eventually } from '@lab/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { clientContainer, clientProgram, down, scale, up } from '../deploy/swarm.ts';
import type { WholeStatus } from '../src/client/lists.ts';
import { SwarmClients } from './swarm-clients.ts';

const execute = promisify(execFile);
let container: string;

beforeAll(async () => {
  await up(3);
  container = await clientContainer();
});
afterAll(down, 180_000);

/** A client's command in the network of all; what it answers to programs. */
async function client<T>(...args: readonly string[]): Promise<T> {
  return JSON.parse((await execute('docker', ['exec', container, ...clientProgram, '--json', ...args])).stdout) as T;
}

const nodesServing = async (): Promise<number> => {
  const { nodes } = await client<WholeStatus>('status');
  return nodes.filter(({ areas, leaving }) => areas > 0 && !leaving).length;
};

it('scales from 3 nodes to 5 and back while requests run, without a failed one', async () => {
  await client('login', 'admin', '--password', 'battery-staple');
  for (let number = 1; number <= 10; number++) await client('area', 'add', `area-${number}`);
  await eventually(async () => (await nodesServing()) === 3, { timeoutMs: 120_000, intervalMs: 200 });

  const clients = new SwarmClients(container);
  await clients.goOn();
  await scale(5);
  await eventually(async () => (await nodesServing()) === 5, { timeoutMs: 120_000, intervalMs: 200 });
  await clients.goOn();
  await scale(3);
  await eventually(async () => (await nodesServing()) === 3, { timeoutMs: 120_000, intervalMs: 200 });
  await clients.goOn();
  expect(await clients.end()).toBe(0);
});
