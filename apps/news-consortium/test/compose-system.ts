/**
 * The system of compose.yaml, in containers, under a project and a port of its own: what the suites do harm to. Clients run in the test's process and reach
 * the containers at their addresses, as a Linux machine can.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '@lab/process';
import { eventually } from '@lab/testing';
import { ComposeSystem, docker, testEnvironment } from '@lab/testing/containers';
import { ask } from '../src/wire/asking.ts';
import { askOver, trustOf } from '../src/wire/tls.ts';
import { Consortium } from '../src/client/consortium.ts';

const directory = join(import.meta.dirname, '..');

export const administrator = { name: 'admin', password: 'battery-staple' };
export const agents = ['agent-1', 'agent-2'];
export const labSecret = (name: string): string => join(directory, 'lab-secrets', name);
export const databases = ['postgres-1', 'postgres-2'];
const services = [...agents, ...databases];

const states = 'SELECT nodename, reportedstate, goalstate FROM pgautofailover.node ORDER BY reportedstate';
/** The monitor's container is asked so who the primary is; the name is in what it says, where the standby has all that is acknowledged. */
export const askPrimary = ['psql', '-Atc', states, 'pg_auto_failover'];
export const primaryIn = (said: string): string =>
  /^(.+)\|primary\|primary\n.+\|secondary\|secondary$/.exec(said.trim())?.[1] ?? '';

export class NewsComposeSystem extends ComposeSystem {
  readonly administrator = administrator;
  readonly tls = trustOf(readFileSync(labSecret('tls-certificate'), 'utf8'), 'tls-certificate');
  /** Of services; empty where one does not run. */
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
    await this.replicated();
  }

  /** The name of the primary, when the standby has all that is acknowledged: the loss of one of the two loses nothing from then on. */
  async replicated(): Promise<string> {
    const { id } = this.container('postgres-monitor');
    // While the monitor starts it says nothing.
    const asked = (): Promise<string> => docker('exec', id, ...askPrimary).catch(() => '');
    return eventually(async () => primaryIn(await asked()), { timeoutMs: 120_000, intervalMs: 500 });
  }

  /** Containers that were started again may have got other addresses. */
  async refresh(): Promise<void> {
    const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
    const ids = services.map((service) => this.container(service).id);
    const addresses = (await docker('inspect', '--format', format, ...ids)).split('\n');
    for (const [index, service] of services.entries()) this.#addresses.set(service, addresses[index] ?? '');
  }

  get agentAddresses(): string[] {
    return agents.flatMap((service) => this.#addresses.get(service) || []).map((address) => `${address}:8000`);
  }

  get databaseUrl(): string {
    const hosts = databases.flatMap((service) => this.#addresses.get(service) || []);
    return `postgres://lab:lab@${hosts.map((host) => `${host}:5432`).join()}/lab`;
  }

  /** A client's command in the client's container, as a program calls it; rejects with what it said. */
  async command<T>(...args: readonly string[]): Promise<T> {
    const known = [
      '--agents',
      agents.map((agent) => `${agent}:8000`).join(','),
      '--ca',
      '/run/secrets/tls-certificate',
      '--json',
    ];
    const command = ['exec', this.container('client').id, 'node', 'src/main.ts', 'client', ...known, ...args];
    return JSON.parse(await docker(...command)) as T;
  }

  client(): Consortium {
    const asking = askOver(ask, this.tls);
    return new Consortium({ agents: async () => this.agentAddresses, ask: asking, clock: systemClock, patienceMs: 30_000 });
  }
}
