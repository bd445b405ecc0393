/** Spans of the work that requests do on the database, all its tries together. */
import { randomUUID } from 'node:crypto';
import { tracedCall, type Tracer } from '@lab/tracing';
import type { Database } from './database.ts';

/** The database with spans; without a tracer the database itself. `what` asks for it, as `GET /products`; what has the same key is the same request. */
export function tracedDatabase(
  database: Database,
  tracer: Tracer | undefined,
  what: string,
  key: string = randomUUID(),
): Database {
  if (tracer === undefined) return database;
  const call = <T>(operation: string, run: () => Promise<T>): Promise<T> => {
    const attributes = {
      'db.system.name': 'mariadb',
      'db.operation.name': operation,
      'lab.message': `${what} ${key.slice(0, 8)}`,
    };
    return tracedCall(tracer, `${operation} for ${what}`, { attributes }, run);
  };
  return {
    read: (work) => call('read', () => database.read(work)),
    write: (work) => call('write', () => database.write(work)),
  };
}
