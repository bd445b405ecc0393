import { describe, expect, it } from 'vitest';
import { standsStill } from './follower.ts';

const place = (log: number, bytes: number) => ({ log: `bin.00000${log}`, bytes });

describe('standsStill', () => {
  it('is where nothing came though the primary had more', () => {
    const now = { primary: place(1, 500), received: place(1, 300) };
    expect(standsStill({ primary: place(1, 400), received: place(1, 300) }, now)).toBe(true);
    expect(standsStill({ primary: place(2, 100), received: place(1, 300) }, now)).toBe(true);
    expect(standsStill({ primary: place(1, 400), received: undefined }, { ...now, received: undefined })).toBe(true);
  });

  it('is not where the primary was still, something came, or nobody knows', () => {
    const received = place(1, 300);
    const now = { primary: place(1, 500), received };
    expect(standsStill({ primary: received, received }, now)).toBe(false);
    expect(standsStill({ primary: place(1, 400), received: place(1, 299) }, now)).toBe(false);
    expect(standsStill({ primary: place(2, 400), received: place(1, 300) }, { ...now, received: place(2, 4) })).toBe(false);
    expect(standsStill({ primary: undefined, received: undefined }, now)).toBe(false);
  });
});
