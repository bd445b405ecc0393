/** What every command says where the disk has lost something: the same. */
import { mkdir, readdir, rename } from 'node:fs/promises';
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
