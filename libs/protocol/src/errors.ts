import { exitCodes } from '@lab/process/exit-codes';
import { wholeMs } from './limits.ts';

/**
 * Every error of the framing. After a `definite` one the frame in question was certainly not delivered; after an indefinite one the peer may have it.
 */
export class FramingError extends Error {
  readonly definite: boolean;
  constructor(message: string, definite: boolean, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.definite = definite;
  }
}

/** A length above the limit, announced by the peer or about to be sent. Nothing was allocated for it. */
export class FrameTooLargeError extends FramingError {
  constructor(frameBytes: number, frameBytesMax: number) {
    super(`a frame of ${frameBytes} bytes; at most ${frameBytesMax} are allowed (frameBytesMax)`, true);
  }
}

/** The stream ended in the middle of a frame. */
export class TruncatedFrameError extends FramingError {
  constructor(receivedBytes: number, expectedBytes: number | undefined) {
    super(`the stream ended after ${receivedBytes} of ${expectedBytes ?? 'at least 4'} bytes of a frame`, true);
  }
}

/** The peer sent nothing for too long while we were waiting for it. */
export class IdleTimeoutError extends FramingError {
  readonly exitCode = exitCodes.unavailable;
  constructor(idleTimeoutMs: number) {
    super(`the peer sent nothing for ${wholeMs(idleTimeoutMs)} (idleTimeoutMs)`, false);
  }
}

/** A frame was begun and not completed in time: a peer that sends a byte a second. */
export class FrameTimeoutError extends FramingError {
  constructor(frameTimeoutMs: number) {
    super(`a frame was not complete ${wholeMs(frameTimeoutMs)} after its first byte (frameTimeoutMs)`, true);
  }
}

/** The peer does not read what we send: what waited is lost, in whole or in part. */
export class SendTimeoutError extends FramingError {
  readonly exitCode = exitCodes.unavailable;
  constructor(waitedMs: number, unsentBytes: number, limit: 'sendTimeoutMs' | 'closeTimeoutMs') {
    super(`the peer did not take ${unsentBytes} waiting bytes in ${wholeMs(waitedMs)} (${limit})`, false);
  }
}

/** No reply in time. The connection is closed: replies come in order, so that every later one would be taken for another. */
export class RequestTimeoutError extends FramingError {
  readonly exitCode = exitCodes.unavailable;
  constructor(timeoutMs: number) {
    super(`no reply within ${wholeMs(timeoutMs)}`, false);
  }
}

/** The connection is closed, by us, by the peer or by the network. Definite for what was to be sent only after that. */
export class ConnectionClosedError extends FramingError {
  readonly exitCode = exitCodes.unavailable;
  readonly reason: string;
  constructor(reason: string, { definite = false, ...options }: ErrorOptions & { definite?: boolean } = {}) {
    super(`the connection is closed: ${reason}`, definite, options);
    this.reason = reason;
  }
}

/** No connection came about. */
export class ConnectError extends FramingError {
  readonly exitCode: number = exitCodes.unavailable;
  constructor(address: string, why: string, options?: ErrorOptions) {
    super(`cannot connect to ${address}: ${why}`, true, options);
  }
}

/** The two do not agree in their TLS handshake, and would not the next time: keys, certificates, versions. */
export class HandshakeError extends ConnectError {
  override readonly exitCode = exitCodes.failed;
}
