/** The system of deploy/stack.yaml on three machines of its own, as a Swarm. */
import { join } from 'node:path';
import { eventually } from '@lab/testing';
import { composeEnvironment } from '../../../docker/compose.ts';
import { run } from '../../../docker/engine.ts';
import { startMachines, type Machine } from '../../../docker/machines.ts';
import type { EntryPoint } from './client-run.ts';
import type { ComposeSettings } from './compose-system.ts';

const app = join(import.meta.dirname, '..');
/** RabbitMQ's nodes start one after the other, on a busy machine for a minute; a Swarm takes 20 s to miss a machine. */
const settleMs = 480_000;
const stack = 'bike';

export class BikeSwarm implements AsyncDisposable {
  /** The first of them manages the Swarm, and has the entry point. */
  readonly machines: readonly Machine[];
  readonly entryPoint: EntryPoint;
  readonly #all: AsyncDisposable;

  private constructor(machines: readonly Machine[] & AsyncDisposable, port: number) {
    this.machines = machines;
    this.#all = machines;
    this.entryPoint = { host: machines[0]!.address, port };
  }

  /** Resolves when RabbitMQ has all its nodes and every role runs; which of them takes work already shows when it has some. */
  static async start(settings: ComposeSettings): Promise<BikeSwarm> {
    const env = await composeEnvironment(app);
    const machines = await startMachines(3, [env['LAB_IMAGE']!, env['LAB_RABBITMQ_IMAGE']!]);
    const swarm = new BikeSwarm(machines, Number(env['LAB_PORT']));
    try {
      await swarm.#join();
      const deploy = ['stack', 'deploy', '--resolve-image', 'never', '--compose-file', join(app, 'deploy/stack.yaml'), stack];
      await run('docker', deploy, { env: { ...process.env, ...env, ...settings, DOCKER_HOST: machines[0]!.host } });
      await swarm.whole();
      return swarm;
    } catch (error) {
      await swarm[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #join(): Promise<void> {
    const [manager, ...workers] = this.machines as [Machine, ...Machine[]];
    await manager.docker('swarm', 'init', '--advertise-addr', manager.address);
    const token = await manager.docker('swarm', 'join-token', '--quiet', 'worker');
    await Promise.all(workers.map((worker) => worker.docker('swarm', 'join', '--token', token, manager.address)));
    for (const number of this.machines.keys())
      await manager.docker('node', 'update', '--label-add', `machine=${number + 1}`, `machine-${number + 1}`);
  }

  /** The services that run on a machine, one for each task. */
  async servicesOn(machine: Machine): Promise<string[]> {
    const tasks = await machine.docker('ps', '--format', '{{.Label "com.docker.swarm.service.name"}}');
    return tasks.split('\n').map((name) => name.slice(stack.length + 1));
  }

  /** Runs rabbitmqctl on the first machine's node; the rows of its table. */
  async rabbitmqctl(...args: readonly string[]): Promise<string[][]> {
    const filter = ['--quiet', '--filter', `label=com.docker.swarm.service.name=${stack}_rabbitmq-1`];
    const node = await this.machines[0]!.docker('ps', ...filter);
    const table = await this.machines[0]!.docker('exec', node, 'rabbitmqctl', '--quiet', '--no-table-headers', ...args);
    return table.split('\n').map((row) => row.split('\t'));
  }

  /** Resolves when all tasks run, wherever, and RabbitMQ's queues have three members each that are there. */
  async whole(): Promise<void> {
    await eventually(
      async () => {
        const replicas = await this.machines[0]!.docker('service', 'ls', '--format', '{{.Replicas}} {{.Name}}');
        const missing = replicas.split('\n').filter((line) => !/^(\d+)\/\1 /.test(line));
        if (missing.length > 0) throw new Error(`not all run: ${missing.join(', ')}`);
        const queues = (await this.rabbitmqctl('list_queues', 'name', 'type', 'online')).filter(([, type]) => type === 'quorum');
        const alone = queues.filter(([, , online = '']) => online.split(',').length !== this.machines.length);
        if (queues.length === 0 || alone.length > 0) throw new Error(`not all members are there: ${alone.join('; ')}`);
        return true;
      },
      { timeoutMs: settleMs, intervalMs: 1_000 },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#all[Symbol.asyncDispose]();
  }
}
