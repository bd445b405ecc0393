/** Processes of the database machines. */
import { randomBytes } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { tracedDiscovery } from '@lab/discovery';
import { ExitError, makeLogger, openTracing, retry, runProcess, runRole, systemClock, type Logger } from '@lab/process';
import { note } from '@lab/tracing';
import type { z } from 'zod';
import type * as config from '../config.ts';
import { connectDiscovery } from '../discovery.ts';
import type { AgentEvent } from './domain/agent-status.ts';
import { Fence } from './fence.ts';
import { FloatingAddress } from './floating-address.ts';
import { foldersOf } from './folders.ts';
import { connectMariadb } from './mariadb.ts';
import { MariadbServer } from './mariadbd.ts';
import { NetworkPeer } from './peer.ts';
import type { DatabaseServer } from './port.ts';
import { DatabaseAgent } from './roles/db-agent.ts';
import { AgentStatusServer } from './status-server.ts';
import { Watchdog } from './watchdog.ts';

type AgentSettings = z.infer<typeof config.agent>;

export const hosts = {
  mariadbd: (settings: z.infer<typeof config.mariadbd>) =>
    runRole({ name: 'mariadbd', logLevel: settings.logLevel }, ({ log }) => {
      const { name, internalAddress: address, dataFolder } = settings;
      const door = new Fence(settings);
      const newId = () => randomBytes(6).toString('hex');
      return new MariadbServer({ name, address, folders: foldersOf(dataFolder), accounts: settings, door, newId, log });
    }),

  'db-watchdog': (settings: z.infer<typeof config.watchdog>) =>
    runRole({ name: 'db-watchdog', logLevel: settings.logLevel }, ({ clock, log }) => {
      const address = new FloatingAddress(settings.floatingAddress);
      return new Watchdog({ ...settings, door: new Fence(settings), address, clock, log });
    }),

  async 'db-agent'(settings: AgentSettings): Promise<number> {
    const { name, peerName, internalAddress, peerAddress, agentPort, founder } = settings;
    const log = makeLogger({ name: 'db-agent', level: settings.logLevel });
    const tracing = await openTracing('db-agent', settings, log);
    const server = await connectPatiently(settings, log);
    const peer = new NetworkPeer({ ...settings, url: `http://${peerAddress}:${agentPort}/status`, clock: systemClock });
    const agent = new DatabaseAgent({
      ...{ name, peerName, agentPort, founder, server, peer, log, address: internalAddress },
      discovery: connectDiscovery(settings.zookeeper, log).then((each) => tracedDiscovery(each, tracing?.tracer)),
      note: (text) => note(tracing?.tracer, text),
      door: new Fence(settings),
      clock: systemClock,
      nowMs: Date.now,
      before: await savedBefore(foldersOf(settings.dataFolder).diverged),
    });
    const status = new AgentStatusServer({ port: agentPort, status: () => agent.status(), takeOver: () => agent.ask() });
    const roles = [
      { name: 'peer', role: peer },
      { name: 'status', role: status },
      { name: 'agent', role: agent },
    ];
    const code = await runProcess(roles, { log, drainMs: 2_000 });
    await tracing?.stop();
    return code;
  },
};

/** What earlier agents have saved is to be seen until somebody has taken it away. */
async function savedBefore(folder: string): Promise<AgentEvent[]> {
  const names = (await readdir(folder).catch(() => [])).map((name) => join(folder, name));
  const events = names.map(async (file) => ({
    at: (await stat(file)).mtimeMs,
    text: `had transactions of its own, saved in ${file}`,
  }));
  return (await Promise.all(events)).sort((a, b) => b.at - a.at);
}

/** Crash recovery may take minutes; meanwhile the database is closed, and there is nothing for an agent to do. */
function connectPatiently(settings: AgentSettings, log: Logger): Promise<DatabaseServer> {
  let told = '';
  return retry(() => connectMariadb({ ...settings, folders: foldersOf(settings.dataFolder), clock: systemClock }), {
    ...{ clock: systemClock, withinMs: Infinity, pauseMs: 100 },
    worthwhile: (error) => (error as { code?: string }).code !== 'ER_ACCESS_DENIED_ERROR',
    onRetry: (error) => {
      const { message } = error as Error;
      if (message !== told) log.info({ err: message }, 'waits for the server');
      told = message;
    },
  }).catch((error: Error) => {
    throw new ExitError(error.message, undefined, { cause: error });
  });
}
