import { eventually, FakeClock } from '@lab/testing';
import { statusError } from '@lab/tracing';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { expect, it } from 'vitest';
import { makeMemoryRegistry } from './memory/registry.ts';
import { tracedDiscovery } from './traced.ts';

it('tells calls with their errors, and who leads', async () => {
  const exporter = new InMemorySpanExporter();
  const tracer = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }).getTracer('test');
  const plain = makeMemoryRegistry({ clock: new FakeClock(), sessionTimeoutMs: 1_000 }).connect();
  expect(tracedDiscovery(plain, undefined)).toBe(plain);
  const discovery = tracedDiscovery(plain, tracer);
  const told = (): string[] =>
    exporter.getFinishedSpans().map(({ name, status, attributes: { 'lab.note': said } }) => {
      return `${typeof said === 'string' ? said : name}${status.code === statusError ? '!' : ''}`;
    });
  await discovery.announce('web', { port: 1 });
  expect(await discovery.list('web')).toMatchObject([{ endpoint: { port: 1 } }]);
  const record = discovery.record('epoch');
  await record.write('first', undefined);
  expect(await record.read()).toMatchObject({ text: 'first' });
  await expect(discovery.announce('no name', {})).rejects.toThrow();
  const leadership = await discovery.elect('boss', 'ana');
  await leadership.resign();
  await eventually(() => told().length === 7);
  expect(told()).toEqual([
    ...['announce web', 'list web', 'write epoch', 'read epoch', 'announce no name!'],
    ...[`leads boss, epoch ${leadership.epoch}`, `leads no more: boss, epoch ${leadership.epoch}`],
  ]);
  await discovery.close();
});
