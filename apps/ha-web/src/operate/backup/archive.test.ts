import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '@lab/process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { logHead, transaction } from '../../../test/log-bytes.ts';
import { Archive } from './archive.ts';
import { partsBehind } from './restore.ts';

let folder: string;
let archive: Archive;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'archive-'));
  archive = new Archive(folder, silentLogger);
});
afterEach(() => rm(folder, { recursive: true }));

const dumps = (): Promise<string[]> => readdir(join(folder, 'dumps'));

async function addDump(name: string, position: string) {
  return archive.add(name, async (file) => {
    await writeFile(file, `the dump ${name}`);
    return { takenAt: '2026-01-31T02:00:00.000Z', source: '10.0.0.1', position };
  });
}

interface Logged {
  readonly sequence: number;
  readonly server?: number;
  readonly seconds?: number;
}
const between = (first: number, last: number): Logged[] =>
  Array.from({ length: last - first + 1 }, (_, index) => ({ sequence: first + index }));

/** What one connection fetched: transactions of its logs. */
async function addChanges(...logs: readonly (readonly Logged[])[]): Promise<string[]> {
  const made = await archive.beginChanges('2026-01-31T02-00-00.000Z-10.0.0.1');
  return Promise.all(
    logs.map(async (logged, index) => {
      const file = join(made, `bin.00000${index + 1}`);
      await writeFile(file, Buffer.concat([logHead, ...logged.map((each) => transaction(each.sequence, each))]));
      return file;
    }),
  );
}

it('is not where there is no folder, which nobody then makes', async () => {
  const nowhere = join(folder, 'nowhere');
  await expect(Archive.existing(nowhere, silentLogger)).rejects.toMatchObject({ name: 'ExitError', exitCode: 2 });
  expect(existsSync(nowhere)).toBe(false);
  expect(await (await Archive.existing(folder, silentLogger)).list()).toEqual([]);
});

describe('dumps', () => {
  it('are there whole or not at all', async () => {
    const failing = archive.add('2026-01-31T02-00-00Z', async (file) => {
      await writeFile(file, 'half a dump');
      throw new Error('the connection broke');
    });
    await expect(failing).rejects.toThrow('the connection broke');
    expect(await dumps()).toEqual([]);
    const made = await addDump('2026-01-31T02-00-00Z', '0-1-17');
    expect(await archive.list()).toEqual([made]);
    await archive.check(made);
    await writeFile(archive.fileOf(made), 'something else');
    await expect(archive.check(made)).rejects.toThrow('the dump 2026-01-31T02-00-00Z is damaged');
  });

  it('are both made where two begin in one second', async () => {
    await Promise.all([addDump('a', '0-1-1'), addDump('a', '0-1-1')]);
    await addDump('a', '0-1-2');
    expect((await archive.list()).map(({ name, position }) => [name, position])).toEqual([
      ['a', '0-1-1'],
      ['a-2', '0-1-1'],
      ['a-3', '0-1-2'],
    ]);
    await Promise.all((await archive.list()).map((dump) => archive.check(dump)));
  });

  it('leave nothing of a crash behind the next start', async () => {
    await addDump('a', '0-1-1');
    await mkdir(join(folder, 'dumps', 'b.part'));
    await archive.clean();
    expect(await dumps()).toEqual(['a']);
  });

  it('are listed without those that are broken', async () => {
    await addDump('a', '0-1-1');
    await mkdir(join(folder, 'dumps', 'b'));
    await mkdir(join(folder, 'dumps', 'c'));
    await writeFile(join(folder, 'dumps', 'c', 'manifest.json'), '{"name":"c"');
    await addDump('d', '0-1-2');
    expect((await archive.list()).map(({ name }) => name)).toEqual(['a', 'd']);
    await archive.retain(1);
    expect((await archive.list()).map(({ name }) => name)).toEqual(['d']);
  });
});

describe('changes', () => {
  it('stay from the oldest dump on, and the newest log always', async () => {
    const [first, second] = await addChanges(between(1, 10), between(11, 20));
    const [copy, written] = await addChanges(between(5, 10), between(11, 12));
    await addDump('a', '0-1-10');
    await addDump('b', '0-1-12');
    await archive.retain(2);
    expect([first, second, copy, written].map((log) => existsSync(log!))).toEqual([false, true, false, true]);
    await addDump('c', '0-1-25');
    await archive.retain(1);
    expect([second, written].map((log) => existsSync(log!))).toEqual([false, true]);
    expect(await archive.changes()).toEqual([[written]]);
  });

  it('keep the order of their connections, also where the clock goes back', async () => {
    for (let connection = 1; connection <= 11; connection++) await addChanges([{ sequence: 1, server: connection }]);
    expect((await archive.history()).has({ sequence: 1, server: 11 })).toBe(true);
  });

  it('are read again where they have grown', async () => {
    const [log] = await addChanges(between(1, 2));
    expect((await archive.history()).last).toBe(2);
    await writeFile(log!, transaction(3), { flag: 'a' });
    expect((await archive.history()).last).toBe(3);
  });
});

describe('partsBehind', () => {
  const lengths = { head: logHead.length, one: transaction(1).length };

  it('are what a restore repeats, of each log what the history has from it', async () => {
    const [first] = await addChanges(between(1, 5));
    const [second] = await addChanges([...between(3, 3), { sequence: 4, server: 2 }]);
    expect(await partsBehind(await archive.history(), 1, Infinity)).toEqual({
      parts: [
        { log: first, begin: lengths.head + lengths.one, end: lengths.head + 2 * lengths.one },
        { log: second, begin: lengths.head, end: lengths.head + lengths.one },
        { log: second, begin: lengths.head + lengths.one, end: lengths.head + 2 * lengths.one },
      ],
      last: 4,
    });
  });

  it('end for good before the first transaction that is too late', async () => {
    const times = [0, 1, 0, 0].map((seconds, index) => ({ sequence: 9 + index, seconds }));
    await addChanges(times, [{ sequence: 13, seconds: 0 }]);
    expect((await partsBehind(await archive.history(), 8, 0)).last).toBe(9);
    expect((await partsBehind(await archive.history(), 9, 0)).parts).toEqual([]);
    expect((await partsBehind(await archive.history(), 8, 1)).last).toBe(13);
  });

  it('leave nothing out, where the time is not before the gap', async () => {
    await addChanges(between(1, 5), [{ sequence: 9, seconds: 7 }]);
    const history = await archive.history();
    await expect(partsBehind(history, 0, 7)).rejects.toThrow('the changes 6 to 8 are missing');
    expect((await partsBehind(history, 8, 7)).last).toBe(9);
    await addChanges([{ sequence: 6, seconds: 9 }], [{ sequence: 9, seconds: 9 }]);
    expect((await partsBehind(await archive.history(), 0, 7)).last).toBe(5);
  });
});
