import { silentLogger, systemClock } from '@lab/process';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { expect, it } from 'vitest';
import { requestReader } from './wire/encoding.ts';
import { Database } from './store/database.ts';
import { makeDatabase, tracedAsk, tracedDeciding, tracedService } from './traced.ts';
import { ask } from './wire/asking.ts';
import { Refusal } from './wire/refusal.ts';
import { agentsDoor, serve, type Service } from './wire/serving.ts';

it('tells statements, requests on both sides, and who decides', async () => {
  const exporter = new InMemorySpanExporter();
  const tracer = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }).getTracer('test');
  const options = { url: 'postgres://lab:lab@127.0.0.1:1/lab', connections: 1, clock: systemClock, log: silentLogger };

  const database = makeDatabase(options, tracer);
  const deadline = systemClock.nowMs() + 10_000;
  await expect(database.run({ name: 'one', text: 'SELECT 1' }, [], deadline)).rejects.toThrow('no connection');
  await database.close();

  const service: Service = { answer: async () => ({ status: 'ok' }) };
  const server = await serve({
    host: '127.0.0.1',
    port: 0,
    door: agentsDoor,
    service: tracedService(service, tracer),
    readRequest: requestReader(),
    clock: systemClock,
    log: silentLogger,
  });
  const address = `127.0.0.1:${server.port}`;
  await tracedAsk(ask, tracer)(address, 'health', {}, { timeoutMs: 10_000 }).catch(() => undefined);
  const refusing = tracedService({ answer: () => Promise.reject(new Refusal('forbidden', 'not yours')) }, tracer);
  await expect(refusing.answer({ request: { kind: 'delete' } } as never)).rejects.toThrow('not yours');
  const missing = tracedService({ answer: () => Promise.reject(new Refusal('unavailable', 'no database')) }, tracer);
  await expect(missing.answer({ request: { kind: 'post' } } as never)).rejects.toThrow('no database');
  await server.close();

  const turn = { take: async () => true, close: async () => {} };
  const deciding = tracedDeciding(turn as never, tracer);
  await deciding.take('ana');
  await deciding.close();

  const told = exporter
    .getFinishedSpans()
    .map(({ name, kind, status, attributes }) => [attributes['lab.note'] ?? name, kind, status.code]);
  expect(told).toEqual([
    ['one', 2, 2],
    ['health', 1, 0],
    ['health', 2, expect.any(Number)],
    ['delete', 1, 0],
    ['post', 1, 2],
    ['decides', 0, 0],
    ['decides no more', 0, 0],
  ]);
});

it('is nothing without a tracer', async () => {
  const options = { url: 'postgres://lab:lab@127.0.0.1:1/lab', connections: 1, clock: systemClock, log: silentLogger };
  const database = makeDatabase(options, undefined);
  expect(Object.getPrototypeOf(database)).toBe(Database.prototype);
  expect(tracedAsk(ask, undefined)).toBe(ask);
  await database.close();
});
