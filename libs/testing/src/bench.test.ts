import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { compareInTurn, median, reportBench, type BenchRow } from './bench.ts';

const rows: BenchRow[] = [
  { name: 'publish, 1 KiB', value: 33_210.4, unit: 'messages/s', target: null, holds: null },
  { name: 'publish, ratio', value: 0.9412, unit: 'ratio', target: '>= 0.9', holds: true },
  { name: 'consume, ratio', value: 0.5, unit: 'ratio', target: '>= 0.9', holds: false },
];

describe('reportBench', () => {
  let directory: string;
  let printed: string;
  const report = (
    some: readonly BenchRow[],
    args: readonly string[],
    env: Record<string, string> = { INIT_CWD: directory },
  ): Promise<void> => reportBench(some, args, { env, write: (text) => void (printed += text) });

  beforeEach(async () => {
    printed = '';
    directory = await mkdtemp(join(tmpdir(), 'bench-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('prints target, measured value and whether it holds, aligned', async () => {
    await report(rows, []);
    expect(printed).toBe(
      [
        'name            target  measured  unit        holds',
        'publish, 1 KiB  –         33,210  messages/s  –',
        'publish, ratio  >= 0.9     0.941  ratio       yes',
        'consume, ratio  >= 0.9     0.500  ratio       NO',
        '',
      ].join('\n'),
    );
  });

  it('writes the rows as JSON into the folder that the command was given in', async () => {
    await report(
      rows.map((row) => ({ ...row, note: 'not part of the report' })),
      ['--rounds', '3', '--json', 'result.json'],
    );
    expect(JSON.parse(await readFile(join(directory, 'result.json'), 'utf8'))).toEqual(rows);
  });

  it('goes by the folder that Nx was called from, which npm does not know', async () => {
    await report(rows, ['--json', 'result.json'], { INIT_CWD: '/nowhere', CALLER_CWD: directory });
    expect(JSON.parse(await readFile(join(directory, 'result.json'), 'utf8'))).toEqual(rows);
  });

  it('writes the JSON to an absolute path as it is', async () => {
    const file = join(directory, 'absolute.json');
    await report(rows, [`--json=${file}`], { INIT_CWD: '/nowhere' });
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual(rows);
  });

  it('leaves the exit code alone when a target is missed', async () => {
    const before = process.exitCode;
    await report(rows, []);
    expect(process.exitCode).toBe(before);
  });

  it('refuses --json without a file, and a row without a number', async () => {
    await expect(report(rows, ['--json'])).rejects.toThrow('--json needs a FILE behind it');
    const broken = { ...rows[0]!, value: Number.NaN };
    await expect(report([broken], [])).rejects.toThrow('bench row "publish, 1 KiB" is NaN: it measured nothing');
  });
});

describe('median', () => {
  it('is the middle value, or the mean of the middle two', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([10, 1, 2, 3])).toBe(2.5);
    expect(() => median([])).toThrow('no values, no median');
  });
});

describe('compareInTurn', () => {
  it('changes which side goes first, and compares round by round', async () => {
    const order: string[] = [];
    const side = (name: string, values: number[]) => async (): Promise<number> => {
      order.push(name);
      return values.shift()!;
    };
    // The machine is ten times slower in the second round, for both.
    const result = await compareInTurn(3, { ours: side('ours', [80, 8, 90]), theirs: side('theirs', [100, 10, 100]) });
    expect(order).toEqual(['ours', 'theirs', 'theirs', 'ours', 'ours', 'theirs']);
    expect(result).toEqual({ ours: 80, theirs: 100, ratio: 0.8 });
  });
});
