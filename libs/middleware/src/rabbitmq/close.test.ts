import { EventEmitter } from 'node:events';
import { runRole } from '@lab/process';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { UnavailableError } from '../errors.ts';
import { beginRabbitmq } from './broker.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
afterEach(() => void vi.useRealTimers());

it('lets a role end in time while RabbitMQ is away, and says how much is unconfirmed', async () => {
  const os = Object.assign(new EventEmitter(), { exit: vi.fn() });
  const log = { info: vi.fn(), warn: vi.fn(), error: vi.fn() };
  let published: Promise<unknown> | undefined;
  const ended = runRole({ name: 'publisher', logLevel: 'error', os }, async ({ open }) => {
    // Nobody listens at this port.
    const broker = await open(beginRabbitmq({ url: 'amqp://127.0.0.1:1', log }));
    return {
      start() {
        const all = ['one', 'two'].map((text) => broker.publish({ routingKey: 'queue', body: Buffer.from(text) }));
        published = Promise.allSettled(all);
        os.emit('SIGTERM', 'SIGTERM');
        return Promise.resolve();
      },
      stop: () => Promise.resolve(),
    };
  });
  await vi.waitFor(() => expect(published).toBeDefined());
  // What a process has for its stop.
  const stopped = Promise.race([ended, vi.advanceTimersByTimeAsync(8_000).then(() => 'too late')]);
  expect(await stopped).toBe(0);
  expect(os.exit).not.toHaveBeenCalled();
  expect(log.warn).toHaveBeenCalledWith(expect.objectContaining({ unconfirmed: 2 }), expect.stringMatching('closed'));
  const refused = { status: 'rejected', reason: expect.any(UnavailableError) as unknown };
  expect(await published).toEqual([refused, refused]);
});
