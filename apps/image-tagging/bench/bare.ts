/** What a transfer costs at least: bytes over grpc-js, without any encoding of their own. */
import type { ServiceDefinition } from '@grpc/grpc-js';

/** As the client sends, and as the server reads. */
export const chunkBytesUp = 256 * 1024;
export const chunkBytesDown = 1024 * 1024;

const bytes = {
  requestSerialize: (value: Buffer) => value,
  requestDeserialize: (value: Buffer) => value,
  responseSerialize: (value: Buffer) => value,
  responseDeserialize: (value: Buffer) => value,
};

export const bareService = {
  upload: { path: '/bench.Bare/Upload', requestStream: true, responseStream: false, ...bytes },
  download: { path: '/bench.Bare/Download', requestStream: false, responseStream: true, ...bytes },
} satisfies ServiceDefinition;
