import { expect, it } from 'vitest';
import { BrokerError, TopologyError, UnavailableError } from '../errors.ts';
import { readRefusal } from './reply.ts';

const replied = (code: number, message: string): Error => Object.assign(new Error(message), { code });

it.each([
  ["NOT_FOUND - no queue 'log' in vhost '/'", 404, TopologyError, true],
  ["NOT_FOUND - queue 'log' in vhost '/' process is stopped by supervisor", 404, UnavailableError, false],
  ["PRECONDITION_FAILED - stream queue 'log' does not have a running replica on the local node", 406, UnavailableError, false],
  ["ACCESS_REFUSED - read access to queue 'log' refused for user 'lab'", 403, TopologyError, true],
])('a read that is refused with "%s" says so, and whether to try again', (message, code, kind, definite) => {
  const error: BrokerError = readRefusal('read "log"', 'log', replied(code, message));
  expect(error).toBeInstanceOf(kind);
  expect(error.definite).toBe(definite);
  expect(error.message).toContain('read "log"');
});
