/** Processes of the web machines: the frontend, the API and the announcer. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { hostname } from 'node:os';
import { makeLogger, runProcess, systemClock } from '@lab/process';
import { ordinaryCost, Passwords } from '@lab/process/passwords';
import type { AnnouncerConfig, ApiConfig, FrontendConfig } from '../config.ts';
import { Announcer, type AnnouncedServer } from '../edge/roles/announcer.ts';
import { makeApi } from './api.ts';
import { makeFrontend } from './frontend.ts';
import { askHealth } from '../edge/health.ts';
import { standIns } from './stand-ins.ts';
import { connectDiscovery } from '../discovery.ts';

/** Behind the lame-duck time comes what requests may take, 9 s; the rest is for a busy machine. */
const drainMs = (lameDuckMs: number): number => lameDuckMs + 10_000;

export async function runApi(settings: ApiConfig): Promise<number> {
  const { name = hostname(), logLevel, listen, apiPort, lameDuckMs } = settings;
  const log = makeLogger({ name, level: logLevel });
  const api = await makeApi({
    name,
    host: listen,
    port: apiPort,
    lameDuckMs,
    clock: systemClock,
    log,
    mariadb: {
      host: settings.databaseHost,
      port: settings.databasePort,
      user: settings.databaseUser,
      password: settings.databasePassword,
      database: settings.databaseName,
    },
    services: standIns(Date.now),
    passwords: new Passwords(ordinaryCost),
  });
  return runProcess([{ name: 'api', role: api }], { log, drainMs: drainMs(lameDuckMs) });
}

export async function runFrontend(settings: FrontendConfig): Promise<number> {
  const { name = hostname(), logLevel, listen, frontendPort, lameDuckMs } = settings;
  const log = makeLogger({ name, level: logLevel });
  const frontend = await makeFrontend({ name, host: listen, port: frontendPort, lameDuckMs, clock: systemClock, log });
  return runProcess([{ name: 'frontend', role: frontend }], { log, drainMs: drainMs(lameDuckMs) });
}

export async function runAnnouncer(settings: AnnouncerConfig): Promise<number> {
  const { name = hostname(), logLevel, zookeeper, frontendPort, apiPort } = settings;
  const log = makeLogger({ name, level: logLevel });
  const address = settings.address ?? (await localAddressTowards(zookeeper));
  const server = (service: string, port: number): AnnouncedServer => ({ service, port, health: () => askHealth(port) });
  const servers = [server('web-servers', frontendPort), server('api-servers', apiPort)];
  const discovery = await connectDiscovery(zookeeper, log);
  const announcer = new Announcer({ discovery, address, name, servers, clock: systemClock, log });
  try {
    return await runProcess([{ name: 'announcer', role: announcer }], { log });
  } finally {
    await discovery.close();
  }
}

/** This machine's address on the network of these servers. Nothing is sent: a UDP socket is bound when it is told where it would send to. */
async function localAddressTowards(servers: string): Promise<string> {
  const [host, port] = servers.split(',')[0]!.split(':');
  const socket = createSocket('udp4');
  try {
    const connected = once(socket, 'connect');
    socket.connect(Number(port), host);
    await connected;
    return socket.address().address;
  } finally {
    socket.close();
  }
}
