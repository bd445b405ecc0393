/**
 * The page in a real browser: as people use it, with and without a mouse, while answers get lost. With SCREENSHOTS=1 it also takes the picture of the README.
 */
import { join } from 'node:path';
import { eventually } from '@lab/testing';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { launchBrowser } from '@lab/testing/chromium';
import { startMariadb } from './shop-mariadb.ts';
import { FrontDoor, startApi, startFrontend } from './shop-services.ts';

const system = new AsyncDisposableStack();
let browser: Browser;
let door: FrontDoor;
let ordersOf: (address: string) => Promise<number>;
let page: Page;
/** What the browser complained of: scripts that fail, and what the Content-Security-Policy stops. */
let complaints: string[];

beforeAll(async () => {
  const mariadb = system.use(await startMariadb());
  const apis = await Promise.all(['web-1', 'web-2'].map((name) => startApi(name, mariadb.port)));
  for (const api of apis) system.defer(() => api.stop());
  const frontend = await startFrontend('web-1');
  system.defer(() => frontend.stop());
  door = system.adopt(await FrontDoor.open(), (each) => each.close());
  door.apis = apis.map(({ port }) => port);
  door.frontend = frontend.port;
  for (const { port } of apis) await eventually(async () => (await fetch(`http://127.0.0.1:${port}/health`)).ok);
  ordersOf = async (address) =>
    Number((await mariadb.query(`SELECT COUNT(*) FROM orders WHERE deliver_to = '${address}'`))[0]![0]);
  browser = system.adopt(await launchBrowser(), (each) => each.close());
});
afterAll(() => system.disposeAsync());

beforeEach(async () => {
  const context = await browser.newContext({ viewport: { width: 1_000, height: 900 } });
  page = await context.newPage();
  complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    // Answers that were lost on purpose, and refusals.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) complaints.push(message.text());
  });
  await page.goto(door.url);
});
afterEach(async () => {
  door.losesAnswer = () => false;
  await page.context().close();
  expect(complaints).toEqual([]);
});

const go = (name: string): Promise<void> => page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name }).click();
const button = (name: string | RegExp) => page.getByRole('button', { name });

/** A script that runs another when the browser has painted what is there now, and has done what was left for afterwards. */
const afterPainting = (script: string): string =>
  `requestAnimationFrame(() => requestAnimationFrame(() => requestIdleCallback(() => ${script})))`;

async function fillBasket(...products: readonly string[]): Promise<void> {
  await go('Basket');
  await button('Visit without an account').click();
  await page.getByText('You are logged in.').waitFor();
  await go('Products');
  for (const product of products) {
    await page.getByLabel('Search products').fill(product);
    await button(`Put ${product} into the basket`).click();
    await page.getByText(`${product}: 1 in your basket.`).waitFor();
  }
  await go('Basket');
}

describe('the page', () => {
  it('shows products and producers, finds, turns pages, and says who answered', async () => {
    await page.getByText('38 products, page 1 of 4').waitFor();
    await button('Next page').click();
    await page.getByText('38 products, page 2 of 4').waitFor();
    await page.getByLabel('Search products').fill('honey lous');
    await page.getByText('2 products, page 1 of 1').waitFor({ state: 'detached' });
    await page.getByLabel('Search products').fill('honey');
    await page.getByText('2 products, page 1 of 1').waitFor();
    expect(await page.getByRole('list', { name: 'Products' }).getByRole('heading').allInnerTexts()).toEqual([
      'Chestnut honey',
      'Heather honey',
    ]);
    await go('Producers');
    await page.getByRole('link', { name: '3 products of Salinas de Aveiro' }).click();
    await page.getByText('3 products, page 1 of 1').waitFor();
    expect(await page.locator('#web-server').innerText()).toMatch(/^web-[12]$/);
    expect(await page.locator('#balancer').innerText()).toBe('lb-1');
    expect(await page.locator('#database').innerText()).toBe('db-1');
    expect(await page.getByRole('contentinfo').innerText()).toContain('Payment is a stand-in');
  });

  it('leads to a description of the API', async () => {
    await page.getByRole('link', { name: 'API', exact: true }).click();
    await page.getByText('Place an order, once for each key').waitFor();
    expect(await page.evaluate('getComputedStyle(document.querySelector(".opblock-post")).borderTopStyle')).toBe('solid');
  });

  it('keeps an account: register, log out, log in', async () => {
    const name = `ana-${Date.now()}`;
    const enter = async (how: string): Promise<void> => {
      await page.getByRole('link', { name: 'Log in' }).click();
      await page.getByLabel('Name').fill(name);
      await page.getByLabel('Password').fill('a long password');
      await button(how).click();
      await page.getByText('You are logged in.').waitFor();
    };
    await enter('Register');
    await page.reload();
    await page.getByText(name).waitFor();
    await button('Log out').click();
    await enter('Log in');
  });

  it('takes an order to its payment', async () => {
    await fillBasket('Green tea', 'Oregano');
    await page.getByLabel('Quantity of Green tea').fill('3');
    await page.getByLabel('Quantity of Green tea').press('Tab');
    await page.getByLabel('Deliver to').fill('Ana, Rua Nova 1, Lisboa');
    await button('Order for € 13.50').click();
    await page.getByText('placed, not paid yet').waitFor();
    await button(/^Pay € 13.50/).click();
    await page.getByText('paid, waiting for the carrier').waitFor();
    expect(await ordersOf('Ana, Rua Nova 1, Lisboa')).toBe(1);
    await go('Basket');
    await page.getByText('Your basket is empty.').waitFor();
    if (process.env['SCREENSHOTS'] === '1') await takePicture();
  });

  it('keeps what is typed before the browser has painted', async () => {
    await fillBasket('Sponge cake');
    await page.getByLabel('Quantity of Sponge cake').waitFor();
    // The field appears and is typed into within one task, which no click of a test can be sure to do.
    const typed = await page.evaluate(`new Promise((resolve) => {
      location.hash = '#/products';
      const observer = new MutationObserver(() => {
        const field = document.querySelector('input[type=number]');
        if (location.hash !== '#/basket') return void (location.hash = '#/basket');
        if (field === null) return;
        observer.disconnect();
        field.value = '3';
        field.dispatchEvent(new Event('input', { bubbles: true }));
        ${afterPainting('resolve(field.value)')};
      });
      observer.observe(document.body, { childList: true, subtree: true });
    })`);
    expect(typed).toBe('3');
  });

  it('leaves the focus where somebody has put it before the browser has painted', async () => {
    await go('Producers');
    await page.getByRole('list', { name: 'Producers' }).waitFor();
    const focused = await page.evaluate(`new Promise((resolve) => {
      location.hash = '#/products';
      const observer = new MutationObserver(() => {
        const field = document.querySelector('input[type=search]');
        if (field === null) return;
        observer.disconnect();
        field.focus();
        ${afterPainting('resolve(document.activeElement === field)')};
      });
      observer.observe(document.body, { childList: true, subtree: true });
    })`);
    expect(focused).toBe(true);
  });

  it('keeps a login when the answer to who is logged in comes after it', async () => {
    const [asked, loggedIn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    await page.route('**/api/sessions/current', async (route) => {
      const response = await route.fetch();
      asked.resolve();
      await loggedIn.promise;
      await route.fulfill({ response });
    });
    await page.reload();
    await asked.promise;
    await page.getByRole('link', { name: 'Log in' }).click();
    await button('Visit without an account').click();
    await page.getByText('You are logged in.').waitFor();
    const answered = page.waitForResponse('**/api/sessions/current');
    loggedIn.resolve();
    await answered;
    await go('Basket');
    await page.getByText('Your basket is empty.').waitFor();
  });

  it('says what is refused, and goes on', async () => {
    await fillBasket('Sponge cake');
    await page.getByLabel('Quantity of Sponge cake').fill('99');
    await page.getByLabel('Quantity of Sponge cake').press('Tab');
    await page.getByLabel('Deliver to').fill('Rui, Rua Velha 2, Porto');
    await button(/^Order for € 643.50/).click();
    await page.getByText('of "Sponge cake" there are 20, not 99').waitFor();
    await page.getByLabel('Quantity of Sponge cake').fill('2');
    await page.getByLabel('Quantity of Sponge cake').press('Tab');
    await button('Order for € 13.00').click();
    await page.getByText('placed, not paid yet').waitFor();
  });
});

async function takePicture(): Promise<void> {
  await go('Products');
  await page.getByLabel('Search products').fill('ol');
  await page.getByText('page 1 of 1').waitFor();
  await page.setViewportSize({ width: 900, height: 600 });
  // All of it, for the footer to be on it.
  await page.screenshot({ path: join(import.meta.dirname, '../docs/page.png'), fullPage: true });
}

describe('an order whose answers get lost', () => {
  it('is sent until it is answered, also over a reload, and is placed once', async () => {
    const address = 'Eva, Rua Longa 3, Faro';
    let lost = 0;
    door.losesAnswer = ({ method, url }) => method === 'POST' && url === '/api/orders' && ++lost > 0;
    await fillBasket('Eggs of quails');
    await page.getByLabel('Deliver to').fill(address);
    await button(/^Order for/).click();
    await page.getByRole('region', { name: 'Order on its way' }).waitFor();
    await eventually(() => lost >= 2);
    await page.reload();
    const lostBefore = lost;
    await eventually(() => lost > lostBefore);
    expect(await ordersOf(address)).toBe(1);
    door.losesAnswer = () => false;
    await page.getByText('placed, not paid yet').waitFor();
    expect(await ordersOf(address)).toBe(1);
    await page.getByRole('region', { name: 'Order on its way' }).waitFor({ state: 'detached' });
  });
});

describe('without a mouse', () => {
  /** Presses Tab until the focus is there, as somebody does who does not know where it is. */
  async function tabTo(role: 'button' | 'link' | 'textbox' | 'searchbox', name: string | RegExp): Promise<void> {
    const wanted = page.getByRole(role, { name }).first();
    await wanted.waitFor();
    for (let presses = 0; presses < 60; presses++) {
      await page.keyboard.press('Tab');
      if ((await wanted.and(page.locator(':focus')).count()) === 1) return;
    }
    throw new Error(`60 times Tab did not lead to ${String(name)}`);
  }
  const press = async (role: 'button' | 'link', name: string | RegExp): Promise<void> => {
    await tabTo(role, name);
    await page.keyboard.press('Enter');
  };

  it('one comes from the start to a paid order, and the focus is always to be seen', async () => {
    await press('link', 'To the content');
    await press('link', 'Log in');
    await press('button', 'Visit without an account');
    await page.getByText('You are logged in.').waitFor();
    await tabTo('searchbox', 'Search products');
    await page.keyboard.type('maize');
    await page.getByText('1 product, page 1 of 1').waitFor();
    await press('button', 'Put Maize bread into the basket');
    await page.getByText('Maize bread: 1 in your basket.').waitFor();
    await press('link', 'Basket');
    await tabTo('textbox', /^Deliver to/);
    const outline = await page.evaluate<string>('getComputedStyle(document.activeElement).outlineStyle');
    expect(outline).toBe('solid');
    await page.keyboard.type('Zoe, Rua Curta 4, Braga');
    await press('button', /^Order for/);
    await page.getByText('placed, not paid yet').waitFor();
    expect(await page.evaluate<string>('document.activeElement.textContent')).toMatch(/^Order \d+$/);
    await press('button', /^Pay/);
    await page.getByText('paid, waiting for the carrier').waitFor();
    expect(await ordersOf('Zoe, Rua Curta 4, Braga')).toBe(1);
  });
});

/** Texts whose contrast with what is behind them is below what WCAG 2.2 asks of normal text (1.4.3), as `text: ratio`. */
const weakContrasts = `(() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = channels(color).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (channels(color)[3] !== 0) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== '');
  return [...document.querySelectorAll('body *')].filter((element) => hasText(element) && element.checkVisibility()).flatMap((element) => {
    const [light, dark] = [luminance(getComputedStyle(element).color), luminance(behind(element))].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    return ratio < 4.5 ? [element.textContent + ': ' + ratio.toFixed(2)] : [];
  });
})()`;

/** Two headings of which the second skips a level, and ids that stand twice. */
const structureFaults = `(() => {
  const levels = [...document.querySelectorAll('h1, h2, h3, h4')].map((heading) => Number(heading.tagName[1]));
  const skipped = levels.flatMap((level, index) => (level > (levels[index - 1] ?? 0) + 1 ? ['level ' + level] : []));
  const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
  const twice = ids.filter((id, index) => ids.indexOf(id) !== index);
  const positive = [...document.querySelectorAll('[tabindex]')].filter(({ tabIndex }) => tabIndex > 0).map(({ outerHTML }) => outerHTML);
  return [...skipped, ...twice, ...positive];
})()`;

describe('each view', () => {
  const views = ['products', 'producers', 'basket', 'orders', 'orders/ORDER', 'login'];

  it('has names for all controls, one first heading, contrast, and fits on a phone', async () => {
    await fillBasket('Lavender');
    await page.getByLabel('Deliver to').fill('Ines, Rua Alta 5, Beja');
    await button(/^Order for/).click();
    await page.getByText('placed, not paid yet').waitFor();
    const order = page.url().split('/').at(-1)!;
    await go('Products');
    await page.getByLabel('Search products').fill('Oregano');
    await button('Put Oregano into the basket').click();
    await page.getByText('Oregano: 1 in your basket.').waitFor();
    for (const view of views) {
      await page.goto(`${door.url}/#/${view.replace('ORDER', order)}`);
      await page.getByText(/^(Looking|One moment)…$/).waitFor({ state: 'detached' });
      await eventually(async () => (await page.getByRole('heading', { level: 1 }).count()) === 1);
      const tree = await page.locator('body').ariaSnapshot();
      const nameless = tree
        .split('\n')
        .filter((line) => /- (button|link|textbox|searchbox|spinbutton|img|navigation|region)( \[.*\])?:?$/.test(line));
      expect({ view, nameless }).toEqual({ view, nameless: [] });
      for (const landmark of ['banner', 'main', 'contentinfo', 'navigation "Main"']) expect(tree).toContain(`- ${landmark}`);
      expect({ view, weak: await page.evaluate(weakContrasts) }).toEqual({ view, weak: [] });
      expect({ view, faults: await page.evaluate(structureFaults) }).toEqual({ view, faults: [] });
      await page.setViewportSize({ width: 320, height: 640 });
      expect({ view, width: await page.evaluate('document.documentElement.scrollWidth') }).toEqual({ view, width: 320 });
      await page.setViewportSize({ width: 1_000, height: 900 });
    }
    expect(await page.evaluate('document.documentElement.lang')).toBe('en');
  });
});
