/** What is answered is there when a server or worker was killed, or all machines lost their power, after any call to the disk. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { searchCrashes } from '@lab/store/crash-search';
import type { FakeDisk } from '@lab/store/fake-disk';
import { makeMutant, seededRandom } from '@lab/testing';
import { expect, it } from 'vitest';
import type { Upload } from '../src/domain/catalog.ts';
import type { Result } from '../src/messages.ts';
import { PictureStore } from '../src/store/picture-store.ts';
import { collect } from './collect.ts';

const folder = '/store';
const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const bytesOf = (id: string): Buffer => Buffer.from(`the picture ${id}`);
const uploadOf = (id: string): Upload => ({
  ...{ id, fileName: 'a.jpg', bytes: bytesOf(id).length, sha256: sha256Of(bytesOf(id)), keywords: ['lake'] },
  ...{ mediaType: 'image/jpeg', width: 4, height: 3, uploadedMs: 5 },
});
/** Two of one shelf, and one of another. */
const [first, second, third] = ['abcdefghijklmnopqr27', 'abcdefghijklmnopqr26', 'bbcdefghijklmnopqr27'] as const;

/** What was answered: uploads and, in the order of `results`, results. */
interface Answered {
  uploads: string[];
  results: [id: string, Result][];
}

/** Goes on from what is stored, as a server does; appends up to `to` in two pieces. */
async function begin(store: PictureStore, id: string, to = Infinity) {
  const bytes = bytesOf(id).subarray(0, to);
  const partial = await store.resume(id, uploadOf(id));
  for await (const taken of partial.takeOver()) void taken;
  const middle = (partial.bytes + bytes.length) >> 1;
  for (const piece of [bytes.subarray(partial.bytes, middle), bytes.subarray(middle)]) await partial.append(piece);
  return partial;
}

/** What a server does until it answers; a client whose bytes were damaged sends them again. */
async function put(store: PictureStore, id: string): Promise<void> {
  if ((await store.stored(id)) !== undefined) return store.sync(id);
  const partial = await begin(store, id);
  const isRight = (await partial.digest()) === uploadOf(id).sha256;
  await (isRight ? partial.commit(uploadOf(id)) : partial.erase());
  await partial.close();
  if (!isRight) await put(store, id);
}

/** What a worker does until it acknowledges. */
function tag(store: PictureStore, disk: FakeDisk, id: string, text = 'tagged'): Promise<Result> {
  const make = async (input: string, output: string): Promise<{ bytes: number; sha256: string }> => {
    const made = Buffer.concat([await disk.readFile(input), Buffer.from(text)]);
    await disk.writeFile(output, made);
    return { bytes: made.length, sha256: sha256Of(made) };
  };
  return store.makeResult(id, 'jpg', make, () => undefined);
}

/** As a process has it that is killed when it would remove something, as it does between the link of a result and its sync. */
const withoutRemoving = (disk: FakeDisk): FakeDisk =>
  new Proxy(disk, {
    get: (_, name) =>
      name === 'rm' ? () => new Promise(() => {}) : (Reflect.get(disk, name, disk) as (...args: unknown[]) => unknown).bind(disk),
  });

/** Everything that is done to the folder. */
const lifeOf =
  (Store: typeof PictureStore) =>
  async (disk: FakeDisk, promise: (now: Answered) => void): Promise<void> => {
    const answered: Answered = { uploads: [], results: [] };
    const answer = (now: Partial<Answered>): void => promise(structuredClone(Object.assign(answered, now)));
    answer({});
    const store = await Store.open(folder, disk);
    await (await begin(store, first, 10)).close();
    await put(store, first);
    answer({ uploads: [first] });
    const other = await Store.open(folder, disk);
    await Promise.all([put(store, second), put(other, second)]);
    answer({ uploads: [first, second] });
    const killed = await Store.open(folder, withoutRemoving(disk));
    void tag(killed, disk, first, 'of one that is killed');
    let found: Result | undefined;
    while (found === undefined) found = await other.result(first);
    // A worker that finds a result acknowledges it.
    answer({ results: [[first, found]] });
    const results = await Promise.all([tag(store, disk, first, 'one'), tag(other, disk, first, 'two')]);
    answer({ results: [[first, results[0]]] });
    answer({
      results: [
        [first, results[0]],
        [second, await store.fail(second, 'too large')],
      ],
    });
    await (await begin(store, third, 10)).close();
    const wrong = await begin(store, third);
    await wrong.erase();
    await wrong.close();
    await (await begin(store, third, 10)).close();
    await store.eraseAbandoned(Infinity);
    await put(store, third);
    answer({ uploads: [first, second, third] });
  };

/** All that was answered is there, what else is there is whole, and the client and the workers come to their end, for good. */
const checkWith =
  (Store: typeof PictureStore) =>
  async (left: FakeDisk, promise: Answered): Promise<void> => {
    const store = await Store.open(folder, left);
    await expectWhole(store, left, promise);
    const results: [string, Result][] = [];
    for (const id of [first, second, third]) {
      await put(store, id);
      results.push([id, await tag(store, left, id)]);
    }
    for (const after of left.crashStates(1, seededRandom(1)))
      await expectWhole(await Store.open(folder, after), after, { uploads: [first, second, third], results });
  };

async function expectWhole(store: PictureStore, disk: FakeDisk, { uploads, results }: Answered): Promise<void> {
  expect(await collect(store.ids())).toEqual(expect.arrayContaining(uploads));
  for (const id of uploads) expect(await store.stored(id), id).toEqual(uploadOf(id));
  for (const [id, result] of results) expect(await store.result(id), id).toEqual(result);
  for await (const id of store.ids()) {
    if ((await store.stored(id)) === undefined) continue;
    expect(Buffer.concat(await collect(store.read(store.originalPath(id), 0))), id).toEqual(bytesOf(id));
    const result = await store.result(id);
    if (result !== undefined && 'tagged' in result)
      expect(sha256Of(await disk.readFile(store.taggedPath(id, result.tagged.name))), id).toBe(result.tagged.sha256);
  }
}

const search = (Store: typeof PictureStore, namesSyncedBy: 'folder' | 'file'): Promise<number> =>
  searchCrashes(lifeOf(Store), checkWith(Store), { namesSyncedBy, statesMax: 16 });

it.each(['folder', 'file'] as const)('leaves what was answered, where a sync of the %s keeps a name', async (namesSyncedBy) => {
  expect(await search(PictureStore, namesSyncedBy)).toBeGreaterThan(400);
});

const removed: [sync: string, wrong: string, namesSyncedBy: 'folder' | 'file'][] = [
  ['await makeFolder(each, disk);', 'await disk.mkdir(each, { recursive: true });', 'folder'],
  ['    await this.#handle.sync();\n', '', 'folder'],
  ['  await sync(dirname(shelf), disk);\n', '', 'folder'],
  ['  await sync(shelf, disk);\n', '', 'folder'],
  ["  await sync(join(folder, 'upload.json'), disk);\n", '', 'file'],
  ['    await syncPicture(this.#folderOf(id), this.#disk);\n', '', 'folder'],
  ['      await syncName(output, this.#disk);\n', '', 'folder'],
  ['    await syncName(path, this.#disk);\n', '', 'folder'],
];
it.each(removed)('takes something without %j', async (right, wrong, namesSyncedBy) => {
  const file = 'store/picture-store.ts';
  using mutant = makeMutant(join(import.meta.dirname, '../src'), { file, right, wrong });
  const { PictureStore: Mutant } = (await mutant.import(file)) as { PictureStore: typeof PictureStore };
  await expect(search(Mutant, namesSyncedBy)).rejects.toThrow(/after call \d+/);
});
