/** The tables and what is for sale, in versions: brought up to date by whichever web server comes first, on whichever database is the primary. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Database, Sql } from './database.ts';

const schemaFolder = join(import.meta.dirname, 'schema');
const dataFolder = join(import.meta.dirname, '../../data');
/** Behind the tables of `schema/`. */
const stockVersion = 1_000;
/** Shorter than a request's deadline, which covers the waiting, too. */
const lockSeconds = 3;

/** One at a time does it, the others find it done. Rejects where the database cannot be written to, which passes: try again. */
export async function migrate(database: Database): Promise<void> {
  await database.write((sql) => alone(sql, () => makeTables(sql)));
  // A transaction of its own: what makes tables commits as it goes.
  await database.write((sql) => alone(sql, () => fill(sql)));
}

async function alone(sql: Sql, work: () => Promise<void>): Promise<void> {
  const [lock] = await sql.rows<{ held: number | null }>(`SELECT GET_LOCK('marketplace.schema', ${lockSeconds}) AS held`);
  if (lock?.held !== 1) throw new Error(`another server has been changing the tables for ${lockSeconds} s`);
  try {
    await work();
  } finally {
    await sql.change("DO RELEASE_LOCK('marketplace.schema')");
  }
}

async function makeTables(sql: Sql): Promise<void> {
  await sql.change('CREATE TABLE IF NOT EXISTS schema_versions (version INT UNSIGNED NOT NULL PRIMARY KEY) ENGINE = InnoDB');
  for (const file of (await readdir(schemaFolder)).sort()) {
    const version = Number.parseInt(file);
    if (await isDone(sql, version)) continue;
    for (const statement of statementsOf(await readFile(join(schemaFolder, file), 'utf8'))) await sql.change(statement);
    await sql.change('INSERT INTO schema_versions VALUES (?)', [version]);
  }
}

const isDone = async (sql: Sql, version: number): Promise<boolean> =>
  (await sql.rows('SELECT version FROM schema_versions WHERE version = ?', [version])).length > 0;

const statementsOf = (text: string): string[] =>
  text
    .split(/;\s*$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');

interface Producer {
  id: number;
  name: string;
  place: string;
  about: string;
  latitude: number;
  longitude: number;
}

interface Product {
  id: number;
  producer: number;
  name: string;
  unit: string;
  priceCents: number;
  stock: number;
}

const read = async <T>(file: string): Promise<T> => JSON.parse(await readFile(join(dataFolder, file), 'utf8')) as T;

async function fill(sql: Sql): Promise<void> {
  if (await isDone(sql, stockVersion)) return;
  for (const { id, name, place, about, latitude, longitude } of await read<Producer[]>('producers.json')) {
    await sql.change('INSERT INTO producers VALUES (?, ?, ?, ?, ?, ?)', [id, name, place, about, latitude, longitude]);
  }
  for (const { id, producer, name, unit, priceCents, stock } of await read<Product[]>('products.json')) {
    await sql.change('INSERT INTO products VALUES (?, ?, ?, ?, ?, ?)', [id, producer, name, unit, priceCents, stock]);
  }
  await sql.change('INSERT INTO schema_versions VALUES (?)', [stockVersion]);
}
