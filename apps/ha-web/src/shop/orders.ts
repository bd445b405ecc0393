/**
 * Baskets and orders. An order is one transaction: its key, its items, the stock that it takes, and the basket that it empties. It exists for its buyer when
 * the transaction is committed and the commit is acknowledged, which under semi-synchronous replication means: on the replica, too.
 *
 * The key makes it one, however often it is sent. The answer to a repeated key waits for a commit as well: it writes the order's row. Merely reading it
 * could confirm an order that only a dying primary has.
 *
 * A refused order leaves its key unused.
 */
import { createHash } from 'node:crypto';
import { toProduct, type ProductRow } from './catalogue.ts';
import type { Database, Sql } from './database.ts';
import { basketItemsMax, type Account, type Basket, type Order, type OrderRequest } from './messages.ts';
import type { Carrier, Payment } from './ports.ts';
import { Refusal } from './refusal.ts';

export const readBasket = (database: Database, account: Account): Promise<Basket> =>
  database.read((sql) => basketOf(sql, account));

async function basketOf(sql: Sql, account: Account): Promise<Basket> {
  const rows = await sql.rows<ProductRow & { quantity: number }>(
    `SELECT products.id, products.name, unit, price_cents AS priceCents, stock, producers.id AS producerId, producers.name AS producerName, quantity
     FROM basket_items JOIN products ON products.id = product_id JOIN producers ON producers.id = producer_id
     WHERE account_id = ? ORDER BY products.name, products.id`,
    [account.id],
  );
  const items = rows.map(({ quantity, ...row }) => ({ product: toProduct(row), quantity }));
  return { items, totalCents: items.reduce((sum, { product, quantity }) => sum + product.priceCents * quantity, 0) };
}

/** So many of the product are in the basket from now on; resolves with the basket. */
export const putIntoBasket = (database: Database, account: Account, product: number, quantity: number): Promise<Basket> =>
  database.write(async (sql) => {
    await setQuantity(sql, account, product, quantity);
    const basket = await basketOf(sql, account);
    if (basket.items.length > basketItemsMax) throw new Refusal('invalid', `a basket holds ${basketItemsMax} products`);
    return basket;
  });

async function setQuantity(sql: Sql, account: Account, product: number, quantity: number): Promise<void> {
  if (quantity === 0) {
    await sql.change('DELETE FROM basket_items WHERE account_id = ? AND product_id = ?', [account.id, product]);
    return;
  }
  const [known] = await sql.rows('SELECT id FROM products WHERE id = ?', [product]);
  if (known === undefined) throw new Refusal('not-found', `there is no product ${product}`);
  await sql.change('INSERT INTO basket_items VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE quantity = VALUES(quantity)', [
    account.id,
    product,
    quantity,
  ]);
}

/** Resolves with the order, and whether this is the first answer. */
export async function placeOrder(
  database: Database,
  carrier: Carrier,
  account: Account,
  key: string,
  request: OrderRequest,
): Promise<{ order: Order; isNew: boolean }> {
  const content = contentHash(request);
  const { stored, isNew } = await database.write(async (sql) => {
    const { id, changed } = await sql.change(
      `INSERT INTO orders (account_id, idempotency_key, content_hash, deliver_to, total_cents) VALUES (?, ?, ?, ?, ?)
       ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), answers = answers + 1`,
      [account.id, key, content, request.deliverTo, request.totalCents],
    );
    const isNew = changed === 1;
    if (isNew) await takeItems(sql, account, id, request);
    else await refuseOtherContent(sql, id, content);
    return { stored: await oneOrder(sql, account, id), isNew };
  });
  return { order: await withStatus(carrier, stored), isNew };
}

const contentHash = ({ items, totalCents, deliverTo }: OrderRequest): Buffer => {
  const sorted = [...items].sort((a, b) => a.productId - b.productId).map(({ productId, quantity }) => [productId, quantity]);
  return createHash('sha256')
    .update(JSON.stringify([sorted, totalCents, deliverTo]))
    .digest();
};

async function refuseOtherContent(sql: Sql, order: number, content: Buffer): Promise<void> {
  const [row] = await sql.rows<{ content: Buffer }>('SELECT content_hash AS content FROM orders WHERE id = ?', [order]);
  if (row?.content.equals(content) !== true) {
    throw new Refusal('key-reused', `order ${order} was placed with this key and other content: use a new key for a new order`);
  }
}

async function takeItems(sql: Sql, account: Account, order: number, { items, totalCents }: OrderRequest): Promise<void> {
  const ids = items.map(({ productId }) => productId);
  // In the order of their numbers, always: then no two orders wait for each other.
  const products = await sql.rows<{ id: number; name: string; priceCents: number; stock: number }>(
    'SELECT id, name, price_cents AS priceCents, stock FROM products WHERE id IN (?) ORDER BY id FOR UPDATE',
    [ids],
  );
  const byId = new Map(products.map((product) => [product.id, product]));
  let sum = 0;
  for (const { productId, quantity } of items) {
    const product = byId.get(productId);
    if (product === undefined) throw new Refusal('not-found', `there is no product ${productId}`);
    if (product.stock < quantity)
      throw new Refusal('out-of-stock', `of "${product.name}" there are ${product.stock}, not ${quantity}`);
    sum += product.priceCents * quantity;
    await sql.change('UPDATE products SET stock = stock - ? WHERE id = ?', [quantity, productId]);
    await sql.change('INSERT INTO order_items VALUES (?, ?, ?, ?)', [order, productId, quantity, product.priceCents]);
  }
  if (sum !== totalCents)
    throw new Refusal('price-changed', `it costs ${sum} cents now, not ${totalCents}: look at the basket again`);
  await sql.change('DELETE FROM basket_items WHERE account_id = ? AND product_id IN (?)', [account.id, ids]);
}

/** As it is stored: whether it has shipped is the carrier's to say. */
interface StoredOrder extends Omit<Order, 'placedAt' | 'status'> {
  key: string;
  placedAt: Date;
  paidAt: Date | null;
}
type ItemRow = Order['items'][number] & { orderId: number };

/** More are not read by anybody, and would make a page of any size. */
const listedMax = 50;

/** The newest ones first; with an id that one, if it is the account's. */
async function ordersOf(sql: Sql, account: Account, id?: number): Promise<StoredOrder[]> {
  const rows = await sql.rows<Omit<StoredOrder, 'items'>>(
    `SELECT id, idempotency_key AS \`key\`, deliver_to AS deliverTo, total_cents AS totalCents, placed_at AS placedAt, paid_at AS paidAt
     FROM orders WHERE account_id = ? AND (? IS NULL OR id = ?) ORDER BY id DESC LIMIT ?`,
    [account.id, id ?? null, id ?? null, listedMax],
  );
  const items = await sql.rows<ItemRow>(
    `SELECT order_id AS orderId, product_id AS productId, name, quantity, order_items.price_cents AS priceCents
     FROM order_items JOIN products ON products.id = product_id WHERE order_id IN (?) ORDER BY name, product_id`,
    [[0, ...rows.map((row) => row.id)]],
  );
  const byOrder = Map.groupBy(items, ({ orderId }) => orderId);
  return rows.map((row) => ({ ...row, items: (byOrder.get(row.id) ?? []).map(({ orderId, ...item }) => item) }));
}

async function oneOrder(sql: Sql, account: Account, id: number): Promise<StoredOrder> {
  const [order] = await ordersOf(sql, account, id);
  if (order === undefined) throw new Refusal('not-found', `you have no order ${id}`);
  return order;
}

const withStatus = async (carrier: Carrier, { key, paidAt, placedAt, ...order }: StoredOrder): Promise<Order> => ({
  ...order,
  placedAt: placedAt.toISOString(),
  status: paidAt === null ? 'placed' : (await carrier.hasShipped(paidAt)) ? 'shipped' : 'paid',
});

/** The newest ones first. */
export async function listOrders(database: Database, carrier: Carrier, account: Account): Promise<Order[]> {
  const stored = await database.read((sql) => ordersOf(sql, account));
  return Promise.all(stored.map((order) => withStatus(carrier, order)));
}

export async function findOrder(database: Database, carrier: Carrier, account: Account, id: number): Promise<Order> {
  return withStatus(carrier, await database.read((sql) => oneOrder(sql, account, id)));
}

/**
 * Charged outside of any transaction, under the account and the order's own key: whoever does it again, after a crash in between, charges nothing twice.
 * Not under the order's number, which is given twice when a forced takeover or a restore lost an order: the second one would count as paid.
 */
export async function payOrder(
  database: Database,
  payment: Payment,
  carrier: Carrier,
  account: Account,
  id: number,
): Promise<Order> {
  const order = await database.read((sql) => oneOrder(sql, account, id));
  if (order.paidAt !== null) return withStatus(carrier, order);
  if ((await payment.charge(`${account.id}:${order.key}`, order.totalCents)) === 'declined') {
    throw new Refusal('payment-declined', `order ${id} waits for its payment: try again`);
  }
  const paid = await database.write(async (sql) => {
    await sql.change(
      'UPDATE orders SET paid_at = COALESCE(paid_at, NOW(3)) WHERE id = ? AND account_id = ? AND idempotency_key = ?',
      [id, account.id, order.key],
    );
    return oneOrder(sql, account, id);
  });
  return withStatus(carrier, paid);
}
