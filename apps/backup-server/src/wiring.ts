/** Which role is made of what. The only place that knows every role, and the same for every host: a process, the demo, a test. */
import type { Broker } from '@lab/middleware';
import type { Clock, Logger, Role } from '@lab/process';
import type { FramedServer } from '@lab/protocol';
import { ownRecord } from '@lab/store';
import type { Channel } from './channel/channel.ts';
import { decode } from './messages.ts';
import { BackupRequesterRole, type BackupRequesterParts } from './roles/backup-requester.ts';
import { NodesManagerRole } from './roles/nodes-manager.ts';
import { ServerRole } from './roles/server.ts';
import { ordersTopology, queueOf, topology } from './topology.ts';
import type { BackupStore, Key } from './versions.ts';

/** What a host gives to every role. */
export interface Host {
  broker: Broker;
  store: BackupStore;
  clock: Clock;
  log: Logger;
  /** Milliseconds since 1970. */
  nowMs: () => number;
  newId: () => string;
  /** Only the server listens. */
  listen: (serve: (channel: Channel) => Promise<void>) => Promise<FramedServer>;
  /** Only requesters connect. */
  connect: BackupRequesterParts['connect'];
  /** Has a number of each path shown at `/metrics`, where the process has one. */
  measure?: (name: string, help: string, read: () => readonly Measured[]) => void;
  /** Ends the process in good order: an admin has said `shutdown`. */
  end: () => void;
  /** Ends the process with an error: the role has lost a consumer for good, and would wait for nothing. */
  fail: (reason: unknown) => void;
}

/** A number of a path. */
export interface Measured extends Key {
  value: number;
}

export interface StoreSettings {
  scrubCycle: number;
  sweepInterval: number;
  nodeQuota?: number | undefined;
}

type Make = (host: Host, instance: string, settings: StoreSettings, join: () => Promise<void>) => Role;

/** Every role that works on the store, in the order to start them: whoever takes work, before whoever gives it. */
export const roles: ReadonlyMap<string, Make> = new Map<string, Make>([
  ['backup-requester', (host, _, { nodeQuota }) => new BackupRequesterRole({ ...host, nodeQuota })],
  [
    'nodes-manager',
    (host, _, { scrubCycle, sweepInterval }) => {
      const role = new NodesManagerRole({
        ...host,
        file: ownRecord(host.store, 'registry'),
        hasVersions: () => host.store.hasVersions(),
        scrubCycleMs: scrubCycle,
        sweepIntervalMs: sweepInterval,
      });
      host.measure?.('backup_last_success_timestamp_seconds', 'When a path was last backed up; 0 for never', () =>
        role.tasks.map(({ succeededMs = 0, ...task }) => ({ ...task, value: succeededMs / 1000 })),
      );
      return role;
    },
  ],
  [
    'server',
    (host, instance, { sweepInterval }, join) => {
      const role = new ServerRole({ ...host, instance, join, sweepIntervalMs: sweepInterval });
      host.measure?.(
        'backup_damaged_versions',
        'Versions of a path that cannot be restored whole; of a path without this, none',
        () => role.damage.map(({ versions, ...key }) => ({ ...key, value: versions })),
      );
      return role;
    },
  ],
]);

/** A role that declares the system's topology before it starts, the server while it serves, and ends its process when it is told to. */
export function wire(name: string, host: Host, settings: StoreSettings): Role {
  const make = roles.get(name);
  if (make === undefined) throw new RangeError(`no role is called "${name}"; there are ${[...roles.keys()].join(', ')}`);
  const instance = host.newId();
  const { broker, end, fail } = host;
  const join = async (): Promise<void> => {
    await broker.declare(topology);
    await broker.declare(ordersTopology(instance));
    const orders = await broker.consume(queueOf.orders(instance), ({ body }) => void (decode(body, 'stop') && end()), {
      prefetch: 1,
    });
    orders.closed.catch(fail);
  };
  const role = make(host, instance, settings, join);
  return {
    async start() {
      if (!(role instanceof ServerRole)) await join();
      await role.start();
    },
    stop: () => role.stop(),
  };
}
