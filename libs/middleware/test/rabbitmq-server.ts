import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface RabbitmqServer {
  readonly host: string;
  readonly port: number;
  /** Stops the broker and starts it again; what was durable is there again when it resolves. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export async function startServer(): Promise<RabbitmqServer> {
  return {
    host: '127.0.0.1',
    port: 35672,
    async restart() {
      await run('docker', ['exec', 'mw-rabbit', 'rabbitmqctl', 'stop_app']);
      await run('docker', ['exec', 'mw-rabbit', 'rabbitmqctl', 'start_app']);
    },
    async stop() {},
  };
}
