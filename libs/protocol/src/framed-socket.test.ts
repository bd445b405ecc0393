import { readFileSync } from 'node:fs';
import { connect, createServer, Socket, type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import { eventually } from '@lab/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeFrame, encodeHeader } from './codec.ts';
import { connectFramed, listenFramed, type FramedServer } from './connect.ts';
import * as errors from './errors.ts';
import { FramedSocket } from './framed-socket.ts';
import type { Limits } from './limits.ts';

const pem = (name: string): Buffer => readFileSync(join(import.meta.dirname, '../test', name));
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function serve(
  handler: (socket: FramedSocket) => Promise<void>,
  limits: Partial<Limits> = {},
  tls = false,
): Promise<FramedServer> {
  const secrets = tls ? { tls: { key: pem('test-only.key.pem'), cert: pem('test-only.cert.pem') } } : {};
  const server = await listenFramed({ host: '127.0.0.1', port: 0, limits, ...secrets }, handler);
  cleanups.push(() => server.close());
  return server;
}

async function connectTo(server: FramedServer, limits: Partial<Limits> = {}, tls = false): Promise<FramedSocket> {
  const trust = tls ? { tls: { ca: pem('test-only.cert.pem') } } : {};
  const socket = await connectFramed({ host: '127.0.0.1', port: server.port, limits, ...trust });
  cleanups.push(() => socket.destroy());
  return socket;
}

const echo = async (socket: FramedSocket): Promise<void> => {
  for await (const frame of socket) await socket.send(frame);
};

/** A peer that is not ours: a plain socket, and the framed socket at its other end. */
async function withStranger(limits: Partial<Limits> = {}): Promise<{ stranger: Socket; socket: FramedSocket }> {
  const server: Server = createServer({ allowHalfOpen: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const stranger = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true });
  stranger.on('error', () => {});
  const socket = new FramedSocket(await accepted, limits);
  cleanups.push(
    () => server.close(),
    () => stranger.destroy(),
    () => socket.destroy(),
  );
  return { stranger, socket };
}

async function readAll(socket: FramedSocket): Promise<Buffer[]> {
  const frames: Buffer[] = [];
  for await (const frame of socket) frames.push(frame);
  return frames;
}

describe.each([
  ['TCP', false],
  ['TLS', true],
] as const)('over %s', (_, tls) => {
  it('brings back every frame as it was, of any size, in order', async () => {
    const socket = await connectTo(await serve(echo, {}, tls), {}, tls);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 300_000 }), { minLength: 1, maxLength: 8 }), async (sizes) => {
        const frames = sizes.map((size, index) => Buffer.alloc(size, index + 1));
        const replies = socket[Symbol.asyncIterator]();
        const sending = Promise.all(
          frames.map((frame) => socket.send(frame.subarray(0, third(frame)), frame.subarray(third(frame)))),
        );
        for (const frame of frames) expect(frame.equals((await replies.next()).value as Buffer)).toBe(true);
        await sending;
      }),
      { numRuns: 30 },
    );
  });

  it('matches replies to many requests under way', async () => {
    const socket = await connectTo(await serve(echo, {}, tls), {}, tls);
    const replies = await Promise.all(
      Array.from({ length: 500 }, (__, index) => socket.request(Buffer.from(String(index)), { timeoutMs: 10_000 })),
    );
    expect(replies.map(String)).toEqual(Array.from({ length: 500 }, (__, index) => String(index)));
  });
});

const third = (frame: Buffer): number => Math.floor(frame.length / 3);

describe('a peer that misbehaves', () => {
  it('announces more than is allowed: FrameTooLargeError, after the frames before it', async () => {
    const { stranger, socket } = await withStranger({ frameBytesMax: 1000 });
    stranger.write(Buffer.concat([encodeFrame(Buffer.from('good')), encodeHeader(1001)]));
    const frames = socket[Symbol.asyncIterator]();
    expect(String((await frames.next()).value)).toBe('good');
    await expect(frames.next()).rejects.toThrow(errors.FrameTooLargeError);
  });

  it('ends in the middle of a frame: TruncatedFrameError', async () => {
    const { stranger, socket } = await withStranger();
    stranger.end(encodeFrame(Buffer.from('abcdef')).subarray(0, 7));
    await expect(readAll(socket)).rejects.toThrow('the stream ended after 7 of 10 bytes');
  });

  it('is reset in the middle of a frame: ConnectionClosedError', async () => {
    const { stranger, socket } = await withStranger();
    stranger.write(encodeFrame(Buffer.from('abcdef')).subarray(0, 7));
    const reading = readAll(socket);
    stranger.resetAndDestroy();
    await expect(reading).rejects.toThrow(errors.ConnectionClosedError);
  });

  it('sends byte after byte and never completes a frame: FrameTimeoutError, though it is never silent for long', async () => {
    const { stranger, socket } = await withStranger({ frameTimeoutMs: 200, idleTimeoutMs: 150 });
    stranger.write(encodeHeader(1000));
    const dripping = setInterval(() => stranger.write('x'), 10);
    cleanups.push(() => clearInterval(dripping));
    await expect(readAll(socket)).rejects.toThrow(errors.FrameTimeoutError);
  });

  it('says nothing: IdleTimeoutError', async () => {
    const { socket } = await withStranger({ idleTimeoutMs: 60 });
    await expect(readAll(socket)).rejects.toThrow(errors.IdleTimeoutError);
  });

  it('never reads: send waits, then SendTimeoutError, and no more than the limit is held', async () => {
    const { stranger, socket } = await withStranger({ sendTimeoutMs: 200 });
    stranger.pause();
    const flood = async (): Promise<void> => {
      for (;;) await socket.send(Buffer.alloc(256 * 1024));
    };
    await expect(flood()).rejects.toThrow(errors.SendTimeoutError);
  });

  it('sends faster than we read: it is made to wait, and we hold little more than the limit', async () => {
    const frame = encodeFrame(Buffer.alloc(10_000));
    const { stranger, socket } = await withStranger({ bufferedBytesMax: 50_000, idleTimeoutMs: 100 });
    const framesMax = 3_000;
    for (let count = 0; count < framesMax; count++) stranger.write(frame);
    // The kernel's buffers are full when no more goes out: most of the 30 MB then wait at the peer, and silence is not idleness, as we do not read.
    const waiting = await eventually(() => stranger.writableLength > 10_000_000 && stranger.writableLength);
    expect(waiting).toBeGreaterThan(10_000_000);
    let read = 0;
    for await (const payload of socket) {
      expect(payload.length).toBe(10_000);
      if (++read === framesMax) break;
    }
    expect(read).toBe(framesMax);
  });

  it('does not reply: RequestTimeoutError for all that is under way, and the connection is closed', async () => {
    const { socket } = await withStranger();
    const slow = socket.request(Buffer.from('first'), { timeoutMs: 60_000 });
    const fast = socket.request(Buffer.from('second'), { timeoutMs: 50 });
    await expect(fast).rejects.toThrow('no reply within 50 ms');
    await expect(slow).rejects.toThrow(errors.RequestTimeoutError);
    await expect(socket.send(Buffer.from('third'))).rejects.toThrow(errors.FramingError);
  });
});

describe('the end of a connection', () => {
  it('is half-closed by a peer that still reads: iteration ends, and our answer arrives', async () => {
    const server = await serve(async (socket) => {
      const frames = await readAll(socket);
      await socket.send(Buffer.from(`${frames.length} frames`));
    });
    const raw = connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
    const received: Buffer[] = [];
    raw.on('data', (chunk) => received.push(chunk));
    raw.end(Buffer.concat([encodeFrame(Buffer.from('a')), encodeFrame(Buffer.from('b'))]));
    await new Promise((resolve) => raw.once('close', resolve));
    expect(Buffer.concat(received)).toEqual(encodeFrame(Buffer.from('2 frames')));
  });

  it('drains: all that was sent before close arrives', async () => {
    const received: number[] = [];
    const server = await serve(async (socket) => {
      for await (const frame of socket) received.push(frame.length);
    });
    const socket = await connectTo(server);
    const sizes = Array.from({ length: 50 }, (_, index) => index * 5_000);
    for (const size of sizes) void socket.send(Buffer.alloc(size));
    await socket.close();
    expect(received).toEqual(sizes);
  });

  it('comes within the deadline even if the peer never closes its side', async () => {
    const { stranger, socket } = await withStranger({ closeTimeoutMs: 50 });
    stranger.on('end', () => {});
    await socket.close();
    await expect(socket.send(Buffer.from('late'))).rejects.toThrow(errors.ConnectionClosedError);
  });

  it('reaches whoever waits: a reader, a sender and a request', async () => {
    const { stranger, socket } = await withStranger();
    const reader = socket[Symbol.asyncIterator]().next();
    stranger.resetAndDestroy();
    await expect(reader).rejects.toThrow(errors.ConnectionClosedError);
    await expect(socket.send(Buffer.from('x'))).rejects.toThrow(errors.ConnectionClosedError);
    await expect(socket.request(Buffer.from('x'), { timeoutMs: 1000 })).rejects.toThrow(errors.ConnectionClosedError);
  });

  it('comes to all connections when the server closes, after those that end by themselves in time', async () => {
    const server = await serve(echo);
    const [polite, stubborn] = [await connectTo(server), await connectTo(server)];
    expect(String(await stubborn.request(Buffer.from('here'), { timeoutMs: 5_000 }))).toBe('here');
    await polite.close();
    await server.close({ drainMs: 20 });
    await expect(stubborn.request(Buffer.from('there'), { timeoutMs: 5_000 })).rejects.toThrow(errors.FramingError);
  });
});

describe('limits', () => {
  it('are refused with field, value and range', () => {
    expect(() => new FramedSocket(new Socket(), { frameBytesMax: 0 })).toThrow(
      'frameBytesMax is 0; it must be from 1 to 4294967295',
    );
    expect(() => new FramedSocket(new Socket(), { idleTimeoutMs: NaN })).toThrow('idleTimeoutMs is NaN');
  });

  it('hold for what we send', async () => {
    const { socket } = await withStranger({ frameBytesMax: 10 });
    await expect(socket.send(Buffer.alloc(6), Buffer.alloc(5))).rejects.toThrow('a frame of 11 bytes; at most 10 are allowed');
  });

  it('turn away connections above their number', async () => {
    const server = await listenFramed({ host: '127.0.0.1', port: 0, connectionsMax: 1 }, echo);
    cleanups.push(() => server.close());
    const first = await connectTo(server);
    expect(String(await first.request(Buffer.from('in'), { timeoutMs: 5_000 }))).toBe('in');
    const second = await connectTo(server);
    await expect(second.request(Buffer.from('out'), { timeoutMs: 5_000 })).rejects.toThrow(errors.ConnectionClosedError);
  });
});

it('says where it could not connect, and why', async () => {
  const error = await connectFramed({ host: '127.0.0.1', port: 1 }).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(errors.ConnectError);
  expect(String(error)).toContain('cannot connect to 127.0.0.1:1: connect ECONNREFUSED');
});
