/** Which role is made of what. The same for every host: a process, the demo, a test. */
import type { TlsOptions } from 'node:tls';
import { ExitError, exitCodes, retry, splitAddress, type Clock, type Logger, type Role } from '@lab/process';
import { Passwords, type ScryptCost } from '@lab/process/passwords';
import type { FramedServer } from '@lab/protocol';
import type { Tracer } from '@lab/tracing';
import { addressesOf, ask, joinAddress } from './wire/asking.ts';
import type { AgentConfig, NodeConfig } from './config.ts';
import { meantName, nameRule } from './domain/names.ts';
import { requestBytesMax } from './messages.ts';
import { requestReader, type RequestReader } from './wire/encoding.ts';
import { Refusal } from './wire/refusal.ts';
import { Agent } from './roles/agent.ts';
import { Decider, type DeciderParts } from './roles/decider.ts';
import { Feeds } from './roles/feeds.ts';
import { Membership } from './roles/membership.ts';
import { Logins } from './roles/logins.ts';
import { Node } from './roles/node.ts';
import { agentsDoor, clientsDoor, serve, type Door, type Observe, type Service } from './wire/serving.ts';
import { Accounts, ensureAdministrator } from './store/accounts.ts';
import { Areas } from './store/areas.ts';
import { DatabaseUnavailableError, withPassword, type Database } from './store/database.ts';
import { Deciding } from './store/deciding.ts';
import { Following } from './store/following.ts';
import { Lists } from './store/lists.ts';
import { migrate } from './store/migrate.ts';
import { News } from './store/news.ts';
import { Notifications } from './store/notifications.ts';
import { readOldNames } from './store/old-names.ts';
import { askOver, roleTls } from './wire/tls.ts';
import { Tokens } from './wire/tokens.ts';
import { makeDatabase, tracedAsk, tracedDeciding, tracedService } from './traced.ts';

/** What a host gives to every role. */
export interface Host {
  readonly clock: Clock;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  /** A random UUID. */
  readonly newId: () => string;
  readonly scryptCost: ScryptCost;
  readonly log: Logger;
  readonly tracer?: Tracer | undefined;
  readonly observe?: Observe | undefined;
}

/** A role that takes requests. */
export interface ServingRole extends Role {
  /** The port that it listens at, from its start on. */
  readonly port: number;
  /** Of a node: where agents ask for its health. */
  readonly healthPort: number | undefined;
}

/** What a process is told, less what only its host needs. */
type RoleSettings<C extends AgentConfig | NodeConfig> = Omit<C, 'name' | 'healthPort' | 'logLevel'> & { name: string };

/** PostgreSQL takes 200 connections in the compose file: ten nodes and ten agents are below. More would not be faster, on any machine that a lab has. */
const nodeConnections = 10;
const agentConnections = 5;
/** As long as a role waits for the database to be there: it may go again, or be busy. */
const startMs = 60_000;
const statementMs = 10_000;
const drainMs = 2_000;
/** For what nodes ask agents. */
const askMs = 1_000;
/** A proof is for one request, on machines whose clocks may differ. */
const nodeTokenMs = 300_000;

export function makeAgent(host: Host, settings: RoleSettings<AgentConfig>): ServingRole {
  const { clock, log } = host;
  const { name } = settings;
  const url = withPassword(settings.databaseUrl, settings.databasePassword);
  const tls = roleTls(settings);
  return servingRole(async (parts) => {
    const database = await openDatabase(parts, host, url, agentConnections);
    const [accounts, areas] = [new Accounts(database), new Areas(database)];
    const tokens = new Tokens(await atStart(clock, (deadline) => accounts.signingKey(deadline)), host.nowMs);
    const passwords = new Passwords(host.scryptCost);
    const newPasswords = new Passwords(host.scryptCost);
    const old = await atStart(clock, (deadline) => readOldNames(database, deadline));
    if (settings.adminPassword !== undefined) {
      const name = meantName(settings.adminName, old.users);
      if (name === undefined) throw new ExitError(`${settings.adminName} is no name: ${nameRule}`, exitCodes.usage);
      const administrator = { name, password: settings.adminPassword };
      await atStart(clock, (deadline) => ensureAdministrator({ accounts, passwords, log }, administrator, deadline));
    }
    const asking = tracedAsk(ask, host.tracer);
    const askHealth: DeciderParts['askHealth'] = (address, timeoutMs) => asking(address, 'health', {}, { timeoutMs });
    const askNode: DeciderParts['askHealth'] = (address, timeoutMs) =>
      askOver(asking, tls?.trusted)(address, 'health', {}, { timeoutMs });
    const decider = new Decider({
      ...{ name, clock, log, askHealth },
      connect: async () => tracedDeciding(await Deciding.connect(url, name), host.tracer),
      prune: async () => {
        const deadline = clock.nowMs() + statementMs;
        return (await accounts.prune(deadline)) || areas.clear(deadline);
      },
    });
    const notifications = await started(
      parts,
      new Notifications({
        ...{ url, clock, log },
        probe: { text: 'SELECT 1', values: [] },
        channels: { topology: () => decider.topologyChanged() },
        onRenewed: () => decider.topologyChanged(),
        onProbe: () => undefined,
      }),
    );
    const agent = new Agent({
      ...{ accounts, areas, lists: new Lists(database), tokens, log, joinAddress, askHealth, askNode },
      logins: new Logins({ ...host, accounts, tokens, passwords, newPasswords, sessionMs: settings.session }),
    });
    const door = { ...clientsDoor, requestBytesMax: requestBytesMax.toAgent };
    const server = await listen(settings.listen, door, agent, requestReader(old), host, tls?.shown);
    parts.defer(() => server.close({ drainMs }));
    await started(parts, decider);
    return { server, isHealthy: () => notifications.healthy };
  });
}

export function makeNode(host: Host, settings: RoleSettings<NodeConfig>): ServingRole {
  const { clock, log } = host;
  const { name } = settings;
  const url = withPassword(settings.databaseUrl, settings.databasePassword);
  const tls = roleTls(settings);
  const id = host.newId();
  return servingRole(async (parts) => {
    const database = await openDatabase(parts, host, url, nodeConnections);
    const tokens = new Tokens(await atStart(clock, (deadline) => new Accounts(database).signingKey(deadline)), host.nowMs);
    const news = new News(database, id);
    const feeds = new Feeds({ news, following: new Following(database, id), clock, log });
    const membership = new Membership({
      ...{ id, name, clock, log },
      agents: () => addressesOf(settings.agents),
      ask: (agent, kind, body) => askOver(tracedAsk(ask, host.tracer), tls?.trusted)(agent, kind, body, { timeoutMs: askMs }),
      newToken: () => tokens.sign({ kind: 'node', id, expiresMs: host.nowMs() + nodeTokenMs }),
    });
    const lookAtAll = (): void => feeds.lookAtAll();
    const notifications = await started(
      parts,
      new Notifications({
        ...{ url, clock, log },
        probe: { text: 'SELECT 1 FROM nodes WHERE id = $1', values: [id] },
        channels: { sessions: lookAtAll, assignments: lookAtAll },
        onRenewed: lookAtAll,
        onProbe: (rows) => membership.seen(rows.length > 0),
      }),
    );
    feeds.start();
    const node = new Node({
      id,
      news,
      lists: new Lists(database),
      feeds,
      tokens,
      leaseMs: settings.lease,
      healthy: () => notifications.healthy,
    });
    const old = await atStart(clock, (deadline) => readOldNames(database, deadline));
    const door = { ...clientsDoor, requestBytesMax: requestBytesMax.toNode };
    const health = await listen(settings.healthListen, agentsDoor, healthOf(node), requestReader(), host);
    parts.defer(() => health.close());
    const server = await listen(settings.listen, door, node, requestReader(old), host, tls?.shown);
    parts.defer(async () => {
      feeds.stop(new Refusal('unavailable', 'the node is stopping'));
      await server.close({ drainMs });
    });
    parts.defer(() => membership.leave());
    const named = settings.host !== undefined && { host: settings.host };
    await membership.join({ port: server.port, healthPort: health.port, ...named });
    return { server, health, isHealthy: () => notifications.healthy };
  });
}

/** What agents may ask at a door of their own, where no crowd of clients keeps them out. */
const healthOf = (node: Node): Service => ({
  answer: async (call) => {
    if (call.request.kind === 'health') return node.answer(call);
    throw new Refusal('malformed', 'here a node is asked for its health only');
  },
});

/** A role that is put together when it starts; when it stops, each part is taken down whatever became of the others, the last one first. */
function servingRole(
  putTogether: (
    parts: AsyncDisposableStack,
  ) => Promise<{ server: FramedServer; health?: FramedServer; isHealthy: () => boolean }>,
): ServingRole {
  const parts = new AsyncDisposableStack();
  let whole: Awaited<ReturnType<typeof putTogether>> | undefined;
  return {
    start: async () => void (whole = await putTogether(parts)),
    stop: () => parts.disposeAsync(),
    isHealthy: () => whole?.isHealthy() ?? false,
    get port() {
      return whole?.server.port ?? 0;
    },
    get healthPort() {
      return whole?.health?.port;
    },
  };
}

async function openDatabase(
  parts: AsyncDisposableStack,
  { clock, log, tracer }: Host,
  url: string,
  connections: number,
): Promise<Database> {
  await migrate({ url, clock, log });
  return parts.adopt(makeDatabase({ url, connections, clock, log }, tracer), (database) => database.close());
}

/** What a role must have of the database before it can take requests. */
function atStart<T>(clock: Clock, work: (deadline: number) => Promise<T>): Promise<T> {
  const worthwhile = (error: unknown): boolean => error instanceof DatabaseUnavailableError;
  return retry(() => work(clock.nowMs() + statementMs), { clock, withinMs: startMs, worthwhile });
}

async function started<R extends Pick<Role, 'start' | 'stop'>>(parts: AsyncDisposableStack, role: R): Promise<R> {
  parts.defer(() => role.stop());
  await role.start();
  return role;
}

async function listen(
  address: string,
  door: Door,
  service: Service,
  readRequest: RequestReader,
  { clock, log, tracer, observe }: Host,
  tls?: TlsOptions,
): Promise<FramedServer> {
  try {
    const traced = tracedService(service, tracer);
    return await serve({ ...splitAddress(address), door, service: traced, readRequest, clock, log, observe, tls });
  } catch (error) {
    throw new ExitError(`cannot listen at ${address}: ${(error as Error).message}`, exitCodes.usage, { cause: error });
  }
}
