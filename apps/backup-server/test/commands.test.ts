/** Every command of an admin does what it says, and says what it cannot do: with a sentence that names the thing, and an exit code. */
import { execFile, spawn } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { lstat, mkdir, open, readdir, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ConfigError, exitCodes, splitAddress } from '@lab/process';
import { listenFramed, tlsByKeys } from '@lab/protocol';
import { sweep } from '@lab/store';
import { eventually } from '@lab/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keyFor, makeKey, writeKey } from '../src/channel/keys.ts';
import { encode } from '../src/messages.ts';
import { main } from '../src/programs.ts';
import type { StatusResult } from '../src/roles/server.ts';
import type { ListedVersion } from '../src/roles/store-commands.ts';
import { queueOf } from '../src/topology.ts';
import { nameOf, openStore } from '../src/versions.ts';
import { Relay } from './processes.ts';
import { master, path, RealSystem, tree } from './real-system.ts';

let system: RealSystem;
beforeEach(async () => void (system = await RealSystem.start()));
afterEach(() => system[Symbol.asyncDispose]());

const at = (name: string): string => join(system.folder, name);
const list = async (...args: string[]): Promise<ListedVersion[]> => (await system.admin('list', ...args)) as ListedVersion[];
const numbers = (versions: readonly ListedVersion[]): number[] => versions.map(({ version }) => version);
const refused = (code: number, message: RegExp | string): unknown =>
  expect.objectContaining({
    exitCode: code,
    message:
      message instanceof RegExp ? (expect.stringMatching(message) as string) : (expect.stringContaining(message) as string),
  });

/** One more version, with this file in it. */
async function change(name: string, content: string | Uint8Array): Promise<void> {
  await system.write(name, content);
  await system.backUp();
}

/** Bytes that do not shrink. */
const noise = (length: number): Buffer =>
  createCipheriv('aes-256-ctr', Buffer.alloc(32), Buffer.alloc(16)).update(Buffer.alloc(length));

/** Flips a byte in each pack that has these bytes. */
async function spoil(bytes: Uint8Array): Promise<void> {
  const packs = join(system.store, 'packs');
  for (const name of await readdir(packs)) {
    const there = (await readFile(join(packs, name))).indexOf(bytes);
    if (!name.endsWith('.pack') || there < 0) continue;
    const file = await open(join(packs, name), 'r+');
    await file.write(Buffer.of(bytes[0]! ^ 1), 0, 1, there);
    await file.close();
  }
}

describe('versions', () => {
  it('are listed of a node, of a path, and the newest so many of each', async () => {
    for (const name of ['two', 'three']) await change(name, name);
    expect(numbers(await list())).toEqual([1, 2, 3]);
    expect(numbers(await list(...tree, '--last', '2'))).toEqual([2, 3]);
    expect(numbers(await list('--node', 'desk', '--last', '1'))).toEqual([3]);
    expect(await list('--path', 'elsewhere')).toEqual([]);
    expect(await system.said('list', '--node', 'nobody')).toBe('no versions\n');
  });

  it('are shown with what is in them, whatever it is called', async () => {
    await change('deep/two', '22');
    await writeFile(Buffer.concat([Buffer.from(`${at(`root/${path}`)}/caf`), Buffer.of(0xe9)]), '');
    await system.backUp();
    const lines = (await system.said('files', ...tree)).replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, 'T').split('\n');
    expect(lines).toEqual([
      expect.stringMatching(/^drwx.{6} +T \.$/),
      expect.stringMatching(/^-rw.{7} +0 T caf\\xe9$/),
      expect.stringMatching(/^drwx.{6} +T deep$/),
      expect.stringMatching(/^-rw.{7} +2 T deep\/two$/),
      expect.stringMatching(/^-rw.{7} +10 T one$/),
      '',
    ]);
    expect(await system.admin('files', ...tree, '--version', '1')).toMatchObject([
      { path: '' },
      { path: 'one', size: 10, damaged: false },
    ]);
  });

  it('are restored by the names that are shown', async () => {
    await writeFile(Buffer.concat([Buffer.from(`${at(`root/${path}`)}/caf`), Buffer.of(0xe9)]), '');
    await system.backUp();
    await system.said('restore', ...tree, '--to', at('out'), '--only', 'caf\\xe9');
    expect(await readdir(at('out'), 'latin1')).toEqual(['caf\u00e9']);
  });

  it('are compared', async () => {
    await change('two', 'x');
    await system.write('one', 'other');
    await rm(at(`root/${path}/two`));
    await change('three', '');
    expect(await system.said('diff', ...tree, '2', '3')).toBe('M one\n+ three\n- two\n1 added, 1 removed, 1 changed\n');
    expect(await system.admin('diff', ...tree, '3', '3')).toEqual([]);
    await expect(system.said('diff', ...tree, '3')).rejects.toThrow('two versions are needed');
  });

  it('are forgotten one by one, and no number is given again', async () => {
    for (const name of ['two', 'three']) await change(name, name);
    expect(await system.said('forget', ...tree, '--version', '3')).toBe('version 3 of "papers" of node desk is removed\n');
    await system.said('forget', ...tree, '--version', '1');
    expect(numbers(await list())).toEqual([2]);
    await rm(at('root/papers/three'));
    expect(await system.said('backup', ...tree)).toContain('unchanged since version 2');
    await change('three', 'three');
    expect(numbers(await list())).toEqual([2, 4]);
    await expect(system.said('forget', ...tree, '--version', '3')).rejects.toEqual(
      refused(1, 'there is no version 3 of "papers" of node desk: it has 2, from 2 to 4'),
    );
  });

  it('that no rule keeps go, also when nothing has changed', async () => {
    for (const name of ['two', 'three']) await change(name, name);
    expect(await system.register('--keep', '1', '--keep-daily', '1')).toMatchObject({ result: 'unchanged', removed: 2 });
    expect(numbers(await list())).toEqual([3]);
    expect(await system.said('status')).toContain('1, 1 daily');
    await system.register();
    expect(await system.said('status')).toContain('│ all ');
  });
});

describe('a restore', () => {
  it('of some of a version needs only these to be whole', async () => {
    const bad = noise(3_000_000);
    await change('a,b/two', 'two');
    await change('large', bad);
    await spoil(bad.subarray(1_000_000, 1_000_100));
    await expect(system.said('verify')).rejects.toEqual(refused(1, 'damaged: 1 version; the next backup brings back'));
    const restore = ['restore', ...tree, '--to', at('out')] as const;
    await expect(system.said(...restore)).rejects.toEqual(refused(1, /is damaged: 1 of its 3 files[^]*\n {2}large\n/));
    expect(await system.admin(...restore, '--only', 'a,b', '--only', 'one')).toMatchObject({
      files: 2,
      leftOut: 0,
      unwritten: [],
    });
    expect(await readdir(at('out'))).toEqual(['a,b', 'one']);
    await expect(system.said(...restore, '--only', 'a,b/x')).rejects.toEqual(refused(2, 'there is no "a,b/x" in version 3'));
  });

  it('names ten files of a damaged version, however long their paths are', async () => {
    const deep = Array.from({ length: 11 }, (_, index) => `${index}`.padEnd(200, 'x')).join('/');
    const bad = noise(300);
    for (let index = 0; index < 12; index++) await system.write(`${deep}/${String(index).padStart(200, 'y')}`, bad);
    await system.backUp();
    await spoil(bad.subarray(0, 100));
    await expect(system.said('verify')).rejects.toThrow('damaged: 1 version;');
    const error = await system.said('restore', ...tree, '--to', at('out')).catch((caught: unknown) => caught);
    expect(error).toEqual(refused(1, /12 of its 13 files cannot be restored\n[^]*and 2 more\n/));
    expect((error as Error).message.split('\n').filter((line) => line.startsWith(`  ${deep}/`))).toHaveLength(10);
  });

  it('writes what the target takes, lists the rest, and goes on from there', async () => {
    const long = Array.from({ length: 19 }, () => 'd'.repeat(200)).join('/');
    await system.write(`${long}/deep`, 'deep');
    await system.backUp();
    const target = at('t'.repeat(250));
    const restore = ['restore', ...tree, '--to', target] as const;
    await expect(system.said(...restore)).rejects.toEqual(
      refused(1, /^1 entry could not be restored:\n {2}d+\/[^]*: name too long \(ENAMETOOLONG\)/),
    );
    expect(system.heard).toMatch(/: 1 file, 10 B\n$/);
    expect(await readFile(join(target, 'one'), 'utf8')).toBe('the first\n');
    await expect(system.said(...restore)).rejects.toEqual(refused(1, 'ENAMETOOLONG'));
  });

  it('meets damage that nobody knew of: it ends with a sentence, and the server knows', async () => {
    const bad = noise(9_000_000);
    await change('z', bad);
    await spoil(bad.subarray(8_500_000, 8_500_100));
    const restore = ['restore', ...tree, '--to', at('out')] as const;
    await expect(system.said(...restore)).rejects.toEqual(
      refused(
        1,
        /^the store has damage that nobody knew of[^]*What is restored stays in .*out, and the same command with --version 2 goes on/,
      ),
    );
    expect(await readdir(at('out'))).toEqual(['one', 'z']);
    expect(await list('--last', '1')).toMatchObject([{ state: 'damaged', damaged: 1, damagedFiles: ['z'] }]);
    expect(await system.said('files', ...tree)).toContain('z  (damaged)\n');
    const query = ['query', ...tree, '--save-to', at('out.tgz')] as const;
    for (const [name, ...args] of [restore, query]) {
      const notAll = refused(1, '1 damaged file left out, which "files" shows');
      await expect(system.admin(name, ...args, '--partial')).rejects.toEqual(notAll);
      expect(JSON.parse(system.heard)).toMatchObject({ files: 1, leftOut: 1 });
    }
    expect(await readdir(at('out'))).toEqual(['one']);
    expect(await readFile(at('out/one'), 'utf8')).toBe('the first\n');
    expect(existsSync(at('out.tgz'))).toBe(true);
  });

  it('takes the rest where damage comes to light and --partial is given', async () => {
    const bad = noise(3_000_000);
    await change('a', bad);
    await spoil(bad.subarray(1_000_000, 1_000_100));
    const answer = system.said('restore', ...tree, '--to', at('out'), '--partial');
    await expect(answer).rejects.toEqual(refused(1, '1 entry could not be restored:\n  a: its content is damaged in the store'));
    expect(await readdir(at('out'))).toEqual(['one']);
    expect(await list('--last', '1')).toMatchObject([{ state: 'damaged', damagedFiles: ['a'] }]);
  });

  it('and a query do so without a server too, and speak of none', async () => {
    for (const [index, name] of ['a', 'b', 'c', 'z'].entries()) {
      const bad = noise(3_000_000 + index).map((byte) => byte ^ index);
      await change(name, bad);
      if (name !== 'b') await spoil(bad.subarray(1_000_000, 1_000_100));
    }
    const query = ['query', ...tree, '--save-to', at('out.tgz')] as const;
    await expect(system.opened(...query)).rejects.toEqual(refused(1, /^(?!.*server).*damage that nobody knew of/));
    await expect(system.opened(...query, '--partial')).rejects.toEqual(refused(1, /^3 entries could not be restored:\n {2}a: /));
    expect(system.heard).toContain(': 2 files, 2.86 MiB');
    const { stdout } = await promisify(execFile)('tar', ['tzf', at('out.tgz')]);
    expect(
      stdout
        .split('\n')
        .map((line) => line.slice(path.length + 1))
        .filter(Boolean),
    ).toEqual(['b', 'one']);
    expect((await readdir(system.folder)).filter((name) => name.startsWith('out'))).toEqual(['out.tgz']);
  });
});

it('a restore or a query that is refused leaves nothing behind', async () => {
  await writeFile(at('out.tgz.part'), 'mine');
  const before = await readdir(system.folder);
  const none = refused(1, 'there is no version 9');
  await expect(system.said('restore', '--to', at('out'), ...tree, '--version', '9')).rejects.toEqual(none);
  await expect(system.said('query', '--save-to', at('out.tgz'), ...tree, '--version', '9')).rejects.toEqual(none);
  expect(await readdir(system.folder)).toEqual(before);
  expect(await readFile(at('out.tgz.part'), 'utf8')).toBe('mine');
});

it('a query leaves what is no file as it is', async () => {
  await symlink(at('elsewhere'), at('link'));
  await mkdir(at('folder'));
  for (const name of ['link', 'folder']) {
    const told = refused(2, `--save-to ${at(name)} is no file, and stays`);
    await expect(system.said('query', ...tree, '--save-to', at(name))).rejects.toEqual(told);
  }
  const told = refused(2, `--save-to ${at('no/out.tgz')} cannot be written: `);
  await expect(system.said('query', ...tree, '--save-to', at('no/out.tgz'))).rejects.toEqual(told);
  expect((await lstat(at('link'))).isSymbolicLink()).toBe(true);
});

it('a first backup that cannot be made says what the node says', async () => {
  const missing = ['--node', 'desk', '--path', 'missing'];
  const told = refused(1, `"missing" is not there, below the node's root`);
  await system.said('register', ...missing, '--address', system.node, '--every', '1h');
  await expect(system.said('backup', ...missing)).rejects.toEqual(told);
});

describe('a restore that is broken off', () => {
  /** More than is asked for at once, and travels meanwhile. */
  const size = 40_000_000;
  let relay: Relay;
  let args: string[];
  beforeEach(async () => {
    await change('z', noise(size));
    relay = await Relay.start(system.port);
    args = ['restore', ...tree, '--to', at('out'), '--server', relay.address];
    relay.holdAfter(5_000_000);
  });
  afterEach(() => relay.close());

  /** Until a part of the file has been written. */
  const halfDone = (): Promise<unknown> =>
    eventually(async () => relay.isHolding && existsSync(at('out/z')) && (await stat(at('out/z'))).size > 0);

  /** Restores the rest, and no more than that. */
  async function goesOn(): Promise<void> {
    relay.letPass();
    relay.mark();
    const there = (await stat(at('out/z'))).size;
    expect(await system.admin(...(args as [string]))).toMatchObject({ files: 2 });
    expect((await readFile(at('out/z'))).equals(noise(size))).toBe(true);
    expect(relay.bytes).toBeLessThan(size - there + 4_500_000);
  }

  it('by a cut says so, keeps what it has, and goes on from there', async () => {
    const restoring = system.said(...(args as [string]));
    restoring.catch(() => undefined);
    await halfDone();
    relay.cut();
    await expect(restoring).rejects.toEqual(
      refused(exitCodes.unavailable, /Is the server at .* running\? What is restored stays/),
    );
    await goesOn();
  });

  it('by Ctrl-C exits with 130, and goes on from there', async () => {
    const program = join(import.meta.dirname, '../src/main.ts');
    const child = spawn(process.execPath, [program, 'admin', ...args, '--key-file', at('key')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.on('data', (text: Buffer) => void (said += text.toString()));
    const ended = once(child, 'close');
    await halfDone();
    child.kill('SIGINT');
    expect(await ended).toEqual([130, null]);
    expect(said).toContain(
      `interrupted. What is restored stays in ${at('out')}, and the same command with --version 2 goes on from there\n`,
    );
    await goesOn();
  });

  it('by nothing, though its version is forgotten and all is swept that nobody needs, ends whole', async () => {
    const restoring = system.admin(...(args as [string]));
    restoring.catch(() => undefined);
    await halfDone();
    const other = await openStore(system.store);
    await other.forget(nameOf({ node: 'desk', path }), () => [2]);
    await sweep(other, { nowMs: Infinity, graceMs: 0 });
    await other.close();
    relay.letPass();
    expect(await restoring).toMatchObject({ files: 2 });
    expect((await readFile(at('out/z'))).equals(noise(size))).toBe(true);
  });

  it('by the removal of its version says so', async () => {
    const restoring = system.said(...(args as [string]));
    restoring.catch(() => undefined);
    await halfDone();
    await system.said('forget', ...tree, '--version', '2');
    const packs = join(system.store, 'packs');
    for (const name of await readdir(packs)) await rm(join(packs, name));
    relay.letPass();
    await expect(restoring).rejects.toEqual(refused(1, 'the version was removed meanwhile'));
  });
});

it('a tree whose manifest would be too long is refused before anything is read', async () => {
  await system.write('hole', '');
  await truncate(at(`root/${path}/hole`), 15 * 1024 ** 4);
  await expect(system.backUp()).rejects.toEqual(refused(1, /the manifest of "papers" would have more than 268435456 bytes/));
});

it('a backup that is wanted while one is under way has what is there now', async () => {
  const relay = await Relay.start(splitAddress(system.node).port);
  try {
    await system.register('--address', relay.address);
    await system.write('z', noise(3_000_000));
    relay.mark();
    relay.holdAfter(1_000_000);
    const first = system.backUp();
    await eventually(() => relay.isHolding);
    await system.write('late', '');
    const second = system.backUp();
    await eventually(async () => ((await system.admin('status')) as StatusResult).tasks[0]!.current?.isOutdated === true);
    relay.letPass();
    expect(await first).toMatchObject({ outcome: 'version', version: 2, files: 2 });
    expect(await second).toMatchObject({ outcome: 'version', version: 3, files: 3 });
  } finally {
    await relay.close();
  }
});

describe('a status that is checked', () => {
  const check = (): Promise<string> => system.said('status', '--check');

  it('is good where all is', async () => {
    expect(await check()).toMatch(/ packs?, none known to be damaged\n$/);
    const { tasks } = (await system.admin('status')) as StatusResult;
    expect(tasks).toMatchObject([{ isLate: false, failures: 0, succeededMs: expect.any(Number) as number }]);
  });

  it('names what fails', async () => {
    await system.stopNode();
    await expect(system.backUp()).rejects.toThrow('the backup of "papers" of node desk failed');
    await expect(check()).rejects.toEqual(refused(1, /^"papers" of node desk failed: cannot connect/));
  });

  it('names what is late', async () => {
    await system.stopNode();
    await system.register('--every', '1s');
    await eventually(() => expect(check()).rejects.toEqual(refused(1, '"papers" of node desk is late')));
  });

  it('names what was tried and cannot be restored, while it is there', async () => {
    const drilled = { kind: 'drilled', node: 'desk', path, version: 1, problem: 'it is not whole', elapsedMs: 1 } as const;
    await system.memory.connect().publish({ routingKey: queueOf.outcomes, body: encode(drilled) });
    await eventually(() =>
      expect(check()).rejects.toEqual(refused(1, '"papers" of node desk: version 1 cannot be restored: it is not whole')),
    );
    await change('two', '22');
    await system.said('forget', ...tree, '--version', '1');
    expect(await check()).not.toContain('it is not whole');
  });

  it('names what is damaged', async () => {
    const bad = noise(3000);
    await change('z', bad);
    await spoil(bad.subarray(0, 100));
    await expect(system.said('verify')).rejects.toThrow('damaged');
    await expect(check()).rejects.toEqual(refused(1, '"papers" of node desk is damaged: 1 version cannot be restored whole'));
    expect(await system.said('status')).toContain('damaged: 1 version of "papers" of node desk; "list" names the files\n');
    // The damaged copy stays in its pack.
    await system.backUp();
    expect(await check()).toContain('none known to be damaged');
    expect(await system.said('verify')).toMatch(/1 damaged place found\n {2}content at .*, all of it is sound elsewhere\n$/);
  });
});

it('the last success of each path, and its damage, are measured', async () => {
  const value = async (name: string): Promise<number> => {
    const line = (await system.registry.metrics()).split('\n').find((each) => each.startsWith(name));
    return Number(/\{node="desk",path="papers"\} ([\d.e+]+)$/.exec(line ?? '')?.[1]);
  };
  const { tasks } = (await system.admin('status')) as StatusResult;
  expect(await value('backup_last_success_timestamp_seconds')).toBe(tasks[0]!.succeededMs! / 1000);
  expect(await value('backup_damaged_versions')).toBeNaN();
  const bad = noise(3000);
  await change('z', bad);
  await spoil(bad.subarray(0, 100));
  await expect(system.said('verify')).rejects.toThrow('damaged');
  await system.admin('status');
  expect(await value('backup_damaged_versions')).toBe(1);
});

it('a value that is out of range is told before it is sent', async () => {
  const long = system.register('--address', `${'a'.repeat(300)}:1`);
  await expect(long).rejects.toEqual(refused(2, /^register: .*address/));
  await system.stopServer();
  const wrong = (...flags: string[]): Promise<unknown> => system.register(...flags).catch((error: unknown) => error);
  expect(await wrong('--exclude', '//')).toEqual(new ConfigError(['--exclude is "//": a pattern is empty']));
  expect(await wrong('--every', '5x', '--path', '/etc')).toEqual(
    new ConfigError([
      '--path is "/etc": it is absolute: paths are below the root of the node, as in "notes/today"',
      '--every is "5x": give seconds (30), a number with s, m, h or d (5m), or a cron expression ("0 2 * * *")',
    ]),
  );
  await expect(system.opened('list', '--path', 'a/../..')).rejects.toThrow('--path is "a/../..": it has ".." in it');
});

it('what is excluded is not backed up, and is a change', async () => {
  await change('cache/two', 'x');
  expect(await system.register('--exclude', 'cache', '--exclude', '*.tmp')).toMatchObject({ result: 'version', files: 1 });
  expect(await system.said('diff', ...tree, '2', '3')).toContain('- cache/two\n');
});

describe('a registry', () => {
  const registry = (): string => join(system.store, 'registry');

  it('that is missing though there are versions is told, and made anew by registering', async () => {
    await system.stopServer();
    await rm(registry());
    await system.startServer();
    const sentence = 'nothing is backed up, for the store has versions, but no file "registry"';
    expect(await system.said('status')).toContain(sentence);
    await expect(system.said('status', '--check')).rejects.toEqual(refused(1, sentence));
    expect(numbers(await list())).toEqual([1]);
    expect(existsSync(registry())).toBe(false);
    await system.register();
    expect(await system.said('status', '--check')).not.toContain('registry');
  });

  it('that is damaged is told and left alone; list and restore need none', async () => {
    await system.stopServer();
    await writeFile(registry(), 'nothing of the kind\n');
    await system.startServer();
    const sentence =
      /^nothing is backed up, for the registry cannot be read: both copies in .*registry are damaged: move it away/;
    await expect(system.said('status', '--check')).rejects.toEqual(refused(1, sentence));
    await expect(system.register()).rejects.toEqual(refused(1, sentence));
    expect(numbers(await list())).toEqual([1]);
    await system.said('restore', ...tree, '--to', at('out'));
    await system.stopServer();
    expect(await readFile(registry(), 'utf8')).toBe('nothing of the kind\n');
  });

  it.each(['moved away', 'put back'])('that is damaged and %s is looked at again while the server runs', async (what) => {
    await system.stopServer();
    const sound = await readFile(registry());
    await writeFile(registry(), 'nothing of the kind\n');
    await system.startServer();
    await expect(system.said('status', '--check')).rejects.toEqual(refused(1, 'move it away'));
    if (what === 'put back') await writeFile(registry(), sound);
    else {
      await rm(registry());
      await expect(system.said('status', '--check')).rejects.toEqual(refused(1, 'register the paths again'));
      await system.register();
    }
    expect(await system.said('status', '--check')).toContain('papers');
    await change('two', '22');
    expect(numbers(await list())).toEqual([1, 2]);
  });
});

/** The file of a version's record. */
async function recordOf(version: number): Promise<string> {
  const versions = join(system.store, 'versions');
  return join(versions, (await readdir(versions))[0]!, String(version));
}

describe('a record', () => {
  it('of which one half is damaged is repaired by a server; without one, verify fails though nothing is lost', async () => {
    const file = await recordOf(1);
    const bytes = await readFile(file);
    await writeFile(file, Buffer.concat([Buffer.of(bytes[0]! ^ 1), bytes.subarray(1)]));
    await expect(system.opened('verify')).rejects.toEqual(
      refused(1, 'not repaired: 1 damaged place; no version has lost anything by it'),
    );
    expect(await system.said('verify')).toMatch(/1 damaged place found\n {2}record at versions\/.*\/1, repaired\n$/);
    expect(await system.opened('verify')).toContain('all as it was written');
  });

  it('that is damaged costs its version, of which nothing is known but the number', async () => {
    await change('two', '22');
    await writeFile(await recordOf(2), 'nothing of the kind\n');
    const cells = (await system.opened('list'))
      .split('\n')
      .find((line) => line.includes('lost'))!
      .split('│');
    expect(cells.map((cell) => cell.trim()).slice(1, -1)).toEqual([
      ...['desk', 'papers', '2', '?', '?', '?', '?'],
      'lost: all of them: its record is damaged',
    ]);
    await expect(system.opened('restore', ...tree, '--to', at('out'))).rejects.toEqual(
      refused(1, /is lost: its record is damaged\. The next backup makes a whole one/),
    );
    const lost = 'damaged: 1 version; nothing brings back a record that is lost, "forget" removes its version';
    await expect(system.opened('verify')).rejects.toEqual(refused(1, lost));
  });

  it('of which both halves are emptied while a server runs is lost for its list and status; verify writes it again', async () => {
    await writeFile(await recordOf(1), '');
    expect(await list()).toMatchObject([{ version: 1, state: 'lost' }]);
    await expect(system.said('status', '--check')).rejects.toEqual(refused(1, '"papers" of node desk is damaged: 1 version'));
    expect(await system.said('verify')).toMatch(/1 damaged place found\n {2}record at versions\/.*\/1, repaired\n$/);
    expect(await list()).toMatchObject([{ version: 1, state: 'whole' }]);
    expect(await system.opened('list')).not.toContain('lost');
    await system.said('status', '--check');
  });

  it('that nobody has in memory is lost for verify and status too, until its version is forgotten', async () => {
    await change('two', '22');
    await system.stopServer();
    await writeFile(await recordOf(2), '');
    await system.startServer();
    await expect(system.said('verify')).rejects.toEqual(refused(1, '"forget" removes its version'));
    await expect(system.said('status', '--check')).rejects.toEqual(refused(1, 'is damaged: 1 version'));
    await system.said('forget', ...tree, '--version', '2');
    expect(await system.said('verify')).toContain('all as it was written');
    await system.said('status', '--check');
  });

  it('of the last number that is emptied costs numbers: the content of a forgotten one comes under no new one', async () => {
    await change('two', 'the old\n');
    await list();
    await system.said('forget', ...tree, '--version', '2');
    await writeFile((await recordOf(1)).replace(/1$/, 'name'), '');
    await change('two', 'the new\n');
    expect(numbers(await list())).toEqual([1, 1_000_002]);
    await system.said('restore', ...tree, '--to', at('out'));
    expect(await readFile(at('out/two'), 'utf8')).toBe('the new\n');
    expect(await system.said('verify')).toContain('all as it was written');
  });
});

describe('a store without a server', () => {
  it('is listed, restored, compared and verified, and nothing is written to it', async () => {
    await change('two', 'the second\n');
    await system.stopServer();
    const files = async (): Promise<string[]> => {
      const names = await readdir(system.store, { recursive: true });
      return Promise.all(names.toSorted().map(async (name) => `${name} ${(await stat(join(system.store, name))).mtimeMs}`));
    };
    const before = await files();
    expect(await system.opened('list')).toMatch(/desk[^]*papers[^]*desk/);
    expect(await system.opened('diff', ...tree, '1', '2')).toBe('+ two\n1 added, 0 removed, 0 changed\n');
    expect(await system.opened('restore', ...tree, '--to', at('out'))).toContain('is restored to');
    expect(await readFile(at('out/two'), 'utf8')).toBe('the second\n');
    expect(await system.opened('verify')).toContain('all as it was written');
    expect(await files()).toEqual(before);
  });

  it('that is none is told', async () => {
    await mkdir(at('empty'));
    for (const store of [at('empty'), at('nowhere'), at('root')])
      await expect(system.opened('list', '--store', store)).rejects.toEqual(refused(exitCodes.usage, store));
  });

  it('is read though its file "format" is gone, empty or damaged; a server says how it begins again', async () => {
    await system.stopServer();
    const format = join(system.store, 'format');
    for (const content of ['', 'nothing of the kind']) {
      await writeFile(format, content);
      expect(await system.opened('list')).toContain('papers');
    }
    await expect(system.startServer()).rejects.toEqual(
      refused(exitCodes.usage, 'If it is damaged, move it away: it is written again'),
    );
    await rm(format);
    await rm(at('out'), { force: true, recursive: true });
    expect(await system.opened('restore', ...tree, '--to', at('out'))).toContain('is restored to');
    expect(existsSync(format)).toBe(false);
    await system.startServer();
    expect(numbers(await list())).toEqual([1]);
  });
});

it('a server of another version is told from one of another key', async () => {
  const tls = tlsByKeys({ keyOf: (identity) => keyFor(master, identity), protocol: 'lab-backup/2' });
  const old = await listenFramed({ host: '127.0.0.1', port: 0, tls }, async () => {});
  await expect(system.said('list', '--server', `127.0.0.1:${old.port}`)).rejects.toEqual(
    refused(1, 'the other side speaks another version of the protocol'),
  );
  await old.close();
  writeKey(at('stranger'), makeKey());
  await expect(system.said('list', '--key-file', at('stranger'))).rejects.toEqual(
    refused(1, /: wrong key.*stranger: is 127\.0\.0\.1:\d+ the server that it is for\?$/),
  );
});

it.each([
  'admin register',
  'admin list',
  'admin files',
  'admin diff',
  'admin restore',
  'admin query',
  'admin forget',
  'admin status',
  'open list',
  'open restore',
  'open verify',
])('%s explains itself', async (command) => {
  let said = '';
  const write = (text: string): void => void (said += text);
  const io = { argv: ['node', 'main.ts', ...command.split(' '), '--help'], env: {}, stdout: { write }, stderr: { write } };
  expect(await main(io)).toBe(0);
  expect(said).toContain(`Usage: main.ts ${command} `);
});
