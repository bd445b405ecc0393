/** A tree with all that a file system of Linux can hold comes back as it was. Some of it takes root. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { hashOf } from '@lab/store/bundle';
import { expect, it } from 'vitest';
import { path, RealSystem, tree } from './real-system.ts';

type Bytes = string | Buffer;
const below = (folder: Bytes, name: Bytes): Buffer => Buffer.concat([Buffer.from(folder), Buffer.from('/'), Buffer.from(name)]);

/** Names that somebody has taken for something else, or for none at all. */
const names: Bytes[] = [
  ...['1', 'name', '.new', '...', '..x', '-rf', ' lead trail ', 'back\\slash', 'quote"\'', 'new\nline', 'tab\t', 'esc\x1b[31m'],
  ...['Case', 'case', 'CASE', 'nfc-\u00e9', 'nfd-e\u0301', '\ufffd', '\ufeffbom', `${'\u00e9'.repeat(127)}x`, 'n'.repeat(255)],
  ...[
    Buffer.from('latin1-\xe9\xff', 'latin1'),
    Buffer.from('\xc3\xa9-\xe9', 'latin1'),
    Buffer.from('cesu-\xed\xb3\xa9', 'latin1'),
  ],
];
const modes = { suid: 0o4755, sgid: 0o2755, none: 0o000, all: 0o777 };
const links: Bytes[] = ['1', '/etc/passwd', 'nowhere', 'link-3', '.', '../..', 'x'.repeat(4000), Buffer.of(0xe9, 0xff)];
const seconds = [0, -0.001, -1.5, 1_700_000_000.123_456_7, 2_209_032_000.999_999, 7_258_118_400];
const sizes = [0, 1, 512 * 1024, 512 * 1024 + 1, 4 * 1024 * 1024, 6 * 1024 * 1024];

function plant(root: string): void {
  for (const name of names) writeFileSync(below(root, name), name);
  for (const [name, mode] of Object.entries(modes)) {
    writeFileSync(join(root, name), name);
    chmodSync(join(root, name), mode);
  }
  links.forEach((target, index) => symlinkSync(target, join(root, `link-${index}`)));
  linkSync(join(root, '1'), join(root, 'hard'));
  for (const size of sizes) writeFileSync(join(root, `size-${size}`), Buffer.alloc(size, `${size}`));
  writeFileSync(join(root, 'sparse'), 'begun');
  truncateSync(join(root, 'sparse'), 100 * 1024 * 1024);
  for (const [name, mode] of [
    ['sticky', 0o1777],
    ['read-only', 0o555],
  ] as const) {
    mkdirSync(join(root, name));
    writeFileSync(join(root, name, 'in it'), name);
    chmodSync(join(root, name), mode);
  }
  execFileSync('mkfifo', [join(root, 'pipe')]);
  execFileSync('mknod', [join(root, 'device'), 'c', '1', '3']);
  seconds.forEach((at, index) => {
    writeFileSync(join(root, `time-${index}`), '');
    utimesSync(join(root, `time-${index}`), new Date(at * 1000), at < 0 ? new Date(at * 1000) : at);
  });
}

interface Listed {
  mode: number;
  mtimeNs: bigint;
  [of: string]: unknown;
}

/** All that is there, by its name in hex, as it should come back. */
function listed(root: Bytes, found = new Map<string, Listed>()): Map<string, Listed> {
  for (const name of readdirSync(root, 'buffer')) {
    const at = below(root, name);
    const stats = lstatSync(at, { bigint: true });
    // What runs as its owner is not made from a backup.
    const mode = stats.isSymbolicLink() ? 0 : Number(stats.mode) & 0o1777;
    const said = { mode, mtimeNs: stats.mtimeNs };
    const key = at.subarray(Buffer.byteLength(root)).toString('hex');
    if (stats.isDirectory()) found.set(`${key}/`, said);
    if (stats.isSymbolicLink()) found.set(key, { ...said, target: readlinkSync(at, 'hex') });
    if (stats.isFile())
      found.set(key, { ...said, size: stats.size, isHole: stats.blocks * 1024n < stats.size, sha256: hashOf(readFileSync(at)) });
    if (stats.isDirectory()) for (const [below, each] of listed(at)) found.set(`${key}/${below}`, each);
  }
  return found;
}

it.runIf(process.platform === 'linux' && process.geteuid!() === 0)('a nasty tree comes back as it was', async () => {
  await using system = await RealSystem.start();
  const root = join(system.folder, 'root', path);
  plant(root);
  const server = createServer().listen(join(root, 'socket'));
  await system.backUp();
  await system.said('restore', ...tree, '--to', join(system.folder, 'out'));
  server.close();
  const [had, has] = [listed(root), listed(join(system.folder, 'out'))];
  expect([...has.keys()].sort()).toEqual([...had.keys()].sort());
  for (const [name, { mtimeNs, ...entry }] of had) {
    const { mtimeNs: restoredNs, ...restored } = has.get(name)!;
    const text = Buffer.from(name, 'hex').toString('latin1');
    expect(restored, text).toEqual(entry);
    expect(Math.abs(Number(restoredNs - mtimeNs)), `${text}: nanoseconds`).toBeLessThanOrEqual(400);
  }
  expect(existsSync(join(system.folder, 'out', 'pipe'))).toBe(false);
  const [version] = (await system.admin('list', '--last', '1')) as { notes: { note: string }[] }[];
  expect(version!.notes.map(({ note }) => note).sort()).toEqual([
    'a device is not backed up',
    'a named pipe is not backed up',
    'a socket is not backed up',
  ]);
});
