/** The same on RabbitMQ 4, where much of what a queue does unless it is told has changed. */
import { eventually } from '@lab/testing';
import { connect, type ChannelModel } from 'amqplib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { rabbitmqTests } from './rabbitmq-tests.ts';

const server = rabbitmqTests('rabbitmq 4', 'trixie');

// So all other tests here show that the adapter needs neither.
describe('the image of RabbitMQ 4, like 4.3,', () => {
  let connection: ChannelModel;
  beforeEach(async () => void (connection = await connect(server().url)));
  afterEach(() => connection.close().catch(() => {}));

  test('is newer than 3, and refuses transient queues', async () => {
    expect(connection.connection.serverProperties.version).toMatch(/^4\./);
    const refused = new Promise((resolve) => void connection.on('error', resolve));
    const channel = await connection.createChannel();
    await expect(channel.assertQueue('transient', { durable: false })).rejects.toThrow();
    expect(String(await refused)).toContain('deprecated');
  });

  test('knows no prefetch for a whole channel: it is one for each consumer', async () => {
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.prefetch(1, true);
    const held = new Set<string>();
    for (const consumerTag of ['one', 'other']) await channel.consume(queue, () => void held.add(consumerTag), { consumerTag });
    for (const body of ['1', '2', '3']) channel.sendToQueue(queue, Buffer.from(body));
    await eventually(() => held.size === 2);
  });
});
