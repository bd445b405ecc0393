/**
 * Server, nodes manager, requester and a node in this process, with what the simulation leaves out: TLS, files, and the admin's
 * commands.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeMemoryServer, QueueLockedError, type Broker, type MemoryServer } from '@lab/middleware';
import { exitCodes, silentLogger, systemClock, type Role } from '@lab/process';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { freePort } from '@lab/testing';
import { adminCommands } from '../src/admin/commands.ts';
import { makeKey, writeKey } from '../src/channel/keys.ts';
import { makeNode, makeRoles } from '../src/hosts.ts';
import type { ListedVersion } from '../src/roles/store-commands.ts';
import { queueOf } from '../src/topology.ts';

const path = 'papers';
const master = makeKey();
let folder: string;
let server: string;
let running: Role[];
let memory: MemoryServer;

const freeAddress = async (): Promise<string> => `127.0.0.1:${await freePort()}`;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'backup-system-'));
  writeKey(join(folder, 'key'), master);
  await mkdir(join(folder, 'root', path), { recursive: true });
  await writeFile(join(folder, 'root', path, 'one'), 'the first\n');
  const [listen, node] = [await freeAddress(), await freeAddress()];
  server = listen;
  const settings = { store: join(folder, 'store'), listen, scrubCycle: 1e9, sweepInterval: 1e9 };
  memory = makeMemoryServer();
  const host = { log: silentLogger, clock: systemClock, nowMs: Date.now, newId: randomUUID };
  const connect = (): Promise<Broker> => Promise.resolve(memory.connect());
  running = [
    makeNode({ name: 'desk', listen: node, root: join(folder, 'root'), cache: undefined }, makeKey(master, 'node-desk'), host),
    makeRoles(['backup-requester', 'nodes-manager', 'server'], {
      ...host,
      settings,
      master,
      connect,
      end: () => {},
    }),
  ];
  for (const role of running) await role.start();
  await admin('register', '--node', 'desk', '--address', node, '--path', path, '--every', '1h');
  await admin('backup', '--node', 'desk', '--path', path);
});

afterEach(async () => {
  for (const role of running.reverse()) await role.stop();
  await rm(folder, { recursive: true, force: true });
});

async function admin(name: string, ...args: readonly string[]): Promise<unknown> {
  let out = '';
  const command = adminCommands((text) => void (out += text)).commands![name]!;
  await command.run({
    args: ['--server', server, ...(args.includes('--key-file') ? [] : ['--key-file', join(folder, 'key')]), '--json', ...args],
    env: {},
  });
  return JSON.parse(out);
}

it('has no node on a root that is not there: wrong usage', () => {
  const host = { log: silentLogger, clock: systemClock };
  const node = { name: 'desk', listen: '127.0.0.1:0', root: join(folder, 'nowhere'), cache: undefined };
  expect(() => makeNode(node, master, host)).toThrow(expect.objectContaining({ name: 'ExitError', exitCode: exitCodes.usage }));
});

it.each([queueOf.commands, queueOf.outcomes, queueOf.due])('fails, and says why, when %s is lost', async (queue) => {
  await memory.connect().remove({ queue });
  await expect(running.at(-1)!.failed).rejects.toThrow(queue);
});

it('has one nodes manager, and a backup sends what has changed', async () => {
  await expect(memory.connect().consume(queueOf.commands, () => {}, { prefetch: 1 })).rejects.toThrow(QueueLockedError);
  await writeFile(join(folder, 'root', path, 'two'), 'the second\n');
  expect(await admin('backup', '--node', 'desk', '--path', path)).toMatchObject({ outcome: 'version', sentBytes: 11 });
});

const list = async (): Promise<ListedVersion[]> => (await admin('list')) as ListedVersion[];

/** Flips the last byte of every pack: content or manifest, whatever is last there. */
async function spoilPacks(): Promise<void> {
  const packs = join(folder, 'store', 'packs');
  for (const name of await readdir(packs)) {
    if (!name.endsWith('.pack')) continue;
    const bytes = await readFile(join(packs, name));
    const file = await open(join(packs, name), 'r+');
    await file.write(Buffer.of(bytes.at(-1)! ^ 1), 0, 1, bytes.length - 1);
    await file.close();
  }
}

it('a damaged manifest is found, named, and brought again by the next backup of a tree that has not changed', async () => {
  await spoilPacks();
  await expect(admin('verify')).rejects.toThrow('damaged');
  expect(await list()).toMatchObject([{ version: 1, state: 'damaged' }]);
  await expect(admin('restore', '--node', 'desk', '--path', path, '--to', join(folder, 'no'))).rejects.toThrow('damaged');
  await admin('backup', '--node', 'desk', '--path', path);
  expect((await list()).at(-1)).toMatchObject({ state: 'whole' });
  await admin('restore', '--node', 'desk', '--path', path, '--to', join(folder, 'out'));
  expect(await readFile(join(folder, 'out', 'one'), 'utf8')).toBe('the first\n');
});

it('the key of a node opens no command; that of an admin does', async () => {
  const tree = ['--node', 'desk', '--path', path];
  const commands = [
    ['register', ...tree, '--address', 'localhost:1', '--every', '1d'],
    ...[
      ['backup', ...tree],
      ['query', ...tree, '--save-to', join(folder, 'x.tgz')],
      ['restore', ...tree, '--to', join(folder, 'x')],
    ],
    ...[['list'], ['verify'], ['status'], ['unregister', ...tree, '--forget'], ['shutdown']],
  ];
  for (const identity of ['node-desk', 'admin-ana']) writeKey(join(folder, identity), makeKey(master, identity));
  for (const [command, ...args] of commands)
    await expect(admin(command!, ...args, '--key-file', join(folder, 'node-desk')), command).rejects.toThrow(
      'no key for this name',
    );
  expect(await admin('list', '--key-file', join(folder, 'admin-ana'))).toHaveLength(1);
});
