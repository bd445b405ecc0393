/**
 * The system in one process, with everything real but the machines between its parts: gRPC on localhost, behind a proxy that can cut it; the group and the broker of memory; the
 * store in a folder. A role can be killed at any point at which it touches the world: from then on nothing that it does has any effect, and nobody is told.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeMemoryRegistry, type Discovery } from '@lab/discovery';
import { makeLogGroup, type Group } from '@lab/group';
import { makeMemoryServer, type Broker } from '@lab/middleware';
import { silentLogger, splitAddress, systemClock, type Clock, type Role } from '@lab/process';
import { eventually, freePort, startTcpProxy, type TcpProxy } from '@lab/testing';
import { vi } from 'vitest';
import { PictureClient, type PictureClientOptions } from '../src/client/picture-client.ts';
import { GroupCatalog } from '../src/group-catalog.ts';
import { PictureStore, type PartialUpload } from '../src/store/picture-store.ts';
import { defaultNames, topologyOf } from '../src/topology.ts';
import { makeRegistry, makeServer, makeWorker, type Host } from '../src/wiring.ts';
import { collect } from './collect.ts';

/** Where a role touches the world. */
export type Point =
  /** A server: is about to write a piece; to make the upload a picture; it has. */
  | 'append'
  | 'commit'
  | 'committed'
  /** A server: is about to publish a job; it has. */
  | 'publish'
  | 'published'
  /** A worker: has the job; the result is in the folder. */
  | 'tag'
  | 'tagged';

/** What happens there; a rejection is what the role sees. */
export type Fault = (point: Point) => void | Promise<void>;

export interface SystemOptions {
  /** Default 3. */
  readonly servers?: number;
  /** Default 1. */
  readonly workers?: number;
  /** Of the servers and workers. */
  readonly clock?: Clock;
  readonly nowMs?: () => number;
  readonly limitBytes?: number;
  readonly limitMegapixels?: number;
}

// gRPC and folders are real: on a busy machine what takes no time may take seconds.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

/** Far shorter than real ones: nothing in one process is late but what is dead. */
const sessionTimeoutMs = 200;
const groupName = 'images';

export class System implements AsyncDisposable {
  readonly folder: string;
  readonly store: PictureStore;
  readonly #options: SystemOptions;
  readonly #registry = makeMemoryRegistry({ clock: systemClock, sessionTimeoutMs });
  readonly #broker = makeMemoryServer();
  readonly #processes = new Map<string, Process>();
  readonly #closing: (() => unknown)[] = [];
  /** Where clients find the registry, whoever is the registry. */
  readonly entry: TcpProxy;
  readonly #registryListen: string;
  /** What the group knows. */
  readonly observer: GroupCatalog;

  private constructor(options: SystemOptions, folder: string, store: PictureStore, registryListen: string, entry: TcpProxy) {
    this.#options = options;
    this.folder = folder;
    this.store = store;
    this.#registryListen = registryListen;
    this.entry = entry;
    const { group } = this.#connect();
    this.observer = new GroupCatalog({ group, groupName, memberName: 'observer', clock: systemClock, newId: randomUUID });
  }

  /** With a registry, servers `svc-1`... and workers `worker-1`... */
  static async start(options: SystemOptions = {}): Promise<System> {
    const { servers = 3, workers = 1 } = options;
    const folder = await mkdtemp(join(tmpdir(), 'image-tagging-'));
    const listen = await freeAddress();
    const entry = await startTcpProxy({ target: splitAddress(listen) });
    const system = new System(options, folder, await PictureStore.open(join(folder, 'store')), listen, entry);
    await system.#connect().broker.declare(topologyOf(defaultNames));
    await system.observer.start();
    await system.startRegistry();
    for (let number = 1; number <= servers; number++) await system.startServer(`svc-${number}`);
    for (let number = 1; number <= workers; number++) await system.startWorker(`worker-${number}`);
    return system;
  }

  get registry(): string {
    return `${this.entry.host}:${this.entry.port}`;
  }

  /** Given up after a while in which nothing moves, well before the test is. */
  client(options: Partial<PictureClientOptions> = {}): PictureClient {
    const client = new PictureClient({ registry: this.registry, patienceMs: 50_000, ...options });
    this.#closing.push(() => client.close());
    return client;
  }

  async startRegistry(): Promise<void> {
    await this.#start(new Process('registry', this.#connect()), (host) =>
      makeRegistry(host, { group: groupName, name: 'registry', listen: this.#registryListen }),
    );
  }

  /** Found by clients behind a proxy of its own. */
  async startServer(name: string): Promise<void> {
    const { limitBytes = 2 ** 31, limitMegapixels = 100 } = this.#options;
    const listen = await freeAddress();
    const proxy = await startTcpProxy({ target: splitAddress(listen) });
    const address = `${proxy.host}:${proxy.port}`;
    const process = new Process(name, this.#connect(), proxy);
    await this.#start(process, (host) =>
      makeServer(
        { ...host, store: process.storeFor(this.store), broker: process.jobs },
        { ...defaultNames, group: groupName, name, listen, address: () => address, limitBytes, limitMegapixels },
      ),
    );
    await eventually(() => this.observer.catalog.servers().some((server) => server.name === name && server.address === address));
  }

  async startWorker(name: string, jobs = 1): Promise<void> {
    const { limitMegapixels = 100 } = this.#options;
    const process = new Process(name, this.#connect());
    await this.#start(process, (host) =>
      makeWorker(
        { ...host, store: process.storeFor(this.store), broker: process.jobs },
        { group: groupName, name, queue: defaultNames.queue, jobs, limitMegapixels },
      ),
    );
  }

  /** SIGKILL: nobody is told. */
  async kill(name: string): Promise<void> {
    const process = this.#process(name);
    this.#processes.delete(name);
    process.dead = true;
    this.#registry.crash(process.connections.discovery);
    this.#broker.kill(process.connections.broker);
    await process.proxy?.[Symbol.asyncDispose]();
    if (name === 'registry') this.entry.reset();
    // Only to get rid of what is left of it; to the others it is dead.
    process.role?.stop().catch(() => {});
    if (name === 'registry') await eventually(() => isFree(this.#registryListen));
  }

  /** Kills the first of them that comes to the point, and resolves with its name: what it was about to do there is not done. `times`: how often it must come there. */
  killAt(point: Point, names: readonly string[], times = 1): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    let struck = false;
    for (const name of names) {
      let left = times;
      this.fault(name, (reached) => {
        if (struck || reached !== point || --left > 0) return;
        struck = true;
        this.kill(name).then(() => resolve(name), reject);
      });
    }
    return promise;
  }

  /** From now on this happens wherever it touches the world. */
  fault(name: string, fault: Fault): void {
    this.#process(name).fault = fault;
  }

  /** Of those that run. */
  get names(): string[] {
    return [...this.#processes.keys()];
  }

  get servers(): string[] {
    return this.names.filter((name) => name.startsWith('svc'));
  }

  addressOf(name: string): string {
    const { host, port } = this.proxyOf(name);
    return `${host}:${port}`;
  }

  /** Stands in front of a server. */
  proxyOf(name: string): TcpProxy {
    return this.#process(name).proxy!;
  }

  get leader(): string | undefined {
    const { view, leaderId } = this.observer;
    return view?.members.find(({ id }) => id === leaderId)?.name;
  }

  /** Writes a file for a client to upload. */
  async file(bytes: Uint8Array, name = 'a.jpg'): Promise<string> {
    const path = join(this.folder, name);
    await writeFile(path, bytes);
    return path;
  }

  stateOf(id: string): string | undefined {
    return this.observer.catalog.picture(id)?.state;
  }

  async tagged(id: string): Promise<void> {
    await eventually(() => this.stateOf(id) === 'tagged', { timeoutMs: 120_000 });
  }

  /** Resolves when no server has clients, as far as the group knows. */
  async idle(): Promise<void> {
    await eventually(() => this.observer.catalog.servers().every(({ activeClients }) => activeClients === 0));
  }

  /** Of the pictures in the folder. */
  storedIds(): Promise<string[]> {
    return collect(this.store.ids());
  }

  /** What is kept of uploads for their next tries. */
  async partialFiles(): Promise<string[]> {
    const names = await readdir(join(this.folder, 'store/partial'), { recursive: true });
    return names.filter((name) => name.endsWith('data'));
  }

  /** All jobs are gone, as if the broker had lost them. */
  async loseJobs(): Promise<void> {
    const { broker } = this.#connect();
    await broker.remove({ queue: defaultNames.queue });
    await broker.declare(topologyOf(defaultNames));
  }

  /** In order: no kill. */
  async stopRole(name: string): Promise<void> {
    const process = this.#process(name);
    this.#processes.delete(name);
    await process.role?.stop();
    await process.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#closing.reverse()) await close();
    for (const process of this.#processes.values()) await process.proxy?.[Symbol.asyncDispose]();
    await this.entry[Symbol.asyncDispose]();
    await Promise.all([...this.#processes.keys()].map((name) => this.stopRole(name)));
    await this.observer.stop();
    await rm(this.folder, { recursive: true, force: true });
  }

  #process(name: string): Process {
    const process = this.#processes.get(name);
    if (process === undefined) throw new RangeError(`${name} is not running`);
    return process;
  }

  #connect(): Connections {
    const broker = this.#broker.connect();
    const discovery = this.#registry.connect();
    return { broker, discovery, group: makeLogGroup({ broker, discovery, clock: systemClock, newToken: randomUUID }) };
  }

  async #start(process: Process, make: (host: Host) => Role): Promise<void> {
    const { clock = systemClock, nowMs = Date.now } = this.#options;
    const { group } = process.connections;
    process.role = make({ group, clock, nowMs, newId: randomUUID, log: silentLogger });
    this.#processes.set(process.name, process);
    await process.role.start();
  }
}

interface Connections {
  readonly broker: Broker;
  readonly discovery: Discovery;
  readonly group: Group;
}

/** What happens in a dead process. */
const never = new Promise<never>(() => {});

class Process {
  readonly name: string;
  readonly connections: Connections;
  readonly proxy: TcpProxy | undefined;
  role: Role | undefined;
  dead = false;
  fault: Fault = () => {};

  constructor(name: string, connections: Connections, proxy?: TcpProxy) {
    this.name = name;
    this.connections = connections;
    this.proxy = proxy;
  }

  async close(): Promise<void> {
    await this.proxy?.[Symbol.asyncDispose]();
    await this.connections.group.close();
    await Promise.all([this.connections.discovery.close(), this.connections.broker.close()]);
  }

  /** The broker as this process has it for its jobs. */
  get jobs(): Broker {
    const { broker } = this.connections;
    return overriding(broker, {
      publish: async (publication) => {
        await this.#pass('publish');
        await broker.publish(publication);
        await this.#pass('published');
      },
    });
  }

  storeFor(store: PictureStore): PictureStore {
    return overriding(store, {
      stored: (id) => this.#alive(() => store.stored(id)),
      resume: async (...args) => this.#partial(await this.#alive(() => store.resume(...args))),
      makeResult: async (...args) => {
        await this.#pass('tag');
        const result = await store.makeResult(...args);
        await this.#pass('tagged');
        return result;
      },
    });
  }

  #partial(partial: PartialUpload): PartialUpload {
    return overriding(partial, {
      append: async (chunk) => {
        await this.#pass('append');
        await partial.append(chunk);
      },
      commit: async (upload) => {
        await this.#pass('commit');
        await partial.commit(upload);
        await this.#pass('committed');
      },
      erase: () => this.#alive(() => partial.erase()),
    });
  }

  async #pass(point: Point): Promise<void> {
    await this.#alive(async () => this.fault(point));
  }

  /** What a living process does; a dead one does not begin it, and does not see it end. */
  async #alive<T>(work: () => Promise<T>): Promise<T> {
    if (this.dead) await never;
    const result = await work();
    if (this.dead) await never;
    return result;
  }
}

/** The same object, but for some of its methods. */
function overriding<T extends object>(target: T, methods: Partial<T>): T {
  return new Proxy(target, {
    get(_, name) {
      const value: unknown = Reflect.get(methods, name) ?? Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

const freeAddress = async (): Promise<string> => `127.0.0.1:${await freePort()}`;

async function isFree(listen: string): Promise<boolean> {
  const probe = createServer();
  const { promise, resolve } = Promise.withResolvers<boolean>();
  probe.once('error', () => resolve(false)).listen(splitAddress(listen), () => resolve(true));
  const free = await promise;
  if (free) await new Promise((done) => probe.close(done));
  return free;
}
