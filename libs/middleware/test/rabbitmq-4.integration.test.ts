/** The contract on RabbitMQ 4, where much of what a queue does unless it is told has changed. */
import { startRabbitmq, type RabbitmqServer } from '@lab/testing/containers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connect } from 'amqplib';
import { brokerContract, lostDiskContract } from '../src/contract.ts';
import { patternsContract } from '../src/patterns/contract.ts';
import { cutAll, rabbitmqFixture } from './rabbitmq-fixture.ts';

let server: RabbitmqServer;
beforeAll(async () => void (server = await startRabbitmq('trixie')));
afterAll(() => server[Symbol.asyncDispose]());

it('is RabbitMQ 4, and refuses transient queues as 4.3 does', async () => {
  const connection = await connect(server.url);
  expect(connection.connection.serverProperties.version).toMatch(/^4\./);
  const refused = new Promise((resolve) => void connection.on('error', resolve));
  const channel = await connection.createChannel();
  await expect(channel.assertQueue('transient', { durable: false })).rejects.toThrow();
  expect(String(await refused)).toContain('deprecated');
});

brokerContract('rabbitmq 4', () => rabbitmqFixture(server));
patternsContract('rabbitmq 4', () => rabbitmqFixture(server));

lostDiskContract(
  'rabbitmq 4',
  () => rabbitmqFixture(server),
  () => server.loseDisk(),
);

brokerContract('rabbitmq 4, while its connections are cut', () => rabbitmqFixture(server, cutAll));
