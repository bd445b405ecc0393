import { eventually } from '@lab/testing';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { expect, it } from 'vitest';
import { MemoryWorld } from '../test/memory-world.ts';
import { tracedGroup } from './traced.ts';

it('tells multicasts, and notes views', async () => {
  const exporter = new InMemorySpanExporter();
  const tracer = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }).getTracer('test');
  const world = new MemoryWorld();
  const plain = world.connect().group;
  expect(tracedGroup(plain, undefined, String)).toBe(plain);
  const membership = await tracedGroup(plain, tracer, (body) => Buffer.from(body).toString()).join('games', 'ana');
  const seen: string[] = [];
  const reading = (async () => {
    for await (const event of membership) seen.push(event.type);
  })();
  let isSent = false;
  void membership.multicast(Buffer.from('chess')).then(() => (isSent = true));
  await eventually(async () => (await world.passTime(), isSent), { intervalMs: 0 });
  await membership.leave();
  await reading;
  expect(seen).toContain('view');
  const spans = exporter.getFinishedSpans();
  expect(spans.find(({ name }) => name === 'multicast games')?.attributes).toMatchObject({ 'lab.message': 'chess' });
  expect(spans.map(({ attributes }) => attributes['lab.note'])).toContainEqual(
    expect.stringMatching(/^view .* of games \(join\): ana$/),
  );
  await world.stop();
});
