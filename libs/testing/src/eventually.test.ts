import { describe, expect, it } from 'vitest';
import { eventually } from './eventually.ts';

const quick = { timeoutMs: 50, intervalMs: 1 };

describe('eventually', () => {
  it('resolves with the first truthy value', async () => {
    const values = [0, '', undefined, 'there', 'too late'];
    expect(await eventually(() => values.shift(), quick)).toBe('there');
    expect(values).toEqual(['too late']);
  });

  it('tries on after an error', async () => {
    let tries = 0;
    const probe = async (): Promise<number> => {
      if (++tries < 3) throw new Error('not yet');
      return tries;
    };
    expect(await eventually(probe, { timeoutMs: 5_000, intervalMs: 1 })).toBe(3);
  });

  it('says at the deadline what the last try said and how long it took', async () => {
    const probe = (): boolean => {
      throw new Error('the queue has 3 messages');
    };
    const failure = eventually(probe, quick);
    await expect(failure).rejects.toThrow(/^not within \d+ ms: the queue has 3 messages$/);
    await expect(failure).rejects.toHaveProperty('cause.message', 'the queue has 3 messages');
  });

  it('says at the deadline which value the last try gave', async () => {
    await expect(eventually(() => 0, quick)).rejects.toThrow(/ms: it gave 0$/);
  });

  it('gives up a try that hangs', async () => {
    await expect(eventually(() => new Promise<boolean>(() => {}), quick)).rejects.toThrow(/the first try did not end/);
  });

  it('stops trying after the deadline', async () => {
    let tries = 0;
    await expect(eventually(() => void tries++, { timeoutMs: 20, intervalMs: 1 })).rejects.toThrow();
    const atDeadline = tries;
    // As many tries again would have been possible while this second wait fails.
    await expect(eventually(() => false, { timeoutMs: 20, intervalMs: 1 })).rejects.toThrow();
    expect(tries).toBe(atDeadline);
  });
});
