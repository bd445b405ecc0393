/** What every command says where the disk has lost something: the same. */
import { mkdir, readdir, readFile, rename, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { StatusResult } from '../src/roles/server.ts';
import type { ListedVersion } from '../src/roles/store-commands.ts';
import { path, RealSystem, tree } from './real-system.ts';

it.each([['.pack'], ['.pack', '.index']])(
  'packs whose %s are gone are damage at once, and healed by the next backup',
  async (...kinds) => {
    await using system = await RealSystem.start();
    const packs = join(system.store, 'packs');
    const elsewhere = join(system.folder, 'elsewhere');
    await mkdir(elsewhere);
    for (const name of await readdir(packs))
      if (kinds.some((kind) => name.endsWith(kind))) await rename(join(packs, name), join(elsewhere, name));
    expect((await system.admin('list')) as ListedVersion[]).toMatchObject([{ state: 'damaged' }]);
    expect(((await system.admin('status')) as StatusResult).store.damaged).toMatchObject([{ node: 'desk', path, versions: 1 }]);
    await expect(system.said('verify')).rejects.toMatchObject({ exitCode: 1 });
    await expect(system.said('restore', ...tree, '--to', join(system.folder, 'one'))).rejects.toMatchObject({ exitCode: 1 });
    await system.stopServer();
    await system.startServer();
    expect((await system.admin('list')) as ListedVersion[]).toMatchObject([{ state: 'damaged' }]);
    await system.backUp();
    await expect
      .poll(async () => (await system.admin('list')) as ListedVersion[], { timeout: 20_000 })
      .toSatisfy((listed: ListedVersion[]) => listed.at(-1)!.state === 'whole');
    await system.said('restore', ...tree, '--to', join(system.folder, 'two'));
  },
);

it.each<[what: string, harm: (pack: string) => Promise<void>]>([
  ['has nothing left', (pack) => truncate(pack, 0)],
  ['ends within a header', (pack) => truncate(pack, 20)],
  ['is a folder', async (pack) => void (await rm(pack), await mkdir(pack))],
])('a pack that %s is damage that a restore finds, names and tells; the rest is restored', async (_, harm) => {
  await using system = await RealSystem.start();
  const packs = join(system.store, 'packs');
  const packsNow = async (): Promise<string[]> => (await readdir(packs)).filter((name) => name.endsWith('.pack'));
  const before = await packsNow();
  await system.write('other', 'in a pack of its own\n');
  await system.backUp();
  await expect.poll(async () => ((await system.admin('list')) as unknown[]).length, { timeout: 20_000 }).toBe(2);
  for (const name of before) await harm(join(packs, name));
  const to = join(system.folder, 'to');
  await expect(system.said('restore', ...tree, '--to', to)).rejects.toMatchObject({
    exitCode: 1,
    message: expect.stringContaining('the store has damage') as string,
  });
  expect((await system.admin('list')) as ListedVersion[]).toMatchObject([{ version: 1 }, { version: 2, state: 'damaged' }]);
  await expect(system.said('restore', ...tree, '--to', to, '--partial')).rejects.toMatchObject({ exitCode: 1 });
  expect(await readFile(join(to, 'other'), 'utf8')).toBe('in a pack of its own\n');
});

it('a small change makes one pack, of content and manifest', async () => {
  await using system = await RealSystem.start();
  const packs = async (): Promise<number> =>
    (await readdir(join(system.store, 'packs'))).filter((name) => name.endsWith('.pack')).length;
  expect(await packs()).toBe(1);
  await system.write('one', 'and the second\n');
  await system.backUp();
  await expect.poll(async () => ((await system.admin('list')) as unknown[]).length, { timeout: 20_000 }).toBe(2);
  expect(await packs()).toBe(2);
});
