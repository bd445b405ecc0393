/** What is for sale, and by whom. */
import type { Database, Value } from './database.ts';
import type { Producer, Product, ProductPage, ProductQuery } from './messages.ts';
import { Refusal } from './refusal.ts';

const producers = `
  SELECT producers.id, producers.name, place, about, latitude, longitude, COUNT(products.id) AS products
  FROM producers LEFT JOIN products ON products.producer_id = producers.id`;

export async function listProducers(database: Database): Promise<Producer[]> {
  return database.read((sql) => sql.rows<Producer>(`${producers} GROUP BY producers.id ORDER BY producers.name`));
}

export interface LocatedProducer extends Producer {
  latitude: number;
  longitude: number;
}

export async function findProducer(database: Database, id: number): Promise<LocatedProducer> {
  const [found] = await database.read((sql) =>
    sql.rows<LocatedProducer>(`${producers} WHERE producers.id = ? GROUP BY producers.id`, [id]),
  );
  if (found === undefined) throw new Refusal('not-found', `there is no producer ${id}`);
  return found;
}

const products = `
  SELECT products.id, products.name, unit, price_cents AS priceCents, stock, producers.id AS producerId, producers.name AS producerName
  FROM products JOIN producers ON producers.id = products.producer_id`;

export interface ProductRow extends Omit<Product, 'producer'> {
  producerId: number;
  producerName: string;
}

export const toProduct = ({ producerId, producerName, ...rest }: ProductRow): Product => ({
  ...rest,
  producer: { id: producerId, name: producerName },
});

export async function listProducts(database: Database, { search, producer, page, size }: ProductQuery): Promise<ProductPage> {
  const words = search.split(/\s+/).filter((word) => word !== '');
  const conditions = words.map(() => "CONCAT(products.name, ' ', producers.name) LIKE ?");
  const values: Value[] = words.map((word) => `%${word.replace(/[\\%_]/g, '\\$&')}%`);
  if (producer !== undefined) {
    conditions.push('producers.id = ?');
    values.push(producer);
  }
  const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
  return database.read(async (sql) => {
    const [count] = await sql.rows<{ total: number }>(
      `SELECT COUNT(*) AS total FROM products JOIN producers ON producers.id = products.producer_id ${where}`,
      values,
    );
    const rows = await sql.rows<ProductRow>(`${products} ${where} ORDER BY products.name, products.id LIMIT ? OFFSET ?`, [
      ...values,
      size,
      (page - 1) * size,
    ]);
    return { products: rows.map(toProduct), total: count?.total ?? 0 };
  });
}

export async function findProduct(database: Database, id: number): Promise<Product> {
  const [found] = await database.read((sql) => sql.rows<ProductRow>(`${products} WHERE products.id = ?`, [id]));
  if (found === undefined) throw new Refusal('not-found', `there is no product ${id}`);
  return toProduct(found);
}
