/**
 * The system of compose.yaml, in containers, under a project and a port of its own: what the suites do harm to. Clients run in the test's process and reach
 * the containers at their addresses, as a Linux machine can.
 */
import { join } from 'node:path';
import { systemClock } from '@lab/process';
import { ComposeSystem, docker, testEnvironment } from '@lab/testing/containers';
import { ask } from '../src/wire/asking.ts';
import { Consortium } from '../src/client/consortium.ts';

const directory = join(import.meta.dirname, '..');

export const administrator = { name: 'admin', password: 'battery-staple' };
export const agents = ['agent-1', 'agent-2'];

export class NewsComposeSystem extends ComposeSystem {
  readonly administrator = administrator;
  /** Of services and replicas, as `docker inspect` has them. */
  readonly #addresses = new Map<string, string>();

  /** Starts it anew, without any data; resolves when every role takes work. */
  static async start(name: string, settings: Record<string, string> = {}): Promise<NewsComposeSystem> {
    const system = new NewsComposeSystem(directory, await testEnvironment(directory, name, settings));
    await system.startAnew();
    return system;
  }

  override async up(): Promise<void> {
    await super.up();
    await this.refresh();
  }

  /** Containers that were started again may have got other addresses. */
  async refresh(): Promise<void> {
    const ids = (await this.compose('ps', '--quiet')).split('\n').filter(Boolean);
    const format = '{{.Name}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
    const addresses = await docker('inspect', '--format', format, ...ids);
    for (const line of addresses.split('\n')) {
      const [name = '', address = ''] = line.split(' ');
      this.#addresses.set(name.slice(`/${this.project}-`.length), address);
    }
  }

  get agentAddresses(): string[] {
    return agents.map((service) => `${this.#address(service)}:8000`);
  }

  get databaseUrl(): string {
    return `postgres://lab:lab@${this.#address('postgres')}:5432/lab`;
  }

  #address(service: string, replica = 1): string {
    const address = this.#addresses.get(`${service}-${replica}`);
    if (address === undefined || address === '') throw new Error(`${service}-${replica} has no address`);
    return address;
  }

  /** A client's command in the client's container, as a program calls it; rejects with what it said. */
  async command<T>(...args: readonly string[]): Promise<T> {
    const known = ['--agents', agents.map((agent) => `${agent}:8000`).join(','), '--json'];
    const command = ['exec', this.container('client').id, 'node', 'src/main.ts', 'client', ...known, ...args];
    return JSON.parse(await docker(...command)) as T;
  }

  client(): Consortium {
    return new Consortium({ agents: async () => this.agentAddresses, ask, clock: systemClock, patienceMs: 30_000 });
  }
}
