/** A gRPC server of this system: its services, health and reflection, refusals as status codes, clients that vanished found out. */
import { join } from 'node:path';
import {
  status,
  Server,
  ServerCredentials,
  type ServiceError,
  type UntypedServiceImplementation,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import type { Logger } from '@lab/process';
import type { Tracer } from '@lab/tracing';
import { HealthImplementation } from 'grpc-health-check';
import { Refusal, type RefusalKind } from '../refusal.ts';
import { channelOptions } from './channels.ts';
import { spansOfCalls } from './traced.ts';

const protoFolder = join(import.meta.dirname, '../../proto');

/** Longest message that is taken; a chunk has 1 MiB at most, and something stands around it. */
const messageBytesMax = 1024 * 1024 + 64 * 1024;

const statusOf: Readonly<Record<RefusalKind, status>> = {
  invalid: status.INVALID_ARGUMENT,
  'not-found': status.NOT_FOUND,
  exists: status.ALREADY_EXISTS,
  damaged: status.DATA_LOSS,
  unavailable: status.UNAVAILABLE,
  'too-slow': status.DEADLINE_EXCEEDED,
};

export interface ServeOptions {
  /** HOST:PORT to listen at. */
  readonly listen: string;
  readonly tracer?: Tracer | undefined;
  readonly services: readonly { readonly definition: ServiceDefinition; readonly implementation: UntypedServiceImplementation }[];
}

export interface ServingCalls {
  readonly port: number;
  /** From now on health says `SERVING`. */
  ready(): void;
  /** Takes no more calls, and ends those in hand that are not done within `drainMs`. */
  stop(drainMs: number): Promise<void>;
}

/** Listens; health says `NOT_SERVING` until `ready`. */
export async function serve({ listen, services, tracer }: ServeOptions): Promise<ServingCalls> {
  const interceptors = tracer === undefined ? [] : [spansOfCalls(tracer)];
  const server = new Server({ ...channelOptions, 'grpc.max_receive_message_length': messageBytesMax, interceptors });
  for (const { definition, implementation } of services) server.addService(definition, implementation);
  const health = new HealthImplementation({ '': 'NOT_SERVING' });
  health.addToServer(server);
  new ReflectionService(loadSync('lab/images/v1/images.proto', { includeDirs: [protoFolder], keepCase: true })).addToServer(
    server,
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(listen, ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    port,
    ready: () => health.setStatus('', 'SERVING'),
    async stop(drainMs) {
      health.setStatus('', 'NOT_SERVING');
      const force = setTimeout(() => server.forceShutdown(), drainMs);
      await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      clearTimeout(force);
    },
  };
}

/** What a call ends with, for whatever was thrown in it. What is nobody's refusal is logged, and told as a failure of the server without its details. */
export function errorOf(error: unknown, log: Logger): Partial<ServiceError> {
  if (error instanceof Refusal) return { code: statusOf[error.kind], details: error.message };
  log.error({ err: error }, 'a call has failed');
  // The shared folder: full, or away for now.
  if (error instanceof Error && 'syscall' in error && 'code' in error)
    return { code: status.UNAVAILABLE, details: `the folder of pictures is in trouble: ${String(error.code)}` };
  return { code: status.INTERNAL, details: 'the server could not do this; its log says why' };
}
