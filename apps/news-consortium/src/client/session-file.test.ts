import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SessionFile, SessionFileError, type Kept } from './session-file.ts';

const kept: Kept = {
  ...{ token: 'payload.signature', name: 'ana', role: 'user' },
  ...{ expiresAt: '2026-11-21T18:38:00.000Z', agents: ['127.0.0.1:8000'] },
};

let folder: string;
let path: string;
let file: SessionFile;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'session-'));
  path = join(folder, 'of-ana', 'session');
  file = new SessionFile(path);
});
afterEach(() => rm(folder, { recursive: true }));

const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

describe('a session file', () => {
  it('gives back what was saved last, and nobody else can read it', async () => {
    await file.save({ ...kept, name: 'eve' });
    await file.save(kept);
    expect(await file.load()).toEqual(kept);
    expect([await modeOf(dirname(path)), await modeOf(path)]).toEqual([0o700, 0o600]);
    expect(await readdir(dirname(path))).toEqual(['session']);
  });

  it('is undefined where there is none, before and after', async () => {
    expect(await file.load()).toBeUndefined();
    await file.remove();
    await file.save(kept);
    await file.remove();
    expect(await file.load()).toBeUndefined();
  });

  it.each([0o640, 0o604, 0o620])(
    'is not trusted when others could read or write it (mode %o), and is replaced by the next',
    async (mode) => {
      await file.save(kept);
      await chmod(path, mode);
      await expect(file.load()).rejects.toThrow(/could be read or written by others.*log in again/);
      await file.save(kept);
      expect(await file.load()).toEqual(kept);
    },
  );

  it.each([
    ['empty', ''],
    ['cut off', JSON.stringify(kept).slice(0, 20)],
    ['of another kind', '{"token": 1}'],
    ['far too long', `${JSON.stringify(kept)}${' '.repeat(100_000)}`],
  ])('that is %s is refused, with what to do', async (_, text) => {
    await mkdir(dirname(path));
    await writeFile(path, text, { mode: 0o600 });
    await expect(file.load()).rejects.toThrow(/holds no session: log in again/);
  });

  it('says why it cannot be kept or read, and leaves nothing behind', async () => {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await expect(file.save(kept)).rejects.toThrow(/^the session cannot be kept: E/);
    await expect(file.load()).rejects.toThrow(SessionFileError);
    expect(await readdir(dirname(path))).toEqual(['session']);
    await expect(new SessionFile(join(import.meta.filename, 'session')).save(kept)).rejects.toThrow(/cannot be kept: E/);
    await expect(new SessionFile(join(import.meta.filename, 'session')).load()).rejects.toMatchObject({ exitCode: 2 });
  });
});
