/** Passwords are kept as scrypt (RFC 7914) makes them. What it costs is written beside each, so it can be raised for new ones. */
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { Refusal } from './refusal.ts';

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
/** Two cores work off ten in a second: whoever is behind more than twice that waits longer than most people do. */
const atOnceMax = 20;
let atOnce = 0;

async function deriveKey(password: string, salt: Buffer, cost: ScryptCost): Promise<Buffer> {
  if (atOnce >= atOnceMax) throw new Refusal('unavailable', 'too many log in at this moment: try again');
  atOnce++;
  try {
    return await derive(password.normalize('NFC'), salt, hashBytes, { ...cost });
  } finally {
    atOnce--;
  }
}

export async function hashPassword(password: string, cost: ScryptCost): Promise<string> {
  const salt = randomBytes(16);
  return written(cost, salt, await deriveKey(password, salt, cost));
}

/** Whether it is the password that `stored` was made of; never so without one, which takes as long to find out. */
export async function isPassword(password: string, stored: string | null, cost: ScryptCost): Promise<boolean> {
  const [, N, r, p, salt = '', hash = ''] = (stored ?? written(cost, Buffer.alloc(16), Buffer.alloc(hashBytes))).split('$');
  const options = { N: Number(N), r: Number(r), p: Number(p) };
  const given = await deriveKey(password, Buffer.from(salt, 'base64'), options);
  return timingSafeEqual(given, Buffer.from(hash, 'base64')) && stored !== null;
}

const written = ({ N, r, p }: ScryptCost, salt: Buffer, hash: Buffer): string =>
  `scrypt$${N}$${r}$${p}$${salt.toString('base64')}$${hash.toString('base64')}`;
