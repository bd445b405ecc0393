import { describe, expect, it } from 'vitest';
import { Passwords, PasswordsBusyError } from './passwords.ts';

describe('passwords', () => {
  const passwords = new Passwords({ N: 2, r: 1, p: 1 });

  it('are matched by what is stored, and by nothing where nothing is stored', async () => {
    const stored = await passwords.hash('correct horse');
    expect(stored).not.toContain('horse');
    expect(await passwords.matches('correct horse', stored)).toBe(true);
    expect(await passwords.matches('wrong horse', stored)).toBe(false);
    expect(await passwords.matches('', null)).toBe(false);
    expect(await passwords.matches('', undefined)).toBe(false);
  });

  it('are matched by what was stored at another cost', async () => {
    const stored = await new Passwords({ N: 4, r: 2, p: 1 }).hash('correct horse');
    expect(stored).toMatch(/^scrypt\$4\$2\$1\$/);
    expect(await passwords.matches('correct horse', stored)).toBe(true);
    expect(await passwords.matches('wrong horse', stored)).toBe(false);
  });

  it('that are the same are stored differently, and those typed with other code points are the same', async () => {
    const [one, other] = await Promise.all([passwords.hash('blå häst'), passwords.hash('blå häst')]);
    expect(one).not.toBe(other);
    expect(await passwords.matches('blå häst'.normalize('NFD'), one)).toBe(true);
  });

  it('are worked off two at a time; the 21st in wait is refused at once, and the others are served', async () => {
    const tries = Array.from({ length: 25 }, () => passwords.hash('correct horse'));
    const outcomes = await Promise.allSettled(tries);
    const refused = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []));
    expect(refused).toEqual(Array.from({ length: 25 - 2 - 20 }, () => expect.any(PasswordsBusyError) as unknown));
    expect(await passwords.matches('wrong horse', await passwords.hash('correct horse'))).toBe(false);
  });

  it('of those who have given up are not hashed when their turn comes', async () => {
    const stored = await passwords.hash('correct horse');
    await expect(passwords.hash('correct horse', () => true)).rejects.toThrow(PasswordsBusyError);
    await expect(passwords.matches('correct horse', stored, () => true)).rejects.toThrow(PasswordsBusyError);
    expect(await passwords.matches('correct horse', stored, () => false)).toBe(true);
  });
});
