/** What the simulation leaves out: TLS, files, and the admin's commands. */
import { randomUUID } from 'node:crypto';
import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { QueueLockedError } from '@lab/middleware';
import { exitCodes, silentLogger, splitAddress, systemClock } from '@lab/process';
import { eventually } from '@lab/testing';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { connectChannel } from '../src/channel/channel.ts';
import { keyFor, makeKey, writeKey } from '../src/channel/keys.ts';
import { makeNode } from '../src/hosts.ts';
import { encode } from '../src/messages.ts';
import type { ListedVersion } from '../src/roles/store-commands.ts';
import { queueOf } from '../src/topology.ts';
import { master, path, RealSystem, tree } from './real-system.ts';

let system: RealSystem;
beforeEach(async () => void (system = await RealSystem.start()));
afterEach(() => system[Symbol.asyncDispose]());

it('has no node on a root that is not there: wrong usage', () => {
  const host = { log: silentLogger, clock: systemClock };
  const node = { name: 'desk', listen: '127.0.0.1:0', root: join(system.folder, 'nowhere'), cache: join(system.folder, 'cache') };
  expect(() => makeNode(node, master, host)).toThrow(expect.objectContaining({ name: 'ExitError', exitCode: exitCodes.usage }));
});

it.each([queueOf.commands, queueOf.outcomes, queueOf.due, queueOf.replies(''), queueOf.orders('')])(
  'fails, and says why, when %s is lost',
  async (queue) => {
    // Some are of one process, by its id.
    const ids = queue.endsWith('.') ? system.ids : [''];
    for (const id of ids) await system.memory.connect().remove({ queue: `${queue}${id}` });
    await expect(system.roles.failed).rejects.toThrow(queue);
  },
);

it('has one nodes manager, and a backup sends what has changed', async () => {
  await expect(system.memory.connect().consume(queueOf.commands, () => {}, { prefetch: 1 })).rejects.toThrow(QueueLockedError);
  await system.write('two', 'the second\n');
  expect(await system.backUp()).toMatchObject({ outcome: 'version', sentBytes: 11 });
});

const list = async (): Promise<ListedVersion[]> => (await system.admin('list')) as ListedVersion[];

/** Flips the last byte of every pack: content or manifest, whatever is last there. */
async function spoilPacks(): Promise<void> {
  const packs = join(system.folder, 'store', 'packs');
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
  const logged = vi.spyOn(silentLogger, 'error');
  await expect(system.admin('verify')).rejects.toThrow('damaged');
  const what = expect.stringMatching(/^blob [0-9a-f]{64} in packs.*\.pack is damaged, or gone$/) as string;
  expect(logged).toHaveBeenCalledWith({ what }, 'damage found');
  expect(await list()).toMatchObject([{ version: 1, state: 'damaged' }]);
  await expect(system.admin('restore', ...tree, '--to', join(system.folder, 'no'))).rejects.toThrow('damaged');
  await system.backUp();
  expect((await list()).at(-1)).toMatchObject({ state: 'whole' });
  await system.admin('restore', ...tree, '--to', join(system.folder, 'out'));
  expect(await readFile(join(system.folder, 'out', 'one'), 'utf8')).toBe('the first\n');
});

it('the key of a node opens no command; that of an admin does', async () => {
  const commands = [
    ['register', ...tree, '--address', system.node, '--every', '1d'],
    ...[
      ['backup', ...tree],
      ['query', ...tree, '--save-to', join(system.folder, 'x.tgz')],
      ['restore', ...tree, '--to', join(system.folder, 'x')],
    ],
    ['files', ...tree],
    ['diff', ...tree, '1', '1'],
    ['forget', ...tree, '--version', '1'],
    ...[['list'], ['verify'], ['status'], ['unregister', ...tree, '--forget'], ['shutdown']],
  ];
  for (const identity of ['node-desk', 'admin-ana']) writeKey(join(system.folder, identity), makeKey(master, identity));
  for (const [command, ...args] of commands)
    await expect(system.admin(command!, ...args, '--key-file', join(system.folder, 'node-desk')), command).rejects.toThrow(
      'no key for this name',
    );
  for (const [command, ...args] of commands)
    await system.admin(command!, ...args, '--key-file', join(system.folder, 'admin-ana'));
  expect(await list()).toEqual([]);
});

it('a node serves nobody who has the key of another', async () => {
  const asking = (identity: string, key = keyFor(master, identity)): Promise<unknown> =>
    connectChannel({ ...splitAddress(system.node), identity, key });
  for (const identity of ['admin-ana', 'node-lap']) await expect(asking(identity)).rejects.toThrow('no key for this name');
  await expect(asking('node-desk', keyFor(master, 'node-lap'))).rejects.toThrow('wrong key');
});

it('who may publish on the broker has versions removed', async () => {
  await system.write('two', 'the second\n');
  await system.backUp();
  const due = { kind: 'due', attempt: randomUUID(), node: 'desk', address: system.node, path, every: '1h', keep: 1 } as const;
  await system.memory.connect().publish({ routingKey: queueOf.due, body: encode(due) });
  await eventually(async () => expect(await list()).toMatchObject([{ version: 2 }]));
});
