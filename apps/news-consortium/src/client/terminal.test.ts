import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { keys, Screen } from '../../test/screen.ts';
import { jsonLine, LeftError, readPasswords, withoutControls, write } from './terminal.ts';

const passwordAt = async (screen: Screen, twice = false): Promise<string> =>
  (await readPasswords(screen, [{ message: 'Password:', twice }]))[0]!;

describe('a password', () => {
  it('is the first line of what is piped in', async () => {
    const screen = new Screen({ isTTY: false });
    screen.stdin.write('correct ');
    screen.stdin.write('horse\r\nand more\n');
    expect(await passwordAt(screen)).toBe('correct horse');
    const unended = new Screen({ isTTY: false });
    unended.stdin.end('no line feed');
    expect(await passwordAt(unended)).toBe('no line feed');
  });

  it('of which there are two is two lines; one alone is refused', async () => {
    const two = ['Old:', 'New:'].map((message) => ({ message, twice: false }));
    const screen = new Screen({ isTTY: false });
    screen.stdin.end('correct horse\nbattery staple\nand more\n');
    expect(await readPasswords(screen, two)).toEqual(['correct horse', 'battery staple']);
    const short = new Screen({ isTTY: false });
    short.stdin.end('correct horse\n');
    await expect(readPasswords(short, two)).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('pipe 2 in') as string,
    });
  });

  it.each(['', '\n'])('is missed where what is piped in is %j', async (piped) => {
    const screen = new Screen({ isTTY: false });
    screen.stdin.end(piped);
    await expect(passwordAt(screen)).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('--password') as string,
    });
  });

  it('is asked for at a terminal, without an echo', async () => {
    const screen = new Screen({ isTTY: true });
    const asked = passwordAt(screen);
    await screen.answer('Password:', 'correct horse');
    expect(await asked).toBe('correct horse');
    expect(screen.shown).not.toContain('horse');
  });

  it('is asked for twice where it is new, and must be the same', async () => {
    const screen = new Screen({ isTTY: true });
    const asked = passwordAt(screen, true);
    const failed = expect(asked).rejects.toMatchObject({ exitCode: 2 });
    await screen.answer('Password:', 'one');
    await screen.answer('Once more:', 'two');
    await failed;
  });

  it.each([
    ['Ctrl-C', keys.interrupt],
    ['Ctrl-D', keys.end],
  ])('is not waited for after %s', async (_, key) => {
    const screen = new Screen({ isTTY: true });
    const failed = expect(passwordAt(screen)).rejects.toThrow(LeftError);
    await screen.shows('Password:');
    screen.type(key);
    await failed;
  });

  it('is not waited for when the terminal is gone', async () => {
    const screen = new Screen({ isTTY: true });
    const failed = expect(passwordAt(screen)).rejects.toThrow(LeftError);
    await screen.shows('Password:');
    screen.stdin.end();
    await failed;
    await expect(passwordAt(screen)).rejects.toThrow(LeftError);
  });
});

describe('what is written', () => {
  it('rejects where nobody reads any more', async () => {
    const gone = new PassThrough();
    gone.destroy();
    await expect(write(gone, 'news')).rejects.toThrow();
  });

  it('has no control characters but tab and line feed, for people and for programs', () => {
    const hostile = 'a\u001b[31m\u0000b\u0085\tc\n\u007f';
    expect(withoutControls(hostile)).toBe('a[31mb\tc\n');
    expect(jsonLine({ hostile })).toBe('{"hostile":"a\\u001b[31m\\u0000b\\u0085\\tc\\n\\u007f"}\n');
    expect(JSON.parse(jsonLine({ hostile }))).toEqual({ hostile });
  });
});
