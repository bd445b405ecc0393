/**
 * The page of each of the large systems, up and under load: its map, a message that is followed, a fault by a button and one by a command, its promises, a saved file. With SCREENSHOTS=1
 * it takes the pictures of their READMEs.
 */
import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from '@lab/testing';
import { expect, it } from 'vitest';
import { savedBytesMax } from '../src/document.ts';
import { LiveSystem, patience } from './live-system.ts';

const apps = join(import.meta.dirname, '../../../apps');

/** Each with who is killed by a button, and who is paused by a command. */
const systems: [app: string, killed: string, paused: string, load: readonly string[]][] = [
  ['bike-analytics', 'filter-trips-1', 'rabbitmq', []],
  ['backup-server', 'backup-requester-1', 'rabbitmq', []],
  ['image-tagging', 'worker-1', 'rabbitmq', []],
  ['news-consortium', 'node-1', 'postgres-1', []],
  ['ha-web', 'web-1', 'db-1', []],
];

it.each(systems)('%s is seen, broken and judged on its page', { timeout: 600_000 }, async (app, killed, paused, load) => {
  await using system = await LiveSystem.start(app, load);
  const { page } = system;
  for (const name of [killed, paused]) await system.box(name, 'alive').waitFor(patience);
  await page.locator('#promises li').first().waitFor(patience);
  await system.target(killed);
  await system.strike('kill', killed).click();
  await system.box(killed, 'dead').waitFor(patience);
  const struck = promisify(execFile)('npm', ['run', '--silent', 'break', 'pause', paused, '--', '--for', '10s'], {
    cwd: join(apps, app),
  });
  await system.box(paused, 'hung').waitFor(patience);
  await page.waitForTimeout(process.env['SCREENSHOTS'] ? 4_000 : 0);
  if (process.env['SCREENSHOTS']) await page.screenshot({ path: join(apps, app, 'page.png') });
  await struck;
  await page.getByRole('button', { name: 'Heal all' }).click();
  for (const name of [killed, paused]) await system.box(name, 'alive').waitFor(patience);
  await page.getByRole('button', { name: 'Pause' }).first().click();
  await page.locator('#lanes').focus();
  await eventually(async () => {
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('Enter');
    return (await page.getByRole('list', { name: 'Step by step' }).getByRole('listitem').count()) > 1;
  });
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Save' }).click()]);
  expect((await stat(await download.path())).size).toBeLessThanOrEqual(savedBytesMax);
  expect(system.complaints).toEqual([]);
});
