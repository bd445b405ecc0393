import { expect, it } from 'vitest';
import { Lives, type Life, type Plug } from './lives.ts';

function made() {
  const told: string[] = [];
  const plugs = new Map<string, Plug>();
  const lives = new Lives({ breakable: (role, plug) => void plugs.set(role, plug) });
  const tell = (what: string) => async () => void told.push(what);
  const life = (name: string): Life => ({
    role: { start: tell(`${name} starts`), stop: tell(`${name} stops`) },
    close: tell(`${name} is closed`),
  });
  return { told, plugs, lives, life };
}

it('stops all in the end, the youngest first, but none that has ended already', async () => {
  const { told, plugs, lives, life } = made();
  for (const name of ['a', 'b', 'c']) await lives.begin(name, () => life(name));
  await plugs.get('b')!.stop!();
  await plugs.get('a')!.stop!();
  await plugs.get('a')!.start();
  told.length = 0;
  await lives.stop();
  expect(told).toEqual(['a stops', 'a is closed', 'c stops', 'c is closed']);
});

it('kills whom it can, and does not wait for what the dead would still do', async () => {
  const { told, plugs, lives, life } = made();
  const never = (): Promise<void> => new Promise(() => undefined);
  await lives.begin('a', () => ({
    ...life('a'),
    role: { start: async () => undefined, stop: never },
    kill: () => void told.push('killed'),
  }));
  expect(Object.keys(plugs.get('a')!)).toEqual(['kill', 'start']);
  await plugs.get('a')!.kill!();
  await lives.stop();
  expect(told).toEqual(['killed']);
});

it('closes what a start that failed was given, and can be started again', async () => {
  const { told, plugs, lives, life } = made();
  let tries = 0;
  const start = async (): Promise<void> => {
    if (++tries === 2) throw new Error('no port');
  };
  await lives.begin('a', () => ({ ...life('a'), role: { ...life('a').role, start } }));
  await plugs.get('a')!.stop!();
  told.length = 0;
  await expect(plugs.get('a')!.start()).rejects.toThrow('no port');
  expect(told).toEqual(['a stops', 'a is closed']);
  await plugs.get('a')!.start();
  expect(tries).toBe(3);
});

it('begins nobody after its stop, and ends who was about to begin', async () => {
  const { told, plugs, lives, life } = made();
  const slow = Promise.withResolvers<void>();
  let starts = 0;
  const start = (): Promise<void> => (++starts === 1 ? Promise.resolve() : slow.promise);
  await lives.begin('a', () => ({ ...life('a'), role: { ...life('a').role, start } }));
  await plugs.get('a')!.stop!();
  told.length = 0;
  const beginning = plugs.get('a')!.start();
  await lives.stop();
  slow.resolve();
  await expect(beginning).rejects.toThrow('a begins no more');
  expect(told).toEqual(['a stops', 'a is closed']);
  await expect(plugs.get('a')!.start()).rejects.toThrow('a begins no more');
});
