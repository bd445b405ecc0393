import { EventEmitter } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ExitError, exitCodes, pathError } from './exit-codes.ts';
import { command, commandGroup, runMain, runProgram } from './program.ts';

describe('runMain', () => {
  const settings = z.object({
    data: z.string().describe('folder to read'),
    rows: z.coerce.number().int().max(9).default(8).describe('rows in a batch'),
  });

  async function main(...args: string[]): Promise<{ code: number; out: string; err: string; ran: unknown[] }> {
    const seen = { out: '', err: '', ran: [] as unknown[] };
    const read = command({ summary: 'reads files', settings, run: async (config) => void seen.ran.push(config) });
    const fail = command({
      summary: 'fails',
      settings: z.object({}),
      run: () => Promise.reject(new ExitError('the disk is full', 9)),
    });
    const count = command({ summary: 'gives 4', settings: z.object({}), run: async () => 4 });
    const broken = command({ summary: 'breaks', settings: z.object({}), run: () => Promise.reject(new TypeError('a mistake')) });
    const late = Object.assign(new Error('no answer from the broker'), { exitCode: exitCodes.unavailable });
    const waits = command({ summary: 'waits', settings: z.object({}), run: () => Promise.reject(late) });
    const io = {
      args,
      env: {},
      stdout: (text: string) => void (seen.out += text),
      stderr: (text: string) => void (seen.err += text),
    };
    const code = await runMain('main.ts', { 'file-reader': read, fail, count, broken, late: waits }, io);
    return { code, ...seen };
  }

  const list = [
    'Usage: main.ts COMMAND [options]',
    '',
    '  file-reader  reads files',
    '  fail         fails',
    '  count        gives 4',
    '  broken       breaks',
    '  late         waits',
    '',
    '"main.ts COMMAND help" lists a command\'s settings',
    '',
  ].join('\n');

  it.each([[[]], [['--help']], [['-h']], [['help']]])('lists the commands for %j', async (args) => {
    expect(await main(...args)).toEqual({ code: 0, out: list, err: '', ran: [] });
  });

  it('runs a command with its settings and passes on its code', async () => {
    expect(await main('file-reader', '--data', 'here')).toMatchObject({ code: 0, ran: [{ data: 'here', rows: 8 }] });
    expect(await main('count')).toMatchObject({ code: 4 });
  });

  it('shows a command by help, or by --help, whatever else is given', async () => {
    const expected = [
      'Usage: main.ts file-reader --data VALUE [options]',
      '',
      'reads files',
      '',
      '  --data VALUE   folder to read (required) [DATA]',
      '  --rows NUMBER  rows in a batch (default 8) [ROWS]',
      '',
    ].join('\n');
    expect(await main('file-reader', '--rows', '99', '--help')).toEqual({ code: 0, out: expected, err: '', ran: [] });
    expect(await main('file-reader', 'help')).toEqual({ code: 0, out: expected, err: '', ran: [] });
  });

  it('suggests the command that was meant', async () => {
    const { code, out, err } = await main('filereader', '--data', 'here');
    expect({ code, out }).toEqual({ code: exitCodes.usage, out: '' });
    expect(err).toBe(`there is no command "filereader"; did you mean file-reader?\n\n${list}`);
  });

  it.each(['constructor', '__proto__', 'toString', '--data'])('does not take %s for a command', async (name) => {
    const { code, err } = await main(name);
    expect(code).toBe(exitCodes.usage);
    expect(err).toBe(`there is no command "${name}"\n\n${list}`);
  });

  it('shows every problem with the settings, and does nothing', async () => {
    expect(await main('file-reader', '--rows', '99')).toEqual({
      code: exitCodes.usage,
      out: '',
      err: [
        '--data (or DATA) is required: folder to read',
        '--rows (or ROWS) is "99": at most 9 is allowed',
        '"main.ts file-reader help" lists the settings',
        '',
      ].join('\n'),
      ran: [],
    });
  });

  it('shows an ExitError as a sentence and any other error with its stack', async () => {
    expect(await main('fail')).toMatchObject({ code: 9, err: 'the disk is full\n' });
    const { code, err } = await main('broken');
    expect(code).toBe(exitCodes.failed);
    expect(err).toMatch(/^TypeError: a mistake\n +at /);
  });

  it("takes a library's word for what its error means", async () => {
    expect(await main('late')).toMatchObject({ code: exitCodes.unavailable, err: 'no answer from the broker\n' });
  });
});

describe('pathError', () => {
  it('is for the user: a path that cannot be used is wrong usage, a full disk is not', async () => {
    const missing = await readFile(join(import.meta.dirname, 'nowhere')).catch((error: unknown) => error);
    expect(pathError(missing, 'the file: ')).toMatchObject({
      exitCode: exitCodes.usage,
      message: expect.stringMatching(/^the file: ENOENT/) as string,
    });
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    expect(pathError(full)).toMatchObject({ exitCode: exitCodes.failed, message: full.message });
  });
});

describe('runProgram', () => {
  it('is called like its file, and writes where its process does', async () => {
    const written: string[] = [];
    const stream = (name: string) => ({ write: (text: string) => written.push(`${name}: ${text}`) });
    const greet = command({
      summary: 'greets',
      settings: z.object({ who: z.string().describe('a name') }),
      run: async ({ who }) => who.length,
    });
    const start = (...args: string[]): Promise<number> =>
      runProgram(
        { greet },
        { argv: ['node', '/app/src/main.ts', ...args], env: {}, stdout: stream('out'), stderr: stream('err') },
      );
    expect(await start('greet', '--who', 'Ada')).toBe(3);
    expect(await start('greet', '--help')).toBe(exitCodes.ok);
    expect(await start('greet')).toBe(exitCodes.usage);
    expect(written).toEqual([
      'out: Usage: main.ts greet --who VALUE\n\ngreets\n\n  --who VALUE  a name (required) [WHO]\n',
      'err: --who (or WHO) is required: a name\n"main.ts greet help" lists the settings\n',
    ]);
  });
});

describe('output that cannot be written', () => {
  it.each([
    ['EPIPE', 141, ''],
    ['ENOSPC', exitCodes.failed, 'the output cannot be written: ENOSPC\n'],
  ])('ends the program: %s', async (code, exitCode, said) => {
    const stdout = Object.assign(new EventEmitter(), { write: () => true });
    let err = '';
    const stderr = { write: (text: string) => void (err += text) };
    const exit = (code: number): never => {
      throw new ExitError('ended', code);
    };
    await runProgram({}, { argv: ['node', 'main.ts'], env: {}, stdout, stderr, exit });
    expect(() => stdout.emit('error', Object.assign(new Error(code), { code }))).toThrow(
      expect.objectContaining({ exitCode }) as Error,
    );
    expect(err).toBe(said);
  });
});

describe('a group of commands', () => {
  const settings = z
    .object({
      server: z.string().default('here').describe('where the server is'),
      path: z.string().describe('path to list'),
      json: z.boolean().default(false).describe('for programs'),
    })
    .meta({ environment: false });

  const env: Record<string, string> = { PATH: '/bin' };

  async function main(...args: string[]): Promise<{ code: number; out: string; err: string; ran: unknown[] }> {
    const ran: unknown[] = [];
    const list = command({ summary: 'lists a path', settings, run: async (config) => void ran.push(config) });
    let [out, err] = ['', ''];
    const io = {
      args,
      env,
      stdout: (text: string) => void (out += text),
      stderr: (text: string) => void (err += text),
    };
    const code = await runMain('main.ts', { admin: commandGroup({ summary: 'asks the server', commands: { list } }) }, io);
    return { code, out, err, ran };
  }

  it.each([
    [['list', '--server', 'there', '--json', '--path', 'a']],
    [['--server', 'there', '--json', 'list', '--path', 'a']],
    [['--server=there', '--json', '--path', 'a', 'list']],
  ])('takes flags before and behind the command: %j', async (args) => {
    expect(await main('admin', ...args)).toMatchObject({ code: 0, ran: [{ server: 'there', path: 'a', json: true }] });
  });

  it('says what was typed, where another program has called it', async () => {
    env['LAB_TYPED'] = 'npx nx admin yours';
    expect((await main('admin', '--help')).out).toContain('Usage: npx nx admin yours COMMAND [options]');
    expect((await main('admin', 'list')).err).toContain('"npx nx admin yours list help" lists the settings');
    delete env['LAB_TYPED'];
  });

  it('lists its commands, and shows one of them', async () => {
    expect((await main('admin', '--help')).out).toContain('Usage: main.ts admin COMMAND [options]');
    expect((await main('admin', 'list', '--help')).out).toContain('  --path VALUE    path to list (required)\n');
  });

  it('with flags only takes nothing from the environment', async () => {
    expect(await main('admin', 'list')).toMatchObject({
      code: exitCodes.usage,
      err: '--path is required: path to list\n"main.ts admin list help" lists the settings\n',
    });
  });
});
