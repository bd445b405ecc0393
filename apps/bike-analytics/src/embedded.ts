/**
 * The whole system in one process: every role on its own connection to the memory broker. The demo and the bench use it; the roles, the
 * barriers and the port are those of the containers.
 */
import { randomUUID } from 'node:crypto';
import { makeMemoryServer } from '@lab/middleware';
import { traced } from '@lab/middleware/traced';
import { makeLogger, systemClock } from '@lab/process';
import { listenFramed, type FramedServer } from '@lab/protocol';
import type { Tracer } from '@lab/tracing';
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

/** Starts the system on the host's clock, with its entry point at a free port of this machine. With tracers its messages are told. */
export async function startEmbedded(config: SystemConfig, tracerOf?: (role: string) => Tracer): Promise<EmbeddedSystem> {
  const server = makeMemoryServer();
  const log = makeLogger({ name: 'demo', level: 'warn' });
  const limits = entryPointLimits(config.sessionTimeout);
  const stops: (() => Promise<void>)[] = [];
  let door: FramedServer | undefined;
  const host: Omit<Host, 'broker'> = {
    clock: systemClock,
    log,
    newInstance: randomUUID,
    countRows: () => undefined,
    listen: async (serve) => (door = await listenFramed({ host: '127.0.0.1', port: 0, limits }, serve)),
  };
  for (const [name, { replicas }] of roles) {
    for (let replica = 0; replica < config[replicas]; replica++) {
      const broker = server.connect();
      const tracer = tracerOf?.(config[replicas] > 1 ? `${name}-${replica + 1}` : name);
      const role = wire(name, { ...host, broker: traced(broker, tracer, describeMessage) }, config);
      role.failed?.catch((error: unknown) => log.error({ role: name, err: error }, 'role failed'));
      await role.start();
      stops.push(() => role.stop().then(() => broker.close()));
    }
  }
  const stop = async (): Promise<void> => {
    for (const each of stops.reverse()) await each();
  };
  return { port: door!.port, instances: stops.length, stop };
}
