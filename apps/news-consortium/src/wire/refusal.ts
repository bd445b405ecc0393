/** Why a request was not carried out. Every error that crosses the wire is one of these. */

/** What each code means to whoever asked. */
export const refusalCodes = [
  /** The bytes are no request of this protocol, or not one that this role takes. */
  'malformed',
  /** A name, a text or a number outside of what is allowed. */
  'invalid',
  /** No, a forged, an expired or a closed session. */
  'unauthenticated',
  'wrong-password',
  /** Too many tries: `retryAfterMs` says when to come again. */
  'rate-limited',
  /** Somebody else's item, or something for administrators. */
  'forbidden',
  'not-subscribed',
  'unknown-area',
  'unknown-item',
  'unknown-user',
  /** The name is taken. */
  'exists',
  /** The idempotency key was used for something else. */
  'conflict',
  /** This node does not serve the area; `nodes` are those that do. */
  'not-served',
  /** Not now: the database, a node or time is missing. It may have been done all the same; to ask again does no harm. */
  'unavailable',
  /** A fault of the program. */
  'internal',
] as const;
export type RefusalCode = (typeof refusalCodes)[number];

export interface RefusalDetails {
  readonly nodes?: readonly string[];
  readonly retryAfterMs?: number;
}

export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code: RefusalCode;
  readonly details: RefusalDetails;
  constructor(code: RefusalCode, message: string, details: RefusalDetails = {}, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.details = details;
  }
}
