/** One session with a Spread daemon: from the connection to its end, under one private name. It does not come back; a new one does. */
import { connect, type Socket } from 'node:net';
import { exitCodes } from '@lab/process/exit-codes';
import type { Clock } from '@lab/process/time';
import { Decoder, encodeAuthentication, encodeHello, type Accepted, type FromDaemon, type Methods } from './codec.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** What a daemon sends once the session is open. */
export type SessionMessage = Exclude<FromDaemon, { type: 'refused' | 'methods' | 'accepted' }>;

export interface SessionOptions {
  readonly daemon: Address;
  /** The client's name, which the private name is made of. */
  readonly name: string;
  /** For all of it: TCP, greeting, authentication. */
  readonly connectTimeoutMs: number;
  readonly clock: Pick<Clock, 'after'>;
  /** Called for each message, in order. What it throws ends the session. */
  readonly receive: (message: SessionMessage, session: Session) => void;
}

const duplicateNameCode = -6;

/** By Spread's code for why a session is refused: what it means, and the way out. */
const refusals: ReadonlyMap<number, string> = new Map([
  [-3, 'it has as many clients as it takes: give it less, or another daemon'],
  [-4, 'no name was given'],
  [-5, 'the name is illegal: it must be 1 to 10 characters, without "#" and spaces'],
  [
    duplicateNameCode,
    "it has a client of this name, and a name is one client's alone at each daemon, whatever its groups: choose another, or wait until the other one has gone",
  ],
  [-7, 'it takes no client of version 5.0.1: use a daemon of Spread 5'],
  [-9, 'the authentication failed: let the daemon take the method NULL'],
]);

/** The daemon answered, and does not want this client. */
export class RefusedError extends Error {
  readonly exitCode = exitCodes.failed;
  /** Spread's, below 0. */
  readonly code: number;
  constructor(daemon: Address, name: string, code: number) {
    super(
      `the Spread daemon at ${format(daemon)} refused "${name}" (code ${code}): ${refusals.get(code) ?? 'its code is unknown'}`,
    );
    this.name = new.target.name;
    this.code = code;
  }

  /** Somebody else has the name, or the daemon has not noticed yet that its last bearer is dead. */
  get duplicateName(): boolean {
    return this.code === duplicateNameCode;
  }
}

/** There is no session, or no longer one. */
export class ConnectionError extends Error {
  readonly exitCode = exitCodes.unavailable;
  constructor(what: string, options?: { cause?: unknown }) {
    super(what, options);
    this.name = new.target.name;
  }
}

/** After so long a silence TCP asks whether the daemon's machine is still there. A daemon that hangs on it answers too. */
const keepAliveMs = 10_000;

/** Begins to connect at once. */
export class Session {
  readonly #options: SessionOptions;
  readonly #socket: Socket;
  readonly #decoder = new Decoder();
  readonly #accepted = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<Error>();
  #over = false;
  #privateName = '';

  constructor(options: SessionOptions) {
    this.#options = options;
    const { daemon, name, connectTimeoutMs, clock } = options;
    this.#socket = connect({ ...daemon, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs })
      .on('connect', () => this.send(encodeHello(name)))
      .on('data', (piece) => this.#read(piece))
      // Where a name has several addresses, Node's error has no message of its own.
      .on('error', (cause: NodeJS.ErrnoException) => this.#fail(cause.message || String(cause.code), cause))
      .on('close', () =>
        this.#fail(this.#decoder.midItem ? 'it closed the connection within a message' : 'it closed the connection'),
      );
    const cancel = clock.after(connectTimeoutMs, () => this.#fail(`no session within ${connectTimeoutMs} ms`));
    this.#accepted.promise.then(cancel, cancel);
  }

  /** Resolves when the daemon has accepted; rejects with a `RefusedError`, a `ConnectionError` or a `ProtocolError`. */
  get accepted(): Promise<void> {
    return this.#accepted.promise;
  }

  /** Resolves with the reason when this session is over, whoever ended it. */
  get ended(): Promise<Error> {
    return this.#ended.promise;
  }

  /** `#name#daemon`; empty until the daemon has accepted. */
  get privateName(): string {
    return this.#privateName;
  }

  /** Queues bytes for the daemon; who calls bounds how many. After the end nothing happens. */
  send(bytes: Buffer): void {
    if (!this.#over) this.#socket.write(bytes);
  }

  /** Ends it at once; nothing is received anymore. */
  drop(reason: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#socket.destroy();
    this.#accepted.reject(reason);
    this.#ended.resolve(reason);
  }

  /** Sends the last bytes and waits for the daemon to close, which it does when it has understood them, at most so long. */
  async close(lastBytes: Buffer, timeoutMs: number): Promise<void> {
    if (this.#over) return;
    this.#socket.end(lastBytes);
    const cancel = this.#options.clock.after(timeoutMs, () =>
      this.#fail(`it kept the connection for ${timeoutMs} ms after the end`),
    );
    await this.ended;
    cancel();
  }

  #fail(what: string, cause?: unknown): void {
    this.drop(new ConnectionError(`the Spread daemon at ${format(this.#options.daemon)}: ${what}`, { cause }));
  }

  #read(piece: Buffer): void {
    try {
      this.#decoder.push(piece, (item) => {
        if (!this.#over) this.#take(item);
      });
    } catch (error) {
      this.drop(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #take(item: FromDaemon): void {
    if (item.type === 'refused') throw new RefusedError(this.#options.daemon, this.#options.name, item.code);
    if (item.type === 'methods') return this.#authenticate(item);
    if (item.type === 'accepted') return this.#accept(item);
    this.#options.receive(item, this);
  }

  #authenticate({ methods }: Methods): void {
    if (!methods.includes('NULL'))
      throw new ConnectionError(
        `the Spread daemon at ${format(this.#options.daemon)} wants authentication by ${methods.join(', ')}: let it take NULL too`,
      );
    this.send(encodeAuthentication('NULL'));
  }

  #accept({ privateName }: Accepted): void {
    this.#privateName = privateName;
    this.#accepted.resolve();
  }
}

export function format({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
