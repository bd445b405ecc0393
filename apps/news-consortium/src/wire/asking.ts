/** The client side of the protocol: one request over a connection of its own. Agents ask nodes in this way, nodes ask agents, and clients ask both. */
import { randomInt } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import type { ConnectionOptions } from 'node:tls';
import { splitAddress } from '@lab/process';
import { connectFramed, HandshakeError, RequestTimeoutError, type FramedSocket } from '@lab/protocol';
import { replyBytesMax, type Body, type Kind, type Replies } from '../messages.ts';
import { decodeReply, encodeRequest } from './encoding.ts';

/** The inverse of `splitAddress`: an IPv6 address in brackets. */
export const joinAddress = (host: string, port: number): string => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);

/** A machine on the same network answers a SYN within milliseconds, or it is not there. */
const connectTimeoutMs = 500;

/** What a handshake fails of when the peer shows another certificate than the trusted one. */
const ofAnother = /^(DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_VERIFY_LEAF_SIGNATURE|ERR_TLS_CERT_ALTNAME_INVALID)$/;

export async function connectTo(
  address: string,
  { tls, ...limits }: { idleTimeoutMs?: number; tls?: ConnectionOptions | undefined } = {},
  timeoutMs = Infinity,
): Promise<FramedSocket> {
  const options = {
    connectTimeoutMs: Math.min(connectTimeoutMs, timeoutMs),
    limits: { frameBytesMax: replyBytesMax, ...limits },
    ...(tls !== undefined && { tls }),
  };
  try {
    return await connectFramed({ ...splitAddress(address), ...options });
  } catch (error) {
    const { cause } = error as { cause?: NodeJS.ErrnoException };
    if (!(error instanceof HandshakeError) || !ofAnother.test(cause?.code ?? '')) throw error;
    throw new HandshakeError(address, "the certificate that it shows is another's than the trusted one", { cause });
  }
}

/**
 * Asks one peer; the time is for connection and answer together. Throws its refusal, or the `FramingError` of a connection that did not come about, broke, or brought no reply in time: then nobody knows
 * whether it was done.
 */
export async function ask<K extends Kind>(
  address: string,
  kind: K,
  body: Body<K>,
  { timeoutMs, tls }: { timeoutMs: number; tls?: ConnectionOptions },
): Promise<Replies[K]> {
  const lateMs = performance.now() + timeoutMs;
  const socket = await connectTo(address, { tls }, timeoutMs);
  try {
    const leftMs = Math.max(1, lateMs - performance.now());
    return decodeReply(kind, await socket.request(encodeRequest(kind, leftMs, body), { timeoutMs: leftMs }));
  } catch (error) {
    // Of all the time: to connect may have taken the most of it.
    throw error instanceof RequestTimeoutError ? new RequestTimeoutError(timeoutMs) : error;
  } finally {
    socket.destroy();
  }
}
export type Ask = typeof ask;

/**
 * The addresses behind names, for a name may stand for several machines (Docker's round robin); a name that leads nowhere stays as it is, and whoever
 * connects to it learns why not. They come in a circle that begins at one or another by chance, so that not everybody asks the same one.
 */
export async function addressesOf(names: readonly string[]): Promise<string[]> {
  const found = names.map(async (name) => {
    const { host, port } = splitAddress(name);
    const looked = await lookup(host, { all: true }).catch(() => []);
    return looked.length === 0 ? [name] : looked.map(({ address }) => joinAddress(address, port));
  });
  const addresses = [...new Set((await Promise.all(found)).flat())];
  const first = randomInt(Math.max(1, addresses.length));
  return [...addresses.slice(first), ...addresses.slice(0, first)];
}
