/** Faults of containers, by Docker's command line: what happens to a process, a machine or a cable, and its repair. */
import { execFile } from 'node:child_process';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { serviceImage } from '../../../docker/images.ts';

const execute = promisify(execFile);

/** Most time that a container may take from its start to being healthy; RabbitMQ with queues to recover takes 10 s on a busy machine. */
const healthyMs = 180_000;
const pollMs = 100;
const pauseMs = 10_000;

/** Runs docker; what it prints. An error carries what it said. */
export async function docker(...args: readonly string[]): Promise<string> {
  const { stdout } = await execute('docker', args, { maxBuffer: 64 * 1024 * 1024 });
  return stdout.trim();
}

/** Whether this kernel can delay packets. Where it cannot, `startTcpProxy` can stand in front of the target. */
export async function kernelHasNetem(): Promise<boolean> {
  const args = [
    'run',
    '--rm',
    '--cap-add',
    'NET_ADMIN',
    await serviceImage('faults'),
    'tc',
    'qdisc',
    'add',
    'dev',
    'lo',
    'root',
    'netem',
    'delay',
    '1ms',
  ];
  return docker(...args).then(
    () => true,
    () => false,
  );
}

/** A container that tests do harm to. */
export class Container {
  /** Id or name. */
  readonly id: string;
  constructor(id: string) {
    this.id = id;
  }

  /** SIGKILL: resolves when it is dead. */
  async kill(): Promise<void> {
    await docker('kill', this.id);
  }

  /** SIGTERM, and SIGKILL after 10 s. */
  async stop(): Promise<void> {
    await docker('stop', '--time', '10', this.id);
  }

  /** After `kill` or `stop`: a folder of one of its volumes has nothing in it any more. */
  async empty(folder: string): Promise<void> {
    const image = await serviceImage('faults');
    await docker('run', '--rm', '--volumes-from', this.id, image, 'find', folder, '-mindepth', '1', '-delete');
  }

  /** Starts it again after `kill` or `stop`, with its files, address and ports; resolves when it is healthy. */
  async start(): Promise<void> {
    await docker('start', this.id);
    await this.healthy();
  }

  /** Its processes stand still, its connections stay open: a machine that hangs. One that waits for a disk or a mount cannot be stopped at that moment, so it is tried again. */
  async pause(): Promise<void> {
    const deadline = Date.now() + pauseMs;
    for (;;) {
      try {
        return void (await docker('pause', this.id));
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await wait(pollMs);
      }
    }
  }

  async unpause(): Promise<void> {
    await docker('unpause', this.id);
  }

  /** All its packets are lost, both ways, and connections stay open: the cable is pulled. `heal` plugs it in. */
  async partition(): Promise<void> {
    await this.#inNetwork(
      'for chain in INPUT OUTPUT; do iptables -I $chain ! -i lo -j DROP 2>/dev/null || iptables -I $chain ! -o lo -j DROP; done',
    );
  }

  /** Every packet that it sends arrives `ms` later. Needs netem in the kernel, and says so where there is none. */
  async delayBy(ms: number): Promise<void> {
    if (!(await kernelHasNetem()))
      throw new Error('this kernel has no netem to delay packets with; put startTcpProxy() in front of the container');
    await this.#inNetwork(`tc qdisc replace dev eth0 root netem delay ${ms}ms`);
  }

  /** Ends a partition and a delay. */
  async heal(): Promise<void> {
    await this.#inNetwork('iptables -F INPUT; iptables -F OUTPUT; tc qdisc del dev eth0 root 2>/dev/null || true');
  }

  /** Resolves when its health check passes, or at once when it runs and has none. */
  async healthy(): Promise<void> {
    const deadline = Date.now() + healthyMs;
    for (;;) {
      const status = await docker(
        'inspect',
        '--format',
        '{{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}',
        this.id,
      );
      if (status === 'healthy' || status === 'running') return;
      if (Date.now() > deadline)
        throw new Error(`container ${this.id} is ${status} after ${healthyMs} ms; its log ends:\n${await this.#lastLines()}`);
      await wait(pollMs);
    }
  }

  async #lastLines(): Promise<string> {
    const { stdout, stderr } = await execute('docker', ['logs', '--tail', '20', this.id]);
    return stdout + stderr;
  }

  async #inNetwork(script: string): Promise<void> {
    await docker(
      'run',
      '--rm',
      '--network',
      `container:${this.id}`,
      '--cap-add',
      'NET_ADMIN',
      await serviceImage('faults'),
      'sh',
      '-ec',
      script,
    );
  }
}
