/**
 * A connection between two who have shown that they know the secret, and have not said it. Each side sends a number used once;
 * each answers with an HMAC over both numbers and over who it is, so an answer is worth nothing on another connection, nor in
 * the other direction (Needham and Schroeder's challenge and response, with the roles in it). From the two numbers comes a key
 * for this connection alone, and every message carries an HMAC of its place in the order, its head and its body under that key:
 * who sits on the wire can read, and break off, but change nothing. (A bundle's body is left out: the SHA-256 of what is in it
 * was in an offer or a manifest before.) Against reading there is TLS, by option; then certificates say who is who.
 */
import { createHmac, createSecretKey, randomBytes, timingSafeEqual, type KeyObject } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { systemClock, type Clock } from '@lab/process';
import { connectFramed, FramingError, listenFramed, type FramedServer, type FramedSocket, type Limits } from '@lab/protocol';
import { MalformedMessageError } from '@lab/protocol/messages';
import { bundleBytesMax } from '@lab/store/bundle';
import { decode, encodeParts, headEndOf, type Head, type Kind, type Message } from '../messages.ts';
import { clientTls, peerIdentity, serverTls } from './tls.ts';

/** How the two ends know each other: by a shared secret, or by the certificates in a folder. */
export type Credentials = { secret: Buffer } | { tls: string };

/** The peer does not know the secret, or is not who it should be. */
export class AuthenticationError extends Error {
  override readonly name = 'AuthenticationError';
}

/** The peer said, in words, why it will not or cannot. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  /** The exit code that the peer proposes. */
  readonly code: number | undefined;
  constructor(reason: string, code?: number) {
    super(reason);
    this.code = code;
  }
}

/** Who asks, and whose name stands in its certificate. */
export type Asker = 'admin' | 'requester';

const macBytes = 16;
/** A stranger has so long to show who it is. */
const handshakeMs = 5_000;
/** A stranger's messages are small; anything else is none of ours. */
const strangerBytesMax = 1024;

export const limits: Partial<Limits> = {
  frameBytesMax: bundleBytesMax + 128 * 1024,
  // The largest bundle, so that the next one is made while the last one is sent.
  bufferedBytesMax: 4 * 1024 * 1024,
  idleTimeoutMs: 30_000,
};

export class Channel {
  /** The peer's name, as it gave it in the handshake. */
  readonly peer: string;
  readonly #socket: FramedSocket;
  readonly #frames: AsyncIterator<Buffer>;
  readonly #key: KeyObject | undefined;
  readonly #direction: 'asks' | 'answers';
  #sent = 0;
  #received = 0;

  constructor(parts: { socket: FramedSocket; peer: string; key: Buffer | undefined; direction: 'asks' | 'answers' }) {
    this.#socket = parts.socket;
    this.#frames = parts.socket[Symbol.asyncIterator]();
    this.peer = parts.peer;
    this.#key = parts.key && createSecretKey(parts.key);
    this.#direction = parts.direction;
  }

  /** Sends a message, its body in parts that must not be changed any more. Resolves when there is room for more. */
  async send(head: Head, ...body: readonly Uint8Array[]): Promise<void> {
    const parts = encodeParts(head, ...body);
    if (this.#key === undefined) return this.#socket.send(...parts);
    const covered = head.kind === 'bundle' ? parts.slice(0, 2) : parts;
    return this.#socket.send(macOf(this.#key, this.#direction, this.#sent++, covered), ...parts);
  }

  /**
   * The next message, of one of these kinds; `undefined` when the peer has ended. A `failed` of the peer is thrown as
   * `RefusedError`.
   */
  async receive<K extends Kind>(...kinds: readonly K[]): Promise<Message<K> | undefined> {
    const next = await this.#frames.next();
    if (next.done === true) return undefined;
    const bytes = this.#open(next.value);
    const { head, body } = decode<Kind>(bytes, 'failed', ...kinds);
    if (head.kind === 'failed') throw new RefusedError(head.reason, head.code);
    return { head, body } as unknown as Message<K>;
  }

  /** As `receive`, where the peer must not end. */
  async expect<K extends Kind>(...kinds: readonly K[]): Promise<Message<K>> {
    const message = await this.receive(...kinds);
    if (message === undefined) throw new RefusedError('the peer closed the connection in the middle of the work');
    return message;
  }

  close(): Promise<void> {
    return this.#socket.close();
  }

  destroy(error?: Error): void {
    this.#socket.destroy(error);
  }

  #open(frame: Buffer): Buffer {
    if (this.#key === undefined) return frame;
    const bytes = frame.subarray(macBytes);
    const headEnd = headEndOf(bytes);
    const isBundle = bytes.subarray(4, headEnd).equals(bundleHead);
    const expected = macOf(this.#key, this.#direction === 'asks' ? 'answers' : 'asks', this.#received++, [
      bytes.subarray(0, isBundle ? headEnd : undefined),
    ]);
    if (!equal(frame.subarray(0, macBytes), expected))
      throw new AuthenticationError('a message was changed on its way, or left out');
    return bytes;
  }
}

const bundleHead = Buffer.from(JSON.stringify({ kind: 'bundle' }));

function macOf(key: KeyObject, direction: string, number: number, parts: readonly Uint8Array[]): Buffer {
  const mac = createHmac('sha256', key).update(`${direction} ${number} `);
  for (const part of parts) mac.update(part);
  return mac.digest().subarray(0, macBytes);
}

const equal = (a: Uint8Array, b: Uint8Array): boolean => a.byteLength === b.byteLength && timingSafeEqual(a, b);

/** One direction's proof, or the connection's key: what it is for is part of it. */
function derive(secret: Buffer, purpose: string, asker: Asker, nonces: readonly string[]): Buffer {
  return createHmac('sha256', secret)
    .update(`lab backup-server 1\0${purpose}\0${asker}\0${nonces.join('\0')}`)
    .digest();
}

const newNonce = (): string => randomBytes(32).toString('hex');
const secretOf = (credentials: Credentials): Buffer | undefined => ('secret' in credentials ? credentials.secret : undefined);

/** Where a peer is, and who it must be. */
export interface Target {
  host: string;
  port: number;
  /** Of the certificate, under TLS: `server`, `node-NAME`. */
  identity: string;
}

/** What connections are made by, and the clock for all their timeouts. */
export interface Network {
  connect: typeof connectFramed;
  listen: typeof listenFramed;
  clock: Clock;
}

/** TCP, and TLS. */
export const tcp: Network = { connect: connectFramed, listen: listenFramed, clock: systemClock };

/** Connects and shows who we are. Rejects with `ConnectError`, with `AuthenticationError`, or with what broke the connection. */
export async function connectChannel(
  target: Target,
  asker: Asker,
  credentials: Credentials,
  { connect, clock } = tcp,
): Promise<Channel> {
  const { host, port, identity } = target;
  const tls = 'tls' in credentials ? { tls: clientTls(credentials.tls, asker, identity) } : {};
  const socket = await connect({ host, port, limits, clock, ...tls });
  try {
    return await withDeadline(ask(socket, asker, secretOf(credentials)), socket, clock);
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

async function ask(socket: FramedSocket, asker: Asker, secret: Buffer | undefined): Promise<Channel> {
  const challenge = await next(socket, 'challenge');
  const nonces = [challenge.nonce, newNonce()];
  const proof = secret === undefined ? '' : derive(secret, 'I am the asker', asker, nonces).toString('hex');
  await socket.send(...encodeParts({ kind: 'hello', role: asker, nonce: nonces[1]!, proof }));
  const welcome = await next(socket, 'welcome');
  if (secret !== undefined && !equal(Buffer.from(welcome.proof, 'hex'), derive(secret, 'I am the answerer', asker, nonces)))
    throw new AuthenticationError('the other side does not know the secret');
  const key = secret && derive(secret, 'key', asker, nonces);
  return new Channel({ socket, peer: welcome.name, key, direction: 'asks' });
}

/** The next message of a handshake. */
async function next<K extends 'challenge' | 'hello' | 'welcome'>(socket: FramedSocket, kind: K): Promise<Head<K>> {
  const step = await socket[Symbol.asyncIterator]().next();
  if (step.done === true) throw new AuthenticationError('the other side closed the connection before it had said who it is');
  if (step.value.length > strangerBytesMax) throw new MalformedMessageError(`a ${kind} of ${step.value.length} bytes`);
  const { head } = decode<Kind>(step.value, 'failed', kind);
  if (head.kind === 'failed') throw new AuthenticationError(head.reason);
  return head as Head<K>;
}

async function withDeadline<T>(handshake: Promise<T>, socket: FramedSocket, clock: Clock): Promise<T> {
  const cancelDeadline = clock.after(handshakeMs, () =>
    socket.destroy(new AuthenticationError(`the other side did not say who it is within ${handshakeMs / 1000} s`)),
  );
  try {
    return await handshake;
  } finally {
    cancelDeadline();
  }
}

export interface Listening {
  host: string;
  port: number;
  /** Our name, and who we are in our certificate. */
  name: string;
  identity: string;
  credentials: Credentials;
  /** Who may ask. */
  asker: Asker;
  connectionsMax: number;
  /** Hears of those who were turned away. */
  onRefused: (error: Error) => void;
}

/** Serves those who can show that they may ask. What `serve` throws closes the connection. */
export function listenChannels(
  options: Listening,
  serve: (channel: Channel) => Promise<void>,
  { listen, clock } = tcp,
): Promise<FramedServer> {
  const { host, port, credentials, identity, connectionsMax } = options;
  const tls = 'tls' in credentials ? { tls: serverTls(credentials.tls, identity) } : {};
  return listen({ host, port, limits, clock, connectionsMax, ...tls }, async (socket) => {
    let channel: Channel;
    try {
      channel = await withDeadline(answer(socket, options), socket, clock);
    } catch (error) {
      options.onRefused(error as Error);
      if (error instanceof FramingError) throw error;
      await socket.send(...encodeParts({ kind: 'failed', reason: (error as Error).message })).catch(() => undefined);
      return;
    }
    await serve(channel);
  });
}

async function answer(socket: FramedSocket, { credentials, asker, name }: Listening): Promise<Channel> {
  const nonce = newNonce();
  await socket.send(...encodeParts({ kind: 'challenge', nonce }));
  const hello = await next(socket, 'hello');
  const nonces = [nonce, hello.nonce];
  const secret = secretOf(credentials);
  const known =
    secret === undefined
      ? peerIdentity(socket.stream as TLSSocket) === asker
      : equal(Buffer.from(hello.proof, 'hex'), derive(secret, 'I am the asker', asker, nonces));
  if (hello.role !== asker) throw new AuthenticationError(`${name} answers ${asker}s only`);
  if (!known)
    throw new AuthenticationError(
      secret === undefined ? `the certificate is not that of the identity "${asker}"` : 'wrong secret',
    );
  const proof = secret === undefined ? '' : derive(secret, 'I am the answerer', asker, nonces).toString('hex');
  await socket.send(...encodeParts({ kind: 'welcome', name, proof }));
  return new Channel({ socket, peer: hello.role, key: secret && derive(secret, 'key', asker, nonces), direction: 'answers' });
}
