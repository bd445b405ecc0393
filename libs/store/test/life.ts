/** A store, what should be in it, and anything that may happen to it, drawn from a seed. */
import { expect } from 'vitest';
import type { Random } from '@lab/testing';
import { scrub, sweep } from '../src/housekeeping.ts';
import type { Store, Version } from '../src/store.ts';
import {
  afterGrace,
  backUp,
  copyOf,
  cutUnfinished,
  keepBlobs,
  newFolder,
  noise,
  openStore,
  readBack,
  remove,
  text,
  versionsIn,
  type Files,
} from './small-store.ts';

/** What should be listed: for each name, versions by number. */
type Model = Map<string, Map<number, Files>>;

const names = ['docs', 'docs/sub', 'other'];

class Life implements AsyncDisposable {
  readonly random: Random;
  readonly contents: Buffer[];
  directory = newFolder();
  readonly #folders = [this.directory];
  readonly #stores: Store<Version>[] = [];
  store!: Store<Version>;
  model: Model = new Map();
  readonly log: string[] = [];

  private constructor(random: Random) {
    this.random = random;
    this.contents = Array.from({ length: 12 }, (_, index) =>
      (index % 2 === 0 ? noise : text)(this.random, this.random.pick([0, 1, 50, 400, 1000, 2600])),
    );
  }

  static async begin(random: Random): Promise<Life> {
    const life = new Life(random);
    await life.#open();
    return life;
  }

  /** Opens the store of a crashed process; the unsynced end of its packs may be lost. */
  async crashInto(copy: string, cutChance: number): Promise<void> {
    this.#folders.push(copy);
    this.directory = copy;
    if (this.random.chance(cutChance)) cutUnfinished(copy, this.random);
    await this.#open();
  }

  async #open(): Promise<void> {
    this.store = await openStore(this.directory);
    this.#stores.push(this.store);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const store of this.#stores) await store.close().catch(() => undefined);
    this.#folders.forEach(remove);
  }

  someFiles(): Files {
    const count = this.random.integer(0, 6);
    return new Map(Array.from({ length: count }, (_, index) => [`f${index}`, this.random.pick(this.contents)]));
  }

  /** Every step: what it is called, and what it does to the store and the model. */
  readonly steps: Record<string, () => Promise<void>> = {
    backUp: async () => void (await this.#backUp(this.someFiles(), undefined)),
    backUpAndRetain: async () => void (await this.#backUp(this.someFiles(), this.random.integer(1, 3))),
    breakOff: () => keepBlobs(this.store, this.someFiles()),
    forget: async () => {
      const name = this.random.pick(names);
      expect(await this.store.forget(name)).toBe(this.model.get(name)?.size ?? 0);
      this.model.delete(name);
    },
    sweep: async () => void (await sweep(this.store, afterGrace)),
    scrub: async () => expect((await scrub(this.store, undefined)).findings).toEqual([]),
    reopen: async () => {
      await this.store.close();
      await this.#open();
    },
    crash: () => this.crashInto(copyOf(this.directory), 0.5),
    // The next steps are another process's.
    other: () => this.#open(),
  };

  async #backUp(files: Files, keep: number | undefined): Promise<void> {
    const name = this.random.pick(names);
    const number = await backUp(this.store, name, files, { keep, blobsInBundle: this.random.integer(1, 4) });
    const versions = new Map(this.model.get(name)).set(number, files);
    const surplus = keep === undefined ? [] : [...versions.keys()].slice(0, -keep);
    surplus.forEach((each) => versions.delete(each));
    this.model.set(name, versions);
  }

  async check(): Promise<void> {
    const listed = await versionsIn(this.store);
    const expected = [...this.model].flatMap(([name, versions]) => [...versions.keys()].map((number) => `${name} ${number}`));
    expect(listed.map((each) => `${each.name} ${each.version}`).toSorted()).toEqual(expected.toSorted());
    const known = new Map<string, Uint8Array>();
    for (const version of listed)
      expect(await readBack(this.store, version, known)).toEqual(this.model.get(version.name)!.get(version.version));
  }

  async step(name: string): Promise<void> {
    this.log.push(name);
    await this.steps[name]!();
    await this.check();
  }
}

/** Runs a scenario with a life; its error says what had happened. */
async function live(random: Random, scenario: (life: Life) => Promise<void>): Promise<void> {
  await using life = await Life.begin(random);
  try {
    await scenario(life);
  } catch (cause) {
    throw new Error(`${(cause as Error).message}\nafter ${life.log.join(', ')}`, { cause });
  }
}

/** All that is listed is there, byte for byte, after anything that happens to it. */
export const anythingHappens = (random: Random): Promise<void> =>
  live(random, async (life) => {
    const steps = [...Object.keys(life.steps), 'backUp', 'backUp', 'backUpAndRetain', 'sweep'];
    for (let count = 0; count < 7; count++) await life.step(random.pick(steps));
  });

/** All that was listed is there when the process is killed in the middle of something. */
export const killedInTheMiddle = (random: Random): Promise<void> =>
  live(random, async (life) => {
    for (let count = 0; count < 3; count++) await life.step('backUp');
    for (let count = 0; count < 3; count++) {
      const before = new Map([...life.model].map(([name, versions]) => [name, new Map(versions)]));
      const name = random.pick(['backUp', 'backUpAndRetain', 'forget', 'sweep', 'breakOff']);
      life.log.push(`${name}, killed`);
      const step = life.steps[name]!();
      for (let turn = random.integer(0, 60); turn > 0; turn--) await new Promise((resolve) => setImmediate(resolve));
      const copy = copyOf(life.directory);
      await step;
      await life.crashInto(copy, 0.3);
      await settle(life, before);
    }
  });

/** The step that was broken off has happened, or not, or to the oldest versions only; what it did not concern is there. */
async function settle(life: Life, before: Model): Promise<void> {
  const found: Model = new Map();
  for (const version of await versionsIn(life.store)) {
    const { name } = version;
    const candidates = [before, life.model].flatMap((model) => model.get(name)?.get(version.version) ?? []);
    expect(candidates).toContainEqual(await readBack(life.store, version));
    found.set(name, new Map(found.get(name)).set(version.version, candidates.at(-1)!));
  }
  for (const [name, versions] of before)
    for (const number of versions.keys())
      if (life.model.get(name)?.has(number) === true) expect(found.get(name)?.has(number)).toBe(true);
  life.model = found;
  await life.check();
}
