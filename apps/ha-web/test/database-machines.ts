/** The database machines on a real engine: two databases, three ZooKeeper servers, and clients that write through the floating address. */
import { Container } from '@lab/testing/containers';
import { eventually } from '@lab/testing';
import { createConnection, type Connection } from 'mysql2/promise';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { setTimeout as wait } from 'node:timers/promises';
import { appImage, serviceImage } from '../../../docker/images.ts';
import type { AgentStatus } from '../src/database/domain/agent-status.ts';

const execute = promisify(execFile);

async function docker(...args: readonly string[]): Promise<string> {
  const { stdout } = await execute('docker', [...args], { maxBuffer: 64 * 1024 * 1024 });
  return stdout.trim();
}

export type DatabaseName = 'db-1' | 'db-2';
export const databaseNames: readonly DatabaseName[] = ['db-1', 'db-2'];
const hosts = { 'db-1': 21, 'db-2': 22, floating: 200, backup: 23 };

export interface MachinesOptions {
  /** Of the names of all containers, and what else is made. */
  readonly name: string;
  /** Three bytes of an address that nobody else here uses. */
  readonly prefix: string;
}

export class DatabaseMachines implements AsyncDisposable {
  readonly #options: MachinesOptions;
  readonly databases: Readonly<Record<DatabaseName, Container>>;
  readonly zookeepers: readonly Container[];

  private constructor(options: MachinesOptions) {
    this.#options = options;
    this.databases = { 'db-1': new Container(`${options.name}-db-1`), 'db-2': new Container(`${options.name}-db-2`) };
    this.zookeepers = [1, 2, 3].map((id) => new Container(`${options.name}-zookeeper-${id}`));
  }

  /** Resolves when the replica is in sync for the first time. */
  static async start(options: MachinesOptions): Promise<DatabaseMachines> {
    const machines = new DatabaseMachines(options);
    try {
      await machines.#start();
      await machines.whole();
    } catch (error) {
      await machines[Symbol.asyncDispose]();
      throw error;
    }
    return machines;
  }

  /** Of everything that may be here, an earlier run's that was cut short included. */
  get #names(): string[] {
    const { name } = this.#options;
    return [...Object.values(this.databases), ...this.zookeepers].map(({ id }) => id).concat(`${name}-db-backup`);
  }

  async #start(): Promise<void> {
    await this[Symbol.asyncDispose]();
    const { name, prefix } = this.#options;
    await docker('network', 'create', '--subnet', `${prefix}.0/24`, '--ip-range', `${prefix}.128/26`, name);
    const servers = [31, 32, 33].map((host) => `${prefix}.${host}`);
    const image = await serviceImage('zookeeper');
    const zookeepers = this.zookeepers.map(({ id }, index) => {
      const env = [`ZOO_MY_ID=${index + 1}`, `ZOO_SERVERS=${servers.join(' ')}`];
      return this.#run(id, [...this.#at(31 + index), ...env.flatMap((each) => ['-e', each]), image]);
    });
    const databases = databaseNames.map(async (each) => this.#run(this.databases[each].id, await this.#databaseArguments(each)));
    await Promise.all([...zookeepers, ...databases]);
  }

  /** A machine of its own on the same network. */
  async startBackup(command: readonly string[]): Promise<Container> {
    const id = `${this.#options.name}-db-backup`;
    const env = Object.entries(this.backupEnvironment()).flatMap(([key, value]) => ['-e', `${key}=${value}`]);
    const machine = [...this.#at(hosts.backup), '--hostname', 'db-backup', '--init', '--user', 'root', '--volume', `${id}:/data`];
    await this.#run(id, [...machine, ...env, await appImage('ha-web'), ...command]);
    return new Container(id);
  }

  backupEnvironment(): Record<string, string> {
    return { DATABASES: databaseNames.map((name) => this.address(name)).join() };
  }

  async #run(id: string, args: readonly string[]): Promise<void> {
    await docker('run', '--detach', '--name', id, ...args);
  }

  #at(host: number): string[] {
    return ['--network', this.#options.name, '--ip', `${this.#options.prefix}.${host}`];
  }

  async #databaseArguments(name: DatabaseName): Promise<string[]> {
    const peer = name === 'db-1' ? 'db-2' : 'db-1';
    const { prefix } = this.#options;
    const environment: Record<string, string> = {
      NAME: name,
      PEER_NAME: peer,
      INTERNAL_ADDRESS: this.address(name),
      PEER_ADDRESS: this.address(peer),
      FLOATING_ADDRESS: this.address('floating'),
      BACKUP_ADDRESS: this.address('backup'),
      FOUNDER: String(name === 'db-1'),
      ZOOKEEPER: [31, 32, 33].map((host) => `${prefix}.${host}:2181`).join(),
    };
    const { id } = this.databases[name];
    const env = Object.entries(environment).flatMap(([key, value]) => ['-e', `${key}=${value}`]);
    const machine = ['--hostname', name, '--init', '--user', 'root', '--cap-add', 'NET_ADMIN', '--volume', `${id}:/data`];
    return [...this.#at(hosts[name]), ...machine, ...env, await appImage('ha-web'), 'machine', 'db'];
  }

  address(host: keyof typeof hosts): string {
    return `${this.#options.prefix}.${hosts[host]}`;
  }

  /** What its agent says; rejects when it says nothing. */
  async status(name: DatabaseName): Promise<AgentStatus> {
    const answer = await fetch(`http://${this.address(name)}:3307/status`, { signal: AbortSignal.timeout(1_000) });
    return (await answer.json()) as AgentStatus;
  }

  async primary(): Promise<DatabaseName> {
    const statuses = await Promise.all(databaseNames.map((name) => this.status(name).catch(() => undefined)));
    const found = statuses.find((status) => status?.role === 'primary')?.name;
    if (found === undefined) throw new Error(`no primary: ${JSON.stringify(statuses)}`);
    return found as DatabaseName;
  }

  /** Resolves when there is a primary and a replica in sync. A load of the other's data takes some seconds. */
  async whole(): Promise<void> {
    await eventually(
      async () => {
        const primary = await this.status(await this.primary());
        const replica = await this.status(primary.name === 'db-1' ? 'db-2' : 'db-1');
        if (!primary.replicaInSync || replica.role !== 'replica' || replica.epoch !== primary.epoch)
          throw new Error(JSON.stringify([primary, replica]));
        return true;
      },
      { timeoutMs: 180_000, intervalMs: 100 },
    );
  }

  /** One statement, by the server's own root. */
  async sql(name: DatabaseName, statement: string): Promise<string> {
    return docker('exec', this.databases[name].id, 'mariadb', '--batch', '--skip-column-names', '-e', statement);
  }

  async exec(container: string, ...command: readonly string[]): Promise<string> {
    return docker('exec', container, ...command);
  }

  /** Of a machine that is off. */
  async wipeDisk(name: DatabaseName): Promise<void> {
    const { id } = this.databases[name];
    const wipe = ['--entrypoint', 'sh', await appImage('ha-web'), '-c', 'rm -rf /data/*'];
    await docker('run', '--rm', '--user', 'root', '--volume', `${id}:/data`, ...wipe);
  }

  async log(name: DatabaseName): Promise<string> {
    return docker('logs', this.databases[name].id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await docker('rm', '--force', '--volumes', ...this.#names).catch(() => undefined);
    await docker('volume', 'rm', '--force', ...this.#names).catch(() => undefined);
    await docker('network', 'rm', this.#options.name).catch(() => undefined);
  }
}

/** A client's patience with one connection and with one statement; then it asks again with the same key. */
const connectMs = 500;
const answerMs = 3_000;

/** Between two orders of a client: a steady load, not the most that there can be. */
const pauseMs = 20;

/** Clients that order again and again, each order under a key of its own, and again under the same key until they are told that it is stored. */
export class Orders implements AsyncDisposable {
  /** Keys of orders that were acknowledged, and when. */
  readonly acknowledged = new Map<string, number>();
  readonly #host: string;
  readonly #clients: Promise<void>[] = [];
  #stopped = false;

  private constructor(host: string) {
    this.#host = host;
  }

  static async start(host: string, clients: number): Promise<Orders> {
    const orders = new Orders(host);
    await eventually(async () => {
      const connection = await orders.#connect();
      await connection.query(
        'CREATE TABLE IF NOT EXISTS asked_orders (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40) UNIQUE, asked INT NOT NULL DEFAULT 1)',
      );
      connection.destroy();
      return true;
    });
    for (let client = 0; client < clients; client++) orders.#clients.push(orders.#order(client));
    return orders;
  }

  /** Resolves when an order that was placed after now is acknowledged. */
  async served(): Promise<void> {
    const placed = performance.now();
    await eventually(() => this.#latestMs() > placed, { timeoutMs: 60_000, intervalMs: 20 });
  }

  #latestMs(): number {
    return [...this.acknowledged.values()].at(-1) ?? 0;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#clients);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #order(client: number): Promise<void> {
    let connection: Connection | undefined;
    for (let number = 0; !this.#stopped;) {
      const key = `${client}-${number}`;
      try {
        connection ??= await this.#connect();
        const sql = `INSERT INTO asked_orders (name) VALUES ('${key}') ON DUPLICATE KEY UPDATE asked = asked + 1`;
        await connection.query({ sql, timeout: answerMs });
        this.acknowledged.set(key, performance.now());
        number++;
        await wait(pauseMs);
      } catch {
        connection?.destroy();
        connection = undefined;
        await wait(pauseMs);
      }
    }
    connection?.destroy();
  }

  async #connect(): Promise<Connection> {
    const connection = await createConnection({
      host: this.#host,
      ...{ user: 'app', password: 'app', database: 'marketplace', connectTimeout: connectMs },
    });
    // Whoever uses it sees that it broke.
    connection.on('error', () => undefined);
    return connection;
  }
}

/** How often each order is stored. */
export async function storedOrders(machines: DatabaseMachines, name: DatabaseName): Promise<Map<string, number>> {
  const rows = await machines.sql(name, 'SELECT name FROM marketplace.asked_orders');
  const stored = new Map<string, number>();
  for (const key of rows.split('\n')) stored.set(key, (stored.get(key) ?? 0) + 1);
  return stored;
}
