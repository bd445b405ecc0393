/**
 * The system of compose.yaml, in containers, under a project and a port of its own: what the suites do harm to. Clients run in the test's process and reach
 * the containers at their addresses, as a Linux machine can.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemClock } from '@lab/process';
import { eventually } from '@lab/testing';
import { Container } from '@lab/testing/containers';
import { composeEnvironment, composeUp } from '../../../docker/compose.ts';
import { ask } from '../src/asking.ts';
import { Consortium } from '../src/client/consortium.ts';

const directory = join(import.meta.dirname, '..');
const execute = promisify(execFile);

export const administrator = { name: 'admin', password: 'battery-staple' };
export const agents = ['agent-1', 'agent-2'];

export class ComposeSystem implements AsyncDisposable {
  readonly administrator = administrator;
  readonly #env: Record<string, string>;
  /** Of services and replicas, as `docker inspect` has them. */
  readonly #addresses = new Map<string, string>();

  private constructor(env: Record<string, string>) {
    this.#env = env;
  }

  /** Starts it anew, without any data; resolves when every role takes work. */
  static async start(name: string, settings: Record<string, string> = {}): Promise<ComposeSystem> {
    const env = await composeEnvironment(directory);
    const project = `${env['COMPOSE_PROJECT_NAME']}-${name}`;
    const port = String(Number(env['LAB_PORT']) + name.length);
    const system = new ComposeSystem({ ...env, ...settings, COMPOSE_PROJECT_NAME: project, LAB_PORT: port });
    await system.down('--volumes');
    await system.up();
    return system;
  }

  /** Makes what is missing, and starts what does not run. */
  async up(): Promise<void> {
    await composeUp(directory, { ...process.env, ...this.#env });
    await this.refresh();
  }

  /** Removes all containers; the volumes only if it is said. */
  async down(...args: readonly string[]): Promise<void> {
    await this.compose('down', '--remove-orphans', '--timeout', '12', ...args);
  }

  /** Containers that were started again may have got other addresses. */
  async refresh(): Promise<void> {
    const ids = (await this.compose('ps', '--quiet')).split('\n').filter(Boolean);
    const format = '{{.Name}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
    const { stdout } = await execute('docker', ['inspect', '--format', format, ...ids]);
    for (const line of stdout.trim().split('\n')) {
      const [name = '', address = ''] = line.split(' ');
      this.#addresses.set(name.slice(`/${this.project}-`.length), address);
    }
  }

  get project(): string {
    return this.#env['COMPOSE_PROJECT_NAME']!;
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

  /** The container of a service, or of one of its replicas, which are counted from 1. */
  container(service: string, replica = 1): Container {
    return new Container(`${this.project}-${service}-${replica}`);
  }

  async compose(...args: readonly string[]): Promise<string> {
    const { stdout } = await execute('docker', ['compose', ...args], { cwd: directory, env: { ...process.env, ...this.#env } });
    return stdout;
  }

  /** A client's command in the client's container, as a program calls it; rejects with what it said. */
  async command<T>(...args: readonly string[]): Promise<T> {
    const known = ['--agents', agents.map((agent) => `${agent}:8000`).join(','), '--json'];
    const command = ['exec', this.container('client').id, 'node', 'src/main.ts', 'client', ...known, ...args];
    return JSON.parse((await execute('docker', command)).stdout) as T;
  }

  client(): Consortium {
    return new Consortium({ agents: async () => this.agentAddresses, ask, clock: systemClock, patienceMs: 30_000 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await eventually(() => this.down('--volumes').then(() => true), { timeoutMs: 90_000, intervalMs: 1_000 });
  }
}
