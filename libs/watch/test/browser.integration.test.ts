/**
 * The page in a real browser, with a run of bike-analytics that is recorded here: 36 processes, and faults that kill some of them. With SCREENSHOTS=1 it also takes the picture of the README.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { eventually } from '@lab/testing';
import { launchBrowser } from '@lab/testing/chromium';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { simulatorOf } from '../src/again.ts';
import { documentOf, makeTemplate, savedBytesMax } from '../src/document.ts';
import { lineOf } from '../src/journey.ts';
import { servePage, watchProgram } from '../src/program.ts';
import { readRecording, type Recording } from '../src/recording.ts';

const app = join(import.meta.dirname, '../../../apps/bike-analytics');
const system = new AsyncDisposableStack();
let browser: Browser;
let recording: Recording;
let url: string;
let saved: string;
/** What the page asked for, and what the browser complained of. */
let requests: string[];
let complaints: string[];

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'lab-watch-'));
  system.defer(() => rm(folder, { recursive: true }));
  const file = join(folder, 'run.jsonl');
  await promisify(execFile)(process.execPath, ['test/simulate.ts', '--seed', '3', '--events', file], { cwd: app });
  recording = readRecording(await readFile(file, 'utf8'), file);
  saved = join(folder, 'run.html');
  const io = { env: {}, stdout: () => undefined, stderr: () => undefined };
  expect(await watchProgram({ args: ['--replay', file, '--save', saved], ...io })).toBe(0);
  const served = await servePage(await makeTemplate(), recording, 0, simulatorOf(recording, app));
  system.defer(() => served.close());
  url = served.url;
  browser = system.adopt(await launchBrowser(), (each) => each.close());
});
afterAll(() => system.disposeAsync());

async function open(
  address = url,
  options: { width?: number; event?: number | undefined; scale?: number; colorScheme?: 'dark' | 'light' } = {},
): Promise<Page> {
  const { width = 1_440, scale = 1, colorScheme = 'light' } = options;
  const event = 'event' in options ? options.event : 0;
  const context = await browser.newContext({ viewport: { width, height: 900 }, deviceScaleFactor: scale, colorScheme });
  const page = await context.newPage();
  [requests, complaints] = [[], []];
  page.on('request', (request) => requests.push(request.url()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => void (message.type() === 'error' && complaints.push(message.text())));
  await page.goto(event === undefined ? address : `${address}#event=${event}`);
  await page.locator('#map svg .inst').first().waitFor();
  return page;
}
afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
  expect(complaints).toEqual([]);
});

const now = (page: Page): Promise<string> => page.locator('#now').innerText();
const clock = (page: Page): Promise<string> => page.getByRole('timer').innerText();
const press = async (page: Page, ...keys: string[]): Promise<void> => {
  for (const key of keys) await page.keyboard.press(key);
};
/** The picture of the README is smaller than the page. */
const pictureScale = 0.75;

/** The event of a message that somebody got again after a death. */
const redelivery = (): number =>
  recording.events.findIndex((event) => event.type === 'delivery' && event.redelivered && event.message !== '');

describe('the page', () => {
  it('has every process on the map and a lane for each, in the order in which messages flow', async () => {
    const page = await open();
    const names = new Set(recording.events.flatMap((event) => ('role' in event ? [event.role] : [])));
    expect(names.size).toBeGreaterThan(30);
    expect(await page.locator('#map .inst[role=button]').count()).toBe(names.size);
    const lanes = await page.locator('.lane-name').all();
    expect(lanes).toHaveLength(names.size);
    expect(new Set(await page.locator('.lane-name title').allTextContents())).toEqual(names);
    const boxes = await Promise.all(lanes.map(async (lane) => (await lane.boundingBox())!));
    for (const [at, { y }] of boxes.slice(1).entries()) expect(y).toBeGreaterThan(boxes[at]!.y + boxes[at]!.height - 0.5);
    const left = async (name: string): Promise<number> => (await page.getByRole('group', { name, exact: true }).boundingBox())!.x;
    const places = await Promise.all(['entry-point', 'broker-trips', 'filter-trips', 'trips-solver', 'solver'].map(left));
    expect(places).toEqual(places.toSorted((a, b) => a - b));
  });

  it('steps forward and back, event by event, by keys and by buttons', async () => {
    const page = await open(url, { event: 400 });
    const lines = recording.events.slice(400, 404).map(lineOf);
    expect(await now(page)).toBe(lines[0]);
    await press(page, 'ArrowRight', 'ArrowRight');
    expect(await now(page)).toBe(lines[2]);
    await page.getByRole('button', { name: 'Step forward' }).click();
    expect(await now(page)).toBe(lines[3]);
    await page.getByRole('button', { name: 'Step back' }).click();
    await press(page, 'ArrowLeft');
    expect(await now(page)).toBe(lines[1]);
    await press(page, 'End');
    expect(await clock(page)).toBe(`${(recording.events.at(-1)!.ms / 1_000).toFixed(3)} s`);
  });

  it('opens where something happened, unless its address says where', async () => {
    const page = await open(url, { event: undefined });
    expect(await now(page)).toBe(lineOf(recording.events.find(({ type }) => type === 'fault')!));
  });

  it('says at a moment without a message that there is none to follow', async () => {
    const page = await open();
    await press(page, 'Enter');
    expect(await now(page)).toBe(`No message to follow here · ${lineOf(recording.events[0]!)}`);
    await press(page, 'ArrowRight');
    expect(await now(page)).toBe(lineOf(recording.events[1]!));
  });

  it('covers no time of the axis with that of the moment', async () => {
    const page = await open(url, { event: 400 });
    for (const key of ['f', 'ArrowRight', 'End']) {
      await press(page, key);
      const pill = (await page.locator('.playhead rect').boundingBox())!;
      const times = await Promise.all((await page.locator('.axis text').all()).map(async (time) => (await time.boundingBox())!));
      expect(times.length).toBeGreaterThan(2);
      expect(times.filter(({ x, width }) => x < pill.x + pill.width && x + width > pill.x)).toEqual([]);
    }
  });

  it('plays, and stops', async () => {
    const page = await open(url, { event: 400 });
    const before = await clock(page);
    await press(page, 'Space');
    await eventually(async () => (await clock(page)) !== before);
    await press(page, 'Space');
    await page.getByRole('button', { name: 'Play' }).waitFor();
  });

  it('shows at a fault who died, and goes on to the next', async () => {
    const page = await open();
    const faults = recording.events.filter(({ type }) => type === 'fault');
    await press(page, 'f');
    expect(await now(page)).toBe(lineOf(faults[0]!));
    const death = recording.events.findIndex(({ type }) => type === 'end');
    const { role } = recording.events[death] as { role: string };
    const dead = await open(url, { event: death });
    await dead.getByRole('button', { name: new RegExp(`^${role}, dead`) }).waitFor();
  });

  it('tells the journey of the message of this moment: who had it, who died, who got it again', async () => {
    const page = await open(url, { event: redelivery(), scale: pictureScale });
    await press(page, 'Enter');
    const steps = page.getByRole('list', { name: 'Step by step' }).getByRole('listitem');
    await steps.filter({ hasText: 'dies' }).first().waitFor();
    expect(await steps.first().innerText()).toContain('published by');
    expect(await page.locator('[aria-current=step]').innerText()).toMatch(/delivered again to .* \(try 2\)/);
    if (process.env['SCREENSHOTS']) await page.screenshot({ path: join(import.meta.dirname, '../page.png') });
    await steps.first().getByRole('button').click();
    expect(await now(page)).toContain('→ publish');
    await press(page, 'Escape');
    await page.getByText('The story of this run').waitFor();
  });

  it('follows the arrow that is clicked', async () => {
    const page = await open(url, { event: redelivery() });
    const tip = page.locator('#tip');
    const { x, y, width } = (await page.locator('#lanes').boundingBox())!;
    // What goes back to a queue has none, and is not followed.
    const hasWords = async (): Promise<boolean> => (await tip.isVisible()) && !(await tip.innerText()).startsWith('no words');
    for (let step = 0; step < 300 && !(await hasWords()); step++)
      await page.mouse.move(x + 200 + ((step * 37) % (width - 300)), y + 60 + ((step * 23) % 240));
    const message = (await tip.innerText()).split(' · ')[0]!;
    await page.mouse.down();
    await page.mouse.up();
    expect(await page.locator('#title').innerText()).toBe(message);
  });

  it('is read and used without a mouse', async () => {
    const page = await open(url, { event: 400 });
    const first = page.locator('#map .inst[role=button]').first();
    await first.focus();
    const focused = (): Promise<string | null> => page.evaluate('document.activeElement.getAttribute("aria-label")');
    const before = await focused();
    await press(page, 'ArrowRight');
    expect(await focused()).not.toBe(before);
    await press(page, 'Enter');
    expect(await page.locator('#title').innerText()).toBe((await focused())!.split(',')[0]);
    const nameless = await page.evaluate(
      '[...document.querySelectorAll("button, a, [role=button], [role=img], [role=group]")].filter((each) => !(each.getAttribute("aria-label") || each.textContent.trim())).length',
    );
    expect(nameless).toBe(0);
  });

  it('fits a telephone: nothing is cut off, and the map goes from top to bottom', async () => {
    const page = await open(url, { width: 400, event: 400 });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(400);
    const top = async (name: string): Promise<number> => (await page.getByRole('group', { name, exact: true }).boundingBox())!.y;
    expect(await top('entry-point')).toBeLessThan(await top('filter-trips'));
    expect(await top('filter-trips')).toBeLessThan(await top('solver'));
    const { x: left } = (await page.locator('#lanes').boundingBox())!;
    for (const name of await page.locator('.lane-name').all()) {
      expect((await name.boundingBox())!.x).toBeGreaterThanOrEqual(left);
      expect(await name.innerHTML()).not.toContain('…');
    }
  });

  it('asks for nothing but itself', async () => {
    const page = await open(url, { event: redelivery() });
    await press(page, 'Enter', 'Space', 'f', '0', 'Home');
    expect(requests.map((each) => each.replace(/#.*/, ''))).toEqual([url]);
  });
});

describe('a simulation that is run again from the page', () => {
  const faults = (page: Page) => page.getByRole('list', { name: 'Faults' }).getByRole('checkbox');
  const runAgain = async (page: Page): Promise<string> => {
    await page.getByRole('button', { name: 'Run again' }).click();
    await page.getByRole('status').filter({ hasText: /./ }).waitFor();
    return page.getByRole('status').innerText();
  };

  it('goes as before with the same faults, and otherwise from the first of those on that are switched off', async () => {
    const page = await open();
    const struck = recording.events.filter(({ type }) => type === 'fault').length;
    expect(await faults(page).count()).toBe(struck);
    expect(await runAgain(page)).toBe('All went as before.');
    const death = recording.events.findIndex((event) => event.type === 'fault' && / dies /.test(event.key));
    const { key } = recording.events[death] as { key: string };
    const place = recording.events.slice(0, death).filter(({ type }) => type === 'fault').length;
    await faults(page).nth(place).uncheck();
    await page.getByRole('button', { name: 'Run again' }).click();
    await page.getByText(`As before up to event ${death}.`).waitFor();
    expect(await page.getByText(`${struck - 1} of ${struck} on`).count(), key).toBe(1);
    expect(await page.getByRole('list', { name: 'Faults' }).getByText('off', { exact: true }).count()).toBe(1);
  });

  it('is struck by one more, at the event of the moment', async () => {
    const isFilter = (event: Recording['events'][number]): boolean => event.type === 'delivery' && /^filter-/.test(event.role);
    const delivery = recording.events.findIndex(isFilter);
    const { role } = recording.events[delivery] as { role: string };
    const page = await open(url, { event: delivery });
    await page.getByRole('combobox', { name: 'Fault' }).selectOption('dies before');
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    expect(await runAgain(page)).toBe(`As before up to event ${delivery + 1}.`);
    expect(await now(page)).toContain(`${role}: dies before, 1 s`);
    await press(page, 'ArrowRight');
    expect(await now(page)).toBe(`${role} dies`);
    expect(await page.getByRole('link', { name: 'faults.json' }).getAttribute('href')).toContain('dies%20before');
  });
});

describe('a saved file', () => {
  it('opens from the disk, asks for nothing else, and shows the same', async () => {
    expect((await stat(saved)).size).toBeLessThan(savedBytesMax);
    const address = pathToFileURL(saved).href;
    const shown = async (page: Page): Promise<string[]> => [
      await now(page),
      await clock(page),
      await page.evaluate<string>(
        '[...document.querySelectorAll("#map [role=button]")].map((each) => each.getAttribute("aria-label")).join()',
      ),
      await page.getByRole('list', { name: 'Step by step' }).innerText(),
    ];
    const served = await shown(await open(url, { event: redelivery() }));
    const fromDisk = await open(address, { event: redelivery() });
    expect(await shown(fromDisk)).toEqual(served);
    expect(requests.map((each) => each.replace(/#.*/, ''))).toEqual([address]);
    expect(await fromDisk.getByRole('link', { name: 'Save' }).count()).toBe(0);
    expect(await fromDisk.getByRole('button', { name: 'Run again' }).count()).toBe(0);
  });

  it('says how many events there were, where some are left out; and is dark where the system is', async () => {
    const file = join(dirname(saved), 'sampled.html');
    await writeFile(file, documentOf(await makeTemplate(), { ...recording, sampledFrom: 99_999 }));
    const page = await open(pathToFileURL(file).href, { colorScheme: 'dark' });
    await page.getByText(`${recording.events.length.toLocaleString('en')} events of 99,999`).waitFor();
    await page.getByText('sampled', { exact: true }).waitFor();
    const ground = (): Promise<string> => page.evaluate<string>('getComputedStyle(document.documentElement).backgroundColor');
    const dark = await ground();
    await page.getByRole('button', { name: 'Light or dark' }).click();
    expect([dark, await ground()]).toEqual(['rgb(17, 21, 26)', 'rgb(251, 250, 247)']);
  });

  it('tells of a queue what the broker was asked, and no depth before that, where spans are a sample', async () => {
    const file = join(dirname(saved), 'live.html');
    const publish = recording.events.findIndex((event) => event.type === 'delivery' && event.from.endsWith('.batches'));
    const { from, ms } = recording.events[publish] as { from: string; ms: number };
    const untilMs = ms + 8_000;
    const depths = [{ ms: ms + 5_000, queues: { [from]: { ready: 70, held: 8, rate: 9 } } }];
    const live = { untilMs, tells: 'some', depths } as const;
    const events = recording.events.slice(0, publish + 1);
    await writeFile(file, documentOf(await makeTemplate(), { ...recording, events, live }));
    const page = await open(pathToFileURL(file).href, { event: publish });
    const asked = page.getByRole('button', { name: /, 70 ready, 8 held, 9 a second: / });
    expect(await page.locator('#map .pipe[aria-label*="depth not known"]').count()).toBe(
      await page.locator('#map .pipe').count(),
    );
    expect((await page.locator('#map .pipe .s').allTextContents()).join('')).toBe('');
    await press(page, 'End');
    expect(await asked.locator('.s').textContent()).toBe('78 · 9/s');
  });

  it('is what the page gives to be saved', async () => {
    const page = await open();
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Save' }).click()]);
    expect(download.suggestedFilename()).toBe('bike-analytics-seed-3.html');
    expect(await readFile(await download.path(), 'utf8')).toBe(await readFile(saved, 'utf8'));
  });
});
