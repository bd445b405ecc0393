/**
 * A disk as the processes that share it live with it: calls come late or fail, the disk gets full, the power goes and takes along what was not synced; and any call may be the last of its process. It stands
 * over the fake disk of `@lab/store`.
 */
import { sleep } from '@lab/process';
import type { Disk, DiskFile } from '@lab/store';
import { diskError, FakeDisk, type FakeDiskOptions } from '@lab/store/fake-disk';
import type { Life, World } from './world.ts';

/** Of the disks that a cut of the power may leave, one is taken out of so many. */
const crashStatesMax = 6;
/** A disk that gets full has room for so many bytes, at most. */
const lastBytesMax = 200;
/** UUIDs are others in the next run: `*` stands for each in the name of a fault. */
const uuids = /\b[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\b/g;

export interface SimulatedDiskOptions extends FakeDiskOptions {
  /** A call is one of very many: it has this share of the chance of each fault. Default 1. */
  share?: number;
  /** How long a call takes, in which others do theirs; with 0 it ends in the next turn. Default: in this one. */
  callMs?: number;
}

export class SimulatedDisk {
  readonly #world: World;
  readonly #lives = new Set<Life>();
  readonly #share: number;
  readonly #callMs: number | undefined;
  #fake: FakeDisk;
  /** Calls that have failed with `EIO`: who reads may have taken what it did not get for damaged. */
  errors = 0;

  constructor(world: World, { share = 1, callMs, ...options }: SimulatedDiskOptions = {}) {
    this.#world = world;
    this.#fake = new FakeDisk({ nowMs: () => world.clock.nowMs(), ...options });
    this.#share = share;
    this.#callMs = callMs;
  }

  /** As it is now, without faults: to look at. */
  get fake(): FakeDisk {
    return this.#fake;
  }

  /** The disk for this life. Faults of these kinds strike at its calls, besides those of any call: `disk error`, `disk full` and `all machines off`, which ends all lives that have the disk. */
  mount(life: Life): Disk {
    this.#lives.add(life);
    life.onEnd(() => this.#lives.delete(life));
    const call = <T>(operation: string, path: string, run: (fake: FakeDisk) => Promise<T>): Promise<T> => {
      const subject = path.replaceAll(uuids, '*');
      return life.call(
        operation,
        subject,
        () => subject,
        async (place) => {
          if (this.#callMs !== undefined) await sleep(this.#world.clock, this.#callMs);
          this.#strike(life, place, operation, subject);
          // Where the power has just gone nobody hears of it.
          if (life.isDead) throw diskError('EIO', operation, subject);
          return run(this.#fake);
        },
        undefined,
        this.#share,
      );
    };
    return {
      link: (from, to) => call('link', to, (fake) => fake.link(from, to)),
      mkdir: (path, options) => call('mkdir', path, (fake) => fake.mkdir(path, options)),
      open: async (path, flags) => {
        const file = await call('open', path, (fake) => fake.open(path, flags));
        return opened(file, (operation, run) => call(operation, path, run));
      },
      readdir: (path) => call('readdir', path, (fake) => fake.readdir(path)),
      readFile: (path) => call('readFile', path, (fake) => fake.readFile(path)),
      rename: (from, to) => call('rename', `${from} to ${to}`, (fake) => fake.rename(from, to)),
      rm: (path, options) => call('rm', path, (fake) => fake.rm(path, options)),
      rmdir: (path) => call('rmdir', path, (fake) => fake.rmdir(path)),
      stat: (path) => call('stat', path, (fake) => fake.stat(path)),
      writeFile: (path, bytes) => call('writeFile', path, (fake) => fake.writeFile(path, bytes)),
      tryLock: (path, options) =>
        call('tryLock', path, async (fake) => {
          const lock = await fake.tryLock(path, options);
          if (lock === undefined) return undefined;
          let isHeld = true;
          const release = (): void => {
            if (isHeld) lock.release();
            isHeld = false;
          };
          // It may have died in another of its calls just now.
          if (life.isDead) release();
          life.onEnd(release);
          return { release };
        }),
    };
  }

  #strike(life: Life, place: string, operation: string, path: string): void {
    const offMs = life.strikes('all machines off', place, path, this.#share);
    if (offMs !== undefined) this.#cutPower(place, offMs);
    const fullMs = life.strikes('disk full', place, path, this.#share);
    if (fullMs !== undefined) this.#fill(place, fullMs);
    if (life.strikes('disk error', place, path, this.#share) === undefined) return;
    this.errors++;
    throw diskError('EIO', operation, path);
  }

  #cutPower(place: string, offMs: number): void {
    for (const life of [...this.#lives]) life.die(offMs);
    const random = this.#world.random.fork(place);
    this.#fake = random.pick([...this.#fake.crashStates(crashStatesMax, random)]);
  }

  #fill(place: string, fullMs: number): void {
    const fake = this.#fake;
    const bytesMax = fake.usedBytes() + this.#world.random.fork(place).integer(0, lastBytesMax);
    fake.bytesMax = bytesMax;
    this.#world.clock.after(fullMs, () => {
      if (fake.bytesMax === bytesMax) fake.bytesMax = Infinity;
    });
  }
}

/** An open file, each call of which is one of the disk. */
function opened(file: DiskFile, call: <T>(operation: string, run: () => Promise<T>) => Promise<T>): DiskFile {
  return {
    read: (...args) => call('read', () => file.read(...args)),
    write: (...args) => call('write', () => file.write(...args)),
    writeFile: (bytes) => call('write', () => file.writeFile(bytes)),
    truncate: (length) => call('truncate', () => file.truncate(length)),
    stat: () => call('stat', () => file.stat()),
    sync: () => call('sync', () => file.sync()),
    close: () => call('close', () => file.close()),
  };
}
