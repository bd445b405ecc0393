/**
 * Connections between processes of a simulation, as TCP gives them: what is sent arrives in its order, late or never, until one side closes, dies or is broken off. Frames and keys on them are the
 * real ones; TLS is left out, for its handshakes take real time.
 */
import { Duplex } from 'node:stream';
import type { ConnectionOptions, TLSSocket, TlsOptions } from 'node:tls';
import { sleep } from '@lab/process';
import { ConnectError, FramedSocket, HandshakeError, type FramedServer, type ListenOptions } from '@lab/protocol';
import type { KindName, Life, World } from '@lab/simulation';
import type { Network } from '../src/channel/channel.ts';

interface Listener {
  readonly life: Life;
  readonly tls: TlsOptions;
  take(stream: Duplex): void;
}

export class SimulatedNetwork {
  readonly world: World;
  readonly #listeners = new Map<string, Listener>();
  /** From whom to whom nothing passes, and until when. */
  readonly #cuts = new Map<string, number>();

  constructor(world: World) {
    this.world = world;
  }

  /** The network for this life; its connections end with it. With a `share` of 0 it does not die at what it sends. */
  for(life: Life, share = 1): Network {
    const { clock } = life;
    return {
      clock,
      listen: async (options, serve) => this.#listen(life, options, serve),
      connect: ({ host, port, tls, limits, connectTimeoutMs = 5_000 }) => {
        const address = `${host}:${port}`;
        return life.call(
          'connect',
          address,
          () => '',
          async (place) => {
            const listener = this.#listeners.get(address);
            if (listener === undefined || listener.life.isDead) throw new ConnectError(address, 'nobody listens');
            if (this.isCut(life, listener.life) || this.isCut(listener.life, life)) {
              await sleep(clock, connectTimeoutMs);
              throw new ConnectError(address, `no connection within ${connectTimeoutMs} ms`);
            }
            const near = new End(this, life, share);
            const far = new End(this, listener.life, 1);
            near.peer = far;
            far.peer = near;
            if (!haveOneKey(tls!, listener.tls, far)) throw new HandshakeError(address, 'wrong key');
            const cutMs = life.strikes('cut', place);
            if (cutMs !== undefined) this.world.clock.after(cutMs, () => near.breakOff());
            listener.take(far);
            return new FramedSocket(near, limits, clock);
          },
          undefined,
          share,
        );
      },
    };
  }

  #listen(life: Life, { host, port, limits, tls }: ListenOptions, serve: (socket: FramedSocket) => Promise<void>): FramedServer {
    const { clock } = life;
    const address = `${host}:${port}`;
    const open = new Map<FramedSocket, Promise<void>>();
    const listener: Listener = {
      life,
      tls: tls!,
      take(stream) {
        const socket = new FramedSocket(stream, limits, clock);
        const serving = serve(socket)
          .then(() => socket.close())
          .catch(() => socket.destroy())
          .finally(() => open.delete(socket));
        open.set(socket, serving);
      },
    };
    this.#listeners.set(address, listener);
    return {
      host,
      port,
      close: async ({ drainMs = 0 } = {}) => {
        if (this.#listeners.get(address) === listener) this.#listeners.delete(address);
        await Promise.race([Promise.all(open.values()), sleep(clock, drainMs)]);
        for (const socket of open.keys()) socket.destroy();
      },
    };
  }

  /** Nothing passes from one to the other for so long, on any connection. */
  cut(from: Life, to: Life, forMs: number): void {
    const key = `${from.name}>${to.name}`;
    this.#cuts.set(key, Math.max(this.#cuts.get(key) ?? 0, this.world.clock.nowMs() + forMs));
  }

  isCut(from: Life, to: Life): boolean {
    return this.cutMs(from, to) > 0;
  }

  cutMs(from: Life, to: Life): number {
    return (this.#cuts.get(`${from.name}>${to.name}`) ?? 0) - this.world.clock.nowMs();
  }
}

/** As a handshake finds out. */
function haveOneKey(client: ConnectionOptions, server: TlsOptions, far: Duplex): boolean {
  const { identity = '', psk } = client.pskCallback!(null) ?? {};
  const known = server.pskCallback!(far as TLSSocket, identity);
  return psk !== undefined && known !== null && Buffer.compare(psk as Buffer, known as Buffer) === 0;
}

/** One end of a connection: what is written here is on its way to the other. */
class End extends Duplex {
  peer!: End;
  readonly #network: SimulatedNetwork;
  readonly #life: Life;
  readonly #share: number;
  /** Ends when all that was sent so far has arrived. */
  #line: Promise<void> = Promise.resolve();

  constructor(network: SimulatedNetwork, life: Life, share: number) {
    super({ allowHalfOpen: true });
    this.#share = share;
    this.#network = network;
    this.#life = life;
    life.onEnd(() => this.destroy());
  }

  /** Both ends hear of it. */
  breakOff(): void {
    for (const end of [this, this.peer]) end.destroy(new Error('read ECONNRESET'));
  }

  override _read(): void {}

  override _write(chunk: Buffer, _: string, done: (error?: Error | null) => void): void {
    this.#send(chunk).then(() => done(), done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk))).then(() => done(), done);
  }

  override _final(done: () => void): void {
    this.#carry(0, () => void this.peer.push(null));
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.writableFinished) this.#carry(0, () => void this.peer.destroy(new Error('read ECONNRESET')));
    done(error);
  }

  #send(bytes: Buffer): Promise<void> {
    const to = this.peer.#life;
    const effect = async (place: string): Promise<void> => {
      const strikes = (kind: KindName): number | undefined => this.#life.strikes(kind, place, describe(bytes));
      const cutMs = strikes('link cut');
      if (cutMs !== undefined) this.#network.cut(to, this.#life, cutMs);
      const oneWayMs = strikes('cut one way') ?? cutMs;
      if (oneWayMs !== undefined) this.#network.cut(this.#life, to, oneWayMs);
      this.#carry(strikes('arrives late') ?? 0, () => void this.peer.push(bytes));
    };
    return this.#life.call('send', to.name, () => describe(bytes), effect, undefined, this.#share);
  }

  /** Takes effect at the other end after all that was sent before, if that still lives. */
  #carry(lateMs: number, arrive: () => void): void {
    const { world } = this.#network;
    const { clock } = world;
    const to = this.peer.#life;
    this.#line = this.#line.then(async () => {
      if (lateMs > 0) await sleep(clock, lateMs);
      for (let cutMs; (cutMs = this.#network.cutMs(this.#life, to)) > 0;) await sleep(clock, cutMs);
      await to.awake();
      world.touch();
      if (!this.peer.destroyed) arrive();
    });
  }
}

/** Which messages are in it. */
const describe = (bytes: Buffer): string =>
  [...bytes.toString('latin1').matchAll(/\{"kind":"(\w+)"/g)].map(([, kind]) => kind).join(' ');
