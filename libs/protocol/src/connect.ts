import { once } from 'node:events';
import {
  connect as connectTcp,
  createServer as createTcpServer,
  isIPv6,
  type AddressInfo,
  type Server,
  type Socket,
} from 'node:net';
import { connect as connectTls, createServer as createTlsServer, type ConnectionOptions, type TlsOptions } from 'node:tls';
import { systemClock, type Clock } from '@lab/process/time';
import { ConnectError, HandshakeError } from './errors.ts';
import { FramedSocket } from './framed-socket.ts';
import { refusalOf, wordsOf } from './keys.ts';
import { checkInteger, checkRange, timerMsMax, wholeMs, withDefaults, type Limits } from './limits.ts';

export interface ConnectOptions {
  host: string;
  port: number;
  /** Over TLS with these options; without them over plain TCP. */
  tls?: ConnectionOptions;
  /** From the look-up of the name to the end of the TLS handshake. At most 24 days, at 0 or below too late at once; default 5 s. */
  connectTimeoutMs?: number;
  limits?: Partial<Limits>;
  /** For all timeouts, those of the limits too. Default: the host's. */
  clock?: Clock;
}

/**
 * Connects, or rejects with a `ConnectError` that says where to and why not, which is a `HandshakeError` where another try is in vain; with a `RangeError`
 * where an option is out of range.
 */
export async function connectFramed({
  host,
  port,
  tls,
  connectTimeoutMs = 5_000,
  limits,
  clock = systemClock,
}: ConnectOptions): Promise<FramedSocket> {
  checkRange('connectTimeoutMs', connectTimeoutMs, -Infinity, timerMsMax);
  const checked = withDefaults(limits);
  const options = { host, port, allowHalfOpen: true };
  const socket = tls === undefined ? connectTcp(options) : connectTls({ ...options, ...tls });
  return new Promise((resolve, reject) => {
    const fail = (cause: Error): void => {
      cancelDeadline();
      socket.destroy();
      const refusal = refusalOf(cause);
      if (refusal !== undefined) return reject(new HandshakeError(`${host}:${port}`, refusal, { cause }));
      reject(new ConnectError(`${host}:${port}`, wordsOf(cause), { cause }));
    };
    // Not the socket's own timeout: every byte of a handshake would put it off.
    const tooLate = (): void => fail(new Error(`no connection within ${wholeMs(connectTimeoutMs)}`));
    const cancelDeadline = clock.after(Math.max(0, connectTimeoutMs), tooLate);
    socket.once('error', fail);
    socket.once(tls === undefined ? 'connect' : 'secureConnect', () => {
      cancelDeadline();
      socket.off('error', fail);
      socket.setNoDelay(true);
      resolve(new FramedSocket(socket, checked, clock));
    });
  });
}

/** A stranger may hold a connection for so long before it is one; Node's own two minutes would let few of them take all. */
const handshakeTimeoutMs = 10_000;

export interface ListenOptions {
  host: string;
  /** 0 for any free one. */
  port: number;
  tls?: TlsOptions;
  /** Hears why a client's TLS handshake has failed. */
  onRefused?: (error: Error) => void;
  limits?: Partial<Limits>;
  /**
   * For one more, the oldest has to go that waits for a stranger to send; where there is none, the new one is turned away. 1 on; default 1,000: with the
   * default limits, 18 GB in the worst case and next to nothing in the usual one.
   */
  connectionsMax?: number;
  /** The same for those from one address, of IPv6 from one network of 64 bits. Default `connectionsMax`. */
  connectionsPerSourceMax?: number;
  /** Whether a peer has not yet shown who it is. Default: whether it has not sent a frame. */
  isStranger?: (socket: FramedSocket) => boolean;
  /** For all timeouts, those of the limits too. Default: the host's. */
  clock?: Clock;
}

export interface FramedServer {
  readonly host: string;
  readonly port: number;
  /**
   * Takes no more connections, waits until all that are open have been served, at most `drainMs` (0 to 24 days, default 0), and drops the rest.
   */
  close(options?: { drainMs?: number }): Promise<void>;
}

/**
 * Calls `serve` for every connection. When it resolves the connection is closed, when it rejects it is dropped: what is worth reporting, `serve`
 * reports itself. Rejects where the address cannot be had.
 */
export async function listenFramed(
  options: ListenOptions,
  serve: (socket: FramedSocket) => Promise<void>,
): Promise<FramedServer> {
  const { host, port, tls, onRefused, connectionsMax = 1000, clock = systemClock } = options;
  const { connectionsPerSourceMax = connectionsMax, isStranger = (socket) => !socket.hasHeard } = options;
  checkInteger('connectionsMax', connectionsMax, 1, Number.MAX_SAFE_INTEGER);
  checkInteger('connectionsPerSourceMax', connectionsPerSourceMax, 1, Number.MAX_SAFE_INTEGER);
  const limits = withDefaults(options.limits);
  const connections = new Connections({ limits, clock, serve, connectionsMax, connectionsPerSourceMax, isStranger });
  const server: Server =
    tls === undefined
      ? createTcpServer({ allowHalfOpen: true })
      : createTlsServer({ allowHalfOpen: true, handshakeTimeout: handshakeTimeoutMs, ...tls });
  // In this order: over TCP both are for one event.
  server.on('connection', connections.track);
  server.on(tls === undefined ? 'connection' : 'secureConnection', connections.accept);
  // A client that fails its handshake harms nobody else.
  server.on('tlsClientError', (error: Error) => onRefused?.(new Error(wordsOf(error), { cause: error })));
  server.listen(port, host);
  await once(server, 'listening');
  // From here on only an accept can fail, which concerns one client.
  server.on('error', () => {});
  const address = server.address() as AddressInfo;
  return {
    host: address.address,
    port: address.port,
    async close({ drainMs = 0 } = {}) {
      checkRange('drainMs', drainMs, 0, timerMsMax);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await connections.drain(drainMs);
      await closed;
    },
  };
}

interface ConnectionsOptions {
  readonly limits: Limits;
  readonly clock: Clock;
  readonly serve: (socket: FramedSocket) => Promise<void>;
  readonly connectionsMax: number;
  readonly connectionsPerSourceMax: number;
  readonly isStranger: (socket: FramedSocket) => boolean;
}

/** What a server has open: sockets from their first packet on, and those that are being served. */
class Connections {
  readonly #options: ConnectionsOptions;
  readonly #sockets = new Set<Socket>();
  /** How many there are from each source. */
  readonly #sources = new Map<string, number>();
  /** In the order of their coming. */
  readonly #served = new Map<FramedSocket, Promise<void>>();

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /** Remembers a socket that may still be in its handshake, or turns it away. */
  readonly track = (socket: Socket): void => {
    const { connectionsMax, connectionsPerSourceMax } = this.#options;
    const source = sourceOf(socket);
    this.#sockets.add(socket);
    this.#count(source, 1);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#count(source, -1);
    });
    // Room among those of a source is room among all.
    if (this.#sources.get(source)! > connectionsPerSourceMax) this.#makeRoom(socket, (other) => sourceOf(other) === source);
    else if (this.#sockets.size > connectionsMax) this.#makeRoom(socket, () => true);
  };

  #count(source: string, more: number): void {
    const count = (this.#sources.get(source) ?? 0) + more;
    if (count === 0) this.#sources.delete(source);
    else this.#sources.set(source, count);
  }

  /** Drops the oldest of these that waits for a stranger, or the newcomer where there is none. */
  #makeRoom(newcomer: Socket, isOne: (socket: Socket) => boolean): void {
    for (const socket of this.#served.keys()) {
      const stream = socket.stream as Socket;
      const mayGo = socket.isWaiting && !stream.destroyed && this.#options.isStranger(socket);
      if (mayGo && isOne(stream)) return socket.destroy();
    }
    newcomer.destroy();
  }

  readonly accept = (raw: Socket): void => {
    if (raw.destroyed) return;
    raw.setNoDelay(true);
    const socket = new FramedSocket(raw, this.#options.limits, this.#options.clock);
    const serving = async (): Promise<void> => {
      try {
        await this.#options.serve(socket);
        await socket.close();
      } catch {
        socket.destroy();
      } finally {
        this.#served.delete(socket);
      }
    };
    // A turn later, so that it is in the map before it can leave it.
    this.#served.set(socket, Promise.resolve().then(serving));
  };

  async drain(drainMs: number): Promise<void> {
    const late = Promise.withResolvers<void>();
    const cancelDeadline = this.#options.clock.after(drainMs, late.resolve);
    await Promise.race([Promise.all(this.#served.values()), late.promise]);
    cancelDeadline();
    for (const socket of this.#served.keys()) socket.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** An IPv4 address, also where it is written as one of IPv6; of an IPv6 address the network, for who has one has all of its 64 bits. */
export function sourceOf({ remoteAddress = '' }: { readonly remoteAddress?: string | undefined }): string {
  if (!isIPv6(remoteAddress)) return remoteAddress;
  const v4 = /^::ffff:([\d.]+)$/.exec(remoteAddress)?.[1];
  if (v4 !== undefined) return v4;
  const [head = '', tail] = remoteAddress.replace(/%.*/, '').split('::');
  const groups = head === '' ? [] : head.split(':');
  const rest = tail === undefined || tail === '' ? [] : tail.split(':');
  const missing = tail === undefined ? 0 : 8 - groups.length - rest.length;
  return [...groups, ...Array.from({ length: missing }, () => '0'), ...rest].slice(0, 4).join(':');
}
