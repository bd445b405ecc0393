import { JsonTraceSerializer } from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { TracerProvider, type ReadableSpan } from '@opentelemetry/sdk-trace';
import type { Tracer } from '@opentelemetry/api';
import { expect, it } from 'vitest';
import { contextOf, endSpan } from './index.ts';
import { envelope, spanText } from './otlp.ts';
import { Recorder, type RecordedSpan } from './recorder.ts';

const resource = { 'service.name': 'counter' };

/** The same story for any tracer; ids and flags are those of the tracer. */
function tell(tracer: Tracer): void {
  const [traceId, spanId] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'];
  const remote = { traceId, spanId, traceFlags: 1, isRemote: true };
  const attributes = { text: 'é "x"', whole: 3, part: 0.5, flag: true, list: ['a', 'b'] };
  const span = tracer.startSpan(
    'send sums',
    { kind: 3, attributes, links: [{ context: remote }], startTime: [1_700_000_000, 123_456_789] },
    contextOf(remote),
  );
  span.addEvent('note', { of: 'this' }, [1_700_000_001, 0]).setAttribute('later', 'y').updateName('send all');
  span.setStatus({ code: 2, message: 'no room' });
  span.end([1_700_000_002, 1_000_000]);
  tracer.startSpan('root', { startTime: [1, 0], root: true }, contextOf(remote)).end([1, 5_000]);
}

interface Told {
  resourceSpans: { scopeSpans: { spans: { traceId: string; spanId: string }[] }[] }[];
}

/** Without the ids that differ by chance; of times to the microsecond, as fractions of a millisecond are no more exact. */
const comparable = (text: string): unknown =>
  JSON.parse(text, (key, value: unknown) => {
    if (key === 'spanId' && value !== 'b7ad6b7169203331') return 'chance';
    if (key === 'traceId' && value !== '0af7651916cd43dd8448eb211c80319c') return 'chance';
    if (key.endsWith('UnixNano')) return Math.round(Number(value) / 1_000);
    return value;
  });

it("is what OpenTelemetry's own SDK and serializer make of the same calls", () => {
  const [ours, theirs]: [RecordedSpan[], ReadableSpan[]] = [[], []];
  tell(new Recorder({ nowMs: () => 0, sampled: () => true, ended: (span) => ours.push(span) }));
  const keep = {
    onStart() {},
    onEnd: (span: ReadableSpan) => theirs.push(span),
    forceFlush: async () => {},
    shutdown: async () => {},
  };
  tell(new TracerProvider({ resource: resourceFromAttributes(resource), spanProcessors: [keep] }).getTracer('lab'));
  const { before, after } = envelope(resource);
  const text = `${before}${ours.map(spanText).join(',')}${after}`;
  expect(comparable(text)).toEqual(comparable(Buffer.from(JsonTraceSerializer.serializeRequest(theirs)!).toString()));
  const [first, second] = (JSON.parse(text) as Told).resourceSpans[0]!.scopeSpans[0]!.spans;
  expect(first!.traceId).toBe('0af7651916cd43dd8448eb211c80319c');
  expect(second!.traceId).toMatch(/^[0-9a-f]{32}$/);
  expect(second!.spanId).toMatch(/^[0-9a-f]{16}$/);
});

it('takes no change to a span that has ended', () => {
  const ended: RecordedSpan[] = [];
  const recorder = new Recorder({ nowMs: () => 5, sampled: () => true, ended: (span) => ended.push(span) });
  const span = recorder.startSpan('call');
  endSpan(span, new Error('x'.repeat(1_000)));
  const text = spanText(ended[0]!);
  span
    .setAttribute('late', 1)
    .addEvent('late')
    .addLink({ context: span.spanContext() })
    .updateName('late')
    .setStatus({ code: 1 });
  span.end();
  expect(ended).toHaveLength(1);
  expect(spanText(ended[0]!)).toBe(text);
  expect(text.length).toBeLessThan(1_000);
});

it('gives an active span to who asks for one', () => {
  const ended: RecordedSpan[] = [];
  const recorder = new Recorder({ nowMs: () => 5, sampled: () => true, ended: (span) => ended.push(span) });
  const made = recorder.startActiveSpan('call', { attributes: { a: 1 } }, (span) => (span.end(), 'made'));
  expect([made, ended[0]!.name, ended[0]!.attributes]).toEqual(['made', 'call', { a: 1 }]);
});
