/** The system of compose.yaml, in containers, under a project and a port of its own: what the integration and chaos suites do harm to. */
import { join } from 'node:path';
import type { FramedSocket } from '@lab/protocol';
import { ComposeSystem, queueDepths, testEnvironment } from '@lab/testing/containers';
import type { Answers } from '../src/domain/queries.ts';
import { connectClient, runClient, type ClientRun, type EntryPoint } from './client-run.ts';

const directory = join(import.meta.dirname, '..');

/** Settings of compose.yaml, as the environment gives them. */
export type ComposeSettings = Partial<Record<'BROKERS' | 'FILTERS' | 'TRIPS_SOLVERS' | 'SESSION_TIMEOUT' | 'SOLVERS', string>>;

export class BikeComposeSystem extends ComposeSystem {
  /** Starts it anew, with empty queues; resolves when every role takes work. */
  static async start(name: string, settings: ComposeSettings): Promise<BikeComposeSystem> {
    const system = new BikeComposeSystem(directory, await testEnvironment(directory, name, settings));
    await system.startAnew();
    return system;
  }

  get entryPoint(): EntryPoint {
    return { host: '127.0.0.1', port: this.port };
  }

  /** One run of the file-reader, in this process; comes back by itself when the entry point goes. */
  runClient(run: ClientRun): Promise<Answers> {
    return runClient(this.entryPoint, run);
  }

  connect(): Promise<FramedSocket> {
    return connectClient(this.entryPoint);
  }

  /** Messages in the system's queues, held ones included, by queue; empty queues are left out. */
  async queuedMessages(): Promise<Map<string, number>> {
    const depths = await queueDepths(this.container('rabbitmq'));
    return new Map([...depths].filter(([name, count]) => name.startsWith('bike-analytics.') && count > 0));
  }
}
