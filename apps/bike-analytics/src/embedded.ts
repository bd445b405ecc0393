/**
 * The whole system in one process: every role on its own connection to the memory broker. The demo and the bench use it; the roles, the
 * barriers and the port are those of the containers.
 */
import { randomUUID } from 'node:crypto';
import { makeMemoryServer } from '@lab/middleware';
import { traced } from '@lab/middleware/traced';
import { makeLogger, systemClock } from '@lab/process';
import { Lives, type Life } from '@lab/process/lives';
import { listenFramed } from '@lab/protocol';
import type { DemoPage } from '@lab/watch/demo';
import { entryPointLimits, type SystemConfig } from './config.ts';
import { describeMessage } from './messages.ts';
import { roles, wire, type Host } from './wiring.ts';

export interface EmbeddedSystem {
  /** Of the entry point, on this machine. */
  port: number;
  /** Processes that these would be. */
  instances: number;
  stop: () => Promise<void>;
}

/** Starts the system on the host's clock, with its entry point at a free port of this machine. On a page its messages are shown, and each role can be killed. */
export async function startEmbedded(config: SystemConfig, page?: DemoPage): Promise<EmbeddedSystem> {
  const server = makeMemoryServer();
  const log = makeLogger({ name: 'demo', level: 'warn' });
  const limits = entryPointLimits(config.sessionTimeout);
  const lives = new Lives(page);
  let port = 0;
  const live = (name: string, own: string): Life => {
    const broker = server.connect();
    const host: Host = {
      ...{ clock: systemClock, log, newInstance: randomUUID, countRows: () => undefined },
      broker: traced(broker, page?.tracer(own), describeMessage),
      async listen(serve) {
        const door = await listenFramed({ host: '127.0.0.1', port, limits }, serve);
        // Its next life is where its clients look for it.
        port = door.port;
        return door;
      },
    };
    const role = wire(name, host, config);
    const kill = (): Promise<void> => {
      server.kill(broker);
      return role.stop();
    };
    return { role, kill, close: () => broker.close() };
  };
  for (const [name, { replicas }] of roles) {
    for (let replica = 0; replica < config[replicas]; replica++) {
      const own = config[replicas] > 1 ? `${name}-${replica + 1}` : name;
      await lives.begin(own, () => live(name, own));
    }
  }
  return { port, instances: lives.count, stop: () => lives.stop() };
}
