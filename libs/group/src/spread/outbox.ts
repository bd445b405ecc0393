import { IndefiniteError, type Service } from '../port.ts';
import { ProtocolError } from './codec.ts';
import { SizedQueue } from '../sized-queue.ts';

interface Outgoing {
  readonly service: Service;
  readonly body: Uint8Array;
  readonly came: PromiseWithResolvers<void>;
}

export interface OutboxLimits {
  /** Most multicasts in flight, and their bytes; one may go over. */
  readonly inFlightMax: number;
  readonly inFlightBytesMax: number;
  /** Most bytes that wait for their turn. */
  readonly waitingBytesMax: number;
}

/** About what a multicast takes beside its body. */
const outgoingBytes = 256;

const bytesOf = ({ body }: Outgoing): number => body.length + outgoingBytes;

/**
 * The multicasts of one member, in order: some in flight, the others waiting for those to come back. Those in flight are lost with their session; those that
 * wait have never left, and go out in the next one.
 */
export class Outbox {
  readonly #limits: OutboxLimits;
  readonly #waiting = new SizedQueue<Outgoing>();
  readonly #inFlight = new SizedQueue<Outgoing>();
  #send: ((service: Service, body: Uint8Array) => void) | undefined;
  #closed: Error | undefined;

  constructor(limits: OutboxLimits) {
    this.#limits = limits;
  }

  /** Multicasts that the daemon owes us. */
  get inFlight(): number {
    return this.#inFlight.length;
  }

  /** Settles when the multicast has come back, or cannot anymore. */
  async add(service: Service, body: Uint8Array): Promise<void> {
    if (this.#closed !== undefined) throw this.#closed;
    const { waitingBytesMax } = this.#limits;
    if (this.#waiting.bytes + body.length > waitingBytesMax)
      throw new RangeError(
        `more than ${waitingBytesMax} bytes of multicasts wait to be sent; this one was not taken: await some of the others first`,
      );
    const outgoing = { service, body, came: Promise.withResolvers<void>() };
    this.#waiting.push(outgoing, bytesOf(outgoing));
    this.#sendMore();
    return outgoing.came.promise;
  }

  /** There is a session, and it is in the group. */
  open(send: (service: Service, body: Uint8Array) => void): void {
    this.#send = send;
    this.#sendMore();
  }

  /**
   * One of ours has come back. A sender's messages keep their order, all of Spread's services from fifo on together, so it is the oldest one; anything else means
   * that a message was lost or changed, and throws a `ProtocolError`.
   */
  cameBack(service: string, body: Buffer): void {
    const oldest = this.#inFlight.first;
    if (oldest === undefined) throw new ProtocolError('a message of ours came back that is not in flight');
    if (oldest.service !== service || !body.equals(oldest.body))
      throw new ProtocolError(
        `a message of ours came back as ${body.length} bytes, ${service}; the oldest in flight has ${oldest.body.length} bytes, ${oldest.service}: it was changed or overtaken`,
      );
    this.#inFlight.shift();
    oldest.came.resolve();
    this.#sendMore();
  }

  /** The session is lost: of what is in flight nobody here can tell. */
  lose(reason: Error): void {
    this.#send = undefined;
    const lost = `the session with Spread was lost before this message came back, which may have been ordered or not: ${reason.message}`;
    for (let next = this.#inFlight.shift(); next; next = this.#inFlight.shift())
      next.came.reject(new IndefiniteError(lost, { cause: reason }));
  }

  /** Nothing more is taken or sent; what has never left fails with the reason. */
  close(reason: Error): void {
    this.#closed = reason;
    this.#send = undefined;
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) next.came.reject(reason);
  }

  #sendMore(): void {
    while (this.#send !== undefined && this.#waiting.length > 0 && this.#hasRoom()) {
      const next = this.#waiting.shift()!;
      this.#inFlight.push(next, bytesOf(next));
      this.#send(next.service, next.body);
    }
  }

  #hasRoom(): boolean {
    return this.#inFlight.length < this.#limits.inFlightMax && this.#inFlight.bytes < this.#limits.inFlightBytesMax;
  }
}
