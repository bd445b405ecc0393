/** The port's topology in RabbitMQ's terms. */
import type { Channel, ChannelModel } from 'amqplib';
import type { Log, Queue, Topology } from '../port.ts';
import { refusal } from './reply.ts';

/** Makes what is missing, in the order in which things refer to each other. */
export async function declareTopology(connection: ChannelModel, topology: Topology): Promise<void> {
  const channel = await connection.createChannel();
  // A refusal closes the channel; the call that was refused tells why.
  channel.on('error', () => {});
  const declare = async (what: string, name: string, call: () => Promise<unknown>): Promise<void> => {
    try {
      await call();
    } catch (error) {
      throw refusal(`declare ${what}`, name, error);
    }
  };
  try {
    for (const { name, type } of topology.exchanges ?? []) {
      await declare(`exchange "${name}"`, name, () => channel.assertExchange(name, type, { durable: true }));
    }
    for (const queue of topology.queues ?? [])
      await declare(`queue "${queue.name}"`, queue.name, () => assertQueue(channel, queue, majorOf(connection)));
    for (const log of topology.logs ?? []) await declare(`log "${log.name}"`, log.name, () => assertLog(channel, log));
    for (const { queue, exchange, routingKey = '' } of topology.bindings ?? []) {
      await declare(`binding of queue "${queue}" to exchange "${exchange}"`, queue, () =>
        channel.bindQueue(queue, exchange, routingKey),
      );
    }
  } finally {
    channel.close().catch(() => {});
  }
}

/** Of RabbitMQ's version. */
export const majorOf = ({ connection }: ChannelModel): number => Number.parseInt(connection.serverProperties.version, 10);

function assertQueue(channel: Channel, queue: Queue, major: number): Promise<unknown> {
  const { name, type = 'quorum', exclusive = false, singleActiveConsumer, deadLetterQueue, deliveryLimit } = queue;
  const table: Record<string, string | number | boolean> = { 'x-queue-type': type };
  if (singleActiveConsumer) table['x-single-active-consumer'] = true;
  if (deadLetterQueue !== undefined)
    Object.assign(table, { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': deadLetterQueue });
  if (deliveryLimit !== undefined) table['x-delivery-limit'] = deliveryLimit;
  // From 4.0 on a quorum queue drops what has come back 20 times, unless it is told not to; before, it cannot be told.
  else if (type === 'quorum' && major >= 4) table['x-delivery-limit'] = -1;
  // Without it a dead letter that meets an unavailable queue is lost. It needs reject-publish, which without a length limit never rejects.
  if (deliveryLimit !== undefined && deadLetterQueue !== undefined) {
    Object.assign(table, { 'x-dead-letter-strategy': 'at-least-once', 'x-overflow': 'reject-publish' });
  }
  return channel.assertQueue(name, { durable: !exclusive, exclusive, arguments: table });
}

/** Only whole segments are dropped, and never the one being written: with four, a log stays within 5/4 of its retention. */
const segmentsPerRetention = 4;

function assertLog(channel: Channel, { name, retentionBytes }: Log): Promise<unknown> {
  const table: Record<string, string | number> = { 'x-queue-type': 'stream' };
  if (retentionBytes !== undefined) {
    table['x-max-length-bytes'] = retentionBytes;
    table['x-stream-max-segment-size-bytes'] = Math.ceil(retentionBytes / segmentsPerRetention);
  }
  return channel.assertQueue(name, { durable: true, arguments: table });
}

/** What was declared on a connection, to be declared again on the next. Logs are not: a log that was removed must not come back empty. */
export class DeclaredTopology {
  readonly #parts: Topology[] = [];

  add({ exchanges = [], queues = [], bindings = [] }: Topology): void {
    const part = { exchanges, queues, bindings };
    const text = JSON.stringify(part);
    if (this.#parts.every((other) => JSON.stringify(other) !== text)) this.#parts.push(part);
  }

  /** A removed queue is not declared again. */
  forget(queue: string): void {
    this.#parts.forEach(({ exchanges = [], queues = [], bindings = [] }, index) => {
      const others = {
        queues: queues.filter(({ name }) => name !== queue),
        bindings: bindings.filter((binding) => binding.queue !== queue),
      };
      this.#parts[index] = { exchanges, ...others };
    });
  }

  clear(): void {
    this.#parts.length = 0;
  }

  queue(name: string): Queue | undefined {
    return this.#parts.flatMap(({ queues = [] }) => queues).find((queue) => queue.name === name);
  }

  async restore(connection: ChannelModel): Promise<void> {
    for (const part of this.#parts) await declareTopology(connection, part);
  }
}
