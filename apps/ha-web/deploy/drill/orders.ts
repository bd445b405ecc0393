/** People who place one order after another, and what they were promised. An order is asked for again under its key until it is answered, as the page does. */
import { randomUUID } from 'node:crypto';
import { Promised, type LoadClient, type Workload } from '@lab/testing/load';
import type { Order, ProductPage, Session } from '../../src/shop/messages.ts';
import type { Requests } from './load.ts';
import type { System } from './system.ts';

/** An order that was acknowledged. */
interface Acknowledged {
  readonly account: number;
  readonly key: string;
  readonly id: number;
}

/** Checked and then forgotten, some 30 MB of them. */
const ordersMax = 200_000;
/** So that no order is refused for want of cabbages. */
const stockAtFirst = 4_000_000_000;
/** What an order takes from the stores stands on it: this stays as it is. */
const goods = 'SELECT (SELECT SUM(stock) FROM products) + (SELECT COALESCE(SUM(quantity), 0) FROM order_items)';

export class Orders implements Workload {
  readonly #neverLost = new Promised('an order that was acknowledged is never lost', 'orders are there, under their keys');
  readonly #neverTwice = new Promised('and never there twice', 'sums of what is in the stores and on orders');
  readonly promises = [this.#neverLost, this.#neverTwice];
  readonly #system: System;
  readonly #requests: Requests;
  readonly #goodsAtFirst: string;
  readonly #acknowledged: Acknowledged[] = [];
  /** When an order was acknowledged last, on `performance.now()`. */
  acknowledgedMs = 0;
  acknowledgedCount = 0;

  private constructor(system: System, requests: Requests, goodsAtFirst: string) {
    this.#system = system;
    this.#requests = requests;
    this.#goodsAtFirst = goodsAtFirst;
  }

  /** Fills the stores. */
  static async open(system: System, requests: Requests): Promise<Orders> {
    const fill = `UPDATE products SET stock = ${stockAtFirst}; ${goods}`;
    const [[goodsAtFirst = ''] = []] = await query(system, await system.primary(), fill);
    return new Orders(system, requests, goodsAtFirst);
  }

  /** With an account of its own. */
  async connect(): Promise<LoadClient> {
    const body = { name: `drill-${randomUUID().slice(0, 18)}`, password: 'correct horse' };
    const session = JSON.parse((await this.#requests.patiently('order', '/api/accounts', { body })).body) as Session;
    const page = JSON.parse((await this.#requests.patiently('read', '/api/products?size=50')).body) as ProductPage;
    let turn = session.account.id;
    const operate = async (): Promise<void> => {
      if (this.#acknowledged.length >= ordersMax) await this.#forget();
      await this.#order(session, page.products[turn++ % page.products.length]!);
    };
    return { operate };
  }

  async #forget(): Promise<void> {
    const old = this.#acknowledged.splice(0);
    await this.#checkOrders(old).catch((error: unknown) => {
      this.#acknowledged.push(...old);
      throw error;
    });
  }

  async #order({ token, account }: Session, { id, priceCents }: ProductPage['products'][number]): Promise<void> {
    const key = randomUUID();
    const body = { items: [{ productId: id, quantity: 1 }], totalCents: priceCents, deliverTo: 'Rua do Ensaio 1, Lisboa' };
    const headers = { authorization: `Bearer ${token}`, 'idempotency-key': key };
    const answer = await this.#requests.patiently('order', '/api/orders', { body, headers });
    this.#acknowledged.push({ account: account.id, key, id: (JSON.parse(answer.body) as Order).id });
    this.acknowledgedMs = performance.now();
    this.acknowledgedCount++;
  }

  async check(): Promise<void> {
    // Orders may go on being placed: what is acknowledged later may be missing in what is read now.
    await this.#checkOrders([...this.#acknowledged]);
    const [[now = ''] = []] = await query(this.#system, await this.#system.primary(), goods);
    if (now === this.#goodsAtFirst) this.#neverTwice.holds();
    else this.#neverTwice.breaks(`it was ${this.#goodsAtFirst}, and is ${now}`);
  }

  /** By the primary's own client. */
  async #checkOrders(acknowledged: readonly Acknowledged[]): Promise<void> {
    const accounts = [...new Set([0, ...acknowledged.map(({ account }) => account)])].join();
    const statement = `SELECT account_id, idempotency_key, id FROM orders WHERE account_id IN (${accounts})`;
    const stored = await query(this.#system, await this.#system.primary(), statement);
    const ids = Map.groupBy(stored, ([account, key]) => `${account} ${key}`);
    for (const { account, key, id } of acknowledged) {
      const [found, ...others] = (ids.get(`${account} ${key}`) ?? []).map((row) => row[2]);
      if (found === String(id)) this.#neverLost.holds();
      else this.#neverLost.breaks(`order ${id} was acknowledged, and under its key ${key} there is ${found ?? 'none'}`);
      if (others.length > 0) this.#neverTwice.breaks(`the orders ${[found, ...others].join(' and ')} have one key, ${key}`);
    }
  }
}

/** Resolves when both databases have the same rows; rejects where they do not get there. Nobody orders meanwhile. */
export async function sameRows(system: System): Promise<void> {
  const tables = (await query(system, await system.primary(), 'SHOW TABLES')).map(([table]) => table).join();
  await system.until('both databases have the same rows', async () => {
    const sums = await Promise.all(['db-1', 'db-2'].map((database) => query(system, database, `CHECKSUM TABLE ${tables}`)));
    return JSON.stringify(sums[0]) === JSON.stringify(sums[1]);
  });
}

/** By the own client of a database's machine. */
async function query(system: System, database: string, statement: string): Promise<string[][]> {
  const printed = await system.inside(database, `mariadb --batch --skip-column-names marketplace -e '${statement}'`);
  const lines = printed.split('\n').filter(Boolean);
  return lines.map((line) => line.split('\t'));
}
