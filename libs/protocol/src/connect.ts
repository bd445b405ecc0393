import { once } from 'node:events';
import { connect as connectTcp, createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net';
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
  /** More are turned away. 1 on; default 1,000: with the default limits, 18 GB in the worst case and next to nothing in the usual one. */
  connectionsMax?: number;
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
  checkInteger('connectionsMax', connectionsMax, 1, Number.MAX_SAFE_INTEGER);
  const limits = withDefaults(options.limits);
  const connections = new Connections(limits, clock, serve);
  const server: Server =
    tls === undefined
      ? createTcpServer({ allowHalfOpen: true }, connections.accept)
      : createTlsServer({ allowHalfOpen: true, handshakeTimeout: handshakeTimeoutMs, ...tls }, connections.accept);
  server.maxConnections = connectionsMax;
  server.on('connection', connections.track);
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

/** What a server has open: sockets from their first packet on, and those that are being served. */
class Connections {
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #serve: (socket: FramedSocket) => Promise<void>;
  readonly #sockets = new Set<Socket>();
  readonly #served = new Map<FramedSocket, Promise<void>>();

  constructor(limits: Limits, clock: Clock, serve: (socket: FramedSocket) => Promise<void>) {
    this.#limits = limits;
    this.#clock = clock;
    this.#serve = serve;
  }

  /** Remembers a socket that may still be in its handshake. */
  readonly track = (socket: Socket): void => {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  };

  readonly accept = (raw: Socket): void => {
    raw.setNoDelay(true);
    const socket = new FramedSocket(raw, this.#limits, this.#clock);
    const serving = async (): Promise<void> => {
      try {
        await this.#serve(socket);
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
    const cancelDeadline = this.#clock.after(drainMs, late.resolve);
    await Promise.race([Promise.all(this.#served.values()), late.promise]);
    cancelDeadline();
    for (const socket of this.#served.keys()) socket.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }
}
