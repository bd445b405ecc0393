/**
 * The RabbitMQ adapter against bare amqplib on the same broker with the same options: quorum queue, confirm channel, mandatory, persistent, the
 * same prefetch, the same number of messages in flight, one connection that publishes and one that consumes.
 */
import { explainBench, median, reportBench, type BenchRow } from '@lab/testing';
import { startRabbitmq } from '@lab/testing/containers';
import { connect, type ChannelModel, type ConfirmChannel } from 'amqplib';
import { connectRabbitmq, type Broker } from '../src/index.ts';
import { tracedRows } from './traced.ts';

explainBench();

interface Load {
  name: string;
  body: Buffer;
  messages: number;
  inFlight: number;
}

/** In flight: enough that nobody waits for a round trip, and well within what both sides buffer. */
const loads: Load[] = [
  { name: '1 KiB', body: Buffer.alloc(1024, 'x'), messages: 20_000, inFlight: 1_000 },
  { name: '64 KiB', body: Buffer.alloc(64 * 1024, 'x'), messages: 2_000, inFlight: 100 },
];
const prefetch = 500;
const rounds = 7;

/** One side of the comparison. */
interface Contestant {
  /** Resolves when all are confirmed. */
  publish(queue: string, load: Load): Promise<void>;
  /** Resolves when all were handled; what it returns ends the consumer. */
  consume(queue: string, messages: number): Promise<() => Promise<void>>;
}

function bare(publishing: ChannelModel, consuming: ChannelModel): Contestant {
  return {
    async publish(queue, load) {
      const channel = await publishing.createConfirmChannel();
      await publishWindow(load, (done) => publishOne(channel, queue, load.body, done));
      await channel.close();
    },
    async consume(queue, messages) {
      const channel = await consuming.createChannel();
      await channel.prefetch(prefetch);
      await new Promise<void>((resolve) => {
        let seen = 0;
        void channel.consume(queue, (message) => {
          if (message === null) throw new Error('the consumer was cancelled');
          channel.ack(message);
          if (++seen === messages) resolve();
        });
      });
      return () => channel.close();
    },
  };
}

function publishOne(channel: ConfirmChannel, queue: string, body: Buffer, done: () => void): void {
  channel.publish('', queue, body, { persistent: true, mandatory: true }, (error: unknown) => {
    if (error !== null) throw new Error('a message was not confirmed', { cause: error });
    done();
  });
}

function adapter(broker: Broker): Contestant {
  return {
    publish: (queue, load) =>
      publishWindow(load, (done) => {
        void broker.publish({ routingKey: queue, body: load.body }).then(done);
      }),
    async consume(queue, messages) {
      const finished = Promise.withResolvers<void>();
      let seen = 0;
      const count = (): void => {
        if (++seen === messages) finished.resolve();
      };
      const consumer = await broker.consume(queue, count, { prefetch });
      await finished.promise;
      return () => consumer.stop();
    },
  };
}

/** Publishes with so many in flight; resolves when the last one is confirmed. */
function publishWindow({ messages, inFlight }: Load, publish: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    let [sent, confirmed] = [0, 0];
    const done = (): void => {
      if (++confirmed === messages) resolve();
      else if (sent < messages) next();
    };
    const next = (): void => {
      sent++;
      publish(done);
    };
    while (sent < Math.min(inFlight, messages)) next();
  });
}

type Mode = 'publish' | 'consume' | 'both';

/** Messages per second of one round, on a queue of its own. */
async function measure(mode: Mode, contestant: Contestant, filler: Contestant, broker: Broker, load: Load): Promise<number> {
  const queue = `bench.middleware.${crypto.randomUUID()}`;
  await broker.declare({ queues: [{ name: queue }] });
  if (mode === 'consume') await filler.publish(queue, load);
  const startMs = performance.now();
  const consumed = mode === 'publish' ? undefined : contestant.consume(queue, load.messages);
  if (mode !== 'consume') await contestant.publish(queue, load);
  const end = await consumed;
  const seconds = (performance.now() - startMs) / 1_000;
  await end?.();
  await broker.remove({ queue });
  return load.messages / seconds;
}

async function compare(mode: Mode, load: Load, ours: Contestant, theirs: Contestant, broker: Broker): Promise<BenchRow[]> {
  const speeds: { ours: number[]; theirs: number[] } = { ours: [], theirs: [] };
  // One more than counted: the first warms both up. Who goes first alternates, for the second one finds the broker busy cleaning up.
  for (let round = 0; round <= rounds; round++) {
    const order: ('ours' | 'theirs')[] = round % 2 === 0 ? ['ours', 'theirs'] : ['theirs', 'ours'];
    for (const side of order) {
      const speed = await measure(mode, side === 'ours' ? ours : theirs, theirs, broker, load);
      if (round > 0) speeds[side].push(speed);
    }
  }
  const [speed, bareSpeed] = [median(speeds.ours), median(speeds.theirs)];
  // Of each round with its neighbour, so that a machine that gets slower in between slows both.
  const ratio = median(speeds.ours.map((each, round) => each / speeds.theirs[round]!));
  return [
    { name: `${mode} ${load.name}, bare amqplib`, value: bareSpeed, unit: 'messages/s', target: null, holds: null },
    { name: `${mode} ${load.name}, adapter`, value: speed, unit: 'messages/s', target: null, holds: null },
    { name: `${mode} ${load.name}, adapter / bare`, value: ratio, unit: 'x', target: '>= 0.95', holds: ratio >= 0.95 },
  ];
}

const spans = await tracedRows();
await using server = await startRabbitmq();
const { url } = server;
const broker = await connectRabbitmq({ url });
const connections = await Promise.all([connect(url, { noDelay: true }), connect(url, { noDelay: true })]);
const theirs = bare(...connections);
const rows: BenchRow[] = [];
for (const load of loads) {
  for (const mode of ['publish', 'consume', 'both'] as const)
    rows.push(...(await compare(mode, load, adapter(broker), theirs, broker)));
}
await Promise.all(connections.map((connection) => connection.close()));
await broker.close();
await reportBench([...rows, ...spans], process.argv);
