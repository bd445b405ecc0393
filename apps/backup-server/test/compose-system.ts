/**
 * The system of compose.yaml, in containers, under a project and a port of its own: what the integration and chaos suites do
 * harm to.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ComposeSystem, testEnvironment } from '@lab/testing/containers';
import { keysForCompose } from '../deploy/keys.ts';
import { makeKey, writeKey } from '../src/channel/keys.ts';
import type { StatusResult } from '../src/roles/server.ts';
import type { ListedVersion } from '../src/roles/store-commands.ts';

const directory = join(import.meta.dirname, '..');
const execute = promisify(execFile);
/** `sha256sum` of every file, its mode, and every link: two trees with one listing are the same. */
const listing = `find . -type f -exec sha256sum {} + | sort; find . -printf '%P %y %m %l\\n' | sort`;

export class BackupComposeSystem extends ComposeSystem {
  /** Of this machine: the master key, and what is restored. */
  readonly folder: string;
  #restores = 0;

  private constructor(env: Record<string, string>, folder: string) {
    super(directory, env);
    this.folder = folder;
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
    const where = ['--server', `127.0.0.1:${this.port}`, '--key-file', join(this.folder, 'key'), '--json'];
    const { stdout } = await execute(process.execPath, [join(directory, 'src/main.ts'), 'admin', ...where, ...args], {
      maxBuffer: 64 * 1024 * 1024,
    });
    return JSON.parse(stdout) as T;
  }

  readonly status = (): Promise<StatusResult> => this.admin('status');
  readonly list = (): Promise<ListedVersion[]> => this.admin('list');

  /** Runs a script where node-1 keeps its files. */
  async onNode(script: string): Promise<string> {
    return this.compose('exec', '-T', 'node-1', 'bash', '-ec', `cd /data; ${script}`);
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
    return stdout;
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true, force: true });
  }
}
