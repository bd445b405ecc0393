/** Which role is made of what. The same for every host: a process, the demo, a test. */
import { createHash } from 'node:crypto';
import type { Group } from '@lab/group';
import type { Broker } from '@lab/middleware';
import type { Logger, Role, RoleHost } from '@lab/process';
import { note, type Tracer } from '@lab/tracing';
import pLimit from 'p-limit';
import { groupAddress, type RegistryConfig, type ServerConfig, type WorkerConfig } from './config.ts';
import { GroupCatalog } from './group-catalog.ts';
import { imagesService, registryService } from './grpc/definitions.ts';
import { serve, type ServeOptions, type ServingCalls } from './grpc/serve.ts';
import { imagesImplementation, registryImplementation } from './grpc/services.ts';
import { PictureError, tagPicture } from './pictures/tag.ts';
import { RegistryRole } from './roles/registry.ts';
import { ServerRole } from './roles/server.ts';
import { WorkerRole } from './roles/worker.ts';
import type { PictureStore } from './store/picture-store.ts';

/** What a host gives to every role. */
export interface Host extends Pick<RoleHost, 'clock' | 'nowMs' | 'newId' | 'log'>, Partial<Pick<RoleHost, 'tracer'>> {
  readonly group: Group;
}

/** And to those that have to do with pictures themselves. */
export interface StoreHost extends Host {
  readonly store: PictureStore;
  readonly broker: Broker;
}

/** For calls in hand when a role is told to stop. */
const drainMs = 4_000;

function membersOf({ group, clock, newId }: Host, settings: { group: string; name: string }): GroupCatalog {
  return new GroupCatalog({ group, groupName: groupAddress(settings.group).name, memberName: settings.name, clock, newId });
}

/** For traces: since when and until when this server leads. */
function noteLeader(members: GroupCatalog, tracer: Tracer | undefined): void {
  if (tracer === undefined) return;
  let known: number | undefined;
  members.onChange(() => {
    const { leads } = members;
    if (leads === known) return;
    note(tracer, leads === undefined ? 'leads no more' : `leads, epoch ${leads}`);
    known = leads;
  });
}

/** A role that answers calls. */
export interface ServingRole extends Role {
  /** The port that it listens at, from its start on. */
  readonly port: number;
}

export function makeRegistry(host: Host, settings: Pick<RegistryConfig, 'listen' | 'group' | 'name'>): ServingRole {
  const registry = new RegistryRole({ members: membersOf(host, settings), clock: host.clock });
  const implementation = registryImplementation(registry, host.log);
  const services = [{ definition: registryService, implementation }];
  return withCalls(registry, { listen: settings.listen, services, tracer: host.tracer }, host.log);
}

export function makeServer(
  host: StoreHost,
  settings: Pick<ServerConfig, 'listen' | 'group' | 'name' | 'exchange' | 'routingKey' | 'limitBytes' | 'limitMegapixels'> & {
    /** HOST:PORT at which clients find who listens at this port. */
    address: (port: number) => string;
  },
): ServingRole {
  const { exchange, routingKey, limitBytes, limitMegapixels, address, listen } = settings;
  const members = membersOf(host, settings);
  noteLeader(members, host.tracer);
  const server = new ServerRole({
    ...host,
    ...{
      members,
      names: { exchange, routingKey },
      address: () => address(serving.port),
      idOf,
      limitBytes,
    },
    limitPixels: limitMegapixels * 1e6,
  });
  const implementation = imagesImplementation(server, host.log);
  const services = [{ definition: imagesService, implementation }];
  const serving = withCalls(server, { listen, services, tracer: host.tracer }, host.log);
  return serving;
}

export function makeWorker(
  host: StoreHost,
  settings: Pick<WorkerConfig, 'group' | 'name' | 'queue' | 'jobs' | 'limitMegapixels'>,
): Role {
  const limitPixels = settings.limitMegapixels * 1e6;
  const lanes = pLimit(settings.jobs);
  return new WorkerRole({
    ...host,
    members: membersOf(host, settings),
    queue: settings.queue,
    // While so many are being decoded and encoded, the results of others are synced and told.
    prefetch: 2 * settings.jobs,
    tag: (input, output, keywords) => lanes(() => tagPicture({ input, output, keywords, limitPixels })),
    faultOf: (error) => (error instanceof PictureError ? error.reason : undefined),
  });
}

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';

/** 100 bits of the key's hash: no two keys have one id, and who knows an id does not know the key. */
export function idOf(key: string): string {
  const hash = createHash('sha256').update(key).digest();
  let bits = 0n;
  for (const byte of hash.subarray(0, 13)) bits = (bits << 8n) | BigInt(byte);
  return Array.from({ length: 20 }, (_, index) => alphabet[Number((bits >> BigInt(5 * index)) & 31n)]).join('');
}

/** It listens before it joins the group, so that who is sent to it finds it, and leaves after its last call. */
function withCalls(role: Role, options: ServeOptions, log: Logger): ServingRole {
  let calls: ServingCalls | undefined;
  return {
    async start() {
      calls = await serve(options);
      log.info({ port: calls.port }, 'listening');
      await role.start();
      calls.ready();
    },
    async stop() {
      await calls?.stop(drainMs);
      await role.stop();
    },
    get port() {
      return calls?.port ?? 0;
    },
    ...(role.failed !== undefined && { failed: role.failed }),
  };
}
