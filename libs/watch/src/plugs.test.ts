import { eventually, FakeClock } from '@lab/testing';
import { expect, it } from 'vitest';
import { Plugs } from './plugs.ts';

function made(start: () => Promise<void> = async () => undefined) {
  const clock = new FakeClock();
  const told: string[] = [];
  const plugs = new Plugs(clock, (role, did) => void told.push(`${role} ${did}`));
  plugs.add('worker', { kill: () => undefined, start });
  plugs.add('node', { stop: () => undefined, start });
  return { clock, told, plugs };
}

it('a page is told who can be broken, and how', () => {
  const { command, roles } = made().plugs.breaking;
  expect(command).toBe("the demo's own");
  expect(roles).toEqual({ worker: ['kill', 'start'], node: ['stop', 'start'] });
});

it('who was killed comes back by a button, and not once more after half a minute', async () => {
  const { clock, told, plugs } = made();
  expect(await plugs.strike(['kill', 'worker'])).toBe('worker killed; started again in 30 s');
  expect(await plugs.strike(['start', 'worker'])).toBe('worker started');
  clock.advance(30_000);
  expect(clock.nextMs()).toBeUndefined();
  expect(told).toEqual(['worker killed', 'worker started']);
});

it('who was killed comes back by itself, and is tried again where that fails', async () => {
  let tries = 0;
  const { clock, told, plugs } = made(async () => {
    if (++tries === 1) throw new Error('no port');
  });
  await plugs.strike(['stop', 'node']);
  clock.advance(29_999);
  expect(tries).toBe(0);
  clock.advance(1);
  await eventually(() => clock.nextMs() !== undefined);
  clock.advance(30_000);
  await eventually(() => told.includes('node started'));
  expect(told).toEqual(['node stopped', 'node started']);
});

it('does only what can be done, one thing at a time', async () => {
  const gone = Promise.withResolvers<void>();
  const { plugs } = made(() => gone.promise);
  await expect(plugs.strike(['stop', 'worker'])).rejects.toThrow('the demo cannot stop worker');
  await expect(plugs.strike(['constructor', 'worker'])).rejects.toThrow('the demo cannot constructor worker');
  await expect(plugs.strike(['kill', 'nobody'])).rejects.toThrow('cannot break "nobody"; it can worker, node');
  await expect(plugs.strike(['start', 'worker'])).rejects.toThrow('worker is alive already');
  await plugs.strike(['kill', 'worker']);
  await expect(plugs.strike(['kill', 'worker'])).rejects.toThrow('worker is dead already');
  const starting = plugs.strike(['start', 'worker']);
  await expect(plugs.strike(['kill', 'worker'])).rejects.toThrow('something is done to worker already');
  gone.resolve();
  await starting;
});

it('all are healed by a button, and nobody comes back when it is closed', async () => {
  const { clock, told, plugs } = made();
  await plugs.strike(['kill', 'worker']);
  plugs.died('node');
  expect(await plugs.strike(['heal'])).toBe('all are started');
  expect(told.slice(2).sort()).toEqual(['node started', 'worker started']);
  expect(await plugs.strike(['heal'])).toBe('nobody is dead');
  await plugs.strike(['kill', 'worker']);
  plugs.close();
  expect(clock.nextMs()).toBeUndefined();
});

it('what the demo does itself is not done twice', async () => {
  const { told, plugs } = made();
  await plugs.strike(['kill', 'worker']);
  plugs.died('worker');
  await plugs.strike(['start', 'worker']);
  plugs.died('worker');
  expect(told).toEqual(['worker killed', 'worker started', 'worker killed']);
});

it('at their end all whom a button broke are there again, and nobody is broken any more', async () => {
  const { clock, told, plugs } = made();
  plugs.add('victim', { start: () => undefined });
  plugs.died('victim');
  await plugs.strike(['kill', 'worker']);
  await plugs.end();
  expect(told).toEqual(['victim killed', 'worker killed', 'worker started']);
  expect(clock.nextMs()).toBeUndefined();
  await expect(plugs.strike(['kill', 'worker'])).rejects.toThrow('nothing is broken any more');
});
