/** A Spread daemon that plays a script on each connection: it knows nothing of groups, and is strict about bytes. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';

/** What the client sends next, or what the daemon does. */
export type WireStep = { readonly type: 'expect' | 'send'; readonly bytes: Buffer };
export type Step =
  | WireStep
  /** Closes the connection in good order. */
  | { readonly type: 'close' }
  /** Breaks it. */
  | { readonly type: 'cut' };

export const expects = (...parts: readonly Buffer[]): WireStep => ({ type: 'expect', bytes: Buffer.concat(parts) });
export const sends = (...parts: readonly Buffer[]): WireStep => ({ type: 'send', bytes: Buffer.concat(parts) });
export const closes: Step = { type: 'close' };
export const cuts: Step = { type: 'cut' };

/** What went over the wire between a client and a real daemon, a step per line. */
export function readTranscript(name: string): WireStep[] {
  const lines = readFileSync(join(import.meta.dirname, `${name}.txt`), 'latin1')
    .trim()
    .split('\n');
  return lines.map((line): WireStep => {
    const [, direction, hex] = /^(C>S|S>C) ([0-9a-f]+)$/.exec(line) ?? [];
    if (hex === undefined) throw new Error(`${name}.txt has the line "${line}"`);
    return { type: direction === 'C>S' ? 'expect' : 'send', bytes: Buffer.from(hex, 'hex') };
  });
}

export async function startScriptedDaemon(...scripts: readonly (readonly Step[])[]): Promise<ScriptedDaemon> {
  const daemon = new ScriptedDaemon(scripts);
  await daemon.listen();
  return daemon;
}

/**
 * Plays the first script on the first connection, and so on; more connections are broken at once. When a script is at its end the connection stays open, silent, until
 * the client closes it.
 */
export class ScriptedDaemon implements AsyncDisposable {
  readonly #scripts: readonly (readonly Step[])[];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #played: PromiseWithResolvers<void>[];
  #connections = 0;

  constructor(scripts: readonly (readonly Step[])[]) {
    this.#scripts = scripts;
    this.#played = scripts.map(() => Promise.withResolvers<void>());
    for (const { promise } of this.#played) promise.catch(() => {});
    this.#server = createServer({ noDelay: true }, (socket) => void this.#serve(socket));
  }

  async listen(): Promise<void> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** So far. */
  get connections(): number {
    return this.#connections;
  }

  /** Those that are open now. */
  get openConnections(): number {
    return this.#sockets.size;
  }

  /** Resolves when all scripts have been played; rejects when a client sent what was not expected. */
  async played(): Promise<void> {
    await Promise.all(this.#played.map(({ promise }) => promise));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #serve(socket: Socket): Promise<void> {
    const index = this.#connections++;
    this.#sockets.add(socket);
    // What a broken connection means, the script says.
    socket.on('error', () => {}).once('close', () => this.#sockets.delete(socket));
    const script = this.#scripts[index];
    if (script === undefined) return void socket.destroy();
    try {
      const reader = new Reader(socket);
      for (const [number, step] of script.entries()) await play(step, socket, reader, `connection ${index}, step ${number}`);
      this.#played[index]!.resolve();
    } catch (error) {
      socket.destroy();
      this.#played[index]!.reject(error);
    }
  }
}

async function play(step: Step, socket: Socket, reader: Reader, where: string): Promise<void> {
  if (step.type === 'cut') return void socket.resetAndDestroy();
  if (step.type === 'close') return void socket.end();
  if (step.type === 'send') return void socket.write(step.bytes);
  const came = await reader.read(step.bytes.length);
  if (!came.equals(step.bytes)) throw new Error(`${where}: expected ${step.bytes.toString('hex')}, got ${came.toString('hex')}`);
}

/** All reading at once, so that a client is never held up by the script. */
class Reader {
  #bytes = Buffer.alloc(0);
  #over = false;
  #more = Promise.withResolvers<void>();

  constructor(socket: Socket) {
    socket.on('data', (piece: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, piece]);
      this.#wake();
    });
    socket.on('close', () => {
      this.#over = true;
      this.#wake();
    });
  }

  /** As many bytes as asked for, or what came before the end. */
  async read(length: number): Promise<Buffer> {
    while (this.#bytes.length < length && !this.#over) await this.#more.promise;
    const read = this.#bytes.subarray(0, length);
    this.#bytes = this.#bytes.subarray(length);
    return read;
  }

  #wake(): void {
    this.#more.resolve();
    this.#more = Promise.withResolvers<void>();
  }
}
