/**
 * The system in real processes, so that they can be killed: a standalone server, and nodes behind relays that count what they
 * send.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, freePort } from '@lab/testing';
import { startProcess, type RunningProcess } from '@lab/testing/processes';
import { ask } from '../src/admin/ask.ts';
import { connectChannel } from '../src/channel/channel.ts';
import { keyFor, makeKey, writeKey } from '../src/channel/keys.ts';
import type { Task } from '../src/domain/registry.ts';
import type { Head } from '../src/messages.ts';
import type { StatusResult } from '../src/roles/server.ts';
import type { ListedVersion } from '../src/roles/store-commands.ts';

const main = join(import.meta.dirname, '..', 'src', 'main.ts');
const host = '127.0.0.1';
const master = makeKey();
export const startProgram = (args: readonly string[]): RunningProcess => startProcess([main, ...args]);

interface Relayed {
  /** From the node. */
  bytes: number;
  isOpen: boolean;
}

/** Stands before a node and counts what the node sends, connection by connection. */
export class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #relayed: Relayed[] = [];
  #holdAt = Infinity;

  private constructor(target: number) {
    this.#server = createServer({ noDelay: true }, (client) => this.#accept(client, target));
  }

  static async start(target: number): Promise<Relay> {
    const relay = new Relay(target);
    await once(relay.#server.listen(0, host), 'listening');
    return relay;
  }

  get address(): string {
    return `${host}:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What the node has sent over connections that were opened since `mark`. */
  get bytes(): number {
    return this.#relayed.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** There were connections since `mark`, and all of them are over. */
  get isOver(): boolean {
    return this.#relayed.length > 0 && this.#relayed.every(({ isOpen }) => !isOpen);
  }

  /** Counts anew; connections that are open do not count any more. */
  mark(): void {
    this.#relayed = [];
  }

  /** After so many bytes more nothing passes, until `letPass`. */
  holdAfter(bytes: number): void {
    this.#holdAt = this.bytes + bytes;
  }

  letPass(): void {
    this.#holdAt = Infinity;
    for (const socket of this.#sockets) socket.resume();
  }

  get isHolding(): boolean {
    return this.bytes >= this.#holdAt;
  }

  /** Breaks off what is open. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.#server.close();
    this.cut();
    await once(this.#server, 'close');
  }

  #accept(client: Socket, target: number): void {
    const node = connect({ host, port: target, noDelay: true });
    const relayed: Relayed = { bytes: 0, isOpen: true };
    this.#relayed.push(relayed);
    for (const [from, to] of [
      [client, node],
      [node, client],
    ] as const) {
      this.#sockets.add(from);
      from.on('error', () => undefined);
      from.on('data', (bytes) => {
        if (from === node) relayed.bytes += bytes.length;
        if (!to.write(bytes)) from.pause();
        if (from === node && this.isHolding) from.pause();
      });
      to.on('drain', () => {
        if (!this.isHolding) from.resume();
      });
      from.on('end', () => to.end());
      from.once('close', (broken) => {
        this.#sockets.delete(from);
        relayed.isOpen = false;
        if (broken || !from.readableEnded) to.destroy();
      });
    }
  }
}

export interface RunningNode {
  name: string;
  root: string;
  port: number;
  relay: Relay;
  program: RunningProcess;
}

/** The path that every node has registered. */
export const registeredPath = 'data';

/** A server, its store, and nodes; everything ends and goes with it. */
export class BackupSystem implements AsyncDisposable {
  readonly folder: string;
  readonly store: string;
  readonly nodes = new Map<string, RunningNode>();
  readonly #settings: readonly string[];
  readonly #port: number;
  #standalone: RunningProcess | undefined;

  private constructor(folder: string, store: string, port: number, settings: readonly string[]) {
    this.folder = folder;
    this.store = store;
    this.#port = port;
    this.#settings = settings;
  }

  /** Nothing is registered. `settings` are flags of the standalone; the store may be elsewhere, on a disk of its own. */
  static async start(name: string, options: { settings?: string[]; store?: string } = {}): Promise<BackupSystem> {
    const folder = await mkdtemp(join(tmpdir(), `backup-${name}-`));
    const { settings = [], store = join(folder, 'store') } = options;
    const system = new BackupSystem(folder, store, await freePort(), settings);
    writeKey(system.keyFile, master);
    await system.startStandalone();
    return system;
  }

  get keyFile(): string {
    return join(this.folder, 'key');
  }

  /** A file with this identity's key. */
  keyFileOf(identity: string): string {
    const file = join(this.folder, `${identity}.key`);
    if (!existsSync(file)) writeKey(file, makeKey(master, identity));
    return file;
  }

  get standalone(): RunningProcess {
    return this.#standalone!;
  }

  async startStandalone(): Promise<void> {
    const args = ['standalone', '--listen', `${host}:${this.#port}`, '--store', this.store, '--key-file', this.keyFile];
    this.#standalone = startProgram([...args, ...this.#settings]);
    await this.#standalone.listening(this.#port);
  }

  /** A node with an empty folder to be backed up; `register` it when there is something in it. */
  async addNode(name: string, keyFile = this.keyFileOf(`node-${name}`)): Promise<RunningNode> {
    const root = join(this.folder, name);
    await mkdir(join(root, registeredPath), { recursive: true });
    const port = await freePort();
    const node = { name, root, port, relay: await Relay.start(port), program: this.#nodeProgram(name, root, port, keyFile) };
    this.nodes.set(name, node);
    await node.program.listening(port);
    return node;
  }

  async restartNode(name: string): Promise<void> {
    const node = this.nodes.get(name)!;
    node.program = this.#nodeProgram(name, node.root, node.port, this.keyFileOf(`node-${name}`));
    await node.program.listening(node.port);
  }

  #nodeProgram(name: string, root: string, port: number, keyFile: string): RunningProcess {
    const cache = join(this.folder, `${name}.cache`);
    const args = ['node', '--name', name, '--listen', `${host}:${port}`, '--root', root, '--cache', cache];
    return startProgram([...args, '--key-file', keyFile]);
  }

  // What an admin does, in this process.

  async ask<T>(head: Head): Promise<T> {
    const channel = await connectChannel({ host, port: this.#port, identity: 'admin', key: keyFor(master, 'admin') });
    try {
      const answer = await ask<T>(channel, head);
      await channel.close();
      return answer;
    } finally {
      channel.destroy();
    }
  }

  list(): Promise<ListedVersion[]> {
    return this.ask({ kind: 'list' });
  }

  status(): Promise<StatusResult> {
    return this.ask({ kind: 'status' });
  }

  async taskOf(node: string): Promise<Task> {
    const { tasks } = await this.status();
    return tasks.find((task) => task.node === node)!;
  }

  /** Once a day, which is: now, and when it is asked for. */
  async register(node: string, keep?: number, { address } = this.nodes.get(node)!.relay): Promise<void> {
    await this.ask({
      kind: 'register',
      node,
      address,
      path: registeredPath,
      every: '1d',
      ...(keep !== undefined && { keep }),
    });
  }

  /** Begins a backup, or has one follow that is under way; how many end before. */
  async beginBackup(node: string): Promise<number> {
    const { attempts } = await this.ask<{ attempts: number }>({ kind: 'backupNow', node, path: registeredPath });
    return attempts;
  }

  /** How the try after `attempts` tries ended. */
  async outcomeAfter(node: string, attempts: number, timeoutMs = 30_000): Promise<NonNullable<Task['last']>> {
    const task = await eventually(
      async () => {
        const now = await this.taskOf(node);
        return now.attempts > attempts && now;
      },
      { timeoutMs, intervalMs: 20 },
    );
    if (!task) throw new Error('unreachable');
    return task.last!;
  }

  /** Tries until a backup succeeds; how the last one ended. */
  backUp(node: string): Promise<NonNullable<Task['last']>> {
    return eventually(
      async () => {
        const outcome = await this.outcomeAfter(node, await this.beginBackup(node));
        if (outcome.result === 'failed') throw new Error(`the backup failed: ${outcome.reason}`);
        return outcome;
      },
      { timeoutMs: 120_000, intervalMs: 20 },
    );
  }

  /** A command of the real admin program. */
  admin(command: string, ...args: string[]): Promise<{ code: number; output: string }> {
    const server = ['--server', `${host}:${this.#port}`];
    const key = args.includes('--key-file') ? [] : ['--key-file', this.keyFile];
    return new Promise((resolve) =>
      execFile(process.execPath, [main, 'admin', command, ...server, ...key, ...args], (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr }),
      ),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const nodes = [...this.nodes.values()];
    for (const { relay } of nodes) await relay.close();
    for (const program of [this.#standalone, ...nodes.map((node) => node.program)]) if (program?.isAlive) await program.kill();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }
}
