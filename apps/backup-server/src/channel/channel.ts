/**
 * A connection between two of which each has shown that it has the key of the one that asks of the server, or of the node that is asked. It is TLS 1.3 by that key
 * (@lab/protocol): who sits on the wire can break it off, and read or change nothing. Messages are as in messages.ts.
 */
import { exitCodes, systemClock, type Clock } from '@lab/process';
import {
  connectFramed,
  identityOf,
  listenFramed,
  tlsByKey,
  tlsByKeys,
  type FramedServer,
  type FramedSocket,
  type Limits,
  type ServerKeys,
} from '@lab/protocol';
import { bundleBytesMax } from '@lab/store/bundle';
import { decode, encodeParts, type Head, type Kind, type Message } from '../messages.ts';

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

/** Another number, and the two refuse each other with a sentence that says so. */
const protocol = 'lab-backup/3';

export const limits: Partial<Limits> = {
  frameBytesMax: bundleBytesMax + 128 * 1024,
  // The largest bundle, so that the next one is made while the last one is sent.
  bufferedBytesMax: 4 * 1024 * 1024,
  idleTimeoutMs: 30_000,
};

/** Whether the body of a message is in memory of its own: a socket delivers less at once, and what came in pieces was put together. */
export const isOwn = (body: Uint8Array): boolean => body.buffer.byteLength > 64 * 1024;

export class Channel {
  /** Whose key the one that asks has shown; where we ask, nobody's. */
  readonly asker: string | undefined;
  readonly #socket: FramedSocket;
  readonly #frames: AsyncIterator<Buffer>;

  constructor(socket: FramedSocket) {
    this.#socket = socket;
    this.#frames = socket[Symbol.asyncIterator]();
    this.asker = identityOf(socket.stream);
  }

  /** Sends a message, its body in parts that must not be changed any more. Resolves when there is room for more. */
  send(head: Head, ...body: readonly Uint8Array[]): Promise<void> {
    return this.#socket.send(...encodeParts(head, ...body));
  }

  /** As `send`; the body is in memory of its own, which goes back when it has been sent. */
  give(head: Head, body: Uint8Array): Promise<void> {
    return this.#socket.give(...encodeParts(head, body));
  }

  /**
   * The next message, of one of these kinds; `undefined` when the peer has ended. A `failed` of the peer is thrown as
   * `RefusedError`.
   */
  async receive<K extends Kind>(...kinds: readonly K[]): Promise<Message<K> | undefined> {
    const next = await this.#frames.next();
    if (next.done === true) return undefined;
    const { head, body } = decode<Kind>(next.value, 'failed', ...kinds);
    if (head.kind === 'failed') throw new RefusedError(head.reason, head.code);
    return { head, body } as unknown as Message<K>;
  }

  /** As `receive`, where the peer must not end. */
  async expect<K extends Kind>(...kinds: readonly K[]): Promise<Message<K>> {
    const message = await this.receive(...kinds);
    if (message === undefined)
      throw new RefusedError('the peer closed the connection in the middle of the work', exitCodes.unavailable);
    return message;
  }

  close(): Promise<void> {
    return this.#socket.close();
  }

  destroy(error?: Error): void {
    this.#socket.destroy(error);
  }
}

/** Where somebody is, and by whose key the two know each other: the admin's with the server, the node's with its requester. */
export interface Target {
  host: string;
  port: number;
  identity: string;
  key: Buffer;
}

/** What connections are made by, and the clock for all their timeouts. */
export interface Network {
  connect: typeof connectFramed;
  listen: typeof listenFramed;
  clock: Clock;
}

/** TCP, and TLS. */
export const tcp: Network = { connect: connectFramed, listen: listenFramed, clock: systemClock };

/** Connects. Rejects with `ConnectError`, and where the other side has not the key with `HandshakeError`. */
export async function connectChannel({ host, port, identity, key }: Target, { connect, clock } = tcp): Promise<Channel> {
  return new Channel(await connect({ host, port, limits, clock, tls: tlsByKey({ identity, key, protocol }) }));
}

export interface Listening extends Pick<ServerKeys, 'keyOf'> {
  host: string;
  port: number;
  connectionsMax: number;
  /** Hears of those who were turned away. */
  onRefused: (error: Error) => void;
}

/** Serves those who have a key. What `serve` throws closes the connection. */
export function listenChannels(
  { keyOf, ...options }: Listening,
  serve: (channel: Channel) => Promise<void>,
  { listen, clock } = tcp,
): Promise<FramedServer> {
  const tls = tlsByKeys({ keyOf, protocol });
  return listen({ ...options, limits, clock, tls }, (socket) => serve(new Channel(socket)));
}
