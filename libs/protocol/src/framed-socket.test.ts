import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer, Socket, type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import fc from 'fast-check';
import { eventually, FakeClock } from '@lab/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { encodeFrame, encodeHeader } from './codec.ts';
import { connectFramed, listenFramed, sourceOf, type FramedServer, type ListenOptions } from './connect.ts';
import * as errors from './errors.ts';
import { FramedSocket, unsentBytes } from './framed-socket.ts';
import type { Limits } from './limits.ts';

const pem = (name: string): Buffer => readFileSync(join(import.meta.dirname, '../test', name));
// Megabytes through real sockets: only what hangs takes so long.
vi.setConfig({ testTimeout: 120_000 });

/** Stands still unless a test moves it: nothing is too late because the machine is busy. */
let clock: FakeClock;
beforeEach(() => void (clock = new FakeClock()));

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Moves time on, step by step, until the work has settled. */
async function passTime(stepMs: number, work: Promise<unknown>): Promise<void> {
  let settled = false;
  const settle = (): void => void (settled = true);
  work.then(settle, settle);
  await eventually(() => clock.advanceAsync(stepMs).then(() => settled), { intervalMs: 1 });
}

async function listen(options: Partial<ListenOptions>, tls = false, handler = echo): Promise<FramedServer> {
  const secrets = tls ? { tls: { key: pem('test-only.key.pem'), cert: pem('test-only.cert.pem') } } : {};
  const server = await listenFramed({ host: '127.0.0.1', port: 0, clock, ...secrets, ...options }, handler);
  cleanups.push(() => closeAfter(server, 0));
  return server;
}

async function serve(
  handler: (socket: FramedSocket) => Promise<void>,
  limits: Partial<Limits> = {},
  tls = false,
): Promise<FramedServer> {
  return listen({ limits }, tls, handler);
}

async function connectTo(server: FramedServer, limits: Partial<Limits> = {}, tls = false): Promise<FramedSocket> {
  const trust = tls ? { tls: { ca: pem('test-only.cert.pem') } } : {};
  const socket = await connectFramed({ host: '127.0.0.1', port: server.port, limits, clock, ...trust });
  cleanups.push(() => socket.destroy());
  return socket;
}

/** Closes the server when so much time has passed. */
async function closeAfter(server: FramedServer, drainMs: number): Promise<void> {
  const closed = server.close({ drainMs });
  clock.advance(drainMs);
  await closed;
}

const echo = async (socket: FramedSocket): Promise<void> => {
  for await (const frame of socket) await socket.send(frame);
};

/** A peer that is not ours: a plain socket, and the framed socket at its other end. */
async function withStranger(limits: Partial<Limits> = {}): Promise<{ stranger: Socket; socket: FramedSocket; raw: Socket }> {
  const server: Server = createServer({ allowHalfOpen: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const stranger = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true });
  stranger.on('error', () => {});
  const raw = await accepted;
  const socket = new FramedSocket(raw, limits, clock);
  cleanups.push(
    () => server.close(),
    () => stranger.destroy(),
    () => socket.destroy(),
  );
  return { stranger, socket, raw };
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

  it('goes on sending after the peer has ended its side', async () => {
    const server = await serve(
      async (socket) => {
        const frames = await readAll(socket);
        await socket.send(Buffer.from(`${frames.length} frames`));
      },
      {},
      tls,
    );
    const options = { port: server.port, host: '127.0.0.1', allowHalfOpen: true, ca: pem('test-only.cert.pem') };
    const socket = tls ? connectTls(options) : connect(options);
    socket.end(Buffer.concat([encodeFrame(Buffer.from('a')), encodeFrame(Buffer.from('b'))]));
    const received: Buffer[] = [];
    for await (const chunk of socket) received.push(chunk as Buffer);
    expect(Buffer.concat(received)).toEqual(encodeFrame(Buffer.from('2 frames')));
  });

  it('matches replies to many requests in flight', async () => {
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

  it('announces more than it may: whoever reads may tell it so, though it goes on sending, and is not kept by it for long', async () => {
    const { stranger, socket } = await withStranger({ frameBytesMax: 10_000, receivedBytesMax: 1000 });
    stranger.write(Buffer.concat([encodeHeader(1001), Buffer.alloc(1001)]));
    await expect(readAll(socket)).rejects.toThrow(errors.FrameTooLargeError);
    await expect(readAll(socket)).rejects.toThrow(errors.FrameTooLargeError);
    const received: Buffer[] = [];
    stranger.on('data', (chunk) => received.push(chunk));
    await socket.send(Buffer.alloc(2_000, 1));
    for (let count = 0; count < 100; count++) stranger.write(Buffer.alloc(10_000));
    const closed = socket.close();
    await eventually(() => Buffer.concat(received).equals(encodeFrame(Buffer.alloc(2_000, 1))));
    stranger.end();
    await closed;
  });

  it('announces more than it may to who does nothing about it: the connection ends with the time of a close', async () => {
    const { stranger, socket } = await withStranger({ frameBytesMax: 1000, closeTimeoutMs: 3_000 });
    stranger.write(encodeHeader(1001));
    await expect(readAll(socket)).rejects.toThrow(errors.FrameTooLargeError);
    clock.advance(2_999);
    expect(socket.stream.destroyed).toBe(false);
    clock.advance(1);
    expect(socket.stream.destroyed).toBe(true);
  });

  it('replies with more than is allowed: the request fails, and the connection is closed', async () => {
    const { stranger, socket } = await withStranger({ frameBytesMax: 1000 });
    const asked = socket.request(Buffer.from('x'), { timeoutMs: 5_000 });
    stranger.write(encodeHeader(1001));
    await expect(asked).rejects.toThrow(errors.FrameTooLargeError);
    expect(socket.stream.destroyed).toBe(true);
  });

  it('has said who it is: it gets other limits, those of a frame from the next one on', async () => {
    const { stranger, socket } = await withStranger({ receivedBytesMax: 10, idleTimeoutMs: 1_000 });
    expect(socket.hasHeard).toBe(false);
    stranger.write(encodeFrame(Buffer.from('it is me')));
    const frames = socket[Symbol.asyncIterator]();
    await frames.next();
    expect(socket.hasHeard).toBe(true);
    expect(() => socket.limit({ idleTimeoutMs: 0 })).toThrow(RangeError);
    socket.limit({ receivedBytesMax: 1000, idleTimeoutMs: 10_000 });
    const next = frames.next();
    await clock.advanceAsync(9_000);
    stranger.write(encodeFrame(Buffer.alloc(1000)));
    expect((await next).value).toHaveLength(1000);
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
    const { stranger, socket, raw } = await withStranger({ frameTimeoutMs: 2_000, idleTimeoutMs: 1_500 });
    const reading = readAll(socket);
    reading.catch(() => {});
    stranger.write(encodeHeader(1000));
    for (let bytes = 5; bytes < 9; bytes++) {
      stranger.write('x');
      await eventually(() => raw.bytesRead === bytes, { intervalMs: 1 });
      clock.advance(500);
    }
    clock.advance(250);
    await expect(reading).rejects.toThrow(new errors.FrameTimeoutError(2_000));
  });

  it('says nothing: IdleTimeoutError, up to a quarter late, and not before', async () => {
    const { socket } = await withStranger({ idleTimeoutMs: 1_000 });
    const reading = readAll(socket);
    reading.catch(() => {});
    await clock.advanceAsync(1_000);
    expect(socket.stream.destroyed).toBe(false);
    clock.advance(250);
    await expect(reading).rejects.toThrow(new errors.IdleTimeoutError(1_000));
  });

  it('never reads: send waits, then SendTimeoutError, and no more than the limit is held', async () => {
    const frameBytes = 256 * 1024;
    const { stranger, socket, raw } = await withStranger({ bufferedBytesMax: 1024 * 1024 });
    stranger.pause();
    let heldBytes = 0;
    const flood = async (): Promise<void> => {
      for (;;) {
        await socket.send(Buffer.alloc(frameBytes));
        heldBytes = Math.max(heldBytes, raw.writableLength);
      }
    };
    const flooding = flood();
    await passTime(1_000, flooding);
    await expect(flooding).rejects.toThrow(/^the peer did not take \d+ waiting bytes in 30000 ms \(sendTimeoutMs\)$/);
    expect(heldBytes).toBeLessThan(1024 * 1024 + 2 * frameBytes);
  });

  it.each([
    ['large frames', 10_000, 3_000],
    ['empty frames', 0, 1_000_000],
  ])('sends %s faster than we read: it is made to wait, and its silence then is not idleness', async (_, payloadBytes, count) => {
    const idleTimeoutMs = 1_000;
    const { stranger, socket, raw } = await withStranger({
      bufferedBytesMax: 50_000,
      idleTimeoutMs,
      frameTimeoutMs: idleTimeoutMs,
    });
    const frame = encodeFrame(Buffer.alloc(payloadBytes));
    stranger.write(Buffer.alloc(frame.length * count, frame));
    await eventually(() => raw.isPaused());
    const heldBytes = raw.bytesRead;
    expect(heldBytes).toBeLessThan(50_000 + 2 * 64 * 1024);
    await clock.advanceAsync(30 * idleTimeoutMs);
    expect(raw.bytesRead).toBe(heldBytes);
    let read = 0;
    for await (const payload of socket) {
      if (payload.length !== payloadBytes) throw new Error(`a frame of ${payload.length} bytes`);
      if (++read === count) break;
    }
    expect(read).toBe(count);
  });

  it('reads slowly: as long as it takes anything of a large frame, sending goes on', async () => {
    const sendTimeoutMs = 30_000;
    const { stranger, socket, raw } = await withStranger({ sendTimeoutMs, frameBytesMax: 64 * 1024 * 1024 });
    const frame = Buffer.alloc(32 * 1024 * 1024, 1);
    let [received, sips] = [0, true];
    stranger.pause().on('data', (chunk) => {
      received += chunk.length;
      if (sips) stranger.pause();
    });
    const sending = socket.send(frame);
    for (let step = 0; step < 3; step++) {
      const unsent = unsentBytes(raw);
      await eventually(
        () => {
          stranger.resume();
          return unsentBytes(raw) < unsent;
        },
        { intervalMs: 1 },
      );
      clock.advance(0.9 * sendTimeoutMs);
    }
    expect(unsentBytes(raw)).toBeGreaterThan(0);
    sips = false;
    stranger.resume();
    await sending;
    await eventually(() => received === frame.length + 4);
  });

  it('does not reply: RequestTimeoutError for all that is in flight, in whole milliseconds, and the connection is closed', async () => {
    const { socket } = await withStranger();
    const slow = socket.request(Buffer.from('first'), { timeoutMs: 60_000 });
    const fast = socket.request(Buffer.from('second'), { timeoutMs: 49.393641999999 });
    const both = Promise.allSettled([slow, fast]);
    await clock.advanceAsync(49);
    expect(socket.stream.destroyed).toBe(false);
    clock.advance(1);
    expect((await both).map((each) => each.status === 'rejected' && String(each.reason))).toEqual([
      'RequestTimeoutError: no reply within 50 ms',
      'RequestTimeoutError: no reply within 50 ms',
    ]);
    await expect(socket.send(Buffer.from('third'))).rejects.toThrow(errors.FramingError);
  });
});

describe('a request', () => {
  it('that is too large fails alone: the replies to the others stay theirs', async () => {
    const socket = await connectTo(await serve(echo), { frameBytesMax: 10 });
    const ask = (text: string): Promise<string> => socket.request(Buffer.from(text), { timeoutMs: 5_000 }).then(String);
    const [before, tooLarge, after] = await Promise.allSettled([ask('before'), ask('much too large'), ask('after')]);
    expect(before).toEqual({ status: 'fulfilled', value: 'before' });
    expect(tooLarge).toMatchObject({ status: 'rejected', reason: { name: 'FrameTooLargeError', definite: true } });
    expect(after).toEqual({ status: 'fulfilled', value: 'after' });
  });

  it('is matched for as long as the queue of requests never runs empty', async () => {
    const socket = await connectTo(await serve(echo));
    let asked = 0;
    const lane = async (): Promise<void> => {
      for (let number = asked++; number < 5_000; number = asked++) {
        expect(String(await socket.request(Buffer.from(`${number}`), { timeoutMs: 10_000 }))).toBe(`${number}`);
      }
    };
    await Promise.all(Array.from({ length: 8 }, lane));
  });

  it('is refused at once when its peer has ended its side, and fails when that happens later', async () => {
    const { stranger, socket } = await withStranger();
    stranger.resume();
    const underWay = socket.request(Buffer.from('x'), { timeoutMs: 5_000 });
    stranger.end();
    await expect(underWay).rejects.toMatchObject({ name: 'ConnectionClosedError', definite: false });
    const refused = socket.request(Buffer.from('x'), { timeoutMs: 5_000 });
    await expect(refused).rejects.toMatchObject({ name: 'ConnectionClosedError', definite: true });
  });

  it('with nothing left of its time is too late at once, without a complaint of the timer', async () => {
    const { socket } = await withStranger();
    const late = socket.request(Buffer.from('x'), { timeoutMs: -3.2 });
    clock.advance(0);
    await expect(late).rejects.toThrow(/^no reply within 0 ms$/);
  });

  it('needs a timeout that a timer can keep', async () => {
    const { socket } = await withStranger();
    expect(() => socket.request(Buffer.from('x'), { timeoutMs: 2 ** 31 })).toThrow(/^timeoutMs is 2147483648; it must be from/);
  });
});

describe('a reader', () => {
  it('may leave the loop, and a second loop goes on with the next frame', async () => {
    const { stranger, socket } = await withStranger();
    stranger.end(Buffer.concat(['hello', 'a', 'b'].map((text) => encodeFrame(Buffer.from(text)))));
    for await (const frame of socket) {
      expect(String(frame)).toBe('hello');
      break;
    }
    expect((await readAll(socket)).map(String)).toEqual(['a', 'b']);
  });

  it('is alone: a second one is refused, and takes nothing from the first', async () => {
    const { stranger, socket } = await withStranger();
    const first = socket[Symbol.asyncIterator]().next();
    await expect(socket[Symbol.asyncIterator]().next()).rejects.toThrow('one reader at a time');
    stranger.write(encodeFrame(Buffer.from('mine')));
    expect(String((await first).value)).toBe('mine');
  });
});

describe('the end of a connection', () => {
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

  it.each(['before', 'while'])('drains, even when the peer ends its side %s we close', async (when) => {
    const { stranger, socket, raw } = await withStranger();
    const endOfPeer = new Promise((resolve) => raw.once('end', resolve));
    if (when === 'before') {
      stranger.end();
      expect(await readAll(socket)).toEqual([]);
    }
    const large = Buffer.alloc(12 * 1024 * 1024, 1);
    void socket.send(large);
    const closed = socket.close();
    stranger.end();
    await endOfPeer;
    let received = 0;
    for await (const chunk of stranger) received += (chunk as Buffer).length;
    await closed;
    expect(received).toBe(large.length + 4);
  });

  it('is an error of close when the peer does not take what was sent', async () => {
    const { stranger, socket } = await withStranger();
    stranger.pause();
    const sending = Promise.all(Array.from({ length: 3 }, () => socket.send(Buffer.alloc(10 * 1024 * 1024))));
    sending.catch(() => {});
    const closed = socket.close();
    clock.advance(5_000);
    await expect(closed).rejects.toThrow(/^the peer did not take \d+ waiting bytes in 5000 ms \(closeTimeoutMs\)$/);
    await expect(sending).rejects.toThrow(errors.SendTimeoutError);
  });

  it('makes later sends fail, definitely, with the reason', async () => {
    const { socket } = await withStranger();
    const cause = new Error('the session is over');
    socket.destroy(cause);
    const late = socket.send(Buffer.from('late'));
    await expect(late).rejects.toMatchObject({ message: 'the connection is closed: the session is over', definite: true, cause });
  });

  it('comes within the deadline even if the peer never closes its side', async () => {
    const { stranger, socket } = await withStranger();
    const ended = new Promise((resolve) => stranger.resume().once('end', resolve));
    const closed = socket.close();
    await ended;
    clock.advance(5_000);
    await closed;
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
    await closeAfter(server, 20);
    await expect(stubborn.request(Buffer.from('there'), { timeoutMs: 5_000 })).rejects.toThrow(errors.FramingError);
  });
});

describe('a server that closes', () => {
  it('does not wait for a client that never completes its TLS handshake', async () => {
    const server = await serve(echo, {}, true);
    const silent = connect({ port: server.port, host: '127.0.0.1' });
    silent.on('error', () => {});
    await new Promise((resolve) => silent.once('connect', resolve));
    const gone = new Promise((resolve) => silent.once('close', resolve));
    await closeAfter(server, 50);
    await gone;
  });

  it('does not wait for a handler that hangs, and drops its connection', async () => {
    const server = await serve(() => new Promise(() => {}));
    const socket = await connectTo(server);
    await closeAfter(server, 50);
    expect(await readAll(socket).catch((error: unknown) => error)).toSatisfy(
      (end) => end instanceof errors.ConnectionClosedError || (Array.isArray(end) && end.length === 0),
    );
  });

  it('lets those finish that are being served', async () => {
    const served = Promise.withResolvers<void>();
    const server = await serve(async (socket) => {
      for await (const frame of socket) {
        served.resolve();
        await socket.send(frame, Buffer.from('!'));
        return;
      }
    });
    const socket = await connectTo(server);
    const reply = socket.request(Buffer.from('last'), { timeoutMs: 5_000 });
    await served.promise;
    const closed = server.close({ drainMs: 5_000 });
    expect(String(await reply)).toBe('last!');
    await socket.close();
    await closed;
  });

  it('drops a connection whose handler throws, and serves the others', async () => {
    const server = await serve(async (socket) => {
      for await (const frame of socket) {
        if (String(frame) === 'bad') throw new Error('cannot serve this');
        await socket.send(frame);
      }
    });
    const [good, bad] = [await connectTo(server), await connectTo(server)];
    await expect(bad.request(Buffer.from('bad'), { timeoutMs: 5_000 })).rejects.toThrow(errors.ConnectionClosedError);
    expect(String(await good.request(Buffer.from('good'), { timeoutMs: 5_000 }))).toBe('good');
  });
});

describe('limits', () => {
  it('are refused with field, value and range', () => {
    expect(() => new FramedSocket(new Socket(), { frameBytesMax: 0 })).toThrow(
      'frameBytesMax is 0; it must be from 1 to 4294967295',
    );
    expect(() => new FramedSocket(new Socket(), { bufferedBytesMax: 1.5 })).toThrow(
      'bufferedBytesMax is 1.5; it must be a whole number',
    );
    expect(() => new FramedSocket(new Socket(), { idleTimeoutMs: NaN })).toThrow('idleTimeoutMs is NaN');
    expect(() => new FramedSocket(new Socket(), { closeTimeoutMs: Infinity })).toThrow(
      'closeTimeoutMs is Infinity; it must be from 10',
    );
  });

  it('hold for what we send', async () => {
    const { socket } = await withStranger({ frameBytesMax: 10 });
    await expect(socket.send(Buffer.alloc(6), Buffer.alloc(5))).rejects.toThrow('a frame of 11 bytes; at most 10 are allowed');
  });

  it('turn away connections above their number', async () => {
    const server = await listenFramed({ host: '127.0.0.1', port: 0, connectionsMax: 1, clock }, echo);
    cleanups.push(() => closeAfter(server, 0));
    const first = await connectTo(server);
    expect(String(await first.request(Buffer.from('in'), { timeoutMs: 5_000 }))).toBe('in');
    const second = await connectTo(server);
    await expect(second.request(Buffer.from('out'), { timeoutMs: 5_000 })).rejects.toThrow(errors.ConnectionClosedError);
  });

  it.each([
    ['TCP', false],
    ['TLS', true],
  ])('drop the one that has been silent the longest for a new one, over %s', async (_, tls) => {
    const server = await listen({ connectionsMax: 3 }, tls);
    const [busy, silent, younger] = [
      await connectTo(server, {}, tls),
      await connectTo(server, {}, tls),
      await connectTo(server, {}, tls),
    ];
    await busy.request(Buffer.from('a'), { timeoutMs: 5_000 });
    const latest = await connectTo(server, {}, tls);
    await expect(readAll(silent)).resolves.toEqual([]);
    for (const socket of [busy, younger, latest])
      expect(String(await socket.request(Buffer.from('b'), { timeoutMs: 5_000 }))).toBe('b');
  });

  it('drop who waits for a stranger, be it one that has spoken; who is none, or is being answered, stays', async () => {
    const members = new Set<FramedSocket>();
    const held = Promise.withResolvers<void>();
    const server = await listen({ connectionsMax: 3, isStranger: (socket) => !members.has(socket) }, false, async (socket) => {
      for await (const frame of socket) {
        if (String(frame) === 'member') members.add(socket);
        if (String(frame) === 'long') await held.promise;
        await socket.send(frame);
      }
    });
    const ask = async (socket: FramedSocket, text: string): Promise<string> =>
      String(await socket.request(Buffer.from(text), { timeoutMs: 5_000 }));
    const [member, answered, stranger] = [await connectTo(server), await connectTo(server), await connectTo(server)];
    await ask(member, 'member');
    await ask(stranger, 'x');
    const long = ask(answered, 'long');
    await ask(stranger, 'y');
    expect(await ask(await connectTo(server), 'member')).toBe('member');
    await expect(readAll(stranger)).resolves.toEqual([]);
    await expect(ask(await connectTo(server), 'x')).rejects.toThrow(errors.ConnectionClosedError);
    held.resolve();
    expect(await long).toBe('long');
  });

  it('count those of one source by themselves', async () => {
    const server = await listen({ connectionsMax: 10, connectionsPerSourceMax: 2 });
    const from = (localAddress: string): Socket =>
      connect({ port: server.port, host: '127.0.0.1', localAddress }).on('error', () => {});
    const ask = async (socket: Socket): Promise<unknown> => {
      socket.write(encodeFrame(Buffer.from('x')));
      return Promise.race([once(socket, 'data').then(() => 'answered'), once(socket, 'close').then(() => 'closed')]);
    };
    const ours = [from('127.0.0.1'), from('127.0.0.1')];
    for (const socket of ours) expect(await ask(socket)).toBe('answered');
    expect(await ask(from('127.0.0.1'))).toBe('closed');
    expect(await ask(from('127.0.0.2'))).toBe('answered');
    ours[0]!.destroy();
    await eventually(async () => (await ask(from('127.0.0.1'))) === 'answered');
  });
});

it.each([
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
  ['2001:db8::5', '2001:db8:0:0'],
  ['2001:db8:1:2::', '2001:db8:1:2'],
  ['fe80::1%eth0', 'fe80:0:0:0'],
  ['::1', '0:0:0:0'],
])('takes %s for one of the source %s', (remoteAddress, source) => {
  expect(sourceOf({ remoteAddress })).toBe(source);
});

it('says where it could not connect, and why', async () => {
  const error = await connectFramed({ host: '127.0.0.1', port: 1 }).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(errors.ConnectError);
  expect(String(error)).toContain('cannot connect to 127.0.0.1:1: connect ECONNREFUSED');
});

it('gives up on a server that accepts and never completes the TLS handshake', async () => {
  const accepted = Promise.withResolvers<void>();
  const silent = createServer((socket) => {
    cleanups.push(() => socket.destroy());
    accepted.resolve();
  });
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => silent.close());
  const { port } = silent.address() as AddressInfo;
  const connecting = connectFramed({ host: '127.0.0.1', port, tls: {}, clock });
  await accepted.promise;
  clock.advance(5_000);
  await expect(connecting).rejects.toThrow(`cannot connect to 127.0.0.1:${port}: no connection within 5000 ms`);
});

it('says why an address cannot be listened on', async () => {
  const { port } = await serve(echo);
  await expect(listenFramed({ host: '127.0.0.1', port }, echo)).rejects.toThrow('EADDRINUSE');
});
