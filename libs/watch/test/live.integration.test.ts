/**
 * The page of a system that runs, in a real browser: word-count on RabbitMQ, with a load on it, broken and healed by buttons. With SCREENSHOTS=1 it also takes the picture of the README.
 */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { eventually } from '@lab/testing';
import { ComposeSystem, testEnvironment } from '@lab/testing/containers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { watchRunning } from '../src/running.ts';
import { LiveSystem, patience } from './live-system.ts';

const requests: string[] = [];
let system: LiveSystem;
let page: LiveSystem['page'];
let folder: string;

beforeAll(async () => {
  system = await LiveSystem.start('word-count', ['--rate', '8']);
  ({ page } = system);
  folder = await mkdtemp(join(tmpdir(), 'lab-watch-'));
}, 300_000);
afterAll(async () => {
  await system[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
}, 120_000);

const box: LiveSystem['box'] = (name, state) => system.box(name, state);
const strike: LiveSystem['strike'] = (verb, target) => system.strike(verb, target);
const said: LiveSystem['said'] = (text) => system.said(text);
const target: LiveSystem['target'] = (name) => system.target(name);

it('a system that is up is drawn, with its rates, and how its promises stand', { timeout: 120_000 }, async () => {
  for (const name of ['rabbitmq', 'counter-1', 'counter-2']) await box(name, 'alive').waitFor(patience);
  await page.locator('#map .pipe .s').filter({ hasText: '/s' }).first().waitFor(patience);
  await page.getByRole('status').filter({ hasText: 'live' }).waitFor();
  expect(await page.getByRole('timer').innerText()).toMatch(/^\d\d:\d\d$/);
  await page.locator('#promises li').first().waitFor(patience);
  await page.getByText(/^promises: /).waitFor();
});

it('what a button breaks is seen on the lane of who is broken, and so is its end', { timeout: 180_000 }, async () => {
  const flags = page.locator('#lanes .fault');
  await target('rabbitmq');
  await strike('pause', 'rabbitmq').click();
  await said('rabbitmq paused; unpaused in 60 s').waitFor(patience);
  await box('rabbitmq', 'hung').waitFor(patience);
  expect(await flags.count()).toBeGreaterThan(0);
  await page.getByRole('button', { name: 'Heal all' }).click();
  await said('rabbitmq unpaused').waitFor(patience);
  await box('rabbitmq', 'alive').waitFor(patience);
  await target('counter-1');
  await strike('kill', 'counter-1').click();
  await box('counter-1', 'dead').waitFor(patience);
  if (process.env['SCREENSHOTS']) await page.screenshot({ path: join(import.meta.dirname, '../live.png') });
  await strike('start', 'counter-1').click();
  await box('counter-1', 'alive').waitFor(patience);
  await strike('lose', 'counter-1').click();
  await box('counter-1', 'slow').waitFor(patience);
  await page.getByRole('button', { name: 'Heal all' }).click();
  await box('counter-1', 'alive').waitFor(patience);
});

it('a message is followed, and what is saved opens from the disk', { timeout: 300_000 }, async () => {
  await page.getByRole('button', { name: 'Pause' }).first().click();
  await page.getByRole('status').filter({ hasText: 'paused' }).first().waitFor();
  await page.locator('#lanes').focus();
  const stepBack = async (): Promise<boolean> => {
    await page.keyboard.press('ArrowLeft');
    return / [←→] .*batch/.test(await page.locator('#now').innerText());
  };
  // On a busy machine each step takes a second, and there are some dozens.
  await eventually(stepBack, { timeoutMs: 180_000, intervalMs: 1 });
  await page.keyboard.press('Enter');
  const steps = page.getByRole('list', { name: 'Step by step' }).getByRole('listitem');
  await steps
    .filter({ hasText: /delivered|published/ })
    .first()
    .waitFor();
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Save' }).click()]);
  const file = join(folder, download.suggestedFilename());
  await download.saveAs(file);
  const saved = await page.context().newPage();
  saved.on('request', (request) => requests.push(request.url()));
  await saved.goto(pathToFileURL(file).href);
  await saved.getByRole('button', { name: /^counter-1, / }).waitFor();
  expect(await saved.getByRole('region', { name: 'Break' }).count()).toBe(0);
  await saved.locator('#promises li').first().waitFor();
  // It opens at the first fault.
  expect(await saved.locator('#now').innerText()).toBe('rabbitmq: paused');
  expect(requests.map((each) => each.replace(/#.*/, ''))).toEqual([pathToFileURL(file).href]);
});

it('ends in good order, and its page says that it is gone; nothing else went wrong in it', { timeout: 60_000 }, async () => {
  expect(system.complaints).toEqual([]);
  system.look.kill('SIGINT');
  expect(await once(system.look, 'exit')).toEqual([0, null]);
  await page.getByRole('status').filter({ hasText: 'not connected' }).waitFor();
});

it('containers of a demo are shown, which have another name, and end by its own faults', { timeout: 240_000 }, async () => {
  const directory = join(import.meta.dirname, '../../../apps/word-count');
  await using other = new ComposeSystem(directory, await testEnvironment(directory, 'watched', { LAB_TRACE: 'all' }));
  await other.startAnew();
  const running = await watchRunning(directory, other.project);
  running.follow(() => false);
  const events = (): string[] =>
    running.feed.recording(Date.now()).events.map((event) => ('role' in event ? `${event.role} ${event.type}` : event.type));
  await other.container('counter', 1).kill();
  await eventually(() => events().includes('counter-1 end'), { timeoutMs: 60_000 });
  expect(events()).toEqual(expect.arrayContaining(['counter-1 fault', 'counter-2 start', 'rabbitmq start']));
  await running.close();
});
