import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { closest, ConfigError, describeConfig, readConfig } from './config.ts';
import { path } from './settings.ts';

const schema = z.object({
  dataFolder: z.string().describe('folder to read'),
  batchRows: z.coerce.number().int().min(1).max(100).default(10).describe('rows in a batch'),
  offsetDays: z.coerce.number().int().default(-1),
  logLevel: z.enum(['info', 'warn']).default('info').describe('least level'),
  quiet: z.boolean().default(false).describe('no progress'),
  peers: z.array(z.string().regex(/:\d+$/, 'HOST:PORT each')).optional().describe('other members'),
  timeout: z
    .string()
    .regex(/^\d+s$/, 'seconds, as 60s')
    .transform((text) => Number.parseInt(text))
    .prefault('60s')
    .describe('how long to wait'),
});

const read = (args: string[], env: Record<string, string> = {}): z.infer<typeof schema> =>
  readConfig(schema, { args: ['--data-folder=data', ...args], env });

function problems(args: string[], env: Record<string, string> = {}): readonly string[] {
  try {
    readConfig(schema, { args, env });
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error('there was no problem');
}

const given = ['--data-folder', 'data'];

describe('readConfig', () => {
  it('takes a flag before the environment, and that before the default', () => {
    const env = { BATCH_ROWS: '20', OFFSET_DAYS: '-3' };
    expect(read(['--batch-rows', '30'], env)).toMatchObject({ batchRows: 30, offsetDays: -3, logLevel: 'info' });
  });

  it('reads a value behind a space or an equals sign, also one with a minus', () => {
    expect(read(['--offset-days', '-7'])).toMatchObject({ offsetDays: -7 });
    expect(read(['--offset-days=-7'])).toMatchObject({ offsetDays: -7 });
    expect(read(['--data-folder=--odd'])).toMatchObject({ dataFolder: '--odd' });
  });

  it('takes the last of a repeated flag', () => {
    expect(read(['--batch-rows', '1', '--batch-rows', '2'])).toMatchObject({ batchRows: 2 });
  });

  it('takes what stands in a file, where the environment names that, and says which file cannot be read', async () => {
    const file = join(await mkdtemp(join(tmpdir(), 'config-')), 'secret');
    await writeFile(file, 'behind a file\n');
    const dataFolder = (env: Record<string, string>): string => readConfig(schema, { args: [], env }).dataFolder;
    expect(dataFolder({ DATA_FOLDER_FILE: file })).toBe('behind a file');
    expect(dataFolder({ DATA_FOLDER_FILE: file, DATA_FOLDER: '' })).toBe('behind a file');
    expect(dataFolder({ DATA_FOLDER_FILE: file, DATA_FOLDER: 'itself' })).toBe('itself');
    await writeFile(file, '\n');
    expect(problems([], { DATA_FOLDER_FILE: file })).toContain(`DATA_FOLDER_FILE is "${file}", which is empty`);
    await rm(dirname(file), { recursive: true });
    expect(problems([], { DATA_FOLDER_FILE: file })[0]).toMatch(/^DATA_FOLDER_FILE is ".*secret": ENOENT/);
  });

  it('reads booleans as flags without a value, negated flags, and words in the environment', () => {
    expect(read(['--quiet'])).toMatchObject({ quiet: true });
    expect(read([], { QUIET: '1' })).toMatchObject({ quiet: true });
    expect(read(['--no-quiet'], { QUIET: 'true' })).toMatchObject({ quiet: false });
    expect(read(['--quiet=false'])).toMatchObject({ quiet: false });
    expect(problems([...given, '--no-quiet=1'])).toEqual(['--no-quiet takes no value: leave out "=1"']);
    expect(problems(given, { QUIET: 'sure' })).toEqual(['--quiet (or QUIET) is "sure": expected true or false']);
  });

  it('takes words that are no flags for the operand, also behind a flag that takes no value, and all behind --', () => {
    const copy = z.object({ files: z.array(z.string()), force: z.boolean().default(false) }).meta({ operand: 'files' });
    const from = (...args: string[]): z.infer<typeof copy> => readConfig(copy, { args, env: {} });
    expect(from('a', '--no-force', 'b')).toEqual({ files: ['a', 'b'], force: false });
    expect(from('--force', '--', '--a', '-')).toEqual({ files: ['--a', '-'], force: true });
  });

  it('reads lists from commas and repetition', () => {
    expect(read(['--peers', 'a:1,b:2', '--peers', 'c:3'])).toMatchObject({ peers: ['a:1', 'b:2', 'c:3'] });
    expect(read([], { PEERS: 'a:1,b:2' })).toMatchObject({ peers: ['a:1', 'b:2'] });
    expect(problems([...given, '--peers', 'a:1,b'])).toEqual(['--peers (or PEERS) is "a:1,b": HOST:PORT each']);
  });

  it('converts by the schema, and by it converts what a prefault gives', () => {
    expect(read([])).toMatchObject({ timeout: 60 });
    expect(read(['--timeout', '5s'])).toMatchObject({ timeout: 5 });
  });

  it('takes paths from the folder in which the command was given: npm and Nx change to another, and say which it was', () => {
    const files = z.object({ events: path.optional().describe('file'), data: path.default('data'), name: z.string().optional() });
    const from = (...[args, env]: [string[], Record<string, string>]) => readConfig(files, { args, env });
    const nx = { INIT_CWD: '/lab/apps/yours', CALLER_CWD: '/mine' };
    expect(from(['--events', 'run.jsonl'], nx)).toEqual({ events: '/mine/run.jsonl', data: 'data' });
    expect(from(['--events=../x', '--name', '../x'], { INIT_CWD: '/lab' })).toMatchObject({ events: '/x', name: '../x' });
    expect(from([], { ...nx, EVENTS: 'x', DATA: '/y' })).toEqual({ events: '/mine/x', data: '/y' });
    expect(from(['--events', 'x'], {})).toMatchObject({ events: resolve('x') });
  });

  it('takes an empty variable for none, but not an empty flag', () => {
    expect(read([], { BATCH_ROWS: '', QUIET: '' })).toMatchObject({ batchRows: 10, quiet: false });
    expect(problems([...given, '--batch-rows='])).toEqual(['--batch-rows needs a value: --batch-rows NUMBER']);
  });

  it('names every problem at once: flag, variable, value and what is allowed', () => {
    expect(problems(['--batch-rows', '0', '--offset-days', 'x', '--log-levle', 'warn', 'stray'], { TIMEOUT: '5' })).toEqual([
      'there is no --log-levle; did you mean --log-level?',
      '"stray" is not expected here: settings are flags, --name VALUE',
      '--data-folder (or DATA_FOLDER) is required: folder to read',
      '--batch-rows (or BATCH_ROWS) is "0": at least 1 is allowed',
      '--offset-days (or OFFSET_DAYS) is "x": expected a number',
      '--timeout (or TIMEOUT) is "5": seconds, as 60s',
    ]);
    expect(problems([...given, '--log-level', 'loud'])).toEqual(['--log-level (or LOG_LEVEL) is "loud": expected info or warn']);
  });

  it('notices a value that was forgotten before the next flag', () => {
    expect(problems([...given, '--batch-rows', '--log-level', 'loud', '--peers'])).toEqual([
      '--batch-rows needs a value: --batch-rows NUMBER',
      '--peers needs a value: --peers VALUE,...',
      '--log-level (or LOG_LEVEL) is "loud": expected info or warn',
    ]);
  });

  it.each(['--__proto__', '--constructor', '-x', '--dataFolders.a'])('refuses %s', (flag) => {
    expect(problems([...given, flag])).toEqual([expect.stringContaining(`there is no ${flag}`)]);
  });

  it('says what a rule over several settings says', () => {
    const both = z
      .object({ min: z.coerce.number(), max: z.coerce.number() })
      .refine(({ min, max }) => min <= max, 'min must not be above max');
    expect(() => readConfig(both, { args: ['--min', '2', '--max', '1'], env: {} })).toThrow(/^min must not be above max$/);
  });

  it('gives back whatever text a flag or a variable holds', () => {
    const text = z.object({ some: z.string() });
    const values = fc.string({ minLength: 1 });
    fc.assert(
      fc.property(values, (some) => void expect(readConfig(text, { args: [`--some=${some}`], env: {} })).toEqual({ some })),
    );
    fc.assert(fc.property(values, (some) => void expect(readConfig(text, { args: [], env: { SOME: some } })).toEqual({ some })));
  });

  it('ends in settings or a ConfigError, whatever the arguments', () => {
    const words = [
      '--peers',
      '--quiet',
      '--no-quiet',
      '--batch-rows',
      '--',
      '-',
      '-5',
      '--x',
      '=',
      '',
      '5',
      '--data-folder',
      '-q',
    ];
    const args = fc.array(fc.oneof(fc.constantFrom(...words), fc.string()), { maxLength: 8 });
    fc.assert(
      fc.property(args, (some) => {
        try {
          expect(readConfig(schema, { args: some, env: {} })).toHaveProperty('dataFolder');
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error;
          expect(error.problems.length).toBeGreaterThan(0);
        }
      }),
    );
  });
});

describe('describeConfig', () => {
  it('shows each flag with its values, meaning, default as it is typed, and variable', () => {
    expect(describeConfig(schema)).toEqual({
      usage: '--data-folder VALUE [options]',
      lines: [
        '  --data-folder VALUE    folder to read (required) [DATA_FOLDER]',
        '  --batch-rows NUMBER    rows in a batch (default 10) [BATCH_ROWS]',
        '  --offset-days NUMBER   (default -1) [OFFSET_DAYS]',
        '  --log-level info|warn  least level (default info) [LOG_LEVEL]',
        '  --[no-]quiet           no progress (default false) [QUIET]',
        '  --peers VALUE,...      other members [PEERS]',
        '  --timeout VALUE        how long to wait (default 60s) [TIMEOUT]',
        '',
      ].join('\n'),
    });
  });

  it('shows no default where that is nothing', () => {
    const list = z.object({ peer: z.array(z.string()).default([]).describe('other members') });
    expect(describeConfig(list).lines).toBe('  --peer VALUE,...  other members [PEER]\n');
  });

  it('has nothing to show where there are no settings', () => {
    expect(describeConfig(z.object({}))).toEqual({ usage: '', lines: '' });
  });
});

describe('closest', () => {
  it.each([
    ['file-raeder', 'file-reader'],
    ['filereader', 'file-reader'],
    ['FILE_READER', 'file-reader'],
    ['demon', 'demo'],
    ['unrelated', undefined],
  ])('for %s is %s', (word, expected) => {
    expect(closest(word, ['demo', 'file-reader', 'entry-point'])).toBe(expected);
  });

  it('is nothing where nothing is known', () => {
    expect(closest('demo', [])).toBeUndefined();
  });
});
