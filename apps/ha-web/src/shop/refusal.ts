/** What a request is refused with, as RFC 9457 has it: `application/problem+json`. */

const kinds = {
  invalid: { status: 400, title: 'The request is not as it must be' },
  'not-logged-in': { status: 401, title: 'You are not logged in' },
  'wrong-password': { status: 401, title: 'No account has this name and password' },
  'not-found': { status: 404, title: 'There is no such thing' },
  'name-taken': { status: 409, title: 'The name is taken' },
  'key-reused': { status: 409, title: 'The idempotency key belongs to another order' },
  'out-of-stock': { status: 409, title: 'There is not enough in stock' },
  'price-changed': { status: 409, title: 'The price has changed' },
  'payment-declined': { status: 402, title: 'The payment was declined' },
  'too-large': { status: 413, title: 'The request is too large' },
  'wrong-type': { status: 415, title: 'The body must be application/json' },
  internal: { status: 500, title: 'This is a mistake of ours' },
  unavailable: { status: 503, title: 'Not now' },
} as const;
export type RefusalKind = keyof typeof kinds;

/** A request that cannot be served, and why; the text is for people. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly kind: RefusalKind;
  constructor(kind: RefusalKind, detail: string) {
    super(detail);
    this.kind = kind;
  }

  get status(): number {
    return kinds[this.kind].status;
  }

  toJSON(): { type: string; title: string; status: number; detail: string } {
    return { type: `urn:marketplace:${this.kind}`, title: kinds[this.kind].title, status: this.status, detail: this.message };
  }
}
