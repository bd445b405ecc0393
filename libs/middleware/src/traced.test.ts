import { eventually } from '@lab/testing';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider, type ReadableSpan } from '@opentelemetry/sdk-trace';
import { afterAll, describe, expect, it } from 'vitest';
import { brokerContract } from './contract.ts';
import { makeMemoryServer } from './memory/server.ts';
import type { Broker, Delivery } from './port.ts';
import { traced } from './traced.ts';

/** OpenTelemetry's own SDK, which every tracer must be exchangeable with. */
function tracing() {
  const [exporter, open] = [new InMemorySpanExporter(), new Set<string>()];
  const watch = {
    onStart: (span: { spanContext(): { spanId: string } }) => void open.add(span.spanContext().spanId),
    onEnd: (span: ReadableSpan) => void open.delete(span.spanContext().spanId),
    forceFlush: async () => {},
    shutdown: async () => {},
  };
  const provider = new TracerProvider({ spanProcessors: [watch, new SimpleSpanProcessor({ exporter })] });
  return { tracer: provider.getTracer('test'), open, spans: () => exporter.getFinishedSpans() };
}

const { tracer, open, spans } = tracing();
const server = makeMemoryServer();
const connections = new Map<Broker, Broker>();
brokerContract('memory, traced', async () => ({
  async connect() {
    const connection = server.connect();
    const broker = traced(connection, tracer, (body) => `message of ${body.byteLength} bytes`);
    connections.set(broker, connection);
    return broker;
  },
  kill: async (broker) => server.kill(connections.get(broker)!),
  stop: async () => {},
}));
afterAll(() => {
  expect(spans().length).toBeGreaterThan(1_000);
  expect([...open]).toEqual([]);
});

const words = (body: Uint8Array): string => Buffer.from(body).toString();
const queues = ['numbers', 'sums', 'dead'];

/** A broker with spans, and its queues. */
async function connect() {
  const { tracer, open, spans } = tracing();
  const server = makeMemoryServer();
  const plain = server.connect();
  const broker = traced(plain, tracer, words);
  await broker.declare({
    queues: queues.map((name) => ({ name, ...(name === 'numbers' && { deadLetterQueue: 'dead' }) })),
    logs: [{ name: 'log' }],
  });
  const named = (name: string): ReadableSpan[] => spans().filter((span) => span.name === name);
  const send = (body: string, queue = 'numbers'): Promise<void> => broker.publish({ routingKey: queue, body: Buffer.from(body) });
  return { broker, plain, server, open, named, send };
}

describe('a traced broker', () => {
  it('is the broker itself where there is no tracer', () => {
    const plain = makeMemoryServer().connect();
    expect(traced(plain, undefined, words)).toBe(plain);
  });

  it('tells a message as send, receive and settle, each the child of the one before', async () => {
    const { broker, send, named, open } = await connect();
    await broker.consume('numbers', () => {}, { prefetch: 1 });
    await send('one');
    await eventually(() => named('settle numbers').length === 1);
    const [sent, received, settled] = ['send', 'receive', 'settle'].map((name) => named(`${name} numbers`)[0]!);
    expect(received!.parentSpanContext).toMatchObject({ spanId: sent!.spanContext().spanId, isRemote: true });
    expect(settled!.parentSpanContext?.spanId).toBe(received!.spanContext().spanId);
    expect(sent!.attributes).toEqual({
      'messaging.system': 'memory',
      'messaging.operation.type': 'send',
      'messaging.operation.name': 'publish',
      'messaging.destination.name': 'numbers',
      'messaging.rabbitmq.destination.routing_key': 'numbers',
      'messaging.message.body.size': 3,
      'lab.message': 'one',
    });
    const id = sent!.spanContext().spanId;
    expect(received!.attributes).toMatchObject({ 'lab.message': 'one', 'lab.message.id': id, 'lab.redelivered': false });
    expect(settled!.attributes).toMatchObject({ 'messaging.operation.name': 'ack', 'lab.message.id': id });
    expect([...open]).toEqual([]);
  });

  it('hides its header from handlers, and leaves those of others alone', async () => {
    const { broker, plain, named } = await connect();
    const seen: Delivery[] = [];
    await broker.consume('numbers', (delivery) => void seen.push(delivery), { prefetch: 1 });
    await broker.publish({ routingKey: 'numbers', body: Buffer.from('a'), headers: { job: 'j' } });
    await plain.publish({ routingKey: 'numbers', body: Buffer.from('b'), headers: { traceparent: 'none of W3C' } });
    await eventually(() => named('settle numbers').length === 2);
    expect(seen.map(({ headers }) => headers)).toEqual([{ job: 'j' }, { traceparent: 'none of W3C' }]);
    expect(named('receive numbers')[1]!.parentSpanContext).toBeUndefined();
  });

  it('says why a handler failed, that the message came again, and where it went', async () => {
    const { broker, send, named } = await connect();
    const fail = async (): Promise<void> => {
      throw new Error('no sum');
    };
    await broker.consume('numbers', fail, { prefetch: 1, failureLimit: 2 });
    await broker.consume('dead', () => {}, { prefetch: 1 });
    await send('one');
    await eventually(() => named('settle dead').length === 1);
    expect(named('settle numbers').map(({ status, attributes }) => [status, attributes['messaging.operation.name']])).toEqual([
      [{ code: 2, message: 'no sum' }, 'nack'],
      [{ code: 2, message: 'no sum' }, 'nack'],
    ]);
    expect(named('receive numbers').map(({ attributes }) => attributes['lab.redelivered'])).toEqual([false, true]);
    const parents = [...named('receive numbers'), ...named('receive dead')].map((span) => span.parentSpanContext?.spanId);
    expect(new Set(parents)).toEqual(new Set([named('send numbers')[0]!.spanContext().spanId]));
  });

  it('leads from what a message was made of: the parent if it is one, links if they are several', async () => {
    const { broker, send, named } = await connect();
    const held: Delivery[] = [];
    await broker.consume('numbers', (delivery) => void held.push(delivery), { prefetch: 100 });
    for (let number = 0; number < 40; number++) await send(String(number));
    await eventually(() => named('settle numbers').length === 40);
    await broker.publish({ routingKey: 'sums', body: Buffer.from('one'), causes: held.slice(0, 1) });
    await broker.publish({ routingKey: 'sums', body: Buffer.from('all'), causes: held });
    const received = named('receive numbers').map((span) => span.spanContext().spanId);
    const [one, all] = named('send sums');
    expect(one!.parentSpanContext?.spanId).toBe(received[0]);
    expect(all!.parentSpanContext).toBeUndefined();
    expect(all!.links.map(({ context }) => context.spanId)).toEqual(received.slice(0, 32));
  });

  it('tells of publishes that fail, and settles nothing for a consumer that has ended', async () => {
    const { broker, server, send, named, open } = await connect();
    await expect(send('x', 'nowhere')).rejects.toThrow('nowhere');
    expect(named('send nowhere')[0]!.status).toMatchObject({ code: 2 });
    const release = Promise.withResolvers<void>();
    const consumer = await broker.consume('numbers', () => release.promise, { prefetch: 1 });
    await send('held');
    await eventually(() => named('receive numbers').length === 1);
    server.loseDisk();
    await expect(consumer.closed).rejects.toThrow('lost');
    release.resolve();
    await broker.close();
    expect(named('settle numbers')).toEqual([]);
    expect([...open]).toEqual([]);
  });

  it('tells of logs who appended and who read, by the same words', async () => {
    const { broker, named } = await connect();
    await broker.append('log', Buffer.from('entry'));
    for await (const { offset } of await broker.read('log', 'first')) if (offset === 0) break;
    expect(named('send log')[0]!.attributes).toMatchObject({ 'messaging.operation.name': 'append', 'lab.message': 'entry' });
    expect(named('receive log')[0]!.attributes).toMatchObject({ 'lab.message': 'entry', 'lab.redelivered': false });
  });
});
