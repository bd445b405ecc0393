import { setImmediate } from 'node:timers/promises';
import { silentLogger, systemClock } from '@lab/process';
import { eventually } from '@lab/testing';
import { expect, it, vi } from 'vitest';
import { connectTo } from './asking.ts';
import { encodeRequest, requestReader } from './encoding.ts';
import { Refusal } from './refusal.ts';
import { agentsDoor, serve, type Observe } from './serving.ts';

const within = { timeoutMs: 10_000 };
const watching = { token: 'a token', area: 'sports', key: 'a key' };

it('takes a watcher that is killed for no fault, and tells how each request has ended', async () => {
  const [faults, observe] = [vi.fn(), vi.fn<Observe>()];
  const server = await serve({
    ...{ host: '127.0.0.1', port: 0, door: agentsDoor, readRequest: requestReader(), clock: systemClock, observe },
    log: Object.create(silentLogger, { error: { value: faults } }) as typeof silentLogger,
    service: {
      answer: ({ request: { kind } }) =>
        kind === 'areas' ? Promise.resolve({ areas: [] }) : Promise.reject(new Refusal('unknown-area', 'there is none')),
      stream: ({ request }, socket) => (request.kind === 'watch' ? sendFor(socket) : undefined),
    },
  });
  const sendFor = async (socket: { send(bytes: Uint8Array): Promise<void> }): Promise<void> => {
    for (;;) {
      await socket.send(Buffer.alloc(1_024));
      await setImmediate();
    }
  };
  const client = await connectTo(`127.0.0.1:${server.port}`);
  await client.request(encodeRequest('areas', 1_000, { token: 'a token' }), within);
  await client.request(encodeRequest('read', 1_000, { token: 'a token', area: 'sports', limit: 1 }), within);
  await client.request(encodeRequest('watch', 1_000, watching), within);
  client.destroy();
  await eventually(() => observe.mock.calls.length === 3);
  expect(observe.mock.calls.map(([kind, outcome]) => [kind, outcome])).toEqual([
    ['areas', 'ok'],
    ['read', 'unknown-area'],
    ['watch', 'ok'],
  ]);
  expect(faults).not.toHaveBeenCalled();
  await server.close();
});
