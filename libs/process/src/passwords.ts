/** Passwords are kept as scrypt (RFC 7914) makes them. What it costs is written beside each, so it can be raised for new ones. */
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import pLimit from 'p-limit';

const derive = promisify<string, Buffer, number, { N: number; r: number; p: number }, Buffer>(scrypt);

export interface ScryptCost {
  /** CPU and memory: a power of two. With `r` it takes 128 · N · r bytes. */
  readonly N: number;
  readonly r: number;
  readonly p: number;
}
/** 16 MiB and about 0.2 s of one core: one of the settings of OWASP's Password Storage Cheat Sheet. */
export const ordinaryCost: ScryptCost = { N: 2 ** 14, r: 8, p: 5 };

const hashBytes = 32;
/** Node has four threads for this and for files and names: two are left for those, or for other `Passwords`. */
const atOnce = 2;
/** At 0.2 s each, who is behind so many would wait longer than a request may take. */
const waitingMax = 20;

/** So many wait for their turn that the next one would wait too long: nothing was done, and in a second or two it may be. */
export class PasswordsBusyError extends Error {
  override readonly name = 'PasswordsBusyError';
  constructor() {
    super('too many log in at this moment: try again');
  }
}

/** Hashes and checks passwords, two at a time, with at most 20 in wait. */
export class Passwords {
  readonly #cost: ScryptCost;
  readonly #lanes = pLimit(atOnce);
  /** Of nobody's password, so that an unknown name takes as long as a wrong password. */
  readonly #nobody: string;

  /** `cost` is that of new hashes; tests take a cheap one. */
  constructor(cost: ScryptCost) {
    this.#cost = cost;
    this.#nobody = written(cost, Buffer.alloc(16), Buffer.alloc(hashBytes));
  }

  /**
   * What to store of a password: never the same text twice. Rejects with `PasswordsBusyError`, also where `isAbandoned` says at its turn that nobody
   * waits for it any more: whoever gives up and tries again on a slow machine would otherwise queue up behind their own tries.
   */
  async hash(password: string, isAbandoned?: () => boolean): Promise<string> {
    const salt = randomBytes(16);
    return written(this.#cost, salt, await this.#derive(password, salt, this.#cost, isAbandoned));
  }

  /**
   * Whether it is the password of which `stored` was made, whatever that cost. Never so without one, which takes as long to find out.
   * Rejects as `hash` does.
   */
  async matches(password: string, stored: string | null | undefined, isAbandoned?: () => boolean): Promise<boolean> {
    const [, N, r, p, salt = '', hash = ''] = (stored ?? this.#nobody).split('$');
    const right = Buffer.from(hash, 'base64');
    const cost = { N: Number(N), r: Number(r), p: Number(p) };
    const given = await this.#derive(password, Buffer.from(salt, 'base64'), cost, isAbandoned);
    return timingSafeEqual(given, right) && typeof stored === 'string';
  }

  async #derive(password: string, salt: Buffer, cost: ScryptCost, isAbandoned = (): boolean => false): Promise<Buffer> {
    const { activeCount, pendingCount } = this.#lanes;
    if (activeCount + pendingCount >= atOnce + waitingMax) throw new PasswordsBusyError();
    return this.#lanes(async () => {
      if (isAbandoned()) throw new PasswordsBusyError();
      return derive(password.normalize('NFC'), salt, hashBytes, { ...cost });
    });
  }
}

const written = ({ N, r, p }: ScryptCost, salt: Buffer, hash: Buffer): string =>
  `scrypt$${N}$${r}$${p}$${salt.toString('base64')}$${hash.toString('base64')}`;
