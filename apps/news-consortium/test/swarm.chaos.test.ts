/** The stack of deploy/stack.yaml on three machines, as README sets it up: nodes scale while requests run, a machine goes, the database's machine goes. */
import { join } from 'node:path';
import { eventually } from '@lab/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { appImage, serviceImage } from '../../../docker/images.ts';
import { run } from '../../../docker/engine.ts';
import { startMachines, whyNoMachines, type Machine } from '../../../docker/machines.ts';
import { certificate, clientProgram } from '../deploy/swarm.ts';
import { askPrimary, primaryIn } from './compose-system.ts';
import { SwarmClients } from './swarm-clients.ts';

const why = await whyNoMachines();
const stack = 'news';
const settleMs = 300_000;
/** A Swarm takes up to 20 s to miss a machine, and starts its tasks elsewhere then. */
const timeout = 900_000;

describe.skipIf(why)(`three machines${why === undefined ? '' : `: ${why}`}`, () => {
  let machines: Awaited<ReturnType<typeof startMachines>>;
  /** It has the monitor, and the clients; the others have a server of PostgreSQL each. */
  let third: Machine;
  const settled = <T>(look: () => Promise<T>): Promise<T> => eventually(look, { timeoutMs: settleMs, intervalMs: 500 });

  beforeAll(async () => {
    const images = { IMAGE: await appImage('news-consortium'), POSTGRES_IMAGE: await serviceImage('postgres') };
    machines = await startMachines(3, Object.values(images));
    third = machines[2]!;
    await machines[0]!.docker('swarm', 'init', '--advertise-addr', machines[0]!.address);
    const token = await machines[0]!.docker('swarm', 'join-token', '--quiet', 'manager');
    // One after the other, as people do: each is a vote more.
    for (const machine of machines.slice(1)) await machine.docker('swarm', 'join', '--token', token, machines[0]!.address);
    const on = (number: number): string => `node.hostname == machine-${number}`;
    const places = { POSTGRES_1: on(1), POSTGRES_2: on(2), POSTGRES_MONITOR: on(3) };
    const file = join(import.meta.dirname, '../deploy/stack.yaml');
    await run('docker', ['stack', 'deploy', '--resolve-image', 'never', '--compose-file', file, stack], {
      env: { ...process.env, ...images, ...places, DOCKER_HOST: third.host },
    });
    await whole();
    const shown = join(import.meta.dirname, '../lab-secrets/tls-certificate');
    const options = ['--network', `${stack}_consortium`, '--volume', `${shown}:${certificate}:ro`, '--entrypoint', 'sleep'];
    await third.docker('run', '--detach', '--init', '--name', 'clients', ...options, images.IMAGE, 'infinity');
    await client('login', 'admin', '--password', 'battery-staple');
    for (let number = 1; number <= 10; number++) await client('area', 'add', `area-${number}`, '--nodes', '2');
  }, timeout);
  afterAll(() => machines?.[Symbol.asyncDispose](), timeout);

  const client = (...args: readonly string[]): Promise<string> => third.docker('exec', 'clients', ...clientProgram, ...args);

  /** Resolves when all tasks run, wherever, and the standby has all that is acknowledged. */
  const whole = async (): Promise<void> => {
    await settled(async () => {
      const replicas = await third.docker('service', 'ls', '--format', '{{.Replicas}} {{.Name}}');
      expect(replicas.split('\n').filter((line) => !/^(\d+)\/\1 /.test(line))).toEqual([]);
      return true;
    });
    await primary();
  };

  /** The number of the primary's machine. */
  const primary = (): Promise<number> =>
    settled(async () => {
      const monitor = await third.docker(
        'ps',
        '--quiet',
        '--filter',
        `label=com.docker.swarm.service.name=${stack}_postgres-monitor`,
      );
      return Number(primaryIn(await third.docker('exec', monitor, ...askPrimary)).at(-1));
    });

  it("keep every acknowledged post while nodes scale, a machine goes, and the primary's machine goes", { timeout }, async () => {
    const clients = new SwarmClients('clients', third.host);
    await clients.goOn();
    await third.docker('service', 'scale', `${stack}_node=5`);
    await clients.goOn();
    const leading = await primary();
    const others = machines.slice(0, 2);
    for (const lost of [others[2 - leading]!, others[leading - 1]!]) {
      await lost.kill();
      await clients.goOn();
      await lost.start();
      await whole();
      await clients.goOn();
    }
    expect(await primary(), 'the standby took over').toBe(3 - leading);
    expect(await clients.end()).toBe(0);
  });
});
