/** Signed tokens: whoever has the database's key can tell, without asking anybody, that an agent made one, for whom and until when. Whether a session was closed since, only the database knows. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { Refusal } from './refusal.ts';

export interface Token {
  /** Who has one of a node knows the key, and so may join as that node. */
  readonly kind: 'session' | 'node';
  /** Of the session, or the node. */
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly expiresMs: number;
}

/** Tokens that were found good are remembered, as many as may be in use at a time; a signature costs more than a look-up. */
const rememberedMax = 10_000;

export class Tokens {
  readonly #key: Buffer;
  /** Milliseconds since 1970. */
  readonly #nowMs: () => number;
  readonly #good = new Map<string, Token>();

  constructor(key: Buffer, nowMs: () => number) {
    this.#key = key;
    this.#nowMs = nowMs;
  }

  /** `payload.signature`, both base64url: JSON, and its HMAC-SHA-256. */
  sign(token: Token): string {
    const payload = Buffer.from(JSON.stringify(token)).toString('base64url');
    return `${payload}.${this.#signature(payload).toString('base64url')}`;
  }

  /** Whose token it is; a refusal where it is forged, of another kind, or has expired. */
  check(kind: Token['kind'], text: string): string {
    const token = this.#good.get(text) ?? this.#verified(text);
    if (token?.kind !== kind) throw new Refusal('unauthenticated', 'the token is not of this system: log in again');
    if (token.expiresMs > this.#nowMs()) return token.id;
    this.#good.delete(text);
    throw new Refusal('unauthenticated', `the session expired at ${new Date(token.expiresMs).toISOString()}: log in again`);
  }

  #verified(text: string): Token | undefined {
    const [payload = '', signature = '', ...rest] = text.split('.');
    const given = Buffer.from(signature, 'base64url');
    const right = this.#signature(payload);
    // The length first: timingSafeEqual takes equal ones only. And one spelling only: base64url reads others, too.
    if (
      rest.length > 0 ||
      given.length !== right.length ||
      !timingSafeEqual(given, right) ||
      given.toString('base64url') !== signature
    )
      return undefined;
    const token = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Token;
    if (this.#good.size >= rememberedMax) this.#good.clear();
    this.#good.set(text, token);
    return token;
  }

  #signature(payload: string): Buffer {
    return createHmac('sha256', this.#key).update(payload).digest();
  }
}
