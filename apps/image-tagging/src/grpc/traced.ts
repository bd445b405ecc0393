/** An interceptor that leaves a span of each call of the system's own services, from its headers to its status. Its parent is the caller's, if the call brings a `traceparent`. */
import { ServerInterceptingCall, status, type ServerInterceptor } from '@grpc/grpc-js';
import { contextOf, endSpan, kinds, readTraceparent, type Span, type Tracer } from '@lab/tracing';

/** What is wrong here; of other codes it is the call. As OpenTelemetry has it. */
const failures = new Set([
  status.UNKNOWN,
  status.DEADLINE_EXCEEDED,
  status.UNIMPLEMENTED,
  status.INTERNAL,
  status.UNAVAILABLE,
  status.DATA_LOSS,
]);

export const spansOfCalls =
  (tracer: Tracer): ServerInterceptor =>
  ({ path }, call) => {
    if (!path.startsWith('/lab.')) return new ServerInterceptingCall(call);
    let span: Span | undefined;
    const end = (error?: string): void => {
      if (span !== undefined) endSpan(span, error);
      span = undefined;
    };
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata(metadata, nextMetadata) {
            const method = path.slice(1);
            const attributes = { 'rpc.system': 'grpc', 'rpc.method': method };
            const parent = readTraceparent(metadata.get('traceparent')[0]);
            span = tracer.startSpan(method, { kind: kinds.server, attributes }, contextOf(parent));
            nextMetadata(metadata);
          },
          onCancel: () => end('cancelled'),
        }),
      sendStatus(told, next) {
        end(failures.has(told.code) ? told.details || status[told.code] : undefined);
        next(told);
      },
    });
  };
