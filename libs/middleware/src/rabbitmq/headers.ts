/** Between AMQP's header tables and the port's headers. */
import type { MessagePropertyHeaders } from 'amqplib';
import { deathHeaders, originOf } from '../failures.ts';
import type { Headers } from '../port.ts';

/** A quorum queue's count of returns. Absent on the first delivery. */
const deliveryCountHeader = 'x-delivery-count';

export interface WireHeaders {
  headers: Headers | undefined;
  /** How often the message came back to its queue. */
  returns: number;
}

const none: WireHeaders = { headers: undefined, returns: 0 };

/** The headers that the port knows of. What the broker itself says about a dead letter is put as the port puts it. */
export function readHeaders(table: MessagePropertyHeaders | undefined): WireHeaders {
  if (table === undefined) return none;
  const names = Object.keys(table);
  if (names.length === 0) return none;
  const headers: Record<string, string | number | boolean> = {};
  for (const name of names) {
    const value: unknown = table[name];
    const known = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
    if (known && name !== deliveryCountHeader && !name.startsWith('x-first-death-')) headers[name] = value;
  }
  const count: unknown = table[deliveryCountHeader];
  return { headers: withDeath(headers, table), returns: typeof count === 'number' ? count : 0 };
}

/** A queue with a delivery limit dead-letters by itself, and keeps where the message came from in `x-death`, latest first. */
function withDeath(headers: Headers, table: MessagePropertyHeaders): Headers {
  const [death] = table['x-death'] ?? [];
  if (death === undefined) return headers;
  const origin = originOf(
    death.exchange,
    death['routing-keys'][0] ?? '',
    Object.keys(headers).length === 0 ? undefined : headers,
  );
  return deathHeaders(origin, death.queue, death.reason);
}
