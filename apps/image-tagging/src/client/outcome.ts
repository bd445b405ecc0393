/** What the failure of a call means for its caller. */
import { status } from '@grpc/grpc-js';
import { ExitError, exitCodes } from '@lab/process';

/** What trying again does not change. */
const final = new Set([
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.PERMISSION_DENIED,
  status.UNIMPLEMENTED,
  status.RESOURCE_EXHAUSTED,
  status.INTERNAL,
]);

export const codeOf = (error: unknown): status | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : undefined;
export const detailsOf = (error: unknown): string =>
  error instanceof Error && 'details' in error ? String(error.details) : String(error);

/** A server's refusal, or a fault of this machine: a file that is not there, a full disk. */
export function isFinal(error: unknown): boolean {
  const code = codeOf(error);
  // A connection that breaks in mid-call comes as INTERNAL too, with words of HTTP/2.
  if (code === status.INTERNAL) return !/RST_STREAM|stream|connection|GOAWAY/i.test(detailsOf(error));
  return code === undefined || final.has(code);
}

export function inWords(error: unknown, before = ''): Error {
  const code = codeOf(error);
  // A fault of this machine, or a mistake of this program: as it is.
  if (code === undefined) return error as Error;
  const exitCode = final.has(code) || code === status.DATA_LOSS ? exitCodes.failed : exitCodes.unavailable;
  return new ExitError(`${before}${detailsOf(error)} (${status[code]})`, exitCode, { cause: error });
}

/** As a server would say it: it is tried again. */
export const unavailable = (details: string): Error => failure(status.UNAVAILABLE, details);
/** Other bytes came than were announced. */
export const damaged = (details: string): Error => failure(status.DATA_LOSS, details);

const failure = (code: status, details: string): Error => Object.assign(new Error(details), { code, details });
