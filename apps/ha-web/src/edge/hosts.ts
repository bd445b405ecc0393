/** Processes of the edge: of the balancers, and on each web machine what makes it known to them. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { makeLogger, runProcess, runRole, splitAddress, systemClock } from '@lab/process';
import type { z } from 'zod';
import type * as config from '../config.ts';
import { connectDiscovery } from '../discovery.ts';
import { adminSocket, readyFile } from '../operate/machine/paths.ts';
import { Announcer, type AnnouncedServer, type Health } from './roles/announcer.ts';
import { LbSync } from './roles/lb-sync.ts';
import { makeRuntimeApi } from './runtime-api.ts';

export const hosts = {
  'lb-sync': ({ zookeeper, logLevel }: z.infer<typeof config.lbSync>) =>
    runRole({ name: 'lb-sync', logLevel }, ({ clock, log }) => {
      const connect = () => connectDiscovery(zookeeper, log);
      const services = ['api-servers', 'web-servers'];
      return new LbSync({ connect, haproxy: makeRuntimeApi(adminSocket), services, tell: tellKeepalived, clock, log });
    }),

  async status(settings: z.infer<typeof config.status>): Promise<number> {
    // What serves a page takes as long to load as all of lb-sync.
    const [{ Observer }, { StatusServer }] = await Promise.all([import('./status/observer.ts'), import('./status/server.ts')]);
    const { name, floatingAddress, logLevel, externalAddress, statusPort } = settings;
    const log = makeLogger({ name: 'status', level: logLevel });
    const observer = new Observer({
      ...{ name, floatingAddress, clock: systemClock, nowMs: Date.now },
      balancers: settings.balancers.map(asked),
      databases: settings.databases.map(asked),
      zookeeper: settings.zookeeper.split(','),
      haproxy: makeRuntimeApi(adminSocket),
    });
    const server = new StatusServer(observer, { host: externalAddress, port: statusPort });
    const roles = [
      { name: 'observer', role: observer },
      { name: 'server', role: server },
    ];
    return runProcess(roles, { log });
  },

  async announcer(settings: z.infer<typeof config.announcer>): Promise<number> {
    const { name = hostname(), logLevel, zookeeper, frontendPort, apiPort } = settings;
    const log = makeLogger({ name, level: logLevel });
    const address = settings.address ?? (await localAddressTowards(zookeeper));
    const server = (service: string, port: number): AnnouncedServer => ({ service, port, health: () => askHealth(port) });
    const servers = [server('web-servers', frontendPort), server('api-servers', apiPort)];
    // Before the process hears signals: it may be told to end while ZooKeeper is away.
    const discovery = await connectDiscovery(zookeeper, log);
    const announcer = new Announcer({ discovery, address, name, servers, clock: systemClock, log });
    try {
      return await runProcess([{ name: 'announcer', role: announcer }], { log });
    } finally {
      await discovery.close();
    }
  },
};

/** keepalived looks whenever the file is written, so that is done only if there is something new; and its own start may have changed it. */
async function tellKeepalived(canServe: boolean): Promise<void> {
  const told = canServe ? '0\n' : '1\n';
  if ((await readFile(readyFile, 'utf8').catch(() => '')) !== told) await writeFile(readyFile, told);
}

/** Of a setting `NAME=HOST:PORT`. */
function asked(setting: string): { name: string; at: string } {
  const [name = '', at = ''] = setting.split('=');
  return { name, at };
}

/** A server that is alive answers within some milliseconds, on a busy machine within some hundred. */
const answerMs = 900;

async function askHealth(port: number): Promise<Health> {
  try {
    const { ok, body } = await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(answerMs) });
    await body?.cancel();
    return ok ? 'serving' : 'refusing';
  } catch {
    return 'silent';
  }
}

/** This machine's address on the network of these servers. Nothing is sent: a UDP socket is bound when it is told where it would send to. */
async function localAddressTowards(servers: string): Promise<string> {
  const { host, port } = splitAddress(servers.split(',')[0]!);
  await using socket = createSocket('udp4');
  const connected = once(socket, 'connect');
  socket.connect(port, host);
  await connected;
  return socket.address().address;
}
