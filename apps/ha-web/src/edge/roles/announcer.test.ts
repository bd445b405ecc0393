import { makeMemoryRegistry, type Endpoint } from '@lab/discovery';
import { silentLogger } from '@lab/process';
import { FakeClock } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { Announcer, type Health } from './announcer.ts';

const sessionTimeoutMs = 2_000;

/** A machine with two servers, and what balancers see of it. */
function makeMachine() {
  const clock = new FakeClock();
  const registry = makeMemoryRegistry({ clock, sessionTimeoutMs });
  const balancer = registry.connect();
  const health: { web: Health; api: Health } = { web: 'silent', api: 'silent' };
  const start = async () => {
    const discovery = registry.connect();
    const announcer = new Announcer({
      discovery,
      address: '10.0.0.9',
      name: 'web-1',
      servers: [
        { service: 'web-servers', port: 8080, health: async () => health.web },
        { service: 'api-servers', port: 8081, health: async () => health.api },
      ],
      clock,
      log: silentLogger,
    });
    await announcer.start();
    return { announcer, discovery };
  };
  const seen = async (service: string): Promise<Endpoint[]> => (await balancer.list(service)).map(({ endpoint }) => endpoint);
  return { clock, registry, health, start, seen };
}

const web = { address: '10.0.0.9', port: 8080, name: 'web-1' };
const api = { address: '10.0.0.9', port: 8081, name: 'web-1' };

describe('the announcer', () => {
  it('announces each server when it can serve, not before', async () => {
    const { clock, health, start, seen } = makeMachine();
    await start();
    await clock.advanceAsync(1_000);
    expect([await seen('web-servers'), await seen('api-servers')]).toEqual([[], []]);
    health.web = 'serving';
    await clock.advanceAsync(1_000);
    expect([await seen('web-servers'), await seen('api-servers')]).toEqual([[web], []]);
    health.api = 'serving';
    await clock.advanceAsync(1_000);
    expect([await seen('web-servers'), await seen('api-servers')]).toEqual([[web], [api]]);
  });

  it('withdraws a server at once when it says that it cannot serve', async () => {
    const { clock, health, start, seen } = makeMachine();
    health.api = 'serving';
    await start();
    await clock.advanceAsync(1_000);
    health.api = 'refusing';
    await clock.advanceAsync(300);
    expect(await seen('api-servers')).toEqual([]);
  });

  it('keeps a server that is silent for a moment, withdraws it after two seconds, and announces it again', async () => {
    const { clock, health, start, seen } = makeMachine();
    health.web = 'serving';
    await start();
    await clock.advanceAsync(1_000);
    health.web = 'silent';
    await clock.advanceAsync(1_500);
    expect(await seen('web-servers')).toEqual([web]);
    await clock.advanceAsync(1_000);
    expect(await seen('web-servers')).toEqual([]);
    health.web = 'serving';
    await clock.advanceAsync(300);
    expect(await seen('web-servers')).toEqual([web]);
  });

  it('has withdrawn all when it has stopped, though the servers go on serving', async () => {
    const { clock, health, start, seen } = makeMachine();
    Object.assign(health, { web: 'serving', api: 'serving' });
    const { announcer } = await start();
    await clock.advanceAsync(1_000);
    await announcer.stop();
    expect([await seen('web-servers'), await seen('api-servers')]).toEqual([[], []]);
    await clock.advanceAsync(1_000);
    expect([await seen('web-servers'), await seen('api-servers')]).toEqual([[], []]);
  });

  it('killed and followed by another, leaves no moment in which the server is not listed', async () => {
    const { clock, registry, health, start, seen } = makeMachine();
    health.web = 'serving';
    const first = await start();
    await clock.advanceAsync(1_000);
    registry.crash(first.discovery);
    await start();
    const counts: number[] = [];
    for (let passedMs = 0; passedMs < 2 * sessionTimeoutMs; passedMs += 250) {
      await clock.advanceAsync(250);
      counts.push((await seen('web-servers')).length);
    }
    // The one that was left behind, both, and the new one.
    expect(counts[0]).toBe(2);
    expect(counts.at(-1)).toBe(1);
    expect(Math.min(...counts)).toBe(1);
  });

  it('tries again while discovery is away', async () => {
    const { clock, registry, health, start, seen } = makeMachine();
    const { discovery } = await start();
    registry.cut(discovery);
    health.web = 'serving';
    await clock.advanceAsync(10_000);
    expect(await seen('web-servers')).toEqual([]);
    registry.heal(discovery);
    await clock.advanceAsync(1_000);
    expect(await seen('web-servers')).toEqual([web]);
  });
});
