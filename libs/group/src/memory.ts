/** The port within one process: the same protocol as across machines, on a log and a registry in memory. */
import { makeMemoryRegistry } from '@lab/discovery';
import { makeMemoryServer } from '@lab/middleware';
import { makeLogGroup, type LogGroupOptions } from './log-group.ts';
import type { Group } from './port.ts';

export type MemoryGroupsOptions = Pick<LogGroupOptions, 'clock' | 'newToken' | 'closeBytes'>;

/** After a member that stops answering; nothing in one process does, but for tests. */
const sessionTimeoutMs = 1_500;

/** Groups that live and die with this process. */
export interface MemoryGroups {
  /** What a process of its own would have. */
  connect(): Group;
  /** That process dies: nothing it does counts anymore, and the others find out after 1.5 s. */
  kill(group: Group): void;
}

export function makeMemoryGroups(options: MemoryGroupsOptions): MemoryGroups {
  const server = makeMemoryServer();
  const registry = makeMemoryRegistry({ clock: options.clock, sessionTimeoutMs });
  const kills = new Map<Group, () => void>();
  return {
    connect() {
      const broker = server.connect();
      const discovery = registry.connect();
      const group = makeLogGroup({ ...options, broker, discovery });
      const connected: Group = {
        ...group,
        async close() {
          await group.close();
          await Promise.all([broker.close(), discovery.close()]);
          kills.delete(connected);
        },
      };
      kills.set(connected, () => {
        server.kill(broker);
        registry.crash(discovery);
      });
      return connected;
    },
    kill: (group) => kills.get(group)?.(),
  };
}
