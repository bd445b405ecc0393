import { createHash } from 'node:crypto';
import fs, {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  promises,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { hashOf } from '@lab/store/bundle';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Chunk, Entry } from '../domain/manifest.ts';
import { DamagedError, type Download } from './download.ts';
import { restoreTo, type Restored, type Restoring } from './restore.ts';

let target: string;
beforeEach(() => void (target = mkdtempSync(join(tmpdir(), 'restore-'))));
afterEach(() => rmSync(target, { recursive: true, force: true }));

const at = (path: string): string => join(target, path);
const blobs = new Map<string, Buffer>();
/** What was asked for, in order. */
let asked: string[];
beforeEach(() => void (asked = []));

function file(path: string, ...contents: (string | Buffer)[]): Entry {
  const parts = contents.map((content) => Buffer.from(content));
  const chunks = parts.map((part): Chunk => [hashOf(part), part.length]);
  chunks.forEach(([hash], index) => blobs.set(hash, parts[index]!));
  const sha256 = createHash('sha256').update(Buffer.concat(parts)).digest('hex');
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  return { type: 'file', path, mode: 0o640, mtimeMs: 1_000_000, size, sha256, ...(parts.length > 1 && { chunks }) };
}
const folder = (path: string, mode = 0o755): Entry => ({ type: 'folder', path, mode, mtimeMs: 2_000_000 });
const link = (path: string, to: string): Entry => ({ type: 'link', path, target: to, mtimeMs: 3_000_000 });

/** Blobs that come damaged. */
const download =
  (damaged: readonly string[] = []) =>
  (needs: Iterable<Chunk>): Pick<Download, 'take'> => {
    const ahead = [...needs];
    const take = async (chunk: Chunk): Promise<Uint8Array> => {
      expect(ahead.shift()).toEqual(chunk);
      const bytes = blobs.get(chunk[0])!;
      asked.push(bytes.toString().slice(0, 10));
      if (damaged.includes(bytes.toString())) throw new DamagedError('damaged');
      return bytes;
    };
    return { take };
  };

const restore = (all: readonly Entry[], settings: Partial<Restoring> = {}): Promise<Restored> =>
  restoreTo(target, {
    all,
    isWanted: () => true,
    isLeftOut: () => false,
    download: download(),
    progress: () => {},
    name: 'name',
    partial: false,
    ...settings,
  });

/** Root may look into everything. */
async function asNobody(work: () => Promise<void>): Promise<void> {
  if (process.geteuid!() !== 0) return work();
  const nobody = 65_534;
  chownSync(target, nobody, nobody);
  process.seteuid!(nobody);
  try {
    await work();
  } finally {
    process.seteuid!(0);
  }
}

const large = [folder(''), folder('a', 0o500), file('a/x', 'one', 'two', 'three'), file('b', 'b'), link('l', 'nowhere')];

describe('a restore', () => {
  it('writes all, with modes and times, and once more asks for nothing', async () => {
    expect(await restore(large)).toEqual({ unwritten: [], damage: [] });
    expect(readFileSync(at('a/x'), 'utf8')).toBe('onetwothree');
    expect(readlinkSync(at('l'))).toBe('nowhere');
    expect([lstatSync(at('a')).mode & 0o777, lstatSync(at('b')).mode & 0o777, lstatSync(at('b')).mtimeMs]).toEqual([
      0o500, 0o640, 1e6,
    ]);
    asked = [];
    expect(await restore(large)).toEqual({ unwritten: [], damage: [] });
    expect(asked).toEqual([]);
    expect([lstatSync(at('a')).mode & 0o777, lstatSync(at('a')).mtimeMs]).toEqual([0o500, 2e6]);
  });

  it.each([1_700_000_000_123.4567, -1_500])('brings a time back within 0.4 µs: %d ms since 1970', async (mtimeMs) => {
    const timed = [folder(''), folder('a'), file('a/x', 'one'), link('l', 'nowhere')].map((entry) => ({ ...entry, mtimeMs }));
    await restore(timed);
    for (const path of ['', 'a', 'a/x', 'l']) {
      const restoredMs = Number(lstatSync(at(path), { bigint: true }).mtimeNs) / 1e6;
      expect(Math.abs(restoredMs - mtimeMs), path).toBeLessThanOrEqual(0.000_4);
    }
  });

  it('goes through a version, and holds none of it', async () => {
    const entries = [folder(''), ...Array.from({ length: 600 }, (_, index) => file(`f${1000 + index}`, `${index}`))];
    let made = 0;
    const all = {
      *[Symbol.iterator]() {
        for (const entry of entries) {
          made++;
          yield { ...entry };
        }
      },
    };
    let aheadMax = 0;
    const take = async ([hash]: Chunk): Promise<Uint8Array> => {
      aheadMax = Math.max(aheadMax, made - asked.push(hash));
      return blobs.get(hash)!;
    };
    expect(await restore([], { all, download: () => ({ take }) })).toEqual({ unwritten: [], damage: [] });
    expect(readdirSync(target)).toHaveLength(600);
    // The folder, once more for each way through the version that has begun.
    expect(aheadMax).toBeLessThan(5);
  });

  it.each([
    [0, ['one', 'two', 'three']],
    [2, ['one', 'two', 'three']],
    [3, ['two', 'three']],
    [7, ['three']],
    [10, ['three']],
  ])('goes on in a file of which %i bytes are there', async (bytes, chunks) => {
    await restore(large);
    truncateSync(at('a/x'), bytes);
    asked = [];
    expect(await restore(large)).toEqual({ unwritten: [], damage: [] });
    expect(asked).toEqual(chunks);
    expect(readFileSync(at('a/x'), 'utf8')).toBe('onetwothree');
    expect(lstatSync(at('a/x')).mode & 0o777).toBe(0o640);
  });

  it('counts what is there as progress', async () => {
    await restore(large);
    truncateSync(at('a/x'), 7);
    let sum = 0;
    await restore(large, { progress: (bytes) => void (sum += bytes) });
    expect(sum).toBe('onetwothreeb'.length);
  });

  it.each<[what: string, make: () => void, named: string]>([
    ['a file that is not of the version', () => writeFileSync(at('mine'), ''), 'mine'],
    ['other content', () => writeFileSync(at('b'), 'B'), 'b'],
    ['more content', () => writeFileSync(at('b'), 'bb'), 'b'],
    ['a link in place of a folder', () => symlinkSync(tmpdir(), at('a')), 'a'],
    ['a link in place of a file', () => symlinkSync('/etc/passwd', at('b')), 'b'],
    ['a folder in place of a file', () => mkdirSync(at('b')), 'b'],
    ['a link that leads elsewhere', () => symlinkSync('elsewhere', at('l')), 'l'],
  ])('touches nothing where there is %s', async (_, make, named) => {
    make();
    const before = readdirSync(target);
    await expect(restore(large)).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining(`has "${named}"`) as string,
    });
    expect(readdirSync(target)).toEqual(before);
    expect(asked).toEqual([]);
  });

  it('leaves what begins otherwise than the file, or has another name too, and lists it', async () => {
    mkdirSync(at('a'));
    writeFileSync(at('a/x'), 'onetX');
    writeFileSync(at('other'), '');
    linkSync(at('other'), at('b'));
    rmSync(at('other'));
    linkSync(at('b'), join(tmpdir(), 'restore-other-name'));
    try {
      const { unwritten } = await restore([...large.slice(0, 3), file('b', 'b')]);
      const reason = 'something else is there already, and stays';
      expect(unwritten).toEqual([
        { path: 'a/x', reason },
        { path: 'b', reason },
      ]);
      expect(readFileSync(at('a/x'), 'utf8')).toBe('onetX');
      expect(readFileSync(at('b'), 'utf8')).toBe('');
    } finally {
      rmSync(join(tmpdir(), 'restore-other-name'));
    }
  });

  it('lists what the target refuses, whatever its name, and what would be in it', async () => {
    const long = `\udce9${'x'.repeat(255)}`;
    const { unwritten } = await restore([folder(''), file('a', 'a'), folder(long), file(`${long}/in`, 'in'), link(`z`, 'y')]);
    expect(unwritten).toEqual([
      { path: long, reason: 'name too long (ENAMETOOLONG)' },
      { path: `${long}/in`, reason: 'its folder could not be made' },
    ]);
    expect(readdirSync(target)).toEqual(['a', 'z']);
  });

  it('keeps what it has written when it is broken off, and ends', async () => {
    const entries = [
      folder(''),
      ...Array.from({ length: 600 }, (_, index) => file(`f${1000 + index}`, `${index}`)),
      file('z', 'z'),
    ];
    const breaks = restore(entries, { download: download(['z']) });
    await expect(breaks).rejects.toThrow(DamagedError);
    expect(readdirSync(target)).toHaveLength(600);
    expect(await restore(entries)).toEqual({ unwritten: [], damage: [] });
    expect(readdirSync(target)).toHaveLength(601);
  });

  it('of damage leaves out the file alone where that is wanted', async () => {
    const { unwritten, damage } = await restore(large, { download: download(['two']), partial: true });
    expect(unwritten).toEqual([{ path: 'a/x', reason: 'its content is damaged in the store' }]);
    expect(damage).toHaveLength(1);
    expect([readdirSync(at('a')), readFileSync(at('b'), 'utf8')]).toEqual([[], 'b']);
  });

  describe('of what cannot be read in the folder', () => {
    const broken = (syscall: string): Error =>
      Object.assign(new Error(`EIO: i/o error, ${syscall}`), { code: 'EIO', errno: -constants.errno.EIO, syscall });
    const named = (path: string): unknown => ({ unwritten: [{ path, reason: 'i/o error (EIO)' }], damage: [] });
    beforeEach(async () => {
      await restore(large);
      rmSync(at('b'));
      asked = [];
    });
    afterEach(() => {
      vi.restoreAllMocks();
      syncBuiltinESMExports();
    });

    it('names a file, and writes all others', async () => {
      truncateSync(at('a/x'), 3);
      const file = await open(at('a/x'));
      vi.spyOn(Object.getPrototypeOf(file) as typeof file, 'read').mockRejectedValueOnce(broken('read'));
      await file.close();
      expect(await restore(large)).toEqual(named('a/x'));
      expect([asked, readFileSync(at('a/x'), 'utf8'), readFileSync(at('b'), 'utf8')]).toEqual([['b'], 'one', 'b']);
    });

    it('names a file whose last bytes it is', async () => {
      truncateSync(at('a/x'), 5);
      vi.spyOn(fs, 'readSync').mockImplementationOnce(() => {
        throw broken('read');
      });
      syncBuiltinESMExports();
      expect(await restore(large)).toEqual(named('a/x'));
      expect([readFileSync(at('a/x'), 'utf8'), readFileSync(at('b'), 'utf8')]).toEqual(['onetw', 'b']);
    });

    it('names a folder and what is in it, and nothing that is not asked for', async () => {
      const { readdir } = promises;
      vi.spyOn(promises, 'readdir').mockImplementation((...args: Parameters<typeof readdir>) =>
        args[0] === at('a') ? Promise.reject(broken('scandir')) : readdir(...args),
      );
      syncBuiltinESMExports();
      const { unwritten } = await restore(large);
      expect(unwritten).toEqual([
        { path: 'a', reason: 'i/o error (EIO)' },
        { path: 'a/x', reason: 'its folder could not be made' },
      ]);
      expect([readFileSync(at('b'), 'utf8'), lstatSync(at('a')).mode & 0o777]).toEqual(['b', 0o500]);
      expect(await restore(large, { isWanted: ({ path }) => !path.startsWith('a') })).toMatchObject({ unwritten: [] });
    });
  });

  describe('of damage in a file of which a part is there', () => {
    const isWanted = (_: Entry, index: number): boolean => index !== 2;
    const isLeftOut = (index: number): boolean => index === 2;
    const begin = async (bytes: number): Promise<void> => {
      await restore(large);
      truncateSync(at('a/x'), bytes);
      chmodSync(at('a/x'), 0o600);
    };
    const stays = { path: 'a/x', reason: 'something else is there already, and stays' };

    it.each([0, 3, 6])('leaves none of %i bytes', async (bytes) => {
      await begin(bytes);
      expect(await restore(large, { isWanted, isLeftOut, partial: true })).toEqual({ unwritten: [], damage: [] });
      expect([readdirSync(at('a')), lstatSync(at('a')).mtimeMs]).toEqual([[], 2e6]);
      await begin(bytes);
      const { unwritten } = await restore(large, { download: download(['three']), partial: true });
      expect(unwritten).toEqual([{ path: 'a/x', reason: 'its content is damaged in the store' }]);
      expect([readdirSync(at('a')), readFileSync(at('b'), 'utf8')]).toEqual([[], 'b']);
    });

    it('leaves what may be of somebody else, and names it', async () => {
      await begin(5);
      expect(await restore(large, { isWanted, isLeftOut, partial: true })).toMatchObject({ unwritten: [stays] });
      const { unwritten } = await restore(large, { download: download(['two', 'three']), partial: true });
      expect(unwritten).toEqual([stays]);
      expect(readFileSync(at('a/x'), 'utf8')).toBe('onetw');
    });

    it('leaves it where it is not asked for, or is whole', async () => {
      await begin(3);
      await restore(large, { isWanted, partial: true });
      expect(readFileSync(at('a/x'), 'utf8')).toBe('one');
      await begin(11);
      await restore(large, { isWanted, isLeftOut, partial: true });
      expect([readFileSync(at('a/x'), 'utf8'), lstatSync(at('a/x')).mode & 0o777]).toEqual(['onetwothree', 0o640]);
    });
  });

  it('goes on over what it has sealed, also where that is closed to its owner', async () => {
    const closed = [folder('', 0), folder('a', 0o300), folder('a/b', 0), file('a/b/x', 'x'), folder('c', 0), file('c/y', 'y')];
    for (const entry of closed) if (entry.type === 'file') entry.mode = 0;
    const modes = (): number[] => closed.map(({ path }) => lstatSync(at(path)).mode & 0o777);
    await asNobody(async () => {
      await restore(closed);
      asked = [];
      expect(await restore(closed)).toEqual({ unwritten: [], damage: [] });
      expect(asked).toEqual([]);
      for (const path of ['', 'c']) chmodSync(at(path), 0o700);
      rmSync(at('c/y'));
      for (const path of ['c', '']) chmodSync(at(path), 0);
      expect(await restore(closed, { isWanted: ({ path }) => !path.startsWith('a') })).toMatchObject({
        unwritten: [],
      });
      expect(asked).toEqual(['y']);
      await expect(restore(closed.slice(0, -1))).rejects.toMatchObject({ exitCode: 2 });
    });
    expect(modes()).toEqual([0, 0o300, 0, 0, 0, 0]);
  });

  it('goes on in a file with holes', async () => {
    const hole = Buffer.alloc(200_000);
    const sparse = [folder(''), file('s', hole, 'x', hole)];
    await restore(sparse);
    expect(readFileSync(at('s')).equals(Buffer.concat([hole, Buffer.from('x'), hole]))).toBe(true);
    truncateSync(at('s'), 200_001);
    chmodSync(at('s'), 0o600);
    expect(await restore(sparse)).toEqual({ unwritten: [], damage: [] });
    expect(readFileSync(at('s')).equals(Buffer.concat([hole, Buffer.from('x'), hole]))).toBe(true);
  });

  it('of a single file gives it its name, and some of a version beside others of it', async () => {
    expect(await restore([file('', 'single')])).toEqual({ unwritten: [], damage: [] });
    expect(readFileSync(at('name'), 'utf8')).toBe('single');
    rmSync(at('name'));
    await restore(large, { isWanted: (_, index) => [0, 3].includes(index) });
    expect(await restore(large, { isWanted: (_, index) => index < 3 })).toEqual({ unwritten: [], damage: [] });
    expect(readdirSync(target)).toEqual(['a', 'b']);
  });
});
