import { constants } from 'node:os';

/**
 * What an exit code says. A process that a signal ends in good order exits with `ok`; one whose work was cut short then exits with 128 and the
 * signal's number, as a shell would say of one that the signal killed: 130 for SIGINT, 143 for SIGTERM.
 */
export const exitCodes = {
  ok: 0,
  /** The work could not be done. */
  failed: 1,
  /** Wrong flags or settings, or a path of theirs that cannot be used; nothing was done. */
  usage: 2,
  /** Something that is needed did not answer in time; later it may. */
  unavailable: 3,
  /** A mistake in the program: an exception or a rejection that nobody handles (EX_SOFTWARE of sysexits.h). */
  internal: 70,
} as const;

/** Of a process whose work this signal cut short. */
export const exitCodeOfSignal = (signal: NodeJS.Signals): number => 128 + constants.signals[signal];

/** An error that a user can do something about: shown without a stack, with an exit code of its own. */
export class ExitError extends Error {
  override readonly name = 'ExitError';
  readonly exitCode: number;
  constructor(message: string, exitCode: number = exitCodes.failed, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/**
 * What a process exits with that this error ends: its `exitCode`, where it has one. So each library says of its own errors what they mean for
 * whoever started the process. `undefined` is for those that nobody has thought of.
 */
export function exitCodeOf(error: unknown): number | undefined {
  const code = error instanceof Error && 'exitCode' in error ? error.exitCode : undefined;
  return typeof code === 'number' ? code : undefined;
}

/** Of errors that another path or other rights would help against; a disk that is full or broken is none of them. */
const unusable = new Set(['ENOENT', 'ENOTDIR', 'EISDIR', 'EEXIST', 'EACCES', 'EPERM', 'EROFS', 'ELOOP', 'ENAMETOOLONG']);

/**
 * The error of a file or folder that the user named, for the user: `usage` where it cannot be used as it is, `failed` otherwise. What stands
 * behind it says where such a file comes from.
 */
export function pathError(error: unknown, before = '', behind = ''): ExitError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const message = error instanceof Error ? error.message : String(error);
  return new ExitError(`${before}${message}${behind}`, unusable.has(code) ? exitCodes.usage : exitCodes.failed, { cause: error });
}
