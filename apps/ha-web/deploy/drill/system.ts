/** The machines of compose.yaml, as the drill and the tests handle them: containers that are killed, paused, cut off and scaled. */
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { ComposeSystem, type Container } from '@lab/testing/containers';
import { composeEnvironment } from '../../../../docker/compose.ts';
import { run } from '../../../../docker/engine.ts';
import type { StatusReport } from '../../src/edge/status/report.ts';

const directory = join(import.meta.dirname, '../..');
const pollMs = 50;

/** Everything from nothing takes a minute on a busy machine. */
const healthyMs = 120_000;

export interface SystemOptions {
  /** Beside the one that `npx nx up` starts; without a name it is that one. */
  readonly name?: string;
  /** The first three numbers of the networks' addresses; others than of any other system on this machine. */
  readonly externalPrefix: string;
  readonly internalPrefix: string;
}

export class System extends ComposeSystem {
  /** Nothing is started by this. */
  static async of({ name, externalPrefix, internalPrefix }: SystemOptions): Promise<System> {
    const env = await composeEnvironment(directory);
    const project = env['COMPOSE_PROJECT_NAME']!;
    return new System(directory, {
      ...env,
      COMPOSE_PROJECT_NAME: name === undefined ? project : `${project}-${name}`,
      EXTERNAL_PREFIX: externalPrefix,
      INTERNAL_PREFIX: internalPrefix,
    });
  }

  /** Where clients find the page: the floating address. */
  get url(): string {
    return `http://${this.env['EXTERNAL_PREFIX']}.200`;
  }

  /** Resolves when everything works: both balancers, all web servers, the replica in sync. */
  override async up(): Promise<void> {
    await super.up();
    await this.whole();
  }

  /** Resolves when so many web servers take requests, or when those that are too many are gone. */
  async scale(web: number): Promise<void> {
    await this.compose('up', '--detach', '--no-recreate', '--no-deps', '--scale', `web=${web}`, 'web');
    await this.until(`${web} web servers`, async () => {
      const { servers } = await this.status();
      return servers.length === 2 * web && servers.every(({ state }) => state === 'up');
    });
  }

  /** A rolling update: for each web server one of the present image comes first, and then it goes. Resolves when the last one has gone. */
  async update(progress: (server: string) => void = () => undefined): Promise<void> {
    const servers = await this.webServers();
    for (const server of servers) {
      await this.scale(servers.length + 1);
      await this.stop(server);
      await run('docker', ['rm', this.machine(server).id]);
      progress(server);
    }
    await this.scale(servers.length);
  }

  /** A machine by its name: `db-1`, or `web-2`, which is the second replica of a service. */
  machine(name: string): Container {
    const [, replica] = /^web-(\d+)$/.exec(name) ?? [];
    return replica === undefined ? this.container(name) : this.container('web', Number(replica));
  }

  /** The web servers that run, as `web-1`. */
  async webServers(): Promise<string[]> {
    const names = await this.compose('ps', '--format', '{{.Name}}', 'web');
    return names
      .split('\n')
      .filter(Boolean)
      .map((name) => name.slice(this.project.length + 1))
      .sort();
  }

  // What happens to machines.

  kill = (name: string): Promise<void> => this.machine(name).kill();
  start = (name: string): Promise<void> => this.machine(name).start();
  pause = (name: string): Promise<void> => this.machine(name).pause();
  unpause = (name: string): Promise<void> => this.machine(name).unpause();
  /** In good order, and in the time that the compose file gives it. */
  stop = (name: string): Promise<unknown> => run('docker', ['stop', this.machine(name).id]);

  /** All its packets are lost, both ways; connections stay open. */
  cutOff = (name: string): Promise<void> => this.machine(name).partition();
  heal = (name: string): Promise<void> => this.machine(name).heal();

  /** A process of a machine gets SIGKILL; `pattern` is of its command line. */
  killProcess = (machine: string, pattern: string): Promise<unknown> => this.inside(machine, `pkill -9 -f '${pattern}'`);

  async inside(machine: string, script: string): Promise<string> {
    return run('docker', ['exec', this.machine(machine).id, 'bash', '-c', script]);
  }

  // What it knows of itself.

  /** As a balancer that answers sees it. */
  async status(): Promise<StatusReport> {
    const asked = [11, 12].map(async (host) => {
      const response = await fetch(`http://${this.env['EXTERNAL_PREFIX']}.${host}:8404/status.json`, {
        signal: AbortSignal.timeout(1_000),
      });
      return (await response.json()) as StatusReport;
    });
    const [report] = (await Promise.allSettled(asked)).flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    if (report === undefined) throw new Error('no balancer tells the status');
    return report;
  }

  async activeBalancer(): Promise<string> {
    const { balancers } = await this.status();
    return found(balancers.find(({ state }) => state?.active === true)?.name, 'active balancer');
  }

  async primary(): Promise<string> {
    const { databases } = await this.status();
    return found(databases.find(({ status }) => status?.role === 'primary')?.name, 'primary');
  }

  async zookeeperLeader(): Promise<string> {
    const { zookeeper } = await this.status();
    const leader = zookeeper.findIndex(({ mode }) => mode === 'leader');
    return found(leader < 0 ? undefined : `zookeeper-${leader + 1}`, "leader of ZooKeeper's servers");
  }

  /** Resolves when everything is as it should be. */
  async whole(): Promise<void> {
    const web = (await this.webServers()).length;
    await this.until('everything works', async () => {
      const faults = faultsIn(await this.status(), web);
      if (faults.length > 0) throw new Error(faults.join('; '));
      return true;
    });
  }

  /** Asks until it is so; resolves with how long that took, in ms. */
  async until(what: string, isSo: () => Promise<boolean>, timeoutMs = healthyMs): Promise<number> {
    const startMs = performance.now();
    let last: unknown = 'it is not';
    for (;;) {
      try {
        if (await isSo()) return performance.now() - startMs;
      } catch (error) {
        last = error;
      }
      if (performance.now() - startMs > timeoutMs)
        throw new Error(`${what}: not within ${timeoutMs / 1000} s: ${String(last)}`, { cause: last });
      await wait(pollMs);
    }
  }
}

function faultsIn({ balancers, servers, databases, zookeeper }: StatusReport, web: number): string[] {
  const roles = databases.map(({ name, status }) => `${name} ${status?.role ?? 'does not answer'}`);
  const rules: readonly (readonly [holds: boolean, otherwise: string])[] = [
    [balancers.every(({ state }) => state?.haproxy === true), 'a balancer is without HAProxy'],
    [balancers.filter(({ state }) => state?.active === true).length === 1, 'not one active balancer'],
    [servers.length === 2 * web && servers.every(({ state }) => state === 'up'), `not ${2 * web} servers that are up`],
    [
      roles
        .map((role) => role.split(' ').at(-1))
        .sort()
        .join() === 'primary,replica',
      `databases: ${roles.join(', ')}`,
    ],
    [databases.some(({ status }) => status?.role === 'primary' && status.replicaInSync), 'no replica in sync'],
    [zookeeper.every(({ mode }) => mode !== undefined), 'a ZooKeeper server does not serve'],
  ];
  return rules.flatMap(([holds, otherwise]) => (holds ? [] : [otherwise]));
}

function found<T>(thing: T | undefined, what: string): T {
  if (thing === undefined) throw new Error(`there is no ${what} at this moment`);
  return thing;
}
