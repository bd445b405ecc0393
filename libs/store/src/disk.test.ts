/** What a disk must do, asked of the real one and of the fake one; and what the fake one leaves after a power cut. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seededRandom } from '@lab/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemDisk, type Disk } from './disk.ts';
import { diskError, FakeDisk } from '../test/fake-disk.ts';

const text = async (disk: Disk, path: string): Promise<string> => (await disk.readFile(path)).toString();

const disks: [string, () => { disk: Disk; folder: string }][] = [
  ['the system', () => ({ disk: systemDisk, folder: mkdtempSync(join(tmpdir(), 'disk-')) })],
  ['a fake', () => ({ disk: new FakeDisk({ nowMs: Date.now }), folder: '/' })],
];

describe.each(disks)('the disk of %s', (_, make) => {
  let disk: Disk;
  let folder: string;
  const at = (...names: string[]): string => join(folder, ...names);
  beforeEach(() => ({ disk, folder } = make()));
  afterEach(() => {
    if (disk === systemDisk) rmSync(folder, { recursive: true });
  });

  it('keeps what is written at any place of a file, and what is between is 0', async () => {
    const file = await disk.open(at('a'), 'wx+');
    expect(await file.write(Buffer.from('xworldx'), 1, 5, 7)).toMatchObject({ bytesWritten: 5 });
    await file.write(Buffer.from('hello'), 0, 5, 0);
    const buffer = Buffer.alloc(8, '.');
    expect(await file.read(buffer, 1, 5, 6)).toMatchObject({ bytesRead: 5 });
    expect(buffer.toString()).toBe('.\0worl..');
    expect(await file.read(buffer, 0, 8, 10)).toMatchObject({ bytesRead: 2 });
    expect(await file.read(buffer, 0, 8, 12)).toMatchObject({ bytesRead: 0 });
    await file.sync();
    expect((await file.stat()).size).toBe(12);
    await file.truncate(2);
    await file.truncate(3);
    await file.close();
    expect(await text(disk, at('a'))).toBe('he\0');
    await expect(file.read(buffer, 0, 8, 0)).rejects.toThrow();
  });

  it('opens a file in four ways', async () => {
    for (const flags of ['r', 'r+'] as const) await expect(disk.open(at('a'), flags)).rejects.toMatchObject({ code: 'ENOENT' });
    for (const content of ['long', 'new']) {
      const file = await disk.open(at('a'), 'w');
      await file.writeFile(content);
      await file.close();
      expect(await text(disk, at('a'))).toBe(content);
    }
    await expect(disk.open(at('a'), 'wx+')).rejects.toMatchObject({ code: 'EEXIST' });
    const file = await disk.open(at('a'), 'r+');
    await file.write(Buffer.from('N'), 0, 1, 0);
    await file.close();
    expect(await text(disk, at('a'))).toBe('New');
    await disk.writeFile(at('a'), 'x');
    expect(await text(disk, at('a'))).toBe('x');
  });

  it('makes folders, and says which was the first that was missing', async () => {
    expect(await disk.mkdir(at('a'))).toBeUndefined();
    await expect(disk.mkdir(at('a'))).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(disk.mkdir(at('b', 'c'))).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await disk.mkdir(at('a', 'b', 'c'), { recursive: true })).toBe(at('a', 'b'));
    expect(await disk.mkdir(at('a', 'b', 'c'), { recursive: true })).toBeUndefined();
    await disk.writeFile(at('a', 'file'), '');
    await expect(disk.mkdir(at('a', 'file'), { recursive: true })).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(disk.mkdir(at('a', 'file', 'x'), { recursive: true })).rejects.toMatchObject({ code: 'ENOTDIR' });
    expect((await disk.readdir(at('a'))).toSorted()).toEqual(['b', 'file']);
    const opened = await disk.open(at('a'), 'r');
    await opened.sync();
    await opened.close();
  });

  it('takes a folder for no file, nor a file for a folder', async () => {
    await disk.mkdir(at('folder'));
    await disk.writeFile(at('file'), '');
    await expect(disk.readFile(at('folder'))).rejects.toMatchObject({ code: 'EISDIR' });
    await expect(disk.writeFile(at('folder'), '')).rejects.toMatchObject({ code: 'EISDIR' });
    await expect(disk.open(at('folder'), 'w')).rejects.toMatchObject({ code: 'EISDIR' });
    await expect(disk.readdir(at('file'))).rejects.toMatchObject({ code: 'ENOTDIR' });
    await expect(disk.rmdir(at('file'))).rejects.toMatchObject({ code: 'ENOTDIR' });
    await expect(disk.stat(at('file', 'x'))).rejects.toMatchObject({ code: 'ENOTDIR' });
    await expect(disk.readdir(at('none'))).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(disk.writeFile(at('none', 'file'), '')).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('renames over a file or an empty folder, and over nothing else', async () => {
    for (const name of ['one', 'other']) {
      await disk.writeFile(at(name), name);
      await disk.mkdir(at(`${name}-folder`));
      await disk.writeFile(at(`${name}-folder`, name), '');
    }
    await disk.rename(at('one'), at('other'));
    expect(await text(disk, at('other'))).toBe('one');
    await expect(disk.rename(at('one'), at('other'))).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(disk.rename(at('other'), at('none', 'x'))).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(disk.rename(at('one-folder'), at('other-folder'))).rejects.toMatchObject({ code: 'ENOTEMPTY' });
    await expect(disk.rename(at('one-folder'), at('other'))).rejects.toMatchObject({ code: 'ENOTDIR' });
    await expect(disk.rename(at('other'), at('one-folder'))).rejects.toMatchObject({ code: 'EISDIR' });
    await disk.rm(at('other-folder', 'other'));
    await disk.rename(at('one-folder'), at('other-folder'));
    expect(await disk.readdir(at('other-folder'))).toEqual(['one']);
    expect((await disk.readdir(folder)).toSorted()).toEqual(['other', 'other-folder']);
  });

  it('gives a file a second name, and never one that is taken', async () => {
    await disk.writeFile(at('a'), 'a');
    await disk.link(at('a'), at('b'));
    await expect(disk.link(at('a'), at('b'))).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(disk.link(at('none'), at('c'))).rejects.toMatchObject({ code: 'ENOENT' });
    await disk.writeFile(at('b'), 'both');
    await disk.rename(at('a'), at('b'));
    expect((await disk.readdir(folder)).toSorted()).toEqual(['a', 'b']);
    await disk.rm(at('b'));
    expect(await text(disk, at('a'))).toBe('both');
  });

  it('removes files, and folders with all that is in them where that is asked for', async () => {
    await disk.mkdir(at('a', 'b'), { recursive: true });
    await disk.writeFile(at('a', 'b', 'file'), '');
    await expect(disk.rm(at('none'))).rejects.toMatchObject({ code: 'ENOENT' });
    await disk.rm(at('none'), { force: true });
    await expect(disk.rm(at('a'))).rejects.toMatchObject({ code: 'ERR_FS_EISDIR' });
    await expect(disk.rmdir(at('a'))).rejects.toMatchObject({ code: 'ENOTEMPTY' });
    await disk.rm(at('a'), { recursive: true, force: true });
    await disk.mkdir(at('c'));
    await disk.rmdir(at('c'));
    await expect(disk.rmdir(at('c'))).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await disk.readdir(folder)).toEqual([]);
  });

  it('lets who has a file open use it to the end', async () => {
    await disk.mkdir(at('a'));
    const file = await disk.open(at('a', 'file'), 'wx+');
    await disk.rename(at('a'), at('b'));
    await file.write(Buffer.from('x'), 0, 1, 0);
    expect(await text(disk, at('b', 'file'))).toBe('x');
    await disk.rm(at('b'), { recursive: true });
    await file.write(Buffer.from('y'), 0, 1, 1);
    await file.sync();
    expect((await file.stat()).size).toBe(2);
    await file.close();
    expect(await disk.readdir(folder)).toEqual([]);
  });

  it('knows when a file was written', async () => {
    const beforeMs = Date.now() - 2_000;
    await disk.writeFile(at('a'), 'x');
    const { size, mtimeMs } = await disk.stat(at('a'));
    expect([size, mtimeMs > beforeMs, mtimeMs < Date.now() + 2_000]).toEqual([1, true, true]);
  });

  it('gives a lock to one at a time', async () => {
    expect(await disk.tryLock(at('lock'), { existing: true })).toBeUndefined();
    const held = await disk.tryLock(at('lock'));
    expect([await disk.tryLock(at('lock')), await disk.tryLock(at('lock'), { existing: true })]).toEqual([undefined, undefined]);
    held!.release();
    (await disk.tryLock(at('lock'), { existing: true }))!.release();
    await expect(disk.tryLock(at('none', 'lock'))).rejects.toThrow();
  });
});

describe('a power cut', () => {
  /** What is in the folder then: each file as `name=content`. */
  async function left(disk: FakeDisk, folder = '/'): Promise<string[]> {
    const states: string[] = [];
    for (const state of disk.crashStates(1_000, seededRandom(1))) {
      const files = (await state.readdir(folder)).map(async (name) => `${name}=${await text(state, join(folder, name))}`);
      states.push((await Promise.all(files)).join(' '));
    }
    return states.toSorted();
  }
  const sync = async (disk: Disk, path: string): Promise<void> => (await disk.open(path, 'r')).sync();

  it('takes what was written and not synced, all of it or a part', async () => {
    const disk = new FakeDisk();
    const file = await disk.open('/a', 'wx+');
    await sync(disk, '/');
    expect(await left(disk)).toEqual(['a=']);
    await file.write(Buffer.from('one '), 0, 4, 0);
    await file.sync();
    expect(await left(disk)).toEqual(['a=one ']);
    for (const [index, piece] of ['two ', 'six '].entries()) await file.write(Buffer.from(piece), 0, 4, 4 + 4 * index);
    expect(await left(disk)).toEqual(
      ['a=one ', 'a=one two si', 'a=one two six ', 'a=one \0\0\0\0six ', `a=one ${'\0'.repeat(8)}`].toSorted(),
    );
    await file.sync();
    expect(await left(disk)).toEqual(['a=one two six ']);
  });

  it('takes a name whose folder was not synced, and gives back one that was removed', async () => {
    const disk = new FakeDisk();
    await disk.writeFile('/a', 'x');
    await sync(disk, '/a');
    expect(await left(disk)).toEqual(['', 'a=x']);
    await sync(disk, '/');
    await disk.link('/a', '/b');
    await disk.rm('/a');
    expect(await left(disk)).toEqual(['', 'a=x', 'a=x b=x', 'b=x']);
    await sync(disk, '/');
    expect(await left(disk)).toEqual(['b=x']);
  });

  it('leaves a file that is renamed under one of its names', async () => {
    const disk = new FakeDisk();
    await disk.mkdir('/from');
    await disk.mkdir('/to');
    for (const [path, content] of [
      ['/from/a', 'new'],
      ['/to/a', 'old'],
    ] as const)
      await disk.writeFile(path, content);
    disk.syncAll();
    await disk.rename('/from/a', '/to/a');
    await sync(disk, '/from');
    expect([await left(disk, '/from'), await left(disk, '/to')]).toEqual([
      ['', 'a=new'],
      ['a=new', 'a=old'],
    ]);
    await sync(disk, '/to');
    expect([await left(disk, '/from'), await left(disk, '/to')]).toEqual([[''], ['a=new']]);
  });

  it('does not undo what is synced by what was there before', async () => {
    const disk = new FakeDisk();
    for (const folder of ['/a', '/b']) await disk.mkdir(folder);
    await disk.writeFile('/a/x', '1');
    disk.syncAll();
    await disk.rename('/a/x', '/b/x');
    await disk.rename('/b/x', '/a/x');
    await sync(disk, '/a');
    expect(await left(disk, '/a')).toEqual(['x=1']);
    await disk.rename('/a/x', '/b/x');
    await disk.writeFile('/a/x', '2');
    await sync(disk, '/a/x');
    await sync(disk, '/a');
    expect(await left(disk, '/a')).toEqual(['x=2', 'x=2']);
  });

  it('takes a folder with all that is in it', async () => {
    const disk = new FakeDisk();
    await disk.mkdir('/a');
    await disk.writeFile('/a/b', 'x');
    await sync(disk, '/a/b');
    await sync(disk, '/a');
    expect([...disk.crashStates(9, seededRandom(1))].length).toBe(2);
    await sync(disk, '/');
    expect(await left(disk, '/a')).toEqual(['b=x']);
  });

  it('where names are synced by files takes each but those of a file that is synced, and of its folders', async () => {
    const disk = new FakeDisk({ namesSyncedBy: 'file' });
    await disk.mkdir('/a');
    for (const name of ['b', 'c']) await disk.writeFile(`/a/${name}`, '');
    await sync(disk, '/');
    await sync(disk, '/a');
    expect([...disk.crashStates(9, seededRandom(1))].length).toBe(5);
    await sync(disk, '/a/b');
    expect(await left(disk, '/a')).toEqual(['b=', 'b= c=']);
  });

  it('shows of many states as many as were asked for, the extremes first', async () => {
    const disk = new FakeDisk();
    for (let number = 10; number < 40; number++) await disk.writeFile(`/${number}`, '');
    const states = [...disk.crashStates(100, seededRandom(1))];
    expect(states.length).toBeGreaterThan(50);
    const counts = await Promise.all(states.map(async (state) => (await state.readdir('/')).length));
    expect([Math.min(...counts), Math.max(...counts)]).toEqual([0, 30]);
  });
});

describe('a fault of a fake disk', () => {
  it('is what the hook around its calls makes of them', async () => {
    const disk = new FakeDisk();
    const gate = Promise.withResolvers<void>();
    const calls: string[] = [];
    disk.onCall = async ({ number, operation, path }, effect) => {
      calls.push(`${number} ${operation} ${path}`);
      if (operation === 'readFile') throw diskError('EIO', 'read', path);
      if (operation === 'file.sync') await gate.promise;
      return effect();
    };
    await disk.writeFile('/a', 'x');
    await expect(disk.readFile('/a')).rejects.toMatchObject({ code: 'EIO' });
    const file = await disk.open('/a', 'r+');
    let isSynced = false;
    const syncing = file.sync().then(() => (isSynced = true));
    await file.write(Buffer.from('y'), 0, 1, 0);
    expect(isSynced).toBe(false);
    gate.resolve();
    await syncing;
    expect(calls).toEqual(['1 writeFile /a', '2 readFile /a', '3 open /a', '4 file.sync /a', '5 file.write /a']);
  });

  it('is to be full: it takes what it has room for, and more when something is removed', async () => {
    const disk = new FakeDisk();
    disk.bytesMax = 10;
    await disk.writeFile('/a', '1234567');
    const file = await disk.open('/b', 'wx+');
    expect(await file.write(Buffer.from('1234567'), 0, 7, 0)).toEqual({ bytesWritten: 3 });
    await expect(file.write(Buffer.from('4567'), 0, 4, 3)).rejects.toMatchObject({ code: 'ENOSPC' });
    await expect(disk.writeFile('/c', '')).rejects.toMatchObject({ code: 'ENOSPC' });
    await disk.rm('/a');
    expect(await file.write(Buffer.from('4567'), 0, 4, 3)).toEqual({ bytesWritten: 4 });
  });
});
