import { PassThrough } from 'node:stream';
import { eventually } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { jsonLine, LeftError, readPassword, withoutControls, write, type Streams } from './terminal.ts';

class Screen {
  readonly stdin: PassThrough & { isTTY?: boolean };
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();
  shown = '';
  constructor({ isTTY }: { isTTY: boolean }) {
    this.stdin = Object.assign(new PassThrough(), { isTTY });
    this.stderr.on('data', (text: Buffer) => (this.shown += text.toString()));
  }
  /** Types when it is asked. */
  async type(question: string, keys: string): Promise<void> {
    await eventually(() => this.shown.includes(question));
    this.stdin.write(keys);
  }
}
const passwordAt = (screen: Streams, twice = false): Promise<string> => readPassword(screen, { twice });

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

  it.each(['', '\n'])('is missed where what is piped in is %j', async (piped) => {
    const screen = new Screen({ isTTY: false });
    screen.stdin.end(piped);
    await expect(passwordAt(screen)).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('--password') as string,
    });
  });

  it('is asked for at a terminal, on stderr and without an echo', async () => {
    const screen = new Screen({ isTTY: true });
    const asked = passwordAt(screen);
    await screen.type('Password:', 'correct horse\r');
    expect(await asked).toBe('correct horse');
    expect(screen.shown).not.toContain('horse');
    expect(screen.stdout.readableLength).toBe(0);
  });

  it('is asked for twice where it is new, and must be the same', async () => {
    const screen = new Screen({ isTTY: true });
    const asked = passwordAt(screen, true);
    const failed = expect(asked).rejects.toMatchObject({ exitCode: 2 });
    await screen.type('Password:', 'one\r');
    await screen.type('Once more:', 'two\r');
    await failed;
  });

  it.each([
    ['Ctrl-C', '\u0003'],
    ['Ctrl-D', '\u0004'],
  ])('is not waited for after %s', async (_, key) => {
    const screen = new Screen({ isTTY: true });
    const failed = expect(passwordAt(screen)).rejects.toThrow(LeftError);
    await screen.type('Password:', key);
    await failed;
  });

  it('is not waited for when the terminal is gone', async () => {
    const screen = new Screen({ isTTY: true });
    const failed = expect(passwordAt(screen)).rejects.toThrow(LeftError);
    await eventually(() => screen.shown.includes('Password:'));
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
