/**
 * What decorators that make spans share. They pass contexts on explicitly, as arguments and in messages, and use OpenTelemetry's types alone: nothing of
 * it is loaded by them. Any SDK's tracer will do; `start.ts` has the kit's own.
 */
import type { Attributes, Context, Link, Span, SpanContext, SpanKind, SpanStatusCode, Tracer } from '@opentelemetry/api';

export type { Attributes, Context, Link, Span, SpanContext, Tracer };

/** Of OpenTelemetry's enums, of which only the types are used. */
export const kinds = {
  internal: 0 as SpanKind.INTERNAL,
  server: 1 as SpanKind.SERVER,
  client: 2 as SpanKind.CLIENT,
  producer: 3 as SpanKind.PRODUCER,
  consumer: 4 as SpanKind.CONSUMER,
} as const;
export const statusError = 2 as SpanStatusCode.ERROR;

/** OpenTelemetry's own key for the span of a context: the same in each copy of its API. */
export const spanKey = Symbol.for('OpenTelemetry Context Key SPAN');

/** A context that knows a parent, and nothing else; itself the span that tracers ask for its context. */
class ParentContext implements Context {
  readonly #parent: SpanContext | undefined;
  constructor(parent: SpanContext | undefined) {
    this.#parent = parent;
  }

  getValue(key: symbol): unknown {
    return key === spanKey && this.#parent !== undefined ? this : undefined;
  }

  spanContext(): SpanContext | undefined {
    return this.#parent;
  }

  setValue(): Context {
    return this;
  }

  deleteValue(): Context {
    return noParent;
  }
}

const noParent: Context = new ParentContext(undefined);

/** For `startSpan`: the context of a span's parent; without one it begins a trace. */
export const contextOf = (parent: SpanContext | undefined): Context =>
  parent === undefined ? noParent : new ParentContext(parent);

/** W3C's form of a span's context, as it travels in messages. */
export const traceparentOf = ({ traceId, spanId, traceFlags }: SpanContext): string =>
  `00-${traceId}-${spanId}-${traceFlags < 16 ? '0' : ''}${traceFlags.toString(16)}`;

const traceparent = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:$|-)/;

/** The context that a message brings; undefined where it has none, or what W3C says is none. */
export function readTraceparent(text: unknown): SpanContext | undefined {
  if (typeof text !== 'string' || !traceparent.test(text) || (text.startsWith('00') && text.length !== 55)) return undefined;
  // Later versions may say more behind it.
  const traceFlags = Number.parseInt(text.slice(53, 55), 16);
  return { traceId: text.slice(3, 35), spanId: text.slice(36, 52), traceFlags, isRemote: true };
}

/** Reasons may be long; what they begin with says enough. */
const reasonCharactersMax = 300;

const reasonOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).slice(0, reasonCharactersMax);

/** Ends a span, with an error where there is one. */
export function endSpan(span: Span, error?: unknown): void {
  if (error !== undefined) {
    span.setStatus({ code: statusError, message: reasonOf(error) });
  }
  span.end();
}

export interface CallOptions {
  /** Default client: who calls. */
  kind?: 'client' | 'server';
  attributes: Attributes;
  parent?: SpanContext | undefined;
  /** Which errors are failures; default all. A refusal is an answer. */
  isFailure?: (error: unknown) => boolean;
}

/** A call as a span: from its beginning until what it returns has settled, with its failure. `run` is given the context, to send along. */
export async function tracedCall<T>(
  tracer: Tracer,
  name: string,
  { kind = 'client', attributes, parent, isFailure = () => true }: CallOptions,
  run: (context: SpanContext) => T | Promise<T>,
): Promise<T> {
  const span = tracer.startSpan(name, { kind: kinds[kind], attributes }, contextOf(parent));
  try {
    const result = await run(span.spanContext());
    endSpan(span);
    return result;
  } catch (error) {
    endSpan(span, isFailure(error) ? (error ?? 'failed') : undefined);
    throw error;
  }
}

/** What an app wants to be seen: a view, a leader, an epoch. Without a tracer nothing. */
export function note(tracer: Tracer | undefined, text: string): void {
  tracer?.startSpan('note', { kind: kinds.internal, attributes: { 'lab.note': text } }, noParent).end();
}
