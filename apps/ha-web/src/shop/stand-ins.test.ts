import { describe, expect, it } from 'vitest';
import { standIns } from './stand-ins.ts';

describe('the stand-ins', () => {
  const services = standIns(() => 100_000);

  it('draw a place, also one outside of the frame', async () => {
    expect(await services.maps.picture(38.7, -9.1)).toContain('<circle cx="36.0" cy="140.0"');
    expect(await services.maps.picture(37.8, -25.4)).toContain('<circle cx="6.0"');
  });

  it('give each visitor a name of his own, which does not show his token', async () => {
    const name = await services.signIn.identify('a-token-of-some-length');
    expect(name).toMatch(/^visitor-[0-9a-f]{24}$/);
    expect(await services.signIn.identify('a-token-of-some-length')).toBe(name);
    expect(await services.signIn.identify('another-token-of-that-length')).not.toBe(name);
  });

  it('ship what was paid a minute ago', async () => {
    expect(await services.carrier.hasShipped(new Date(40_000))).toBe(true);
    expect(await services.carrier.hasShipped(new Date(40_001))).toBe(false);
  });
});
