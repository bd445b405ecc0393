import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { eventually, FakeClock } from '@lab/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { contextOf, endSpan, kinds, note, tracedCall } from './index.ts';
import { aftermathMs, ringMax } from './tail-sampler.ts';
import { startTracing, type TraceMode, type Tracing, type TracingOptions } from './start.ts';

interface Told {
  resourceSpans: {
    resource: { attributes: { key: string; value: { stringValue: string } }[] };
    scopeSpans: { spans: { name: string; traceId: string; attributes: { key: string; value: object }[] }[] }[];
  }[];
}
const spansIn = (text: string) =>
  text
    .split('\n')
    .filter(Boolean)
    .flatMap((line) =>
      (JSON.parse(line) as Told).resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
    );

/** What a role with this mode tells on its own clock. */
function told(mode: TraceMode) {
  const [clock, lines]: [FakeClock, string[]] = [new FakeClock(), []];
  const { tracer, stop } = startTracing({ service: 'counter', mode, clock, write: (line) => void lines.push(line) })!;
  const span = (name: string, error?: string): void => endSpan(tracer.startSpan(name), error);
  const names = (): string[] => spansIn(lines.join('')).map(({ name }) => name);
  return { clock, lines, tracer, span, names, stop };
}

describe('what is told', () => {
  it('is nothing, and there is no tracer, without a mode', () => {
    expect(startTracing({ service: 'counter', mode: 'off' })).toBeUndefined();
  });

  it('is everything, as lines of OTLP that Docker does not cut, four times in a second', () => {
    const { clock, lines, tracer, names } = told('all');
    for (let each = 0; each < 100; each++) tracer.startSpan(`call ${each}`, { attributes: { text: 'x'.repeat(500) } }).end();
    expect(lines).toEqual([]);
    clock.advance(250);
    expect(names()).toEqual(Array.from({ length: 100 }, (_, each) => `call ${each}`));
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThan(16 * 1024);
    expect(lines.every((line) => line.endsWith('\n'))).toBe(true);
    const [resource] = (JSON.parse(lines[0]!) as Told).resourceSpans;
    expect(resource!.resource.attributes.map(({ key }) => key)).toEqual(['service.name', 'service.instance.id']);
  });

  it('is what led to a fault, and what follows for a while', async () => {
    const { clock, span, names } = told('faults');
    span('before');
    await clock.advanceAsync(10_000);
    expect(names()).toEqual([]);
    span('fault', 'no room');
    span('after');
    await clock.advanceAsync(aftermathMs);
    span('later');
    await clock.advanceAsync(10_000);
    expect(names()).toEqual(['before', 'fault', 'after']);
  });

  it('is what an app wants to be seen, however small the share', () => {
    const { clock, tracer, span, names } = told('faults');
    span('before');
    note(tracer, 'leads, epoch 3');
    span('after');
    clock.advance(250);
    expect(names()).toEqual(['note']);
  });

  it('is what was around a redelivery, and its sender tells it on', () => {
    const { clock, tracer, span, names } = told('faults');
    span('before');
    tracer.startSpan('receive', { attributes: { 'lab.redelivered': true } }).end();
    expect(tracer.startSpan('next').spanContext().traceFlags).toBe(1);
    clock.advance(250);
    expect(names()).toEqual(['before', 'receive']);
  });

  it('is of what came before a fault only the last, however much it was', async () => {
    const { clock, span, names } = told('faults');
    for (let each = 0; each < ringMax + 10; each++) span(String(each));
    span('fault', 'no room');
    await clock.advanceAsync(20_000);
    expect(names()).toHaveLength(ringMax + 1);
    expect([names().at(0), names().at(-1)]).toEqual(['10', 'fault']);
  });

  it('is a share of all traces, each as a whole: who comes later decides alike', () => {
    const { clock, tracer, names } = told('10%');
    const one = (name: string): number => {
      const first = tracer.startSpan(name);
      first.end();
      const { traceFlags } = first.spanContext();
      expect(tracer.startSpan('child', {}, contextOf(first.spanContext())).spanContext().traceFlags).toBe(traceFlags);
      return traceFlags;
    };
    const sampled = Array.from({ length: 1_000 }, (_, each) => one(String(each))).filter((flags) => flags === 1).length;
    expect(sampled).toBeGreaterThan(50);
    expect(sampled).toBeLessThan(200);
    clock.advance(1_000);
    expect(names()).toHaveLength(sampled);
  });

  it('is no more than eyes can take in, and says how much was left out', async () => {
    const { clock, lines, span, names } = told('all');
    for (let second = 0; second < 3; second++) {
      for (let each = 0; each < 2_000; each++) span('call');
      await clock.advanceAsync(1_000);
    }
    expect(names().filter((name) => name === 'call')).toHaveLength(1_500);
    const left = spansIn(lines.join('')).flatMap(({ attributes }) => attributes.filter(({ key }) => key === 'lab.left_out'));
    expect(left.reduce((sum, { value }) => sum + (value as { intValue: number }).intValue, 0)).toBe(4_500);
  });

  it('is told to the end when the role stops', async () => {
    const { span, names, stop } = told('all');
    span('last');
    await stop();
    expect(names()).toEqual(['last']);
  });
});

describe('calls and notes', () => {
  it('are spans with their error and what the app says', async () => {
    const { clock, lines, tracer } = told('all');
    expect(await tracedCall(tracer, 'ask', { attributes: { 'rpc.method': 'ask' } }, () => 7)).toBe(7);
    const failing = tracedCall(tracer, 'ask', { kind: 'server', attributes: {} }, () => Promise.reject(new Error('no answer')));
    await expect(failing).rejects.toThrow('no answer');
    note(tracer, 'leads since epoch 3');
    note(undefined, 'nobody hears');
    clock.advance(250);
    expect(spansIn(lines.join(''))).toMatchObject([
      { name: 'ask', kind: kinds.client + 1, status: { code: 0 } },
      { name: 'ask', kind: kinds.server + 1, status: { code: 2, message: 'no answer' } },
      { name: 'note', attributes: [{ key: 'lab.note', value: { stringValue: 'leads since epoch 3' } }] },
    ]);
  });
});

/** A collector as Jaeger or Grafana have one. */
async function collector(answer: () => number | undefined) {
  const bodies: { url: string | undefined; headers: IncomingHttpHeaders; text: string }[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8');
    request.on('data', (part: string) => (text += part));
    request.on('end', () => {
      const status = answer();
      if (status === undefined) return;
      bodies.push({ url: request.url, headers: request.headers, text });
      response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { bodies, close, endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/secret` };
}

describe('a collector', () => {
  const open: { stop?: Tracing['stop']; close?: () => Promise<void> }[] = [];
  afterEach(async () => {
    for (const { stop, close } of open.splice(0).reverse()) await (stop?.() ?? close?.());
  });

  async function sending(answer: () => number | undefined) {
    const target = await collector(answer);
    const heard: string[] = [];
    const log = { info: (_: object, text: string) => heard.push(text), warn: (_: object, text: string) => heard.push(text) };
    const options: TracingOptions = { service: 'counter', mode: 'all', endpoint: target.endpoint, log };
    const write = (): void => expect.fail('nothing is written where there is a collector');
    const tracing = startTracing({ ...options, write })!;
    open.push(target, tracing);
    return { ...target, ...tracing, heard };
  }

  it("gets OTLP's JSON by HTTP", async () => {
    const { bodies, tracer } = await sending(() => 200);
    tracer.startSpan('call').end();
    await eventually(() => bodies.length > 0);
    expect(bodies[0]).toMatchObject({ url: '/secret/v1/traces', headers: { 'content-type': 'application/json' } });
    expect(spansIn(bodies[0]!.text).map(({ name }) => name)).toEqual(['call']);
  });

  it.each([
    ['refuses', 503],
    ['does not answer', undefined],
  ])('that %s costs spans, one line of the log and a second at the stop', async (_, refusal) => {
    let status: number | undefined = refusal;
    const { bodies, tracer, heard } = await sending(() => status);
    tracer.startSpan('lost').end();
    await eventually(() => heard.length > 0);
    status = 200;
    tracer.startSpan('call').end();
    await eventually(() => heard.length === 2);
    expect(heard).toEqual(['spans are left out: the collector does not take them', 'the collector answers again']);
    expect(spansIn(bodies.at(-1)!.text).map(({ name }) => name)).toEqual(['call', 'left out']);
  });

  it('that is away keeps nobody from stopping', async () => {
    const { close, tracer, stop } = await sending(() => undefined);
    tracer.startSpan('call').end();
    await close();
    open.length = 0;
    const startMs = performance.now();
    await stop();
    expect(performance.now() - startMs).toBeLessThan(2_000);
  });
});
