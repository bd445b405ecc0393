/** What runs on each kind of machine. */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import type * as config from '../../config.ts';
import { adminSocket, readyFile } from './paths.ts';
import type { Machine, Service } from './supervisor.ts';
import { interfaceOf, renderFile } from './template.ts';

type BalancerSettings = z.infer<typeof config.balancerMachine>;
type DatabaseSettings = z.infer<typeof config.databaseMachine>;

const main = join(import.meta.dirname, '../../main.ts');

/** A program of this app; it takes its settings from the machine's environment. */
function program(name: string, stopMs: number): Service {
  return { name, command: [process.execPath, main, name], stopSignal: 'SIGTERM', stopMs };
}

/** Of what keeps nothing that has to be saved, and may be waiting for ZooKeeper. */
const statelessMs = 1_500;

/**
 * HAProxy and keepalived are one unit: where HAProxy dies keepalived is stopped at once, says farewell by an advertisement of priority 0, and the other
 * balancer has the address within milliseconds.
 */
export function balancerMachine(settings: BalancerSettings): Machine {
  const haproxy: Service = {
    name: 'haproxy',
    // Master and worker: a reload (SIGUSR2) is possible, though nothing here needs it.
    command: ['haproxy', '-W', '-db', '-f', '/run/haproxy/haproxy.cfg'],
    prepare: () => renderFile('haproxy.cfg', '/run/haproxy/haproxy.cfg', { NAME: settings.name, SOCKET: adminSocket }),
    // Answers what it has begun to; longer than its own hard-stop-after.
    stopSignal: 'SIGUSR1',
    stopMs: 4_000,
  };
  const guard = keepalived('keepalived-lb.conf', {
    ...floatingAddress(settings, settings.externalAddress),
    PRIORITY: String(settings.priority),
    TRACK_FILE: readyFile,
  });
  return [[[haproxy, guard]], [[program('lb-sync', statelessMs)], [program('status', statelessMs)]]];
}

const serverMs = 12_000;
/** The servers drain after they were withdrawn, both at the same time: with what their last requests may take, and the lame-duck time before. */
export const webMachine: Machine = [
  [[program('frontend', serverMs)], [program('api', serverMs)]],
  [[program('announcer', 3_000)]],
];

/** On its way down the database fences itself first: the programs that decide stop before the server that they decide about. */
export function databaseMachine(settings: DatabaseSettings): Machine {
  const addressKeeper = keepalived('keepalived-db.conf', {
    ...floatingAddress(settings, settings.internalAddress),
    TRACK_FILE: settings.primaryFile,
    PRESENCE_FILE: settings.presenceFile,
  });
  return [
    [[program('mariadbd', 10_000)]],
    [[addressKeeper], [program('db-watchdog', statelessMs)]],
    [[program('db-agent', 3_000)]],
  ];
}

export const backupMachine: Machine = [[[program('db-backup', 5_000)]]];

/** What both keepalived templates need. */
function floatingAddress(settings: BalancerSettings | DatabaseSettings, ownAddress: string): Record<string, string> {
  return { NAME: settings.name, ADDRESS: ownAddress, PEER: settings.peerAddress, FLOATING: settings.floatingAddress };
}

/** `template` also gets INTERFACE: the one that has ADDRESS. */
function keepalived(template: string, values: Readonly<Record<string, string>>): Service {
  const file = '/run/keepalived/keepalived.conf';
  return {
    name: 'keepalived',
    command: ['keepalived', '--dont-fork', '--log-console', '--vrrp', '--use-file', file],
    async prepare() {
      await removeStalePids();
      const name = interfaceOf(values['ADDRESS']!);
      if (name === undefined) throw new Error(`no network interface has the address ${values['ADDRESS']}`);
      await renderFile(template, file, { ...values, INTERFACE: name });
    },
    stopSignal: 'SIGTERM',
    // Its farewell takes no time, but it waits for a second before it ends.
    stopMs: 2_000,
  };
}

/** A keepalived that was killed leaves its number behind, and another one refuses to start while some process has that number. */
async function removeStalePids(): Promise<void> {
  await mkdir('/run/keepalived', { recursive: true });
  for (const folder of ['/run', '/run/keepalived']) {
    const stale = (await readdir(folder)).filter((file) => /^(keepalived|vrrp).*\.pid$/.test(file));
    for (const file of stale) await rm(join(folder, file), { force: true });
  }
}
