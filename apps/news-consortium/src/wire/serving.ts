/** The server side of the protocol: a frame in, a frame out, in the order of the requests. Whatever a client sends or does not send, others do not notice. */
import type { Socket } from 'node:net';
import type { Clock, Logger } from '@lab/process';
import { PasswordsBusyError } from '@lab/process/passwords';
import { listenFramed, type FramedServer, type FramedSocket } from '@lab/protocol';
import { frameBytesMax, type Request } from '../messages.ts';
import { encodeRefusal, encodeReply, type RequestReader } from './encoding.ts';
import { Refusal } from './refusal.ts';
import { DatabaseUnavailableError } from '../store/database.ts';

/** A request and what it came with. */
export interface Call<R extends Request = Request> {
  readonly request: R;
  /** On the role's clock. */
  readonly deadline: number;
  /** The address that it came from. */
  readonly peer: string;
}

export interface Service {
  /** Resolves with what the reply holds. Throws the refusal; whatever else it throws is a fault of the program, and the client is told no more than that. */
  answer(call: Call): Promise<object>;
  /** Has the rest of the connection, if it takes the request; returns undefined where it is one to be answered. */
  stream?(call: Call, socket: FramedSocket): Promise<void> | undefined;
}

export interface ServeOptions {
  readonly host: string;
  readonly port: number;
  readonly service: Service;
  readonly readRequest: RequestReader;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Connections are short: who is silent for longer has nothing to ask. Watchers send a sign of life more often. */
const idleTimeoutMs = 10_000;
/** Nothing that a client sends takes longer on any network that deserves the name. */
const frameTimeoutMs = 5_000;

export function serve({ host, port, service, readRequest, clock, log }: ServeOptions): Promise<FramedServer> {
  const limits = { frameBytesMax, idleTimeoutMs, frameTimeoutMs, sendTimeoutMs: idleTimeoutMs, closeTimeoutMs: 1_000 };
  return listenFramed({ host, port, limits, connectionsMax: 2_000 }, async (socket) => {
    const peer = addressOf(socket);
    for await (const frame of socket) {
      const reply = await answerFrame(frame, peer);
      if (reply === 'streamed') return;
      await socket.send(reply);
    }

    async function answerFrame(frame: Buffer, peer: string): Promise<Uint8Array | 'streamed'> {
      try {
        const request = readRequest(frame);
        const call = { request, deadline: clock.nowMs() + request.deadlineMs, peer };
        const streaming = service.stream?.(call, socket);
        if (streaming === undefined) return encodeReply(await service.answer(call));
        await streaming.catch((error: unknown) => socket.send(encodeRefusal(refusalOf(error, log))));
        return 'streamed';
      } catch (error) {
        return encodeRefusal(refusalOf(error, log));
      }
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
