/** The page of a demo in a real browser: a role is killed and started by buttons, and the demo's answer is right. */
import { join } from 'node:path';
import { launchBrowser } from '@lab/testing/chromium';
import { expect, it } from 'vitest';
import { watchDemo } from './watched-demo.ts';

it('a demo is broken by buttons, mended, goes on, and ends with the right answer', { timeout: 120_000 }, async () => {
  await using opened = new AsyncDisposableStack();
  const demo = opened.use(await watchDemo(join(import.meta.dirname, '../../../apps/word-count')));
  const browser = opened.adopt(await launchBrowser(), (each) => each.close());
  const page = await browser.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.goto(demo.url);
  await page.getByText('half of the batches are sent').waitFor();
  const box = (name: string, state: string) => page.getByRole('button', { name: new RegExp(`^${name}, ${state}`) });
  const button = (verb: string, role: string) =>
    page.getByRole('button', { name: `${verb} ${role}: the demo's own ${verb} ${role}`, exact: true });
  const verbs = page.locator('#break .verb');
  const target = (label: string) => page.getByRole('combobox', { name: 'Target' }).selectOption({ label });
  const said = (text: string) => page.locator('#break [role=status]').filter({ hasText: text });
  await target('reader');
  await page.getByText('reader cannot be broken here').waitFor();
  expect(await verbs.count()).toBe(0);
  await target('counter-1');
  expect(await verbs.locator('b').allInnerTexts()).toEqual(['kill']);
  await button('kill', 'counter-1').click();
  await said('counter-1 killed; started again in 30 s').waitFor();
  await box('counter-1', 'dead').waitFor();
  await button('start', 'counter-1').click();
  await box('counter-1', 'alive').waitFor();
  await page.getByRole('button', { name: 'Go on' }).click();
  // The page loads itself again, as that of a run that is over.
  await page.getByText('replay').waitFor();
  expect(await page.getByRole('region', { name: 'Break' }).count()).toBe(0);
  expect(demo.printed()).toContain('Checked: the counts are those of a plain loop');
  expect(complaints).toEqual([]);
  expect(await demo.interrupt()).toEqual([0, null]);
});
