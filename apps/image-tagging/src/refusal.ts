/** Why a call cannot be answered, with a sentence for whoever called. Everything else that is thrown is a mistake, or a machine's trouble. */
export class Refusal extends Error {
  readonly kind: RefusalKind;
  constructor(kind: RefusalKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.kind = kind;
  }
}

export type RefusalKind =
  /** It will never be taken, however often it is tried. */
  | 'invalid'
  | 'not-found'
  /** The key belongs to another upload. */
  | 'exists'
  /** Not the bytes that were announced. */
  | 'damaged'
  /** The same call may succeed later, or at another server. */
  | 'unavailable'
  /** The client said nothing for too long. */
  | 'too-slow';
