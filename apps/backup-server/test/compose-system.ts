/**
 * The system of compose.yaml, in containers, under a project and a port of its own: what the integration and chaos suites do
 * harm to.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ComposeSystem, docker, testEnvironment } from '@lab/testing/containers';
import { keysForCompose } from '../deploy/keys.ts';
import { ask } from '../src/admin/ask.ts';
import { connectChannel } from '../src/channel/channel.ts';
import { keyFor, makeKey, readKey, writeKey } from '../src/channel/keys.ts';
import type { StatusResult } from '../src/roles/server.ts';
import type { ListedVersion } from '../src/roles/store-commands.ts';

const directory = join(import.meta.dirname, '..');
const execute = promisify(execFile);
/** `sha256sum` of every file, its mode, and every link: two trees with one listing are the same. */
const listing = `find . -type f -exec sha256sum {} + | sort; find . -printf '%P %y %m %l\\n' | sort`;

export class BackupComposeSystem extends ComposeSystem {
  /** Of this machine: the master key, and what is restored. */
  readonly folder: string;
  readonly #keyFile: string;
  #restores = 0;

  constructor(env: Record<string, string>, folder: string, keyFile = join(folder, 'key')) {
    super(directory, env);
    this.folder = folder;
    this.#keyFile = keyFile;
  }

  /** Starts it anew, with an empty store; resolves when every role takes work. */
  static async start(name: string): Promise<BackupComposeSystem> {
    const folder = await mkdtemp(join(tmpdir(), `backup-${name}-`));
    const master = makeKey();
    writeKey(join(folder, 'key'), master);
    const system = new BackupComposeSystem(await testEnvironment(directory, name, keysForCompose(master)), folder);
    await system.startAnew();
    return system;
  }

  /** An admin's command, as a program calls it; rejects with what it said. */
  async admin<T = unknown>(...args: readonly string[]): Promise<T> {
    const where = ['--server', `127.0.0.1:${this.port}`, '--key-file', this.#keyFile, '--json'];
    const { stdout } = await execute(process.execPath, [join(directory, 'src/main.ts'), 'admin', ...where, ...args], {
      maxBuffer: 64 * 1024 * 1024,
    });
    return JSON.parse(stdout) as T;
  }

  readonly status = (): Promise<StatusResult> => this.admin('status');
  /** As `status`, without a process of its own: what is quick to look misses no transfer. */
  async look(): Promise<StatusResult> {
    const key = keyFor(readKey(this.#keyFile), 'admin');
    const channel = await connectChannel({ host: '127.0.0.1', port: this.port, identity: 'admin', key });
    return ask<StatusResult>(channel, { kind: 'status' }).finally(() => channel.destroy());
  }

  readonly list = (): Promise<ListedVersion[]> => this.admin('list');

  /** Has a path of node-1 backed up now, and each hour. */
  async register(path: string, keep: number): Promise<void> {
    const where = ['--node', 'node-1', '--address', 'node-1:7600', '--path', path];
    await this.admin('register', ...where, '--every', '1h', '--keep', String(keep));
  }

  /** Runs a script where node-1 keeps its files. */
  async onNode(script: string): Promise<string> {
    return docker('exec', this.container('node-1').id, 'bash', '-ec', `cd /data; ${script}`);
  }

  /** What is in a folder of the node. */
  async listed(path: string): Promise<string> {
    return this.onNode(`cd '${path}'; ${listing}`);
  }

  /** What a version is when it is restored here. */
  async restored(path: string, version: number): Promise<string> {
    const to = join(this.folder, `restored-${this.#restores++}`);
    await this.admin('restore', '--node', 'node-1', '--path', path, '--version', String(version), '--to', to);
    const { stdout } = await execute('bash', ['-ec', listing], { cwd: to, maxBuffer: 64 * 1024 * 1024 });
    await rm(to, { recursive: true });
    return stdout.trim();
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true, force: true });
  }
}
