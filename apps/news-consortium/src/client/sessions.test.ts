import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Sessions, SessionsError, type Kept } from './sessions.ts';

const kept: Kept = {
  ...{ token: 'payload.signature', name: 'ana', role: 'user' },
  ...{ expiresAt: '2026-11-21T18:38:00.000Z', agents: ['127.0.0.1:8000'] },
};

let folder: string;
let path: string;
let sessions: Sessions;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'session-'));
  path = join(folder, 'sessions', 'session');
  sessions = new Sessions(join(folder, 'sessions'));
});
afterEach(() => rm(folder, { recursive: true }));

const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

describe('a session', () => {
  it('gives back what was saved last, and nobody else can read it', async () => {
    await sessions.save({ ...kept, name: 'eve' });
    await sessions.save(kept);
    expect(await sessions.load()).toEqual(kept);
    expect([await modeOf(join(folder, 'sessions')), await modeOf(path)]).toEqual([0o700, 0o600]);
    expect(await readdir(join(folder, 'sessions'))).toHaveLength(3);
  });

  it('of each user is another, and that of the last login is taken where nobody is named', async () => {
    const ben = { ...kept, name: 'ben' };
    await sessions.save(kept);
    await sessions.save(ben);
    const of = (name: string): Promise<Kept | undefined> => new Sessions(join(folder, 'sessions'), name).load();
    expect([await of('ana'), await of('ben'), await of('eve'), await sessions.load()]).toEqual([kept, ben, undefined, ben]);
    await sessions.remove('ana');
    expect([await of('ana'), await sessions.load()]).toEqual([undefined, ben]);
    await new Sessions(join(folder, 'sessions'), 'ana').save(kept);
    expect([await of('ana'), await sessions.load()]).toEqual([kept, ben]);
    await sessions.remove('ben');
    expect([await of('ana'), await sessions.load()]).toEqual([kept, undefined]);
  });

  it('that an older program has kept is taken, and replaced', async () => {
    await mkdir(join(folder, 'sessions'));
    await writeFile(path, JSON.stringify(kept), { mode: 0o600 });
    expect(await sessions.load()).toEqual(kept);
    await sessions.save({ ...kept, name: 'ben' });
    expect(await sessions.load()).toMatchObject({ name: 'ben' });
  });

  it('is undefined where there is none, before and after', async () => {
    expect(await sessions.load()).toBeUndefined();
    await sessions.remove('ana');
    await sessions.save(kept);
    await sessions.remove('ana');
    expect(await sessions.load()).toBeUndefined();
  });

  it.each([0o640, 0o604, 0o620])(
    'is not trusted when others could read or write it (mode %o), and is replaced by the next',
    async (mode) => {
      await sessions.save(kept);
      await chmod(path, mode);
      await expect(sessions.load()).rejects.toThrow(/could be read or written by others.*log in again/);
      await sessions.save(kept);
      expect(await sessions.load()).toEqual(kept);
    },
  );

  it.each([
    ['empty', ''],
    ['cut off', JSON.stringify(kept).slice(0, 20)],
    ['of another kind', '{"token": 1}'],
    ['far too long', `${JSON.stringify(kept)}${' '.repeat(100_000)}`],
  ])('that is %s is refused, with what to do', async (_, text) => {
    await mkdir(join(folder, 'sessions'));
    await writeFile(path, text, { mode: 0o600 });
    await expect(sessions.load()).rejects.toThrow(/holds no session: log in again/);
  });

  it('says why it cannot be kept or read, and leaves nothing behind', async () => {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await expect(sessions.save(kept)).rejects.toThrow(/^the session cannot be kept: E/);
    await expect(sessions.load()).rejects.toThrow(SessionsError);
    expect(await readdir(join(folder, 'sessions'))).toEqual([expect.stringMatching(/^of-/), 'session']);
    await expect(new Sessions(join(import.meta.filename, 'sessions')).save(kept)).rejects.toThrow(/cannot be kept: E/);
    await expect(new Sessions(join(import.meta.filename, 'sessions')).load()).rejects.toMatchObject({ exitCode: 2 });
  });
});
