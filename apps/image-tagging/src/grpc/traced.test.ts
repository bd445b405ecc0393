import { Metadata, status, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { expect, it } from 'vitest';
import type { FindServerRequest, FindServerResponse } from '../generated/lab/images/v1/images.ts';
import { registryAt } from './channels.ts';
import { registryService } from './definitions.ts';
import { serve } from './serve.ts';

it('leaves a span of each call, with its status and its parent', async () => {
  const exporter = new InMemorySpanExporter();
  const tracer = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }).getTracer('test');
  const findServer = (
    { request }: ServerUnaryCall<FindServerRequest, FindServerResponse>,
    done: sendUnaryData<FindServerResponse>,
  ): void => {
    if (request.avoid.length === 0) done(null, { address: 'server-1:1' });
    else done({ code: status.UNAVAILABLE, details: 'no server' });
  };
  const services = [{ definition: registryService, implementation: { findServer, listServers: () => undefined } }];
  const calls = await serve({ listen: '127.0.0.1:0', services, tracer });
  const client = registryAt(`127.0.0.1:${calls.port}`);
  const metadata = new Metadata();
  metadata.set('traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
  const ask = (avoid: string[]): Promise<unknown> =>
    new Promise((resolve) => client.findServer({ avoid }, metadata, (error, answer) => resolve(error?.details ?? answer)));
  expect([await ask([]), await ask(['server-1'])]).toEqual([{ address: 'server-1:1' }, 'no server']);
  client.close();
  await calls.stop(1_000);
  expect(
    exporter
      .getFinishedSpans()
      .map(({ name, kind, status, parentSpanContext }) => [name, kind, status.message, parentSpanContext?.spanId]),
  ).toEqual([
    ['lab.images.v1.Registry/FindServer', 1, undefined, 'b7ad6b7169203331'],
    ['lab.images.v1.Registry/FindServer', 1, 'no server', 'b7ad6b7169203331'],
  ]);
});
