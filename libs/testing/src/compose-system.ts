/** An app's system in containers, beside the one that its users may have started: what integration and chaos suites do harm to. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { composeDown, composeEnvironment, composeUp } from '../../../docker/compose.ts';
import { eventually } from './eventually.ts';
import { Container } from '../../../docker/container.ts';
import { freePort } from './free-port.ts';

const execute = promisify(execFile);
/** Removing a whole system takes a few seconds; on a busy machine some containers are stopped one after the other. */
const removalMs = 90_000;

/**
 * What the compose file in `directory` is given for a system of a test: images, which are made when they are missing, and a project and a
 * port of its own. `settings` are variables of the compose file.
 */
export async function testEnvironment(
  directory: string,
  name: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<Record<string, string>> {
  const env = await composeEnvironment(directory);
  const own = { COMPOSE_PROJECT_NAME: `${env['COMPOSE_PROJECT_NAME']}-${name}`, LAB_PORT: String(await freePort()) };
  return { ...env, ...own, ...settings };
}

/** Apps extend it with what their clients do. Dispose of it (`await using`) and its containers, networks and volumes are gone. */
export class ComposeSystem implements AsyncDisposable {
  /** Of the compose file. */
  readonly directory: string;
  /** What the compose file is given, without this process's own environment. */
  readonly env: Readonly<Record<string, string>>;

  constructor(directory: string, env: Readonly<Record<string, string>>) {
    this.directory = directory;
    this.env = env;
  }

  /** Starts it without any data, whatever an earlier run left; resolves when every role takes work. What does not come up is removed: others need the machine. */
  async startAnew(): Promise<void> {
    await this.down('--volumes');
    try {
      await this.up();
    } catch (error) {
      await this[Symbol.asyncDispose]().catch(() => undefined);
      throw error;
    }
  }

  /** Makes what is missing, and starts what does not run; resolves when every role takes work. */
  async up(): Promise<void> {
    await composeUp(this.directory, { ...process.env, ...this.env });
  }

  /** Stops in good order and removes all containers; with `--volumes` their data too. */
  async down(...args: readonly string[]): Promise<void> {
    await composeDown(this.directory, { ...process.env, ...this.env }, ['--timeout', '12', ...args]);
  }

  /** Containers and networks have this name and `-` before their own. */
  get project(): string {
    return this.env['COMPOSE_PROJECT_NAME']!;
  }

  /** The port of this machine at which the compose file publishes its entry. */
  get port(): number {
    return Number(this.env['LAB_PORT']);
  }

  /** Runs a command of `docker compose`; what it prints. An error carries what it said. */
  async compose(...args: readonly string[]): Promise<string> {
    const options = { cwd: this.directory, env: { ...process.env, ...this.env }, maxBuffer: 64 * 1024 * 1024 };
    return (await execute('docker', ['compose', ...args], options)).stdout;
  }

  /** The container of a service, or of one of its replicas, which are counted from 1. */
  container(service: string, replica = 1): Container {
    return new Container(`${this.project}-${service}-${replica}`);
  }

  /** The engine may hold on to a network for a moment after the last container is gone; so it is tried again. */
  async [Symbol.asyncDispose](): Promise<void> {
    const removed = (): Promise<boolean> => this.down('--volumes', '--timeout', '1').then(() => true);
    await eventually(removed, { timeoutMs: removalMs, intervalMs: 1_000 });
  }
}
