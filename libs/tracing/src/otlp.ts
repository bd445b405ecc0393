/** Spans as OTLP's JSON, written here: OpenTelemetry's own would bring its SDK along, which `otlp.test.ts` compares it with. */
import type { Attributes, SpanContext } from '@opentelemetry/api';
import type { RecordedSpan } from './recorder.ts';

/** Longer texts are cut: SQL, the reason of an error. */
const textCharactersMax = 1_000;

/** What stands before and behind the spans, with commas between them. */
export function envelope(resource: Attributes): { before: string; after: string } {
  const about = JSON.stringify({ attributes: attributesOf(resource), droppedAttributesCount: 0 });
  return { before: `{"resourceSpans":[{"resource":${about},"scopeSpans":[{"scope":{"name":"lab"},"spans":[`, after: ']}]}]}' };
}

/** One span; it has ended. */
export function spanText(span: RecordedSpan): string {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return JSON.stringify({
    traceId,
    spanId,
    parentSpanId: span.parent?.spanId,
    name: span.name,
    kind: span.kind + 1,
    startTimeUnixNano: nanosecondsOf(span.startMs),
    endTimeUnixNano: nanosecondsOf(span.endMs ?? span.startMs),
    attributes: attributesOf(span.attributes),
    droppedAttributesCount: 0,
    events: span.events.map(({ name, ms, attributes }) => ({
      attributes: attributesOf(attributes),
      name,
      timeUnixNano: nanosecondsOf(ms),
      droppedAttributesCount: 0,
    })),
    droppedEventsCount: 0,
    status: { code: span.status?.code ?? 0, message: span.status?.message },
    links: span.links.map(({ context, attributes = {} }) => ({
      attributes: attributesOf(attributes),
      spanId: context.spanId,
      traceId: context.traceId,
      droppedAttributesCount: 0,
      flags: flagsOf(context, context.isRemote),
    })),
    droppedLinksCount: 0,
    flags: flagsOf({ traceFlags }, span.parent?.isRemote),
  });
}

/** W3C's flags, and above them OTLP's: it is known whether the parent was another process, and whether it was. */
const flagsOf = ({ traceFlags }: Pick<SpanContext, 'traceFlags'>, isRemote = false): number =>
  (traceFlags & 0xff) | 0x100 | (isRemote ? 0x200 : 0);

/** Whole milliseconds and the rest apart, as one number has no room for nanoseconds. */
function nanosecondsOf(ms: number): string {
  const whole = Math.floor(ms);
  return `${whole}${String(Math.floor((ms - whole) * 1e6)).padStart(6, '0')}`;
}

const attributesOf = (attributes: Attributes): object[] =>
  Object.entries(attributes).flatMap(([key, value]) => (value === undefined ? [] : [{ key, value: valueOf(value) }]));

function valueOf(value: unknown): object {
  if (typeof value === 'boolean') return { boolValue: value };
  if (Number.isSafeInteger(value)) return { intValue: value };
  if (typeof value === 'number') return { doubleValue: value };
  if (Array.isArray(value)) return { arrayValue: { values: value.map(valueOf) } };
  return { stringValue: String(value).slice(0, textCharactersMax) };
}
