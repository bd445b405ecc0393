/** Server, nodes manager, requester and a node in this process, on real files and TLS; and an admin's commands. */
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { makeMemoryServer, type Broker } from '@lab/middleware';
import { silentLogger, splitAddress, systemClock, type Role } from '@lab/process';
import { eventually } from '@lab/testing';
import { Registry } from 'prom-client';
import { adminCommands, openCommands } from '../src/admin/commands.ts';
import { makeKey, writeKey } from '../src/channel/keys.ts';
import { makeNode, makeRoles, measuring, type ServingRole } from '../src/hosts.ts';
import type { StatusResult } from '../src/roles/server.ts';

export const master = makeKey();

/** What `register` names in every test. */
export const path = 'papers';
export const tree = ['--node', 'desk', '--path', path];

export class RealSystem implements AsyncDisposable {
  readonly folder: string;
  readonly memory = makeMemoryServer();
  /** Which were given, to processes and to what they do. */
  readonly ids: string[] = [];
  /** What the last command had said before it failed, if it did. */
  heard = '';
  /** What `/metrics` shows. */
  registry = new Registry();
  /** Any port that is free, and from the first start on that one. */
  #listen = '127.0.0.1:0';
  /** Where the node listens. */
  node = '127.0.0.1:0';
  /** `--node-quota`, from the next start on. */
  nodeQuota: number | undefined;
  #roles: ServingRole | undefined;
  #nodeRole: ServingRole | undefined;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** `papers` has the file `one` and is registered, and has its first version. */
  static async start(...settings: readonly string[]): Promise<RealSystem> {
    const folder = await mkdtemp(join(tmpdir(), 'backup-system-'));
    const system = new RealSystem(folder);
    writeKey(join(folder, 'key'), master);
    await system.write('one', 'the first\n');
    await system.startNode();
    await system.startServer();
    await system.register(...settings);
    return system;
  }

  get store(): string {
    return join(this.folder, 'store');
  }

  /** Of the server. */
  get port(): number {
    return splitAddress(this.#listen).port;
  }

  get roles(): Role {
    return this.#roles!;
  }

  async startNode(): Promise<void> {
    const settings = { name: 'desk', listen: this.node, root: join(this.folder, 'root'), cache: join(this.folder, 'cache') };
    this.#nodeRole = makeNode(settings, makeKey(master, 'node-desk'), { log: silentLogger, clock: systemClock });
    await this.#nodeRole.start();
    this.node = `127.0.0.1:${this.#nodeRole.port}`;
  }

  async startServer(): Promise<void> {
    const newId = (): string => (this.ids.push(randomUUID()), this.ids.at(-1)!);
    const host = { log: silentLogger, clock: systemClock, nowMs: Date.now, newId };
    const settings = { store: this.store, listen: this.#listen, scrubCycle: 1e9, sweepInterval: 1e9, nodeQuota: this.nodeQuota };
    const connect = (): Promise<Broker> => Promise.resolve(this.memory.connect());
    this.#roles = makeRoles(['backup-requester', 'nodes-manager', 'server'], {
      ...host,
      settings,
      master,
      connect,
      measure: await measuring(this),
      end: () => {},
    });
    await this.#roles.start();
    this.#listen = `127.0.0.1:${this.#roles.port}`;
  }

  async stopServer(): Promise<void> {
    await this.#roles?.stop();
    this.registry = new Registry();
    this.#roles = undefined;
  }

  async stopNode(): Promise<void> {
    await this.#nodeRole?.stop();
    this.#nodeRole = undefined;
  }

  /** Writes a file below the registered path; its folders are made. */
  async write(name: string, content: string | Uint8Array): Promise<void> {
    const file = join(this.folder, 'root', path, name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
  }

  /** How the backup ended that is due by it. */
  async register(...settings: readonly string[]): Promise<unknown> {
    const every = settings.includes('--every') ? [] : ['--every', '1h'];
    await this.admin('register', ...tree, '--address', this.node, ...every, ...settings);
    return eventually(async () => {
      const { tasks, nowMs } = (await this.admin('status')) as StatusResult;
      const { current, dueMs, last } = tasks.find((task) => task.path === path)!;
      if (current !== undefined || dueMs <= nowMs) throw new Error('it is under way');
      return last!;
    });
  }

  backUp(): Promise<unknown> {
    return this.admin('backup', ...tree);
  }

  /** What a command answers to a program. */
  async admin(name: string, ...args: readonly string[]): Promise<unknown> {
    return JSON.parse(await this.said(name, '--json', ...args));
  }

  /** What a command says to a person. */
  said(name: string, ...args: readonly string[]): Promise<string> {
    const key = args.includes('--key-file') ? [] : ['--key-file', join(this.folder, 'key')];
    return this.#run(adminCommands, name, ['--server', this.#listen, ...key, ...args]);
  }

  /** What is said without a server. */
  opened(name: string, ...args: readonly string[]): Promise<string> {
    return this.#run(openCommands, name, ['--store', this.store, ...args]);
  }

  async #run(commands: typeof adminCommands, name: string, args: readonly string[]): Promise<string> {
    let said = (this.heard = '');
    const out = (text: string): void => void (this.heard = said += text);
    await commands(out).commands![name]!.run({ args, env: {} });
    return said;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopServer();
    await this.stopNode();
    await rm(this.folder, { recursive: true, force: true });
  }
}
