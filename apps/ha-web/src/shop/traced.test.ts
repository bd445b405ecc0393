import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { expect, it } from 'vitest';
import { DatabaseUnavailableError, type Database } from './database.ts';
import { tracedDatabase } from './traced.ts';

it('tells what a request does on the database, and that it could not', async () => {
  const exporter = new InMemorySpanExporter();
  const tracer = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }).getTracer('test');
  const plain: Database = {
    read: (work) => work({ rows: async () => [], change: async () => ({ changed: 0, id: 0 }) }),
    write: () => Promise.reject(new DatabaseUnavailableError('too busy')),
  };
  expect(tracedDatabase(plain, undefined, 'GET /products')).toBe(plain);
  const database = tracedDatabase(plain, tracer, 'GET /products', 'a-key-of-its-own');
  expect(await database.read((sql) => sql.rows('SELECT 1'))).toEqual([]);
  await expect(database.write(async () => undefined)).rejects.toThrow(DatabaseUnavailableError);
  expect(exporter.getFinishedSpans().map(({ name, kind, status }) => [name, kind, status.code, status.message])).toEqual([
    ['read for GET /products', 2, 0, undefined],
    ['write for GET /products', 2, 2, 'too busy'],
  ]);
  await tracedDatabase(plain, tracer, 'GET /products').read(async () => undefined);
  const said = exporter.getFinishedSpans().map(({ attributes }) => attributes['lab.message']);
  expect(said).toEqual(['GET /products a-key-of', 'GET /products a-key-of', expect.stringMatching(/^GET \/products \w{8}$/)]);
});
