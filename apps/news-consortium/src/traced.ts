/** Spans of what agents and nodes do with the database, for who asks them, and with each other. Requests carry no context: each span begins a trace. */
import { note, tracedCall, type Tracer } from '@lab/tracing';
import type { DecidingPort } from './store/deciding.ts';
import { Database, type DatabaseOptions, type Deadline, type Statement } from './store/database.ts';
import type { Ask } from './wire/asking.ts';
import { Refusal } from './wire/refusal.ts';
import type { Service } from './wire/serving.ts';
import type pg from 'pg';

const sql = (name: string) => ({
  attributes: { 'db.system.name': 'postgresql', 'db.operation.name': name, 'server.address': 'postgres' },
});

class TracedDatabase extends Database {
  readonly #tracer: Tracer;
  constructor(options: DatabaseOptions, tracer: Tracer) {
    super(options);
    this.#tracer = tracer;
  }

  override run<Row extends pg.QueryResultRow>(
    statement: Statement,
    values: readonly unknown[],
    deadline: Deadline,
  ): Promise<Row[]> {
    return tracedCall(this.#tracer, statement.name, sql(statement.name), () => super.run<Row>(statement, values, deadline));
  }

  override transaction<T>(deadline: Deadline, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    return tracedCall(this.#tracer, 'transaction', sql('transaction'), () => super.transaction(deadline, work));
  }
}

export const makeDatabase = (options: DatabaseOptions, tracer: Tracer | undefined): Database =>
  tracer === undefined ? new Database(options) : new TracedDatabase(options, tracer);

/** What was refused was answered, unless somebody is missing or wrong. */
const isFailure = (error: unknown): boolean => !(error instanceof Refusal && !['unavailable', 'internal'].includes(error.code));

const rpc = (method: string, address?: string) => ({
  isFailure,
  attributes: {
    'rpc.system': 'lab',
    'rpc.method': method,
    ...(address !== undefined && { 'server.address': address }),
  },
});

export const tracedAsk = (ask: Ask, tracer: Tracer | undefined): Ask =>
  tracer === undefined
    ? ask
    : (address, kind, ...rest) => tracedCall(tracer, kind, rpc(kind, address), () => ask(address, kind, ...rest));

/** Of what is streamed the span is as long as the stream. */
export function tracedService(service: Service, tracer: Tracer | undefined): Service {
  if (tracer === undefined) return service;
  const options = (kind: string) => ({ kind: 'server', ...rpc(kind) }) as const;
  return {
    answer: (asked) => tracedCall(tracer, asked.request.kind, options(asked.request.kind), () => service.answer(asked)),
    stream(asked, socket) {
      const streaming = service.stream?.(asked, socket);
      return streaming && tracedCall(tracer, asked.request.kind, options(asked.request.kind), () => streaming);
    },
  };
}

/** Notes whose turn it is to decide. */
export function tracedDeciding(deciding: DecidingPort, tracer: Tracer | undefined): DecidingPort {
  if (tracer === undefined) return deciding;
  const { take, close } = deciding;
  let decides = false;
  return Object.assign(deciding, {
    async take(name: string) {
      decides = await take.call(deciding, name);
      if (decides) note(tracer, 'decides');
      return decides;
    },
    async close() {
      if (decides) note(tracer, 'decides no more');
      await close.call(deciding);
    },
  });
}
