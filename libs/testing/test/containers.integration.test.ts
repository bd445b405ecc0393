import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startRabbitmq, type RabbitmqServer } from '../src/containers.ts';
import { docker } from '../../../docker/container.ts';

let server: RabbitmqServer;
beforeAll(async () => {
  server = await startRabbitmq();
});
afterAll(() => server[Symbol.asyncDispose]());

/** Greets the broker as AMQP 0-9-1 has it; resolves with the type of the first frame, 1 for the method connection.start. */
async function greet(deadlineMs: number): Promise<number> {
  const socket: Socket = connect(server.port, '127.0.0.1');
  try {
    socket.write(Buffer.from('AMQP\0\0\x09\x01', 'latin1'));
    const [chunk] = (await once(socket, 'data', { signal: AbortSignal.timeout(deadlineMs) })) as [Buffer];
    return chunk.readUInt8(0);
  } finally {
    socket.destroy();
  }
}

describe('a RabbitMQ of a test', () => {
  it('speaks AMQP when it has started', async () => {
    expect(await greet(5_000)).toBe(1);
  });

  it('has its address again after a kill and a start', async () => {
    await server.kill();
    await expect(greet(2_000)).rejects.toThrow();
    await server.start();
    expect(await greet(5_000)).toBe(1);
  });

  it('has its address again after a restart', async () => {
    await server.restart();
    expect(await greet(5_000)).toBe(1);
  });

  it('answers nobody while it is paused, and goes on afterwards', async () => {
    await server.pause();
    await expect(greet(500)).rejects.toThrow(/abort/i);
    await server.unpause();
    expect(await greet(5_000)).toBe(1);
  });

  it('answers nobody while it is partitioned, and goes on afterwards', async () => {
    await server.partition();
    await expect(greet(500)).rejects.toThrow(/abort/i);
    await server.heal();
    expect(await greet(5_000)).toBe(1);
  });

  it('answers late while it is delayed', async () => {
    await server.delayBy(300);
    const begin = performance.now();
    expect(await greet(5_000)).toBe(1);
    expect(performance.now() - begin).toBeGreaterThan(300);
    await server.heal();
  });

  it('is gone with its data when the test is done', async () => {
    const before = await docker('ps', '--all', '--quiet', '--no-trunc');
    let id: string;
    {
      await using own = await startRabbitmq();
      id = own.id;
      expect(before).not.toContain(id);
    }
    expect(await docker('ps', '--all', '--quiet', '--no-trunc')).not.toContain(id);
  });
});
