/** The server side of the protocol: a frame in, a frame out, in the order of the requests. Whatever a client sends or does not send, others do not notice. */
import type { Socket } from 'node:net';
import type { TlsOptions } from 'node:tls';
import type { Clock, Logger } from '@lab/process';
import { PasswordsBusyError } from '@lab/process/passwords';
import { FrameTooLargeError, FramingError, listenFramed, type FramedServer, type FramedSocket } from '@lab/protocol';
import { replyBytesMax, type Kind } from '../messages.ts';
import type { Asked } from './calls.ts';
import { encodeRefusal, encodeReply, type RequestReader } from './encoding.ts';
import { Refusal } from './refusal.ts';
import { DatabaseUnavailableError } from '../store/database.ts';

export interface Service {
  /** Resolves with what the reply holds. Throws the refusal; whatever else it throws is a fault of the program, and the client is told no more than that. */
  answer(asked: Asked): Promise<object>;
  /** Has the rest of the connection, if it takes the request; returns undefined where it is one to be answered. */
  stream?(asked: Asked, socket: FramedSocket): Promise<void> | undefined;
}

/** What may come through a door, and how many. */
export interface Door {
  readonly requestBytesMax: number;
  readonly connectionsMax: number;
  /** From one address: so that it takes several to take all. */
  readonly connectionsPerSourceMax: number;
}

/** For clients. A quarter for each address, which is several hundred: clients behind one router, and benchmarks, have one together. */
export const clientsDoor = { connectionsMax: 2_000, connectionsPerSourceMax: 500 };
/** For agents that ask for a node's health, one connection at a time each. In a demo they have one address together. */
export const agentsDoor: Door = { requestBytesMax: 1_024, connectionsMax: 200, connectionsPerSourceMax: 50 };

export interface ServeOptions {
  readonly host: string;
  readonly port: number;
  readonly door: Door;
  readonly service: Service;
  readonly readRequest: RequestReader;
  /** Without it over plain TCP. */
  readonly tls?: TlsOptions | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observe?: Observe | undefined;
}

/** Is told of each request how it ended, `ok` or with the code of a refusal, and how long it took, in ms; of a stream, how long that lasted. */
export type Observe = (kind: Kind, outcome: string, tookMs: number) => void;

/** Who connects has something to ask, and says it. */
const strangerLimits = { idleTimeoutMs: 2_000, frameTimeoutMs: 2_000 };
/**
 * Who has shown a good token may be silent for longer: watchers send a sign of life more often. Nothing that a client sends takes longer than the other on any
 * network that deserves the name.
 */
const memberLimits = { idleTimeoutMs: 10_000, frameTimeoutMs: 5_000 };
const otherLimits = { frameBytesMax: replyBytesMax, bufferedBytesMax: 128 * 1024, sendTimeoutMs: 10_000, closeTimeoutMs: 1_000 };

/** Rejects where the address cannot be had. */
export function serve({ host, port, tls, door, service, readRequest, clock, log, observe }: ServeOptions): Promise<FramedServer> {
  const { requestBytesMax, ...connections } = door;
  const limits = { ...otherLimits, ...strangerLimits, receivedBytesMax: requestBytesMax };
  const members = new WeakSet<FramedSocket>();
  const isStranger = (socket: FramedSocket): boolean => !members.has(socket);
  const secured = tls !== undefined && {
    tls,
    onRefused: (err: Error) => log.debug({ err }, 'a handshake failed'),
  };
  return listenFramed({ host, port, limits, isStranger, ...connections, ...secured }, async (socket) => {
    const peer = addressOf(socket);
    try {
      for await (const frame of socket) {
        const reply = await answerFrame(frame);
        if (reply === 'streamed') return;
        await socket.send(reply);
      }
    } catch (error) {
      if (!(error instanceof FrameTooLargeError)) throw error;
      await socket.send(encodeRefusal(new Refusal('malformed', `a request has at most ${requestBytesMax} bytes here`)));
    }

    async function answerFrame(frame: Buffer): Promise<Uint8Array | 'streamed'> {
      const beganMs = clock.nowMs();
      let request: Asked['request'] | undefined;
      let outcome = 'ok';
      try {
        request = readRequest(frame);
        const asked = { request, deadline: clock.nowMs() + request.deadlineMs, peer };
        const streaming = service.stream?.(asked, socket);
        if (streaming === undefined) return encodeReply(await answered(asked));
        becomeMember();
        await streaming.catch((error: unknown) => {
          // Whoever watched is gone, and hears of no refusal.
          if (error instanceof FramingError) return;
          return socket.send(refused(error));
        });
        return 'streamed';
      } catch (error) {
        return refused(error);
      } finally {
        if (request !== undefined) observe?.(request.kind, outcome, clock.nowMs() - beganMs);
      }

      function refused(error: unknown): Uint8Array {
        const refusal = refusalOf(error, log);
        outcome = refusal.code;
        return encodeRefusal(refusal);
      }
    }

    /** What is not refused to who has a token proves that it is a good one. */
    async function answered(asked: Asked): Promise<object> {
      const reply = await service.answer(asked);
      if ('token' in asked.request) becomeMember();
      return reply;
    }

    function becomeMember(): void {
      members.add(socket);
      socket.limit(memberLimits);
    }
  });
}

function addressOf(socket: FramedSocket): string {
  const { remoteAddress = '' } = socket.stream as Socket;
  return remoteAddress.replace(/^::ffff:/, '');
}

/** The refusal that a client is sent. */
function refusalOf(error: unknown, log: Logger): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof DatabaseUnavailableError || error instanceof PasswordsBusyError)
    return new Refusal('unavailable', error.message);
  log.error({ err: error }, 'a request met a fault of the program');
  return new Refusal('internal', 'a fault of the program; its log says more');
}
