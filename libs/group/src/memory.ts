/** The port within one process: the same protocol as across machines, on a log and a registry in memory. */
import { makeMemoryRegistry } from '@lab/discovery';
import { makeMemoryServer } from '@lab/middleware';
import { makeLogGroup, type LogGroupOptions } from './log-group.ts';
import type { Group } from './port.ts';

export type MemoryGroupsOptions = Pick<LogGroupOptions, 'clock' | 'newToken' | 'closeBytes'>;

/** After a member that stops answering; nothing in one process does, but for tests. */
const sessionTimeoutMs = 1_500;

/** Groups that live and die with the process; each call of `connect` stands for a process of its own. */
export function makeMemoryGroups(options: MemoryGroupsOptions): { connect(): Group } {
  const server = makeMemoryServer();
  const registry = makeMemoryRegistry({ clock: options.clock, sessionTimeoutMs });
  return {
    connect() {
      const broker = server.connect();
      const discovery = registry.connect();
      const group = makeLogGroup({ ...options, broker, discovery });
      return {
        ...group,
        async close() {
          await group.close();
          await Promise.all([broker.close(), discovery.close()]);
        },
      };
    },
  };
}
