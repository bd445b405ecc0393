/** `npx nx load backup-server`: admins, each with a folder of its own on node-1 that changes and is backed up, again and again. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { exitCodes } from '@lab/process';
import { eventually } from '@lab/testing';
import { Promised, Refused, type LoadClient, type Workload } from '@lab/testing/load';
import { loadProgram, type RunningSystem } from '@lab/testing/load-program';
import { keyFile } from '../deploy/keys.ts';
import type { StatusTask } from '../src/roles/nodes-manager.ts';
import type { ListedVersion } from '../src/roles/store-commands.ts';
import { BackupComposeSystem } from './compose-system.ts';

export interface BackupLoadOptions {
  /** So much of a folder is new each time. */
  readonly freshKb: () => number;
  /** Versions that stay of each folder: more are more to restore in the end. */
  readonly keep: number;
}

/** A client's folder on the node. */
class Folder {
  readonly path: string;
  readonly keep: number;
  /** What the newest versions that were answered are to restore to, by their numbers. */
  readonly answered = new Map<number, string>();
  /** What it has now: until that is backed up for sure, it does not change. */
  now: string | undefined;
  /** For sure. */
  isRegistered = false;
  /** Whoever asked for its backup last was told no, or nothing: so nothing was promised of it. */
  isUnsure = false;

  constructor(path: string, keep: number) {
    this.path = path;
    this.keep = keep;
  }

  /** That version is of what it has now. */
  backedUp(version: number): void {
    this.answered.set(version, this.now!);
    this.now = undefined;
    // Older ones go from the server, if not at once.
    for (const old of [...this.answered.keys()].slice(0, -2 * this.keep)) this.answered.delete(old);
  }

  /** What the newest version is to be of. */
  get newest(): string | undefined {
    return this.now ?? [...this.answered.values()].at(-1);
  }

  /** What a version may be of. */
  statesOf(version: number): string[] {
    const answered = this.answered.get(version);
    if (answered !== undefined) return [answered];
    return [...this.answered.values(), ...(this.now === undefined ? [] : [this.now])];
  }
}

/** A try that failed comes again within a minute, and one on a busy machine takes another. */
const patienceMs = 120_000;
/** A folder takes less to change, and nothing may be due meanwhile. */
const changeMs = 10_000;

export class BackupLoad implements Workload {
  readonly #whole = new Promised('a version that is listed restores byte for byte', 'listed versions restored');
  readonly #damaged = new Promised('what cannot be restored is listed as damaged, with its files', 'versions listed as damaged');
  readonly #made = new Promised('what is asked for is backed up in the end', 'newest states listed');
  readonly promises = [this.#whole, this.#damaged, this.#made];
  readonly #system: BackupComposeSystem;
  readonly #options: BackupLoadOptions;
  readonly #run = Date.now().toString(36);
  readonly #folders = new Map<number, Folder>();

  constructor(system: BackupComposeSystem, options: BackupLoadOptions) {
    this.#system = system;
    this.#options = options;
  }

  async connect(number: number): Promise<LoadClient> {
    const folder = this.#folders.get(number) ?? new Folder(`load-${this.#run}/${number}`, this.#options.keep);
    this.#folders.set(number, folder);
    await this.#register(folder).catch((error: unknown) => {
      throw new Refused(reasonOf(error));
    });
    return { operate: () => this.#backUp(folder) };
  }

  async #register(folder: Folder): Promise<void> {
    if (folder.isRegistered) return;
    if (folder.now === undefined) await this.#change(folder);
    await this.#system.register(folder.path, folder.keep);
    folder.isRegistered = true;
  }

  async #backUp(folder: Folder): Promise<void> {
    try {
      if (folder.now === undefined) {
        // One that was asked for twice is made twice: it is to find what it was asked for.
        await this.#idle(folder);
        await this.#change(folder);
      }
    } catch (error) {
      throw new Refused(reasonOf(error));
    }
    try {
      folder.isUnsure = true;
      const { version } = await this.#system.admin<{ version: number }>('backup', '--node', 'node-1', '--path', folder.path);
      folder.isUnsure = false;
      folder.backedUp(version);
    } catch (error) {
      const reason = reasonOf(error);
      // Who has not even reached the server has asked for nothing.
      throw isRefusal(error) || reason.includes('ECONNREFUSED') ? new Refused(reason) : new Error(reason);
    }
  }

  async #change(folder: Folder): Promise<void> {
    const changes = `rm -f random-*; mkdir -p sub/empty; date +%N > sub/now; ln -sf now sub/link; head -c ${this.#options.freshKb()}K /dev/urandom > random-$RANDOM`;
    await this.#system.onNode(`mkdir -p ${folder.path}; cd ${folder.path}; ${changes}`);
    folder.now = await this.#system.listed(folder.path);
  }

  async #task({ path }: Folder): Promise<StatusTask & { dueInMs: number }> {
    const { tasks, nowMs } = await this.#system.look();
    const task = tasks.find((each) => each.path === path)!;
    return { ...task, dueInMs: task.dueMs - nowMs };
  }

  /** Resolves when it is backed up, and nothing is under way or about to be. */
  async #idle(folder: Folder): Promise<void> {
    const probe = async (): Promise<true> => {
      const { current, failures, last, dueInMs } = await this.#task(folder);
      if (current === undefined && failures === 0 && dueInMs > changeMs) return true;
      throw new Error(`${folder.path} is not backed up: ${failures > 0 ? last?.reason : 'it is under way'}`);
    };
    await eventually(probe, { timeoutMs: patienceMs, intervalMs: 20 });
  }

  async check(): Promise<void> {
    const folders = [...this.#folders.values()].filter(({ isRegistered }) => isRegistered);
    for (const folder of folders) {
      const { failures, dueInMs } = await this.#task(folder);
      // It is tried again by itself; but after many failures later than anybody waits.
      if (failures > 0 && dueInMs > patienceMs) await this.#backUp(folder);
      await this.#idle(folder);
      if (folder.isUnsure) await this.#backUp(folder);
    }
    for (const promised of this.promises) promised.anew();
    const all = await this.#system.list();
    for (const folder of folders) {
      const versions = all.filter(({ path }) => path === folder.path);
      await this.#checkVersions(folder, versions);
    }
  }

  async #checkVersions(folder: Folder, versions: readonly ListedVersion[]): Promise<void> {
    let newest: string | undefined;
    for (const listed of versions) {
      newest = listed.state === 'whole' ? await this.#restored(listed) : undefined;
      if (newest === undefined) await this.#checkDamaged(listed);
      else if (folder.statesOf(listed.version).includes(newest)) this.#whole.holds();
      else this.#whole.breaks(`${named(listed)} is not what the node had`);
    }
    const last = versions.at(-1);
    if (last !== undefined && (newest === undefined || newest === folder.newest)) this.#made.holds();
    else
      this.#made.breaks(last ? `${named(last)} is the newest, and is of an older state` : `nothing of ${folder.path} is listed`);
  }

  /** Nothing, where the server refuses to restore it. */
  async #restored({ path, version }: ListedVersion): Promise<string | undefined> {
    try {
      return await this.#system.restored(path, version);
    } catch (error) {
      if (isRefusal(error)) return undefined;
      throw error;
    }
  }

  /** What a disk has lost is found when it is read. */
  async #checkDamaged(refused: ListedVersion): Promise<void> {
    const isSame = ({ path, version }: ListedVersion): boolean => path === refused.path && version === refused.version;
    const now = (await this.#system.list()).find(isSame);
    if (now?.state === 'whole') this.#whole.breaks(`${named(refused)} is refused`);
    else if (now?.state === 'lost' || now?.damagedFiles.length) this.#damaged.holds();
    else this.#damaged.breaks(`${named(refused)} is damaged, and no file is named`);
  }

  /** Takes its folders away. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const { path, isRegistered } of this.#folders.values())
      if (isRegistered) await this.#system.admin('unregister', '--node', 'node-1', '--path', path, '--forget');
    await this.#system.onNode(`rm -rf load-${this.#run}`);
  }
}

const named = ({ path, version }: ListedVersion): string => `version ${version} of ${path}`;

/** It cannot be done; other codes say that it may have been done, or that nobody answered. */
const isRefusal = (error: unknown): boolean => (error as { code?: unknown }).code === exitCodes.failed;

/** The last that the command said. */
function reasonOf(error: unknown): string {
  const { stderr = '', message } = error as { stderr?: string; message: string };
  return stderr.trim().split('\n').at(-1) || message;
}

if (import.meta.main) {
  const directory = join(import.meta.dirname, '..');
  const open = async ({ project, port }: RunningSystem): Promise<BackupLoad> => {
    const folder = join(directory, 'tmp/load');
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    const env = { COMPOSE_PROJECT_NAME: project, LAB_PORT: String(port) };
    return new BackupLoad(new BackupComposeSystem(env, folder, keyFile), { freshKb: () => 256, keep: 5 });
  };
  const operation = 'changes 256 KiB of a folder on node-1 and has it backed up';
  process.exit(await loadProgram({ directory, operation, rate: 1, clients: 2, open }, process));
}
