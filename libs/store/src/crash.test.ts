/**
 * The promise, and what FORMAT.md says of crashes: a machine loses its power, or a process is killed, after each call to the disk, and the
 * next process opens what is left, takes it over, and goes on.
 */
import { join } from 'node:path';
import { makeMutant, seededRandom } from '@lab/testing';
import { expect, it } from 'vitest';
import {
  afterGrace,
  backUp,
  blobOf,
  keepBlobs,
  noise,
  openStore,
  readBack,
  recordOf,
  versionsIn,
  type Files,
} from '../test/small-store.ts';
import { searchCrashes } from '../test/crash-search.ts';
import { diskError, FakeDisk } from '../test/fake-disk.ts';
import type { Disk } from './disk.ts';
import * as library from './index.ts';
import { scrub, sweep } from './index.ts';
import type { Store, Version } from './index.ts';

const directory = '/store';

const [both, large] = [Buffer.from('in each of them'), noise(seededRandom(1), 1_500)];
const own = noise(seededRandom(2), 1_200);
const files = (name: string): Files =>
  new Map([
    ['both', both],
    ['large', large],
    ['own', Buffer.concat([Buffer.from(`${name}\n`), own])],
  ]);

/** All that is listed; throws where what is in it is not what was once stored. */
async function contentsOf(store: Store<Version>): Promise<string> {
  const contents: string[] = [];
  for (const version of await versionsIn(store)) {
    const found = await readBack(store, version);
    const [own] = String(found.get('own')).split('\n', 1);
    const isRight = [...files(own!)].every(([path, content]) => found.get(path)?.equals(content));
    if (!isRight) throw new Error(`${version.name} ${version.version} is not what was stored`);
    contents.push(`${version.name} ${version.version} ${own}`);
  }
  return contents.sort().join(', ');
}

interface Promised {
  /** What is listed is one of these. */
  listed: readonly string[];
  /** The number of the newest version of `b`, or of the last that was forgotten, at least. */
  newest: number;
  /** The user's record is one of these. */
  record: readonly number[];
  /** The header of a bundle may be damaged, or one half of a record. */
  isDamaged: boolean;
}

/** All that is done to a store: each step with what changes in the promise while it goes on, and when it is done. */
const lifeOf =
  ({ ownRecord, Store, scrub, sweep }: typeof library) =>
  async (disk: FakeDisk, promise: (now: Promised) => void): Promise<void> => {
    const promised: Promised = { listed: [''], newest: 0, record: [0], isDamaged: false };
    const change = (now: Partial<Promised>): void => promise({ ...Object.assign(promised, now) });
    const step = async (work: () => Promise<unknown>, during: Partial<Promised>, after: Partial<Promised>): Promise<void> => {
      disk.syncAll();
      change(during);
      await work();
      change(after);
    };
    const open = (): Promise<Store<Version>> => openStore(directory, disk, Store);
    const [one, two, three, four, five] = ['a 1 one', 'a 2 two', 'b 1 three', 'a 3 four', 'a 4 five'];
    change({});
    const store = await open();
    change({ listed: ['', one] });
    await backUp(store, 'a', files('one'));
    change({ listed: [one] });
    const record = ownRecord<number>(store, 'record');
    await record.load();
    await step(() => record.save(1), { record: [0, 1] }, { record: [1] });
    record.close();
    const oneAndTwo = `${one}, ${two}`;
    await step(() => backUp(store, 'a', files('two')), { listed: [one, oneAndTwo] }, { listed: [oneAndTwo] });
    const all = `${oneAndTwo}, ${three}`;
    await step(() => backUp(store, 'b', files('three')), { listed: [oneAndTwo, all] }, { listed: [all], newest: 1 });
    await step(() => store.forget('b'), { listed: [all, oneAndTwo] }, { listed: [oneAndTwo], newest: 2 });
    const listed = [oneAndTwo, `${oneAndTwo}, ${four}`, `${one}, ${four}`, `${two}, ${four}`, four];
    await step(() => backUp(store, 'a', files('four'), { keep: 1 }), { listed }, { listed: [four] });
    await step(() => sweep(store, afterGrace), {}, {});
    change({ isDamaged: true });
    await damageHeader(disk);
    await step(() => scrub(store, undefined), {}, { isDamaged: false });
    await step(() => store.close(), {}, {});

    await keepBlobs(await open(), files('five'));
    disk.freeLocks();
    const heir = await open();
    await step(() => backUp(heir, 'a', files('five')), { listed: [four, `${four}, ${five}`] }, { listed: [`${four}, ${five}`] });
    await heir.close();
    await moveIndexBack(disk);
    const last = await open();
    await step(() => last.forget('a'), { listed: [`${four}, ${five}`, four, five, ''] }, { listed: [''] });
    await step(() => sweep(last, afterGrace), {}, {});

    const unsynced = await openStore(directory, withoutSyncOf(packs, disk), Store);
    await keepBlobs(unsynced, files('six'));
    await recordOf(unsynced, 'a', files('six'));
    await unsynced.flush();
    const six = 'a 6 six';
    promise({ ...Object.assign(promised, { listed: ['', six] }) });
    await backUp(last, 'a', files('six'));
    change({ listed: [six] });
    await step(
      () => backUp(last, 'b', files('seven')),
      { listed: [six, `${six}, b 3 seven`] },
      { listed: [`${six}, b 3 seven`] },
    );
    disk.bytesMax = disk.usedBytes();
    const during = { listed: [`${six}, b 3 seven`, six], isDamaged: true };
    await step(() => last.forget('b'), during, { listed: [six], newest: 4, isDamaged: false });
    await step(() => sweep(last, afterGrace), {}, {});
    disk.bytesMax = Infinity;
  };

/** As it is for a process that is stopped before it syncs a folder. */
const withoutSyncOf = (folder: string, disk: FakeDisk): Disk =>
  new Proxy<Disk>(disk, {
    get: (target, name: keyof Disk) =>
      name === 'open'
        ? async (path: string, flags: 'r') => {
            const file = await target.open(path, flags);
            return path === folder ? { ...file, sync: () => Promise.resolve() } : file;
          }
        : target[name].bind(target),
  });

const packs = join(directory, 'packs');

async function damageHeader(disk: FakeDisk): Promise<void> {
  const pack = (await disk.readdir(packs)).find((name) => name.endsWith('.pack'))!;
  const file = await disk.open(join(packs, pack), 'r+');
  await file.write(Buffer.from('damaged'), 0, 7, 8);
  await file.close();
}

/** As a writer leaves it that died when it had moved a pack, and not yet its index. */
async function moveIndexBack(disk: FakeDisk): Promise<void> {
  const folder = join(directory, 'incoming', 'dead');
  await disk.mkdir(folder);
  await disk.writeFile(join(folder, 'lock'), '');
  disk.syncAll();
  const index = (await disk.readdir(packs)).find((name) => name.endsWith('.index'))!;
  await disk.rename(join(packs, index), join(folder, index));
}

/** What is left can be opened, is what was promised, is sound, and goes on: what is stored next is there after one more power cut. */
const checkWith =
  ({ ownRecord, Store, scrub, sweep }: typeof library) =>
  async (left: FakeDisk, { listed, newest, record, isDamaged }: Promised): Promise<void> => {
    const store = await openStore(directory, left, Store);
    const contents = await contentsOf(store);
    expect(listed).toContain(contents);
    expect((await store.newest('b')).number).toBeGreaterThanOrEqual(newest);
    expect(record).toContain((await ownRecord(store, 'record').load()) ?? 0);
    const { findings } = await scrub(store, undefined);
    // A pack whose index was removed already gets one again.
    expect(findings.filter(({ what }) => what !== 'index' && !(isDamaged && ['header', 'record'].includes(what)))).toEqual([]);
    await sweep(store, afterGrace);
    expect((await scrub(store, undefined)).findings).toEqual([]);
    expect(await contentsOf(store)).toEqual(contents);
    expect(await leftBehind(left)).toEqual([]);
    const number = await backUp(store, 'z', files('next'));
    const later = listed.map((each) => `${each}, z ${number} next`.replace(/^, /, ''));
    for (const after of left.crashStates(1, seededRandom(1)))
      expect(later).toContain(await contentsOf(await openStore(directory, after, Store)));
  };

/** Packs and indexes of dead writers that nobody will ever take over. */
async function leftBehind(disk: FakeDisk): Promise<string[]> {
  const incoming = join(directory, 'incoming');
  const writers = await disk.readdir(incoming);
  const names = await Promise.all(writers.map((writer) => disk.readdir(join(incoming, writer))));
  return names.flat().filter((name) => name !== 'lock');
}

const search = (of: typeof library): Promise<number> => searchCrashes(lifeOf(of), checkWith(of), { statesMax: 8 });

it('leaves what was promised, wherever it ends', async () => {
  expect(await search(library)).toBeGreaterThan(400);
});

/** Of every sync that there is, but for the one before marks go: only damage would show that. */
const removed: [file: string, sync: string, wrong?: string][] = [
  ['pack-writer.ts', '      await pack.file.sync();\n'],
  ['pack-writer.ts', '    await sync(this.#packs, this.#disk);\n  }\n\n  async #salvage(', '  }\n\n  async #salvage('],
  ['store.ts', '      await sync(folder, this.disk);\n      // From', '      // From'],
  ['store.ts', '    await sync(this.#versions, this.disk);\n'],
  ['durable.ts', 'writeFile(bytes);\n    await file.sync();\n', 'writeFile(bytes);\n'],
  ['durable.ts', '  await sync(dirname(path), disk);\n'],
  ['durable.ts', 'await sync(dirname(at), disk)', 'await Promise.resolve()'],
  ['store.ts', '    await sync(this.directory, this.disk);\n'],
  ['store.ts', '      if (doomed.length > 0) await sync(folder, this.disk);\n'],
  ['pack-writer.ts', '    await sync(this.#folder, this.#disk);\n'],
  ['pack-writer.ts', '    await file.sync();\n'],
  ['pack-writer.ts', 'undefined);\n    await sync(this.#packs, this.#disk);\n', 'undefined);\n'],
  ['housekeeping.ts', '  await file.sync();\n'],
  ['housekeeping.ts', '      await syncVersions(store);\n'],
  ['store.ts', "      await sync(join(this.directory, 'packs'), this.disk);\n"],
  ['durable.ts', 'at);\n    await file.sync();\n', 'at);\n'],
];
/** `npm test` tries fewer. */
const tried = removed.slice(0, Number(process.env['SEEDS'] ?? 30) / 2);
it.each(tried)('of %s takes something without %j', async (file, right, wrong = '') => {
  using mutant = makeMutant(import.meta.dirname, { file, right, wrong });
  const changed = (await mutant.import('index.ts')) as typeof library;
  await expect(search(changed)).rejects.toThrow(/after call \d+/);
});

it('lists a version only when no power cut takes it any more', async () => {
  const disk = new FakeDisk();
  const folder = join(directory, 'versions', blobOf('a').hash.slice(0, 32));
  const writer = await openStore(directory, withoutSyncOf(folder, disk));
  await backUp(writer, 'a', files('one'));
  // As it was before the end of the commit.
  await disk.link(join(folder, '1'), join(folder, '.new'));
  expect(await contentsOf(await openStore(directory, disk))).toBe('a 1 one');
  for (const left of disk.crashStates(100, seededRandom(1)))
    expect(await contentsOf(await openStore(directory, left))).toBe('a 1 one');
});

it('a call of the disk that fails hides no version, and loses none', async () => {
  for (let failing = 1, calls = 1; calls >= failing - 1; failing++) {
    const disk = new FakeDisk();
    const store = await openStore(directory, disk);
    for (const name of ['one', 'two']) await backUp(store, 'a', files(name));
    await backUp(store, 'b', files('three'));
    const listed = await contentsOf(store);
    calls = 0;
    disk.onCall = ({ operation, path }, effect) => {
      if (++calls === failing) throw diskError('EIO', operation, path);
      return effect();
    };
    expect(await contentsOf(store).catch(() => listed)).toBe(listed);
    for (const work of [() => sweep(store, afterGrace), () => backUp(store, 'a', files('four')), () => scrub(store, undefined)])
      await work().catch(() => undefined);
    disk.onCall = (_, effect) => effect();
    // What could not be read once was taken for damaged; it can be read now.
    await scrub(store, undefined);
    expect([listed, `${listed.replace(', b', ', a 3 four, b')}`]).toContain(await contentsOf(store));
  }
});
