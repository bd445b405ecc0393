/** What spans cost a message, in CPU: published, confirmed, delivered and acknowledged on the memory broker, with them and without, in pairs. */
import { median, type BenchRow } from '@lab/testing';
import { startTracing, type TraceMode } from '@lab/tracing/start';
import type { Tracer } from '@lab/tracing';
import { TracerProvider } from '@opentelemetry/sdk-trace';
import { makeMemoryBroker } from '../src/index.ts';
import { traced } from '../src/traced.ts';

const messages = 50_000;
const inFlight = 100;
const rounds = 9;

/** Microseconds of CPU for one message: what others do on the machine meanwhile does not count. */
async function microseconds(tracer: Tracer | undefined): Promise<number> {
  const broker = traced(makeMemoryBroker(), tracer, (body) => `message ${body[0]}`);
  await broker.declare({ queues: [{ name: 'queue' }] });
  const done = Promise.withResolvers<void>();
  let seen = 0;
  await broker.consume('queue', () => void (++seen === messages && done.resolve()), { prefetch: inFlight });
  const body = Buffer.alloc(1024, 'x');
  const start = process.cpuUsage();
  for (let sent = 0; sent < messages; sent += inFlight)
    await Promise.all(Array.from({ length: inFlight }, () => broker.publish({ routingKey: 'queue', body })));
  await done.promise;
  const { user, system } = process.cpuUsage(start);
  await broker.close();
  return (user + system) / messages;
}

/** More than without spans, in the middle of all rounds. Lines go nowhere: what leaves is bounded, and its pipe is another's to measure. */
async function cost(tracer: Tracer | undefined): Promise<number> {
  const differences: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const order = round % 2 === 0;
    const first = await microseconds(order ? undefined : tracer);
    const second = await microseconds(order ? tracer : undefined);
    if (round > 0) differences.push(order ? second - first : first - second);
  }
  return median(differences);
}

async function costOf(mode: TraceMode): Promise<number> {
  const tracing = startTracing({ service: 'bench', mode, write: () => undefined });
  const microseconds = await cost(tracing?.tracer);
  await tracing?.stop();
  return microseconds;
}

export async function tracedRows(): Promise<BenchRow[]> {
  const row = (name: string, value: number): BenchRow => ({ name, value, unit: 'µs', target: null, holds: null });
  const sdk = await cost(new TracerProvider({ spanProcessors: [] }).getTracer('bench'));
  const share = await costOf('1%');
  return [
    row('spans of a message, LAB_TRACE=off', await costOf('off')),
    row('spans of a message, LAB_TRACE=1%', share),
    row('spans of a message, LAB_TRACE=all', await costOf('all')),
    row("spans of a message, OpenTelemetry's SDK", sdk),
    { name: "LAB_TRACE=1% / OpenTelemetry's SDK", value: share / sdk, unit: 'x', target: '<= 0.6', holds: share / sdk <= 0.6 },
  ];
}
