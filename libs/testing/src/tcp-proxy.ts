/** Network faults without privileges: a TCP proxy that stands where the target did, and can lose, delay and break what passes. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';

/** Bytes that one direction of one connection may hold back while cut or delayed; above it the sender feels back-pressure. */
const heldBytesMax = 4 * 1024 * 1024;

export interface TcpProxyOptions {
  target: { host: string; port: number };
}

/** Starts a proxy on a free port of 127.0.0.1. The target need not listen yet; a connection that it refuses is reset. */
export async function startTcpProxy({ target }: TcpProxyOptions): Promise<TcpProxy> {
  const proxy = new TcpProxy(target);
  await proxy.listen();
  return proxy;
}

/** A running proxy. What it does applies to all connections, in both directions. */
export class TcpProxy implements AsyncDisposable {
  readonly host = '127.0.0.1';
  readonly #target: TcpProxyOptions['target'];
  readonly #server: Server;
  readonly #clients = new Set<Socket>();
  readonly #sockets = new Set<Socket>();
  #cut: PromiseWithResolvers<void> | undefined;
  #delayMs = 0;

  constructor(target: TcpProxyOptions['target']) {
    this.#target = target;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => void this.#accept(client));
  }

  async listen(): Promise<void> {
    await once(this.#server.listen(0, this.host), 'listening');
  }

  /** Where to connect instead of the target. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Connections that clients have open now. */
  get connections(): number {
    return this.#clients.size;
  }

  /** From now on nothing passes, not even an end; connections stay open, and new ones get no answer. As when a cable is pulled. */
  cut(): void {
    this.#cut ??= Promise.withResolvers<void>();
  }

  /** Ends a cut: what was held back is delivered, in order. */
  heal(): void {
    this.#cut?.resolve();
    this.#cut = undefined;
  }

  /** From now on every byte arrives `ms` later than it would, in each direction; order is kept, and throughput too. 0 ends it. */
  delayBy(ms: number): void {
    this.#delayMs = ms;
  }

  /** Breaks every open connection at once: both ends see a reset. New ones pass. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Stops listening and resets what is open. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.reset();
    this.heal();
    await closed;
  }

  async #accept(client: Socket): Promise<void> {
    this.#track(client);
    this.#clients.add(client);
    client.once('close', () => this.#clients.delete(client));
    await this.#passable();
    if (client.destroyed) return;
    const target = connect({ ...this.#target, allowHalfOpen: true, noDelay: true });
    this.#track(target);
    this.#forward(client, target);
    this.#forward(target, client);
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    // A broken connection is what this proxy is for; `close` follows and is handled.
    socket.on('error', () => undefined);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  /** Delivers in order, each chunk when it is due and the link is whole. */
  #forward(from: Socket, to: Socket): void {
    let held = 0;
    let delivered = Promise.resolve();
    const then = (act: () => Promise<void> | void): void => {
      const due = performance.now() + this.#delayMs;
      delivered = delivered.then(async () => {
        const early = due - performance.now();
        if (early > 0) await wait(early);
        await this.#passable();
        if (!to.destroyed) await act();
      });
    };
    from.on('data', (chunk: Buffer) => {
      held += chunk.length;
      if (held > heldBytesMax) from.pause();
      then(async () => {
        if (!to.write(chunk)) await drained(to);
        held -= chunk.length;
        if (held <= heldBytesMax) from.resume();
      });
    });
    from.on('end', () => then(() => void to.end()));
    from.on('close', (broken) => {
      if (broken || !from.readableEnded) then(() => void to.resetAndDestroy());
    });
  }

  async #passable(): Promise<void> {
    while (this.#cut !== undefined) await this.#cut.promise;
  }
}

async function drained(socket: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.once('drain', resolve).once('close', resolve);
  await promise;
  socket.off('drain', resolve).off('close', resolve);
}
