import { connect as connectTcp, createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer, type ConnectionOptions, type TlsOptions } from 'node:tls';
import { ConnectError } from './errors.ts';
import { FramedSocket } from './framed-socket.ts';
import type { Limits } from './limits.ts';

/** A few frames under way at a time keep a fast link busy; more would only wait in our memory instead of the sender's. */
const highWaterMark = 256 * 1024;

export interface ConnectOptions {
  host: string;
  port: number;
  /** Over TLS with these options; without them over plain TCP. */
  tls?: ConnectionOptions;
  /** Default 5 s. */
  connectTimeoutMs?: number;
  limits?: Partial<Limits>;
}

/** Connects, or rejects with a `ConnectError` that says where to and why not. */
export async function connectFramed({
  host,
  port,
  tls,
  connectTimeoutMs = 5_000,
  limits,
}: ConnectOptions): Promise<FramedSocket> {
  const options = { host, port, allowHalfOpen: true, writableHighWaterMark: highWaterMark, readableHighWaterMark: highWaterMark };
  const socket = tls === undefined ? connectTcp(options) : connectTls({ ...options, ...tls });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once(tls === undefined ? 'connect' : 'secureConnect', resolve);
      socket.once('error', reject);
      socket.setTimeout(connectTimeoutMs, () => reject(new Error(`no answer within ${connectTimeoutMs} ms`)));
    });
  } catch (cause) {
    socket.destroy();
    throw new ConnectError(
      `${host}:${port}`,
      cause instanceof Error ? cause.message || String((cause as NodeJS.ErrnoException).code) : String(cause),
      { cause },
    );
  }
  socket.setTimeout(0);
  socket.removeAllListeners('error');
  socket.setNoDelay(true);
  return new FramedSocket(socket, limits);
}

export interface ListenOptions {
  host: string;
  /** 0 for any free one. */
  port: number;
  tls?: TlsOptions;
  limits?: Partial<Limits>;
  /** More are turned away. Default 1,000. */
  connectionsMax?: number;
}

export interface FramedServer {
  readonly host: string;
  readonly port: number;
  /** Takes no more connections, waits for those that are open, at most `drainMs` (default 0), and drops the rest. */
  close(options?: { drainMs?: number }): Promise<void>;
}

/** Calls `serve` for every connection. When it resolves the connection is closed, when it rejects it is dropped. */
export async function listenFramed(
  options: ListenOptions,
  serve: (socket: FramedSocket) => Promise<void>,
): Promise<FramedServer> {
  const { host, port, tls, limits, connectionsMax = 1000 } = options;
  const open = new Set<Promise<void>>();
  const sockets = new Set<FramedSocket>();
  const accept = (raw: Socket): void => {
    raw.setNoDelay(true);
    const socket = new FramedSocket(raw, limits);
    sockets.add(socket);
    const served = serve(socket)
      .then(() => socket.close())
      .catch(() => socket.destroy())
      .finally(() => {
        sockets.delete(socket);
        open.delete(served);
      });
    open.add(served);
  };
  const shared = { allowHalfOpen: true, highWaterMark };
  const server: Server = tls === undefined ? createTcpServer(shared, accept) : createTlsServer({ ...shared, ...tls }, accept);
  server.maxConnections = connectionsMax;
  // A client that fails its handshake harms nobody else.
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve));
  const address = server.address() as AddressInfo;
  return {
    host: address.address,
    port: address.port,
    async close({ drainMs = 0 } = {}) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const late = setTimeout(() => sockets.forEach((socket) => socket.destroy()), drainMs);
      await Promise.all(open);
      await closed;
      clearTimeout(late);
    },
  };
}
