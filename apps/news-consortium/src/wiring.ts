/** Which role is made of what. The same for every host: a process, the demo, a test. */
import { ExitError, exitCodes, type Clock, type Logger, type Role } from '@lab/process';
import { Passwords, type ScryptCost } from '@lab/process/passwords';
import type { FramedServer } from '@lab/protocol';
import { addressesOf, ask, joinAddress, splitAddress } from './asking.ts';
import type { AgentConfig, NodeConfig } from './config.ts';
import { Refusal } from './refusal.ts';
import { Agent, ensureAdministrator } from './roles/agent.ts';
import { Decider, type DeciderParts } from './roles/decider.ts';
import { Feeds } from './roles/feeds.ts';
import { Membership } from './roles/membership.ts';
import { Node } from './roles/node.ts';
import { serve, type Service } from './serving.ts';
import { Accounts } from './store/accounts.ts';
import { Areas } from './store/areas.ts';
import { Database } from './store/database.ts';
import { Deciding } from './store/deciding.ts';
import { migrate } from './store/migrate.ts';
import { News } from './store/news.ts';
import { Nodes } from './store/nodes.ts';
import { Notifications } from './store/notifications.ts';
import { Tokens } from './tokens.ts';

/** What a host gives to every role. */
export interface Host {
  readonly clock: Clock;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  /** A random UUID. */
  readonly newId: () => string;
  readonly scryptCost: ScryptCost;
  readonly log: Logger;
}

/** A role that takes requests. */
export interface ServingRole extends Role {
  /** The port that it listens at, from its start on. */
  readonly port: number;
}

/** PostgreSQL takes 200 connections in the compose file: ten nodes and ten agents are below. More would not be faster, on any machine that a lab has. */
const nodeConnections = 10;
const agentConnections = 5;
/** What a role does at its start must not take longer. */
const startMs = 10_000;
const drainMs = 2_000;
/** For what nodes ask agents. */
const askMs = 1_000;
/** A proof is for one request, on machines whose clocks may differ. */
const nodeTokenMs = 300_000;

export function makeAgent(
  host: Host,
  settings: Omit<AgentConfig, 'name' | 'healthPort' | 'logLevel'> & { name: string },
): ServingRole {
  const { clock, log } = host;
  const { databaseUrl: url, name } = settings;
  const stops: (() => Promise<void>)[] = [];
  let server: FramedServer | undefined;
  return {
    async start() {
      await migrate({ url, clock, log });
      const database = new Database({ url, connections: agentConnections, clock, log });
      stops.push(() => database.close());
      const accounts = new Accounts(database);
      const deadline = clock.nowMs() + startMs;
      const tokens = new Tokens(await accounts.signingKey(deadline), host.nowMs);
      const passwords = new Passwords(host.scryptCost);
      const newPasswords = new Passwords(host.scryptCost);
      const parts = { accounts, areas: new Areas(database), nodes: new Nodes(database), tokens, passwords, newPasswords };
      if (settings.adminPassword !== undefined)
        await ensureAdministrator({ ...parts, log }, { name: settings.adminName, password: settings.adminPassword }, deadline);

      const askHealth: DeciderParts['askHealth'] = (address, timeoutMs) => ask(address, 'health', {}, { timeoutMs });
      const decider = new Decider({
        ...{ name, clock, log, askHealth },
        connect: () => Deciding.connect(url, name),
        prune: () => accounts.prune(clock.nowMs() + startMs),
      });
      const notifications = new Notifications({
        ...{ url, clock, log },
        probe: { text: 'SELECT 1', values: [] },
        channels: { topology: () => decider.topologyChanged() },
        onRenewed: () => decider.topologyChanged(),
        onProbe: () => undefined,
      });
      stops.push(() => notifications.stop());
      await notifications.start();
      const agent = new Agent({ ...parts, ...host, sessionMs: settings.session, joinAddress, askHealth });
      server = await listen(settings.listen, agent, host);
      stops.push(() => server!.close({ drainMs }));
      await decider.start();
      stops.push(() => decider.stop());
    },
    stop: () => stopAll(stops),
    get port() {
      return server?.port ?? 0;
    },
  };
}

export function makeNode(
  host: Host,
  settings: Omit<NodeConfig, 'name' | 'healthPort' | 'logLevel'> & { name: string },
): ServingRole {
  const { clock, log } = host;
  const { databaseUrl: url, name } = settings;
  const id = host.newId();
  const stops: (() => Promise<void>)[] = [];
  let server: FramedServer | undefined;
  return {
    async start() {
      await migrate({ url, clock, log });
      const database = new Database({ url, connections: nodeConnections, clock, log });
      stops.push(() => database.close());
      const tokens = new Tokens(await new Accounts(database).signingKey(clock.nowMs() + startMs), host.nowMs);
      const news = new News(database, id);
      const feeds = new Feeds({ news, clock, log });
      const membership = new Membership({
        ...{ id, name, clock, log },
        agents: () => addressesOf(settings.agents),
        ask: (agent, kind, body) => ask(agent, kind, body, { timeoutMs: askMs }),
        newToken: () => tokens.sign({ kind: 'node', id, expiresMs: host.nowMs() + nodeTokenMs }),
      });
      const notifications = new Notifications({
        ...{ url, clock, log },
        probe: { text: 'SELECT 1 FROM nodes WHERE id = $1', values: [id] },
        channels: {
          news: (area) => feeds.lookAt(area),
          sessions: () => feeds.lookAtAll(),
          assignments: () => feeds.lookAtAll(),
        },
        onRenewed: () => feeds.lookAtAll(),
        onProbe: (rows) => membership.seen(rows.length > 0),
      });
      stops.push(() => notifications.stop());
      await notifications.start();
      feeds.start();
      const node = new Node({ ...{ id, news, feeds, tokens }, leaseMs: settings.lease, healthy: () => notifications.healthy });
      server = await listen(settings.listen, node, host);
      stops.push(async () => {
        feeds.stop(new Refusal('unavailable', 'the node is stopping'));
        await server!.close({ drainMs });
      });
      stops.push(() => membership.leave());
      await membership.join({ port: server.port, ...(settings.host !== undefined && { host: settings.host }) });
    },
    stop: () => stopAll(stops),
    get port() {
      return server?.port ?? 0;
    },
  };
}

async function listen(address: string, service: Service, { clock, log }: Host): Promise<FramedServer> {
  try {
    return await serve({ ...splitAddress(address), service, clock, log });
  } catch (error) {
    throw new ExitError(`cannot listen at ${address}: ${(error as Error).message}`, exitCodes.usage, { cause: error });
  }
}

/** In reverse order of what was started, each whatever became of the others. */
async function stopAll(stops: (() => Promise<void>)[]): Promise<void> {
  const errors: unknown[] = [];
  for (let stop = stops.pop(); stop !== undefined; stop = stops.pop()) await stop().catch((error: unknown) => errors.push(error));
  if (errors.length > 0) throw errors[0];
}
