/** The status page in a real browser: of two balancers, one of which dies; and of neighbours with names that no one expects. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { systemClock } from '@lab/process';
import { eventually } from '@lab/testing';
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { AgentStatus } from '../src/database/domain/agent-status.ts';
import type { HeldServer } from '../src/edge/domain/reconcile.ts';
import { Observer } from '../src/edge/status/observer.ts';
import { StatusServer } from '../src/edge/status/server.ts';
import { launchBrowser } from '@lab/testing/chromium';
import { EdgeSystem } from './edge-system.ts';

/** What takes a second may take many on a busy machine. */
const timeout = 60_000;

let browser: Browser;
/** What the browser complained of: scripts that fail, and what the Content-Security-Policy stops. */
let complaints: string[];

beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser?.close());
beforeEach(() => {
  complaints = [];
});
afterEach(async () => {
  await Promise.all(browser.contexts().map((context) => context.close()));
  expect(complaints).toEqual([]);
});

async function open(url: string): Promise<Page> {
  const page = await browser.newPage({ viewport: { width: 1_200, height: 900 } });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    // A balancer that is dead.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) complaints.push(message.text());
  });
  await page.goto(url);
  return page;
}

/** By what is read out, in which signs and colours have no part. */
const row = (page: Page, table: string, name: string | RegExp): Locator =>
  page.getByRole('table', { name: table, exact: true }).getByRole('row', { name, exact: true });
const headersOf = (page: Page, table: string): Promise<string[]> =>
  page.getByRole('table', { name: table, exact: true }).getByRole('columnheader').allInnerTexts();

describe('the status pages of two balancers', () => {
  let system: EdgeSystem;
  beforeAll(async () => {
    system = await EdgeSystem.start();
    await system.addWebServer('web-1');
    await eventually(async () => (await system.active('lb-2')).join() === 'lb-1', { timeoutMs: timeout });
  });
  afterAll(() => system?.[Symbol.asyncDispose]());

  const shows = (page: Page, table: string, ...names: readonly (string | RegExp)[]): Promise<unknown> =>
    Promise.all(names.map((name) => row(page, table, name).first().waitFor({ timeout })));

  test('show by themselves that one of them dies, and returns', async () => {
    const urls = (await system.status('lb-2')).balancers.map(({ page }) => page);
    const [dying, other] = await Promise.all([open(urls[0]!), open(urls[1]!)]);
    for (const page of [dying, other]) {
      await shows(page, 'Balancers', 'lb-1 active', 'lb-2 passive');
      await shows(page, 'Web servers', /^web-1 \(API\) up 10\.91\.1\.1:\d+$/, /^web-1 \(pages\) up 10\.91\.1\.1:\d+$/);
      await shows(page, 'ZooKeeper', /:2181 leader$/);
      expect(await row(page, 'ZooKeeper', /:2181 follower$/).count()).toBe(2);
    }

    await system.container('lb-1').kill();
    await shows(other, 'Balancers', 'lb-1 does not answer', 'lb-2 active');
    await other.getByRole('status').getByText('lb-1 does not answer', { exact: true }).waitFor({ timeout });
    await shows(other, 'Events', / lb-1 does not answer$/, / lb-2 is active$/);
    await dying.getByRole('alert').getByText('This balancer does not answer').waitFor({ timeout });
    expect(await dying.title()).toMatch(/^Out of date/);
    expect(await dying.getByRole('link', { name: 'lb-2' }).getAttribute('href')).toBe(urls[1]);

    await system.container('lb-1').start();
    for (const page of [dying, other]) await shows(page, 'Balancers', 'lb-1 active', 'lb-2 passive');
    await eventually(async () => (await dying.getByRole('alert').innerText()) === '', { timeoutMs: timeout });
  });
});

/** Runs, if it is taken for HTML. */
const awkward = `<img src="x" onerror="document.title = 'broken'"> & 'co'`;

const agents: Record<'primary' | 'replica', AgentStatus> = {
  primary: {
    ...{ name: 'db-1', role: 'primary', epoch: 3, primary: 'db-1', replicaInSync: true, lagMs: undefined },
    ...{ dataEpoch: 3, position: 120, readOnly: false, bootId: 'a', events: [{ at: 2_000, text: awkward }] },
  },
  replica: {
    ...{ name: 'db-2', role: 'replica', epoch: 3, primary: 'db-1', replicaInSync: true, lagMs: 1_500 },
    ...{ dataEpoch: 3, position: 118, readOnly: true, bootId: 'b', events: [] },
  },
};

/** What an agent tells, as it is told the next time. */
class Agent implements AsyncDisposable {
  status: AgentStatus;
  readonly #server: Server = createServer((_, response) => response.end(JSON.stringify(this.status)));
  constructor(status: AgentStatus) {
    this.status = status;
  }

  async start(): Promise<void> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
  }

  get at(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close().closeAllConnections();
  }
}

/** Texts whose contrast with the page is below what WCAG 2.2 asks of normal text (1.4.3), as `text: ratio`. All stand on the page's own background. */
const weakContrasts = `(() => {
  const luminance = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map((c) => (c <= 10 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const styleOf = (element) => getComputedStyle(element);
  const paper = luminance(styleOf(document.documentElement).backgroundColor);
  return [...document.querySelectorAll('body *')].filter((element) => element.checkVisibility()).flatMap((element) => {
    const [light, dark] = [luminance(styleOf(element).color), paper].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    return ratio < 4.5 ? [element.textContent + ': ' + ratio.toFixed(2)] : [];
  });
})()`;

describe('the status page', () => {
  const parts = new AsyncDisposableStack();
  const [primary, replica] = [new Agent(agents.primary), new Agent(agents.replica)];
  let page: Page;
  let url: string;

  beforeAll(async () => {
    for (const agent of [primary, replica]) await parts.use(agent).start();
    const held: HeldServer = {
      ...{ backend: 'web-servers', name: `${awkward}.1`, address: '10.0.0.1', port: 8080 },
      ...{ state: 'up', draining: false, requests: 0 },
    };
    const silent = '127.0.0.1:1';
    const observer = new Observer({
      ...{ name: 'lb-1', floatingAddress: '127.0.0.1', clock: systemClock, nowMs: Date.now, zookeeper: [silent] },
      balancers: ['lb-1', awkward].map((name) => ({ name, at: silent })),
      databases: [primary, replica].map(({ at }, index) => ({ name: `db-${index + 1}`, at })),
      haproxy: { servers: async () => [held, { ...held, backend: 'api-servers', state: 'down', draining: true }] },
    });
    const server = new StatusServer(observer, { host: '127.0.0.1', port: 0 });
    for (const role of [observer, server]) {
      await role.start();
      parts.defer(() => role.stop());
    }
    url = `http://127.0.0.1:${server.port}/`;
  });
  afterAll(() => parts.disposeAsync());
  beforeEach(async () => {
    replica.status = agents.replica;
    page = await open(url);
  });

  test('says by words what each thing is, and what is not as it should be', async () => {
    expect(await headersOf(page, 'Databases')).toEqual(['Database', 'State', 'Replication', 'Data', 'Epoch', 'Transaction']);
    await row(page, 'Databases', 'db-1 primary replica in sync writable 3 120').waitFor();
    await row(page, 'Databases', 'db-2 replica 1.5 s behind read-only 3 118').waitFor();
    await row(page, 'Balancers', 'lb-1 active').waitFor();
    await row(page, 'Web servers', `${awkward} (API) draining 10.0.0.1:8080`).waitFor();
    await row(page, 'ZooKeeper', '127.0.0.1:1 does not serve').waitFor();
    expect(await page.getByRole('status').getByRole('listitem').allInnerTexts()).toEqual([
      `${awkward} does not answer`,
      '127.0.0.1:1 does not serve',
      'lb-1 has no server for the API',
    ]);
    expect(await page.title()).toBe('3 faults · Marketplace status');
  });

  test('shows names as they are, and takes none for HTML', async () => {
    await page.getByRole('rowheader', { name: awkward, exact: true }).waitFor();
    await row(page, 'Events', `1970-01-01 00:00:02 db-1 ${awkward}`).waitFor();
    expect(await page.locator('img').count()).toBe(0);
  });

  test('changes what has changed, and leaves alone who reads the rest', async () => {
    await page.getByRole('link', { name: 'lb-1' }).focus();
    replica.status = { ...agents.replica, lagMs: 2_500 };
    await row(page, 'Databases', 'db-2 replica 2.5 s behind read-only 3 118').waitFor({ timeout });
    expect(await page.evaluate('document.activeElement.textContent')).toBe('lb-1');
  });

  test('has headings, headers, a language and contrast, and fits on a phone', async () => {
    expect(await page.evaluate('document.documentElement.lang')).toBe('en');
    expect(await page.getByRole('heading', { level: 1 }).allInnerTexts()).toEqual(['Marketplace status']);
    const tables = ['Balancers', 'Web servers', 'Databases', 'ZooKeeper', 'Events'];
    expect(await page.getByRole('heading', { level: 2 }).allInnerTexts()).toEqual(tables);
    for (const table of tables) expect((await headersOf(page, table)).length).toBeGreaterThan(1);
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      expect({ colorScheme, weak: await page.evaluate(weakContrasts) }).toEqual({ colorScheme, weak: [] });
    }
    await page.setViewportSize({ width: 320, height: 640 });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(320);
  });
});
