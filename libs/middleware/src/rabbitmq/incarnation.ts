/**
 * Which incarnation a RabbitMQ is: a random id that goes with its disk. It is the first entry of a stream that everybody declares. Whoever finds the stream
 * silent appends an id of its own, and where several do at once the first one counts, for all alike. (An exchange would be simpler, but its arguments can be
 * read only from the text of a refusal; a queue's message is hidden while somebody else looks at it.)
 */
import { randomBytes } from 'node:crypto';
import type { ChannelModel } from 'amqplib';

const stream = 'lab.incarnation';
/** A stream that has a first entry sends it within milliseconds. One entry too many does no harm, and one that is lost is appended again. */
const silentMs = 500;

/** Rejects while the stream cannot be read, as for a moment after RabbitMQ has started. */
export async function incarnationOf(connection: ChannelModel): Promise<string> {
  const channel = await connection.createChannel();
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  promise.catch(() => {});
  channel.on('error', reject);
  channel.on('close', () => reject(new Error(`reading ${stream}: the channel was closed`)));
  await channel.assertQueue(stream, { durable: true, arguments: { 'x-queue-type': 'stream' } });
  await channel.prefetch(1);
  await channel.consume(stream, (first) => first && resolve(first.content.toString()), {
    arguments: { 'x-stream-offset': 'first' },
  });
  const timer = setInterval(() => channel.sendToQueue(stream, Buffer.from(randomBytes(8).toString('hex'))), silentMs);
  try {
    return await promise;
  } finally {
    clearInterval(timer);
    channel.close().catch(() => {});
  }
}
