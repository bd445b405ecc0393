import { describe, expect, test } from 'vitest';
import { beginRabbitmq, connectRabbitmq, UnavailableError } from '../src/index.ts';
import { rabbitmqTests } from './rabbitmq-tests.ts';

rabbitmqTests('rabbitmq 3', 'bookworm');

describe('the rabbitmq adapter without a broker', () => {
  test('gives up after its limit with an UnavailableError that names the address', async () => {
    const connecting = connectRabbitmq({ url: 'amqp://app:secret@127.0.0.1:1', connectTimeoutMs: 300 });
    await expect(connecting).rejects.toThrow(UnavailableError);
    await expect(connecting).rejects.toThrow(/127\.0\.0\.1:1.*300 ms/);
    await expect(connecting).rejects.not.toThrow(/secret/);
  });

  test('is there at once where it is begun: its calls wait, and say so in the end', async () => {
    const broker = beginRabbitmq({ url: 'amqp://app:secret@127.0.0.1:1', connectTimeoutMs: 300 });
    await expect(broker.declare({ queues: [{ name: 'nowhere' }] })).rejects.toThrow(/127\.0\.0\.1:1 was not reachable/);
    await broker.close();
  });

  test('refuses options that cannot work', async () => {
    await expect(connectRabbitmq({ url: 'http://host' })).rejects.toThrow(/amqp:/);
    await expect(connectRabbitmq({ url: 'amqp://host', heartbeatSeconds: 0 })).rejects.toThrow(/heartbeatSeconds.*0/);
  });
});
