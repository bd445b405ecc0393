/**
 * The whole system in one process: three nodes with changing content, a server, a nodes manager and two requesters on the
 * memory broker. Versions are made, one is restored over the wire and compared with what the node has, and one is saved as a
 * .tgz.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { makeMemoryServer, type Broker } from '@lab/middleware';
import { traced } from '@lab/middleware/traced';
import { ExitError, interruptible, makeLogger, systemClock, type ConfigSource, type Role } from '@lab/process';
import { Lives, type Life } from '@lab/process/lives';
import type { DemoPage } from '@lab/watch/demo';
import { adminConfigs, type DemoConfig } from './config.ts';
import { adminCommands } from './admin/commands.ts';
import { makeKey, writeKey } from './channel/keys.ts';
import { describeMessage } from './message-words.ts';
import { makeContentCreator, makeNode, makeRoles, type ServingRole } from './hosts.ts';

const nodeNames = ['node-1', 'node-2', 'node-3'];
const path = 'notes';

export async function demo({ seconds, watch }: DemoConfig): Promise<void> {
  await using page = watch ? await (await import('@lab/watch/demo')).openDemoPage('backup-server') : undefined;
  await interruptible(async (interrupted) => {
    const folder = await mkdtemp(join(tmpdir(), 'backup-demo-'));
    const system = new DemoSystem(folder, interrupted, page);
    try {
      await system.start();
      await tellStory({ system, folder, seconds, page, interrupted });
    } finally {
      await system.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });
  await page?.keep();
}

interface StoryParts {
  readonly system: DemoSystem;
  readonly folder: string;
  readonly seconds: number;
  readonly page: DemoPage | undefined;
  readonly interrupted: AbortSignal;
}

async function tellStory({ system, folder, seconds, page, interrupted }: StoryParts): Promise<void> {
  for (const [index, name] of nodeNames.entries())
    await system.admin(
      'register',
      '--node',
      name,
      '--address',
      system.addressOf(name),
      '--path',
      path,
      '--every',
      `${index + 1}s`,
      '--keep',
      '5',
    );
  console.log(`content changes for ${seconds} s, a line a second`);
  await pause(seconds * 1000, undefined, { signal: interrupted });
  await page?.goOn('content changes and is backed up; then one more backup is made of each node, and restored', { interrupted });
  await page?.endFaults();
  await system.stopWriting();
  for (const name of nodeNames) await system.admin('backup', '--node', name, '--path', path);
  await system.admin('list');
  const [name] = nodeNames;
  const [restored, archive] = [join(folder, 'restored'), join(folder, `${name}.tgz`)];
  await system.admin('restore', '--node', name!, '--path', path, '--to', restored);
  await system.admin('query', '--node', name!, '--path', path, '--save-to', archive);
  await system.admin('verify');
  const differences = await compareFolders(join(system.rootOf(name!), path), restored);
  if (differences.length > 0) throw new ExitError(`the restored folder differs:\n${differences.join('\n')}`);
  console.log(`Checked: the restored folder is, byte for byte, the one that ${name} has.`);
}

/** Server, nodes manager, two requesters, three nodes and their content creators. */
class DemoSystem {
  readonly #folder: string;
  readonly #interrupted: AbortSignal;
  readonly #page: DemoPage | undefined;
  readonly #lives: Lives;
  readonly #writers: Role[] = [];
  /** Where who serves is at its first start: its next lives are there, too. */
  readonly #ports = new Map<string, number>();

  constructor(folder: string, interrupted: AbortSignal, page?: DemoPage) {
    this.#folder = folder;
    this.#interrupted = interrupted;
    this.#page = page;
    this.#lives = new Lives(page);
  }

  rootOf(name: string): string {
    return join(this.#folder, name);
  }

  addressOf(name: string): string {
    return `127.0.0.1:${this.#ports.get(name) ?? 0}`;
  }

  get #keyFile(): string {
    return join(this.#folder, 'key');
  }

  async start(): Promise<void> {
    const log = makeLogger({ name: 'demo', level: 'warn' });
    const host = { log, clock: systemClock, nowMs: Date.now, newId: randomUUID };
    const master = makeKey();
    writeKey(this.#keyFile, master);
    for (const name of nodeNames) {
      const root = this.rootOf(name);
      await makeContent(root);
      const cache = join(this.#folder, `${name}.cache`);
      const key = makeKey(master, `node-${name}`);
      const make = (): ServingRole => makeNode({ name, listen: this.addressOf(name), root, cache }, key, host);
      await this.#lives.begin(name, () => this.#servingAt(name, make()));
      const writer = makeContentCreator({ name: `creator of ${name}`, file: join(root, path, 'log.txt'), interval: 1000 }, host);
      await writer.start();
      this.#writers.push(writer);
    }
    const memory = makeMemoryServer();
    const times = { scrubCycle: 7 * 86_400_000, sweepInterval: 600_000 };
    for (const name of ['backup-requester-1', 'backup-requester-2', 'nodes-manager', 'server'])
      await this.#lives.begin(name, () => {
        const broker = memory.connect();
        const connect = async (): Promise<Broker> => traced(broker, this.#page?.tracer(name), describeMessage);
        const settings = { ...times, store: join(this.#folder, 'store'), listen: this.addressOf(name) };
        const role = makeRoles([name.replace(/-\d$/, '')], { ...host, settings, master, connect, end: () => {} });
        const kill = (): Promise<void> => {
          memory.kill(broker);
          return role.stop();
        };
        return { ...this.#servingAt(name, role), kill };
      });
    console.log(`a server, a nodes manager, 2 backup requesters and ${nodeNames.length} nodes are running in this process`);
  }

  #servingAt(name: string, role: ServingRole): Life {
    return { role, started: () => void this.#ports.set(name, role.port) };
  }

  async stopWriting(): Promise<void> {
    for (const writer of this.#writers.splice(0)) await writer.stop();
  }

  async stop(): Promise<void> {
    await this.stopWriting();
    await this.#lives.stop();
  }

  /** An admin's command, as it would be typed; none after an interruption. */
  async admin(name: keyof typeof adminConfigs | 'list' | 'verify', ...args: readonly string[]): Promise<void> {
    this.#interrupted.throwIfAborted();
    const { [name]: command } = adminCommands((text) => void process.stdout.write(text)).commands!;
    const all = ['--server', this.addressOf('server'), '--key-file', this.#keyFile, ...args];
    await command!.run({ args: all, env: {} } satisfies ConfigSource);
  }
}

/** Something of each kind: text, a larger file, an empty folder, a link, and names that need care. */
async function makeContent(root: string): Promise<void> {
  const folder = join(root, path);
  await mkdir(join(folder, 'drafts', 'empty'), { recursive: true });
  await writeFile(join(folder, 'shared by all.txt'), 'the same on every node, and stored once\n'.repeat(10_000));
  await writeFile(join(folder, 'drafts', '2026-11 – größer.bin'), randomBytes(3_000_000));
  await writeFile(Buffer.concat([Buffer.from(`${folder}/no-utf8-`), Buffer.from([0xe9])]), randomUUID());
  await writeFile(join(folder, 'run.sh'), '#!/bin/sh\n', { mode: 0o755 });
  await symlink('../shared by all.txt', join(folder, 'drafts', 'link'));
}

/** How two folders differ, in names, types, modes and bytes. */
async function compareFolders(expected: string, actual: string): Promise<string[]> {
  const [one, other] = [await contentsOf(expected), await contentsOf(actual)];
  return [...new Set([...one.keys(), ...other.keys()])]
    .filter((name) => one.get(name) !== other.get(name))
    .map((name) => `${basename(expected)}/${name}`);
}

async function contentsOf(folder: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  // latin1 gives every byte a character, and takes it back.
  const visit = async (below: string): Promise<void> => {
    const at = Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(below, 'latin1')]);
    for (const entry of await readdir(at, { withFileTypes: true, encoding: 'latin1' })) {
      const name = `${below}${entry.name}`;
      const full = Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(name, 'latin1')]);
      if (entry.isDirectory()) {
        found.set(name, 'folder');
        await visit(`${name}/`);
      } else found.set(name, entry.isSymbolicLink() ? `-> ${await readlink(full)}` : (await readFile(full)).toString('base64'));
    }
  };
  await visit('');
  return found;
}
