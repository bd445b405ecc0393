/** Every demo that runs in one process, with its page: what its buttons end comes back, and its answer is right. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { watchDemo, type WatchedDemo } from './watched-demo.ts';

const directory = join(import.meta.dirname, '../../../apps');
const apps = readdirSync(directory).filter((app) => {
  const { lab } = JSON.parse(readFileSync(join(directory, app, 'package.json'), 'utf8')) as { lab?: { demo?: 'engine' } };
  return lab?.demo !== 'engine';
});

/** Ends all roles that it can, each by the verb that the role has. */
async function endAll(demo: WatchedDemo): Promise<string[]> {
  const who = /; it can (.+)\n/.exec(await demo.press('kill', 'nobody'))![1]!.split(', ');
  for (const role of who) {
    const killed = await demo.press('kill', role);
    const said = killed.startsWith(`${role} killed`) ? killed : await demo.press('stop', role);
    expect(said).toMatch(new RegExp(`^${role} (killed|stopped); started again in 30 s$`));
  }
  return who;
}

it.each(apps)('%s keeps its promise when all of its roles have ended and come back', async (app) => {
  await using demo = await watchDemo(join(directory, app));
  await demo.says('waits for "Go on" on its page');
  const who = await endAll(demo);
  for (const role of who) expect(await demo.press('start', role)).toBe(`${role} started`);
  await endAll(demo);
  expect(await demo.press('go-on')).toBe('the demo goes on');
  // Where the demo begins its own faults then, they are there again already.
  expect(await demo.press('heal')).toMatch(/^(all are started|nobody is dead|the demo checks its answer)/);
  await demo.says('the demo is over');
  expect(demo.printed()).toContain('Checked: ');
  expect(await demo.interrupt()).toEqual([0, null]);
});

it.each(apps)('%s ends on Ctrl-C while its roles are dead and it waits', async (app) => {
  await using demo = await watchDemo(join(directory, app));
  await demo.says('waits for "Go on" on its page');
  await endAll(demo);
  // What has nothing to clean up is ended by the signal itself, which a shell calls 130.
  expect([
    [130, null],
    [null, 'SIGINT'],
  ]).toContainEqual(await demo.interrupt());
});
