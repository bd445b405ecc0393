import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { seededRandom } from '@lab/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { hashOf } from '@lab/store/bundle';
import { fileChunks } from '@lab/store/chunker';
import { RefusedError } from '../channel/channel.ts';
import { nameFromBytes } from '../domain/file-names.ts';
import { chunksOf, type FileEntry } from '../domain/manifest.ts';
import { FileCache } from './file-cache.ts';
import { PathError, Tree, type Found, type FoundFile, type Scope, type TreeNote } from './tree.ts';

let base: string;
let root: string;
let tree: Tree;
beforeEach(() => {
  base = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'tree-'));
  root = join(base, 'root');
  mkdirSync(root);
  tree = treeAt(root);
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(base, { recursive: true, force: true });
});

const treeAt = (place: string): Tree => new Tree(place, new FileCache(join(base, 'cache'), root));
const quiet = (): void => undefined;

interface Survey {
  items: Found[];
  notes: TreeNote[];
}

function survey(path = '.', of = tree, scope: Scope = {}): Survey {
  using walk = of.open(path, scope);
  return { items: [...walk], notes: walk.notes.list };
}
const pathsOf = ({ items }: Survey): string[] => items.map(({ path }) => path);

function write(path: string, content: string | Uint8Array = path): void {
  mkdirSync(join(root, path, '..'), { recursive: true });
  writeFileSync(join(root, path), content);
}

function fileIn({ items }: Survey, path: string): FoundFile {
  const item = items.find((each) => each.path === path);
  if (item?.type !== 'file') throw new Error(`${path} is no file`);
  return item;
}

interface Read {
  entry?: FileEntry;
  note?: string;
  /** The content that the entry names, of the chunks that `take` got. */
  content: Buffer | undefined;
  chunks: number;
}

/** Reads a file and puts it together again; `meanwhile` runs while the first chunks are taken. */
async function read(file: FoundFile, meanwhile: (taken: number) => void = quiet, registered = '.', of = tree): Promise<Read> {
  const blobs = new Map<string, Buffer>();
  let chunks = 0;
  using walk = of.open(registered);
  const result = await walk.read(file, async ({ hash, bytes }) => {
    expect(hashOf(bytes)).toBe(hash);
    blobs.set(hash, Buffer.from(bytes));
    meanwhile(++chunks);
    await Promise.resolve();
  });
  const { entry } = result;
  return { ...result, chunks, content: entry && consistent(entry, blobs) };
}

/** Whatever happened to the file: what the entry says is what was taken. */
function consistent(entry: FileEntry, blobs: ReadonlyMap<string, Buffer>): Buffer {
  const parts = chunksOf(entry).map(([hash, size]) => {
    expect(blobs.get(hash)?.length).toBe(size);
    return blobs.get(hash)!;
  });
  const content = Buffer.concat(parts);
  expect(content.length).toBe(entry.size);
  expect(hashOf(content)).toBe(entry.sha256);
  return content;
}

/** Content of several chunks. */
const large = (seed: number, bytes = 2 * fileChunks.max): Buffer => {
  const random = seededRandom(seed);
  const words = new Uint32Array(bytes / 4);
  for (let at = 0; at < words.length; at++) words[at] = random.next() * 2 ** 32;
  return Buffer.from(words.buffer);
};

describe('a file that says its size is 0', () => {
  it.skipIf(!existsSync('/proc/self/limits'))('and has content is read to its end, and each time again', async () => {
    const proc = treeAt('/proc/self');
    for (let backup = 1; backup <= 2; backup++) {
      using walk = proc.open('limits');
      const [file] = [...walk] as [FoundFile];
      expect(file).toMatchObject({ path: '', size: 0, known: undefined });
      const { content, note } = await read(file, quiet, 'limits', proc);
      expect(note).toBeUndefined();
      expect(content).toEqual(readFileSync('/proc/self/limits'));
      expect(content!.length).toBeGreaterThan(100);
    }
  });

  it('and has none is empty', async () => {
    write('empty', '');
    const { content, chunks } = await read(fileIn(survey(), 'empty'));
    expect([content?.length, chunks]).toEqual([0, 0]);
  });
});

describe('a survey', () => {
  it('has every folder, file and link, sorted, with modes, times and sizes', async () => {
    write('b/deep/file', 'content');
    write('a.txt', 'x');
    mkdirSync(join(root, 'empty'));
    symlinkSync('b/deep', join(root, 'link'));
    chmodSync(join(root, 'a.txt'), 0o4751);
    utimesSync(join(root, 'a.txt'), 5, 1234.5);
    const { items, notes } = survey();
    expect(notes).toEqual([]);
    expect(items).toMatchObject([
      { type: 'folder', path: '' },
      { type: 'file', path: 'a.txt', size: 1, mode: 0o4751, mtimeMs: 1234500, known: undefined },
      { type: 'folder', path: 'b' },
      { type: 'folder', path: 'b/deep' },
      { type: 'file', path: 'b/deep/file', size: 7 },
      { type: 'folder', path: 'empty' },
      { type: 'link', path: 'link', target: 'b/deep' },
    ]);
    for (const item of items) expect(item.mtimeMs).toBeCloseTo(lstatSync(join(root, item.path)).mtimeMs, 2);
  });

  it('is of a part of the root, or of one file', async () => {
    write('a/b/c', 'x');
    write('a/other', 'y');
    expect(pathsOf(survey('a/b'))).toEqual(['', 'c']);
    const single = survey('a/b/c');
    expect(single.items).toMatchObject([{ type: 'file', path: '', size: 1 }]);
    expect((await read(single.items[0] as FoundFile, quiet, 'a/b/c')).content).toEqual(Buffer.from('x'));
  });

  it('keeps names of any byte, and reads their files', async () => {
    const names = Array.from({ length: 255 }, (_, index) => index + 1).filter((byte) => byte !== 0x2f);
    const folder = Buffer.from([0xff, 0x20, 0xc3]);
    mkdirSync(Buffer.concat([Buffer.from(`${root}/`), folder]));
    const written = new Map<string, string>();
    for (const byte of names) {
      const name = Buffer.from([0x61, byte, 0x80, byte]);
      writeFileSync(Buffer.concat([Buffer.from(`${root}/`), folder, Buffer.from('/'), name]), `content ${byte}`);
      written.set(nameFromBytes(Buffer.concat([folder, Buffer.from('/'), name])), `content ${byte}`);
    }
    write('ä/😀 \n�', 'text');
    written.set('ä/😀 \n�', 'text');
    const found = survey();
    expect(found.notes).toEqual([]);
    const files = found.items.filter((item) => item.type === 'file');
    expect(new Set(files.map(({ path }) => path))).toEqual(new Set(written.keys()));
    for (const file of files) expect((await read(file)).content?.toString()).toBe(written.get(file.path));
  });

  it('keeps the bytes of a link, and does not follow it, wherever it leads', async () => {
    writeFileSync(join(base, 'secret'), 'secret');
    mkdirSync(join(base, 'outside'));
    writeFileSync(join(base, 'outside', 'file'), 'x');
    for (const [name, target] of [
      ['up', '../secret'],
      ['folder', '../outside'],
      ['gone', 'nowhere'],
      ['self', 'self'],
      ['top', '/'],
    ] as const)
      symlinkSync(target, join(root, name));
    symlinkSync(Buffer.from([0x2e, 0x2f, 0xff]), join(root, 'odd'));
    const { items, notes } = survey();
    expect(notes).toEqual([]);
    expect(items.slice(1)).toMatchObject([
      { type: 'link', path: 'folder', target: '../outside' },
      { type: 'link', path: 'gone', target: 'nowhere' },
      { type: 'link', path: 'odd', target: './\udcff' },
      { type: 'link', path: 'self', target: 'self' },
      { type: 'link', path: 'top', target: '/' },
      { type: 'link', path: 'up', target: '../secret' },
    ]);
  });

  it('notes sockets and pipes, and hangs on neither', async () => {
    execFileSync('mkfifo', [join(root, 'pipe')]);
    const server = createServer().listen(join(root, 'socket'));
    await vi.waitFor(() => lstatSync(join(root, 'socket')));
    write('file');
    const { notes, ...found } = survey();
    server.close();
    expect(pathsOf({ notes, ...found })).toEqual(['', 'file']);
    expect(notes.toSorted((a, b) => (a.path < b.path ? -1 : 1))).toEqual([
      { path: 'pipe', note: 'a named pipe is not backed up' },
      { path: 'socket', note: 'a socket is not backed up' },
    ]);
  });
});

describe('a survey that leaves things out', () => {
  it('has nothing that is excluded, nor what is in it', async () => {
    for (const path of ['a/x.o', 'a/y', 'cache/a/b', 'z/cache/c', 'tmp/d', 'z/tmp/e']) write(path);
    const { items, notes } = survey('.', tree, { exclude: ['*.o', 'cache', '/tmp'] });
    expect(items.map(({ path }) => path)).toEqual(['', 'a', 'a/y', 'z', 'z/tmp', 'z/tmp/e']);
    expect(notes).toEqual([]);
  });

  it('is refused where it is too large by its names and sizes, before anything is read', async () => {
    for (let folder = 0; folder < 3; folder++) for (let file = 0; file < 10; file++) write(`f${folder}/${file}`);
    const check = async (entriesMax: number, bytesMax: number, exclude: string[] = []): Promise<void> => {
      using walk = tree.open('.', { exclude });
      await walk.checkSize(entriesMax, bytesMax);
    };
    await check(34, 1e6);
    await expect(check(33, 1e6)).rejects.toThrow('"." has more than 33 entries: register parts of it');
    await check(33, 1e6, ['f1/9']);
    await check(34, 34 * 64);
    await expect(check(34, 34 * 60)).rejects.toThrow('the manifest of "." would have more than 2040 bytes');
    // Ten chunks of content and ten of a hole, or about.
    write('f0/large', Buffer.alloc(10 * 1024 * 1024, 1));
    write('hole', '');
    truncateSync(join(root, 'hole'), 40 * 1024 * 1024);
    await check(36, 36 * 64 + 20 * 80);
    await expect(check(36, 36 * 64 + 20 * 70)).rejects.toThrow('would have more than');
  });

  /** Linux mounts something there, in a container too. */
  it.runIf(existsSync('/dev/shm'))('has what is mounted below the path only where that is wanted', async () => {
    const file = `shm/${basename(mkdtempSync('/dev/shm/tree-mounted-'))}`;
    try {
      const all = treeAt('/');
      const { items, notes } = survey('dev', all);
      expect(items.filter(({ path }) => path.startsWith('shm'))).toMatchObject([{ type: 'folder', path: 'shm' }]);
      expect(notes).toContainEqual({ path: 'shm', note: 'another file system is mounted here; what is in it is not backed up' });
      const crossed = survey('dev', all, { oneFileSystem: false });
      expect(pathsOf(crossed)).toContain(file);
      expect(pathsOf(survey('dev/shm', all))).toContain(basename(file));
    } finally {
      rmSync(join('/dev', file), { recursive: true });
    }
  });
});

describe('a path', () => {
  it.each([
    '..',
    '../root',
    'a/..',
    'a/../..',
    '/',
    '/etc',
    'a//b',
    './a',
    'a/.',
    'a/',
    '',
    'a\0b',
    'nothing',
    'a/nothing',
    'a/file/below',
  ])('that is %j is refused', async (path) => {
    write('a/file');
    expect(() => survey(path)).toThrow(PathError);
  });

  it('through a link, or that is one, is refused, even where it leads back below the root', async () => {
    write('real/file');
    symlinkSync('real', join(root, 'link'));
    symlinkSync('/', join(root, 'top'));
    for (const path of ['link', 'link/file', 'top', 'top/etc', 'real/../link']) expect(() => survey(path)).toThrow(PathError);
    expect(() => survey('link')).toThrow('is a symbolic link: register the path that it points to');
  });

  it('to a pipe is refused', async () => {
    execFileSync('mkfifo', [join(root, 'pipe')]);
    expect(() => survey('pipe')).toThrow('is neither a file nor a folder');
  });

  it('that the node may not read is refused: an empty version would let the whole ones go', () => {
    write('shut/file', 'x');
    chmodSync(join(root, 'shut'), 0);
    chmodSync(base, 0o755);
    const isRoot = process.geteuid!() === 0;
    if (isRoot) process.seteuid!(65_534);
    try {
      expect(() => survey('shut')).toThrow(new PathError('"shut" may not be read by the node'));
    } finally {
      if (isRoot) process.seteuid!(0);
      chmodSync(join(root, 'shut'), 0o700);
    }
  });

  it('may be below a root that is itself a link; a root must be a folder', async () => {
    write('file', 'x');
    symlinkSync(root, join(base, 'link'));
    const linked = treeAt(join(base, 'link'));
    const found = survey('.', linked);
    expect((await read(fileIn(found, 'file'), quiet, '.', linked)).content).toEqual(Buffer.from('x'));
    expect(() => treeAt(join(root, 'file'))).toThrow(PathError);
    expect(() => treeAt(join(root, 'nothing'))).toThrow(PathError);
  });
});

describe('reading', () => {
  it.each([0, 1, fileChunks.min, fileChunks.min + 1, fileChunks.max + 1])(
    'gives the content of a file of %d bytes',
    async (size) => {
      const content = large(size, 4 * Math.ceil(size / 4)).subarray(0, size);
      write('file', content);
      const { note, ...result } = await read(fileIn(survey(), 'file'));
      expect(note).toBeUndefined();
      expect(result.content?.equals(content)).toBe(true);
      expect(result.entry).toMatchObject({ type: 'file', path: 'file', size, sha256: hashOf(content) });
      expect(result.entry).not.toHaveProperty('known');
    },
  );

  it('of what the system refuses is a note, which says nothing of where the root is', () => {
    const name = 'd'.repeat(250);
    const make = `for (let deep = 0; deep < 17; deep++) { fs.mkdirSync('${name}'); process.chdir('${name}'); }`;
    execFileSync(process.execPath, ['-e', make], { cwd: root });
    try {
      const [note] = survey().notes;
      expect(note!.note).toMatch(/^cannot be read: name too long \(ENAMETOOLONG\)/);
      expect(note!.note).not.toContain(base);
    } finally {
      execFileSync('rm', ['-rf', name], { cwd: root });
    }
  });

  it('of a file that is gone, or has become something else, is a note', async () => {
    write('a');
    const file = fileIn(survey(), 'a');
    unlinkSync(join(root, 'a'));
    expect(await read(file)).toMatchObject({ note: 'vanished before it was read', content: undefined });
    mkdirSync(join(root, 'a'));
    expect(await read(file)).toMatchObject({
      note: 'cannot be read: it is no file any more',
      content: undefined,
    });
    rmSync(join(root, 'a'), { recursive: true });
    execFileSync('mkfifo', [join(root, 'a')]);
    expect((await read(file)).note).toContain('no file any more');
    unlinkSync(join(root, 'a'));
    writeFileSync(join(base, 'secret'), 'secret');
    symlinkSync('../secret', join(root, 'a'));
    expect(await read(file)).toMatchObject({ note: 'became a link before it was read', content: undefined, chunks: 0 });
  });

  it('does not go through a folder that was exchanged for a link since the survey', async () => {
    write('a/b/file', 'inside');
    mkdirSync(join(base, 'outside', 'b'), { recursive: true });
    writeFileSync(join(base, 'outside', 'b', 'file'), 'secret');
    const found = survey();
    renameSync(join(root, 'a'), join(root, 'moved'));
    for (const target of [join(base, 'outside'), '../outside', 'moved']) {
      symlinkSync(target, join(root, 'a'));
      const result = await read(fileIn(found, 'a/b/file'));
      expect(result).toMatchObject({ content: undefined, chunks: 0 });
      expect(result.note).toContain('a folder above it became a link');
      unlinkSync(join(root, 'a'));
    }
  });

  it('of a file that grows all the time takes what was there, and says so', async () => {
    write('log', 'line 0\n');
    const { content, note, entry, chunks } = await read(fileIn(survey(), 'log'), (taken) =>
      appendFileSync(join(root, 'log'), `line ${taken}\n`),
    );
    expect(note).toContain('changed while it was read');
    expect(chunks).toBe(3);
    expect(content?.toString()).toBe('line 0\nline 1\nline 2\n');
    expect(entry?.size).toBe(21);
  });

  it('of a file that changed once takes what it is now, without a note', async () => {
    write('file', 'old');
    const { content, note } = await read(fileIn(survey(), 'file'), (taken) => taken === 1 && write('file', 'new and longer'));
    expect(note).toBeUndefined();
    expect(content?.toString()).toBe('new and longer');
  });

  it('of a large file that shrinks or vanishes takes what it can, and never a wrong hash', async () => {
    const whole = large(1);
    write('file', whole);
    const found = fileIn(survey(), 'file');
    const shrunk = await read(found, (taken) => taken === 1 && truncateSync(join(root, 'file'), fileChunks.max + 5));
    expect(shrunk.content?.equals(whole.subarray(0, fileChunks.max + 5))).toBe(true);
    const emptied = await read(found, (taken) => taken === 1 && truncateSync(join(root, 'file'), 0));
    expect(emptied.entry).toMatchObject({ size: 0, sha256: hashOf(Buffer.alloc(0)) });
    write('file', whole);
    const vanished = await read(found, (taken) => taken === 1 && unlinkSync(join(root, 'file')));
    expect(vanished).toMatchObject({ content: undefined, note: 'vanished before it was read' });
  });

  it('of a large file that is overwritten in place while it is read gives one of its states in the end', async () => {
    const states = [large(2), large(3), large(4), large(5)];
    write('file', states[0]);
    let next = 1;
    const { content, note } = await read(fileIn(survey(), 'file'), (taken) => {
      if (taken % 3 === 1 && next < 3) write('file', states[next++]);
    });
    expect(note).toBeUndefined();
    expect(content?.equals(states[2]!)).toBe(true);
  });

  it('of a file that is exchanged by a rename gives one or the other', async () => {
    const [old, fresh] = [large(6), large(7)];
    write('file', old);
    write('new', fresh);
    const { content, note } = await read(
      fileIn(survey(), 'file'),
      (taken) => taken === 1 && renameSync(join(root, 'new'), join(root, 'file')),
    );
    expect(note).toBeUndefined();
    expect([old, fresh].filter((each) => content?.equals(each))).toHaveLength(1);
  });

  it('ends with the error of whoever takes the chunks', async () => {
    write('file', 'x');
    const file = fileIn(survey(), 'file');
    const errors = [
      new Error('no more'),
      new RefusedError('the peer closed the connection'),
      Object.assign(new Error('reset'), { code: 'ECONNRESET' }),
    ];
    using walk = tree.open('.');
    for (const error of errors) await expect(walk.read(file, () => Promise.reject(error))).rejects.toBe(error);
  });
});

describe('what was read before', () => {
  /** As if it were later: what was changed just now may be learnt. */
  const later = (): void => void vi.useFakeTimers({ now: Date.now() + 60_000, toFake: ['Date'] });

  it('is not read again, as long as its file stays as it is', async () => {
    write('small', 'x');
    write('large', large(8, fileChunks.max + 4));
    later();
    const first = survey();
    const entries = [(await read(fileIn(first, 'small'))).entry!, (await read(fileIn(first, 'large'))).entry!];
    const second = survey();
    for (const { path, sha256, chunks } of entries)
      expect(fileIn(second, path).known).toMatchObject({ sha256, ...(chunks !== undefined && { chunks }) });
  });

  it('is read again when it was changed less than 2 s before', async () => {
    write('file', 'one');
    await read(fileIn(survey(), 'file'));
    expect(fileIn(survey(), 'file').known).toBeUndefined();
  });

  it('is read again after an edit that left its size, and whose time was set back', async () => {
    write('file', 'one');
    utimesSync(join(root, 'file'), 1000, 1000);
    const before = fileIn(survey(), 'file');
    await read(before);
    write('file', 'two');
    utimesSync(join(root, 'file'), 1000, 1000);
    const after = fileIn(survey(), 'file');
    expect(after).toEqual(before);
    expect(after.known).toBeUndefined();
    expect((await read(after)).content?.toString()).toBe('two');
  });

  it('and was known for long is read again after such an edit, for its inode knows', async () => {
    write('file', 'one');
    utimesSync(join(root, 'file'), 1000, 1000);
    const { ctimeMs } = lstatSync(join(root, 'file'));
    later();
    await read(fileIn(survey(), 'file'));
    expect(fileIn(survey(), 'file').known).toBeDefined();
    await vi.waitFor(() => {
      write('file', 'two');
      utimesSync(join(root, 'file'), 1000, 1000);
      expect(lstatSync(join(root, 'file')).ctimeMs).toBeGreaterThan(ctimeMs);
    });
    expect(fileIn(survey(), 'file').known).toBeUndefined();
  });

  it('is read again when another file took its name', async () => {
    write('file', 'one');
    write('other', 'two');
    for (const name of ['file', 'other']) utimesSync(join(root, name), 1000, 1000);
    later();
    await read(fileIn(survey(), 'file'));
    renameSync(join(root, 'other'), join(root, 'file'));
    expect(fileIn(survey(), 'file').known).toBeUndefined();
  });

  it('is not learnt of a file that changed while it was read', async () => {
    write('file', 'one');
    later();
    await read(fileIn(survey(), 'file'), (taken) => write('file', `try ${taken}`));
    expect(fileIn(survey(), 'file').known).toBeUndefined();
  });

  it('is known under the path that it was registered by, and after a restart', async () => {
    write('a/file', 'x');
    later();
    const { entry } = await read(fileIn(survey('a'), 'file'), quiet, 'a');
    const restarted = treeAt(root);
    expect(fileIn(survey('a', restarted), 'file').known).toMatchObject({ sha256: entry!.sha256 });
    expect(fileIn(survey('.', restarted), 'a/file').known).toBeUndefined();
  });
});
