/** gRPC's channels: how both ends keep them, and how a client opens one. */
import {
  connectivityState,
  credentials,
  makeGenericClientConstructor,
  Metadata,
  type CallOptions,
  type Client,
  type ServiceDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import type { ImagesClient, RegistryClient } from '../generated/lab/images/v1/images.ts';
import { imagesService, registryService } from './definitions.ts';

export const channelOptions = {
  // Larger than the default of 64 KiB, which a fast line fills before its acknowledgement is back.
  'grpc-node.flow_control_window': 4 * 1024 * 1024,
  // A peer that hangs, or whose cable was pulled, is noticed within 8 s.
  'grpc.keepalive_time_ms': 5_000,
  'grpc.keepalive_timeout_ms': 3_000,
  'grpc.keepalive_permit_without_calls': 1,
} as const;

export const clientOptions = {
  ...channelOptions,
  // The system's own machines are not behind the proxy that `http_proxy` names, and a refusal of that proxy would look like theirs.
  'grpc.enable_http_proxy': 0,
  // Not shared between channels: the next channel to an address would take over one that waits for a machine that is gone.
  'grpc.use_local_subchannel_pool': 1,
} as const;

export const imagesAt = (address: string): ImagesClient => clientAt<ImagesClient>(imagesService, address);
export const registryAt = (address: string): RegistryClient => clientAt<RegistryClient>(registryService, address);

function clientAt<T>(service: ServiceDefinition, address: string): T {
  const Stub = makeGenericClientConstructor(service, '');
  return new Stub(address, credentials.createInsecure(), clientOptions) as unknown as T;
}

/** For a connection. */
const connectMs = 3_000;

/** Whether the client is connected in time. A machine that is gone says nothing, and gRPC waits for it as long as the kernel does, two minutes: such a client is of no more use. */
export async function isConnected(client: Client): Promise<boolean> {
  const channel = client.getChannel();
  const deadlineMs = Date.now() + connectMs;
  for (let goesOn = true; goesOn;) {
    const state = channel.getConnectivityState(true);
    if (state === connectivityState.READY) return true;
    if (state === connectivityState.TRANSIENT_FAILURE || state === connectivityState.SHUTDOWN) return false;
    goesOn = await new Promise((resolve) =>
      channel.watchConnectivityState(state, deadlineMs, (error) => resolve(error === undefined)),
    );
  }
  return false;
}

type Rest<Response> = [Metadata, CallOptions, (error: ServiceError | null, response: Response) => void];

/** Calls a method that has one answer, which may take so long: `call` adds the request to these arguments. */
export function ask<Response>(limitMs: number, call: (...rest: Rest<Response>) => unknown): Promise<Response> {
  return new Promise((resolve, reject) => {
    call(new Metadata(), deadline(limitMs), (error, response) => (error === null ? resolve(response) : reject(error)));
  });
}

export const deadline = (limitMs: number): { deadline: number } => ({ deadline: Date.now() + limitMs });
