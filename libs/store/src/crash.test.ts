/**
 * What FORMAT.md says of crashes: a process is killed after each call that changes the disk, and the next one opens the store.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { seededRandom } from '@lab/testing';
import { afterEach, expect, it } from 'vitest';
import { dyingDisk, KilledError } from '../test/dying-disk.ts';
import {
  afterGrace,
  backUp,
  copyOf,
  newFolder,
  noise,
  openStore,
  readBack,
  remove,
  versionsIn,
  type Files,
} from '../test/small-store.ts';
import { scrub, sweep } from './housekeeping.ts';
import type { Store, Version } from './store.ts';

const folders: string[] = [];
afterEach(() => folders.splice(0).forEach(remove));

const files = (content: string): Files =>
  new Map([
    ['both', Buffer.from('in each of them')],
    ['large', noise(seededRandom(1), 2_500)],
    ['own', Buffer.from(content)],
  ]);

/** A store with versions 1 and 2, of which a quarter is garbage. */
async function prepared(): Promise<string> {
  const directory = newFolder();
  folders.push(directory);
  const store = await openStore(directory);
  await backUp(store, 'forgotten', new Map([['dead', noise(seededRandom(2), 3_000)], ...files('0')]));
  for (const content of ['1', '2']) await backUp(store, 'docs', files(content));
  await store.forget('forgotten');
  await store.close();
  return directory;
}

/** What may be listed after one of the steps, done or not. */
const expected = [
  ['docs 1: 1', 'docs 2: 2'],
  ['docs 1: 1', 'docs 2: 2', 'docs 3: 3'],
  ['docs 2: 2', 'docs 3: 3'],
  ['docs 3: 3'],
  ['docs 1: 1', 'docs 2: 2', 'fresh 1: 3'],
  ['docs 2: 2'],
  [],
];

const steps: Record<string, (store: Store<Version>) => Promise<unknown>> = {
  commit: (store) => backUp(store, 'docs', files('3')),
  'commit, and remove the oldest': (store) => backUp(store, 'docs', files('3'), { keep: 1 }),
  'commit the first of a name': (store) => backUp(store, 'fresh', files('3')),
  forget: (store) => store.forget('docs'),
  sweep: (store) => sweep(store, afterGrace),
  close: (store) => store.close(),
};

it.each(Object.entries(steps))(
  'a process that is killed after any call of "%s" leaves what the next one understands',
  async (name, step) => {
    const origin = await prepared();
    let calls = 0;
    for (let isOver = false; !isOver; calls++) {
      const directory = copyOf(origin);
      folders.push(directory);
      const { left, error } = await killedAfter(calls, directory, step);
      isOver = error === undefined;
      if (!isOver) expect(error).toBeInstanceOf(KilledError);
      await expectSound(left, `${name}, killed after ${calls} calls`);
      remove(left);
      remove(directory);
    }
    expect(calls).toBeGreaterThan(5);
  },
);

/** What is left in the folder, with no lock held; no error where the step came to its end. */
async function killedAfter(
  calls: number,
  directory: string,
  step: (store: Store<Version>) => Promise<unknown>,
): Promise<{ left: string; error: unknown }> {
  let error: unknown;
  let store: Store<Version> | undefined;
  try {
    store = await openStore(directory, dyingDisk(calls));
    await step(store);
  } catch (thrown) {
    error = thrown;
  }
  const left = copyOf(directory);
  folders.push(left);
  await store?.close().catch(() => undefined);
  return { left, error };
}

/** Nothing is found damaged, and a sweep removes nothing that a version needs, but all that a dead process left. */
async function expectSound(directory: string, when: string): Promise<void> {
  const store = await openStore(directory);
  try {
    const contents = await contentsOf(store);
    expect(expected, when).toContainEqual(contents);
    const { findings } = await scrub(store, undefined);
    // A pack whose index was removed already gets one again.
    expect(
      findings.filter(({ what, repaired }) => what !== 'index' || !repaired),
      when,
    ).toEqual([]);
    await sweep(store, afterGrace);
    expect((await scrub(store, undefined)).findings, when).toEqual([]);
    expect(await contentsOf(store), when).toEqual(contents);
    const number = await backUp(store, 'docs', files('next'));
    const reader = await openStore(directory);
    expect(await contentsOf(reader), when).toEqual([...contents, `docs ${number}: next`].sort());
    await reader.close();
    expect(
      readdirSync(join(directory, 'incoming')).filter((each) => each.startsWith('.')),
      when,
    ).toEqual([]);
  } finally {
    await store.close();
  }
}

/** All that is listed, and what is in it. */
async function contentsOf(store: Store<Version>): Promise<string[]> {
  const contents: string[] = [];
  for (const version of await versionsIn(store))
    contents.push(`${version.name} ${version.version}: ${String((await readBack(store, version)).get('own'))}`);
  return contents.sort();
}
