/** What every adapter refuses before it asks a registry, so that a mistake shows in the embedded run too. */
import type { Endpoint } from './port.ts';

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;
/** Far below what one ZooKeeper node takes (1 MiB), because lists of them are read often. */
const bytesMax = 64 * 1024;

/** Throws a `RangeError` unless it is a name of a service, a role or a record. */
export function validateName(what: 'service' | 'role' | 'record', name: string): void {
  if (namePattern.test(name)) return;
  throw new RangeError(
    `the name of a ${what} must be 1 to 200 characters of A-Z a-z 0-9 . _ - and begin with a letter or digit, not ${JSON.stringify(name)}`,
  );
}

/** The endpoint as JSON. Throws a `RangeError` when it would not come back as it was, or is too long. */
export function encodeEndpoint(service: string, endpoint: Endpoint): string {
  for (const [key, value] of Object.entries(endpoint)) {
    if (typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)) continue;
    throw new RangeError(`announce "${service}": ${key} must be a text, a finite number or a boolean, not ${String(value)}`);
  }
  const json = JSON.stringify(endpoint);
  refuseIfLong(`announce "${service}": the endpoint as JSON`, json);
  return json;
}

/** The opposite of `encodeEndpoint`. */
export function decodeEndpoint(json: string): Endpoint {
  return Object.freeze(JSON.parse(json) as Endpoint);
}

/** Throws a `RangeError` when a record's text is too long. */
export function validateText(record: string, text: string): void {
  refuseIfLong(`record "${record}": the text`, text);
}

function refuseIfLong(what: string, text: string): void {
  const bytes = Buffer.byteLength(text);
  if (bytes > bytesMax) throw new RangeError(`${what} must be at most ${bytesMax} bytes, not ${bytes}`);
}
