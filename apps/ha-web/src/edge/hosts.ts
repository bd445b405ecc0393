/** Processes of the balancers. */
import { readFile, writeFile } from 'node:fs/promises';
import { makeLogger, runProcess, systemClock } from '@lab/process';
import type { LbSyncConfig, StatusConfig } from '../config.ts';
import { makeRuntimeApi } from './runtime-api.ts';
import { adminSocket, readyFile } from '../operate/machine/paths.ts';
import { LbSync } from './roles/lb-sync.ts';
import { Observer, type Asked } from './status/observer.ts';
import { StatusServer } from './status/server.ts';
import { connectDiscovery } from '../discovery.ts';

export async function runLbSync(settings: LbSyncConfig): Promise<number> {
  const log = makeLogger({ name: 'lb-sync', level: settings.logLevel });
  const role = new LbSync({
    connect: () => connectDiscovery(settings.zookeeper, log),
    haproxy: makeRuntimeApi(adminSocket),
    services: ['api-servers', 'web-servers'],
    tell: tellKeepalived,
    clock: systemClock,
    log,
  });
  return runProcess([{ name: 'lb-sync', role }], { log });
}

/** keepalived looks whenever the file is written, so that is done only if there is something new; and its own start may have changed it. */
async function tellKeepalived(canServe: boolean): Promise<void> {
  const told = canServe ? '0\n' : '1\n';
  if ((await readFile(readyFile, 'utf8').catch(() => '')) !== told) await writeFile(readyFile, told);
}

export async function runStatus(settings: StatusConfig): Promise<number> {
  const { name, floatingAddress, logLevel } = settings;
  const log = makeLogger({ name: 'status', level: logLevel });
  const observer = new Observer({
    ...{ name, floatingAddress, clock: systemClock, nowMs: Date.now },
    balancers: settings.balancers.map(asked),
    databases: settings.databases.map(asked),
    zookeeper: settings.zookeeper.split(','),
    haproxy: makeRuntimeApi(adminSocket),
  });
  const server = new StatusServer(observer, { host: settings.externalAddress, port: settings.statusPort });
  const roles = [
    { name: 'observer', role: observer },
    { name: 'server', role: server },
  ];
  return runProcess(roles, { log });
}

function asked(setting: string): Asked {
  const [name = '', at = ''] = setting.split('=');
  return { name, at };
}
