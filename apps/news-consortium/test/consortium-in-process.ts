/**
 * Agents and nodes in one process, on a real PostgreSQL, with proxies where cables are: before each role, and between each role and the database. So each of
 * them can be killed, cut off or paused, and started again.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import type { EmbeddedPostgres } from '@lab/embedded-postgres';
import { silentLogger, systemClock, type Clock } from '@lab/process';
import type { ScryptCost } from '@lab/process/passwords';
import { startTcpProxy, type TcpProxy } from '@lab/testing';
import { ask, joinAddress, type Ask } from '../src/wire/asking.ts';
import { askOver, roleTls } from '../src/wire/tls.ts';
import { Consortium, type ConsortiumOptions } from '../src/client/consortium.ts';
import { makeAgent, makeNode, type Host, type ServingRole } from '../src/wiring.ts';
import { placesOf } from '../src/store/database.ts';
import { query } from './assignment-log.ts';

/** As cheap as scrypt can be: nothing here is secret. */
const cheap: ScryptCost = { N: 2, r: 1, p: 1 };
export const administrator = { name: 'root', password: 'the first password' };

export interface SystemOptions {
  /** Default 2. */
  readonly agents?: number;
  /** Default 3. */
  readonly nodes?: number;
  /** Default 500. */
  readonly leaseMs?: number;
  /** Default an hour. */
  readonly sessionMs?: number;
  /** Default as cheap as can be. */
  readonly scryptCost?: ScryptCost;
  /** Default none: roles and clients speak without TLS. */
  readonly tls?: { readonly tlsKey: string; readonly tlsCertificate: string };
}

let databases = 0;

/** An empty database on the server; resolves with its URL. */
export async function createDatabase(postgres: EmbeddedPostgres): Promise<string> {
  const url = new URL(postgres.url);
  await query(url.href, `CREATE DATABASE consortium_${++databases}`);
  url.pathname = `/consortium_${databases}`;
  return url.href;
}

export class ConsortiumInProcess implements AsyncDisposable {
  readonly administrator = administrator;
  /** Of the database itself, past all proxies. */
  readonly databaseUrl: string;
  readonly #options: SystemOptions;
  readonly #processes = new Map<string, Process>();
  readonly #otherHost: string;

  private constructor(databaseUrl: string, options: SystemOptions, otherHost: string) {
    this.databaseUrl = databaseUrl;
    this.#options = options;
    this.#otherHost = otherHost;
  }

  /** With agents `agent-1`... and nodes `node-1`..., on a database of its own. */
  static async start(postgres: EmbeddedPostgres, options: SystemOptions = {}): Promise<ConsortiumInProcess> {
    return this.startOn(await createDatabase(postgres), options);
  }

  /** The same on a database that is there. */
  static async startOn(databaseUrl: string, options: SystemOptions = {}): Promise<ConsortiumInProcess> {
    const { agents = 2, nodes = 3 } = options;
    const system = new ConsortiumInProcess(databaseUrl, options, await otherHost());
    await Promise.all(counted('agent', agents).map((name) => system.startAgent(name)));
    await Promise.all(counted('node', nodes).map((name) => system.startNode(name)));
    return system;
  }

  /** What clients trust. */
  get tls(): ConnectionOptions | undefined {
    return roleTls(this.#options.tls ?? {})?.trusted;
  }

  get agents(): string[] {
    return this.#names('agent');
  }

  get nodes(): string[] {
    return this.#names('node');
  }

  /** Where clients find it. */
  addressOf(name: string): string {
    const { front } = this.#process(name);
    return joinAddress(front.host, front.port);
  }

  /** Where it listens itself, with no proxy before it. */
  listenAddressOf(name: string): string {
    return this.#process(name).listen;
  }

  /** Of a node, in the database. */
  idOf(name: string): string {
    return this.#process(name).id;
  }

  /** Where agents can be reached now, for whoever can reach anything. */
  get agentAddresses(): string[] {
    return this.agents.map((name) => this.addressOf(name));
  }

  client(options: Partial<ConsortiumOptions> = {}): Consortium {
    const agents = (): Promise<string[]> => Promise.resolve(this.agentAddresses);
    return new Consortium({ agents, ask: askOver(ask, this.tls), clock: systemClock, patienceMs: 60_000, ...options });
  }

  /** A client that knows one agent only. */
  clientOf(agent: string, asking: Ask = ask): Consortium {
    return this.client({ agents: () => Promise.resolve([this.addressOf(agent)]), ask: asking });
  }

  async startAgent(name: string, adminPassword = administrator.password): Promise<void> {
    const { sessionMs = 3_600_000 } = this.#options;
    await this.#start(name, (process) =>
      makeAgent(
        { ...process.host, scryptCost: this.#options.scryptCost ?? cheap },
        {
          ...{ name, session: sessionMs, listen: process.listen, databaseUrl: process.databaseUrl },
          ...{ adminName: administrator.name, adminPassword, ...this.#options.tls },
        },
      ),
    );
  }

  async startNode(name: string): Promise<void> {
    const { leaseMs = 500 } = this.#options;
    await this.#start(name, (process) => {
      const agents = (): string[] => (process.isReachable ? this.agentAddresses : []);
      return makeNode(process.host, {
        ...{ name, lease: leaseMs, listen: process.listen, healthListen: process.healthListen },
        ...{ databaseUrl: process.databaseUrl, host: process.front.host, ...this.#options.tls },
        get agents() {
          return agents();
        },
      });
    });
  }

  /** In good order. */
  async stop(name: string): Promise<void> {
    const process = this.#process(name);
    await process.role!.stop();
    this.#processes.delete(name);
    await process.close();
  }

  /** Nothing that it does from now on reaches anybody, and all its connections break. */
  async kill(name: string): Promise<void> {
    const process = this.#process(name);
    this.#processes.delete(name);
    process.isReachable = false;
    await process.close();
    // Only to get rid of what is left of it; to the others it is dead.
    process.role?.stop().catch(() => undefined);
  }

  /** Nothing passes, and connections stay open: its cables are pulled. */
  cut(name: string): void {
    this.#process(name).cut();
  }

  /** It stands still, as a process that SIGSTOP got, or a machine that hangs. */
  pause(name: string): void {
    const process = this.#process(name);
    process.cut();
    process.clock.pause();
  }

  /** Ends a cut and a pause: what was held back arrives. */
  heal(name: string): void {
    const process = this.#process(name);
    process.clock.resume();
    process.heal();
  }

  /** What its `/healthz` says. */
  isHealthy(name: string): boolean {
    return this.#process(name).role!.isHealthy!();
  }

  /** The agent that decides; undefined where nobody holds the lock. */
  async decider(): Promise<string | undefined> {
    const [holder] = await this.query<{ agent: string }>(
      `SELECT d.agent FROM deciding d, pg_locks l JOIN pg_database b ON b.oid = l.database
       WHERE l.locktype = 'advisory' AND l.objid = ${decidersLock} AND l.granted AND b.datname = current_database()`,
    );
    return holder?.agent;
  }

  query<Row extends object>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    return query<Row>(this.databaseUrl, text, values);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const processes = [...this.#processes.values()];
    for (const process of processes) {
      process.clock.resume();
      process.heal();
      // Nobody is to take over what a leaver leaves.
      process.isReachable = false;
    }
    await Promise.all(processes.map((process) => process.close()));
    for (const { role } of processes) role?.stop().catch(() => undefined);
  }

  #names(kind: string): string[] {
    return [...this.#processes.keys()].filter((name) => name.startsWith(kind)).toSorted();
  }

  #process(name: string): Process {
    const process = this.#processes.get(name);
    if (process === undefined) throw new RangeError(`${name} does not run`);
    return process;
  }

  async #start(name: string, make: (process: Process) => ServingRole): Promise<void> {
    if (this.#processes.has(name)) throw new RangeError(`${name} runs already`);
    const process = await Process.prepare(this.databaseUrl, this.#otherHost);
    process.role = make(process);
    await process.role.start();
    this.#processes.set(name, process);
  }
}

/** The advisory lock of the agent that decides. */
const decidersLock = 710_002;
const counted = (kind: string, count: number): string[] => Array.from({ length: count }, (_, index) => `${kind}-${index + 1}`);

/** What stands around a role. */
class Process {
  readonly id = randomUUID();
  readonly clock = new PausableClock();
  readonly front: TcpProxy;
  /** Where the role itself listens. */
  readonly listen: string;
  /** Where a node is asked for its health. */
  readonly healthListen: string;
  readonly databaseUrl: string;
  readonly #cables: readonly TcpProxy[];
  role: ServingRole | undefined;
  isReachable = true;

  private constructor(front: TcpProxy, health: TcpProxy, otherHost: string, databases: readonly TcpProxy[], databaseUrl: string) {
    this.front = front;
    this.listen = joinAddress(otherHost, front.port);
    this.healthListen = joinAddress(otherHost, health.port);
    this.#cables = [front, health, ...databases];
    this.databaseUrl = databaseUrl;
  }

  static async prepare(databaseUrl: string, otherHost: string): Promise<Process> {
    const places = placesOf(databaseUrl)!.map((place) => new URL(place));
    const targets = places.map(({ hostname, port }) => ({ host: hostname, port: Number(port) }));
    const databases = await Promise.all(targets.map((target) => startTcpProxy({ target })));
    const { username, password, pathname } = places[0]!;
    const hosts = databases.map(({ port }) => `127.0.0.1:${port}`).join(',');
    const [front, health] = [await frontOf(otherHost), await frontOf(otherHost)];
    return new Process(front, health, otherHost, databases, `postgres://${username}:${password}@${hosts}${pathname}`);
  }

  get host(): Host {
    const { clock, id } = this;
    let ids = 0;
    // A node's first id is its own.
    const newId = (): string => (ids++ === 0 ? id : randomUUID());
    return { clock, nowMs: Date.now, newId, scryptCost: cheap, log: silentLogger };
  }

  cut(): void {
    this.isReachable = false;
    for (const cable of this.#cables) cable.cut();
  }

  heal(): void {
    this.isReachable = true;
    for (const cable of this.#cables) cable.heal();
  }

  async close(): Promise<void> {
    await Promise.all(this.#cables.map((cable) => cable[Symbol.asyncDispose]()));
  }
}

/** A node registers the ports that it listens at: the proxy has the same, at another address of this machine. */
async function frontOf(host: string): Promise<TcpProxy> {
  const target = { host, port: 0 };
  const front = await startTcpProxy({ target });
  target.port = front.port;
  return front;
}

/** While it is paused no timer runs; those that are due then run once when it goes on, as after SIGSTOP and SIGCONT. */
class PausableClock implements Clock {
  #held: Set<() => void> | undefined;

  nowMs(): number {
    return systemClock.nowMs();
  }

  after(delayMs: number, run: () => void): () => void {
    return this.#timer((tick) => systemClock.after(delayMs, tick), run);
  }

  every(intervalMs: number, run: () => void): () => void {
    return this.#timer((tick) => systemClock.every(intervalMs, tick), run);
  }

  pause(): void {
    this.#held ??= new Set();
  }

  resume(): void {
    const held = this.#held;
    this.#held = undefined;
    for (const run of held ?? []) run();
  }

  #timer(start: (tick: () => void) => () => void, run: () => void): () => void {
    let cancelled = false;
    const runUnlessCancelled = (): void => {
      if (!cancelled) run();
    };
    const cancel = start(() => (this.#held === undefined ? run() : void this.#held.add(runUnlessCancelled)));
    return () => {
      cancelled = true;
      cancel();
    };
  }
}

/** Another address of this machine than 127.0.0.1: Linux has all of 127.0.0.0/8, macOS has ::1. */
async function otherHost(): Promise<string> {
  for (const host of ['127.0.0.2', '::1']) {
    const server = createServer();
    const bound = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false)).listen(0, host, () => resolve(true));
    });
    if (!bound) continue;
    server.close();
    await once(server, 'close');
    return host;
  }
  throw new Error('this machine has one address only');
}
