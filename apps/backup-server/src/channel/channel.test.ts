import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { connectFramed, encodeFrame, listenFramed, type FramedServer, type FramedSocket } from '@lab/protocol';
import { MalformedMessageError } from '@lab/protocol/messages';
import { eventually } from '@lab/testing';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  AuthenticationError,
  connectChannel,
  limits,
  listenChannels,
  RefusedError,
  type Asker,
  type Channel,
} from './channel.ts';
import { decode, encode, encodeParts, type Head } from '../messages.ts';

const secret = Buffer.from('a secret of more than sixteen characters');
const wrong = Buffer.from('another secret of more than sixteen characters');
const hash = 'ab'.repeat(32);

let servers: FramedServer[] = [];
let proxies: Server[] = [];
let sockets: { destroy(): unknown }[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const socket of sockets) socket.destroy();
  for (const proxy of proxies) proxy.close();
  for (const server of servers) await server.close();
  [servers, proxies, sockets] = [[], [], []];
});

interface Answerer {
  server: FramedServer;
  refused: Error[];
  /** Of those that were taken, one after the other. */
  channels: Channel[];
}

/** Answers those who know the secret with `serve`; without it, keeps the channel open until the test is over. */
async function answerer({
  asker = 'admin',
  knows = secret,
  serve,
}: { asker?: Asker; knows?: Buffer; serve?: (channel: Channel) => Promise<void> } = {}): Promise<Answerer> {
  const found: Answerer = { server: undefined!, refused: [], channels: [] };
  const listening = {
    ...{ host: '127.0.0.1', port: 0, name: 'node-1', identity: 'node-node-1', connectionsMax: 10 },
    ...{ credentials: { secret: knows }, asker, onRefused: (error: Error) => void found.refused.push(error) },
  };
  found.server = await listenChannels(listening, async (channel) => {
    found.channels.push(channel);
    sockets.push(channel);
    await (serve?.(channel) ?? new Promise(() => undefined));
  });
  servers.push(found.server);
  return found;
}

const targetOf = ({ port }: { port: number }) => ({ host: '127.0.0.1', port, identity: 'node-node-1' });

async function ask(
  target: { port: number },
  { asker = 'admin', knows = secret }: { asker?: Asker; knows?: Buffer } = {},
): Promise<Channel> {
  const channel = await connectChannel(targetOf(target), asker, { secret: knows });
  sockets.push(channel);
  return channel;
}

/** Both ends of a channel, through somebody on the wire. */
async function pair(wire?: Wire): Promise<[asks: Channel, answers: Channel]> {
  const found = await answerer();
  const asks = await ask(wire === undefined ? found.server : { port: await listenOn(found.server.port, wire) });
  await eventually(() => found.channels.length === 1);
  return [asks, found.channels[0]!];
}

/** Sees every frame, and says which frames go on instead; `number` counts each direction from 0. */
type Wire = (frame: Buffer, number: number, from: 'asker' | 'answerer') => readonly Buffer[];

async function listenOn(port: number, wire: Wire): Promise<number> {
  const proxy = createServer((client) => {
    const target = connect({ host: '127.0.0.1', port });
    forward(client, target, (frame, number) => wire(frame, number, 'asker'));
    forward(target, client, (frame, number) => wire(frame, number, 'answerer'));
  });
  proxies.push(proxy);
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return (proxy.address() as AddressInfo).port;
}

function forward(from: Socket, to: Socket, change: (frame: Buffer, number: number) => readonly Buffer[]): void {
  sockets.push(from);
  let number = 0;
  let held = Buffer.alloc(0);
  from.on('data', (data: Buffer) => {
    held = Buffer.concat([held, data]);
    for (; held.length >= 4 && held.length >= 4 + held.readUInt32BE(0); held = held.subarray(4 + held.readUInt32BE(0)))
      for (const frame of change(held.subarray(4, 4 + held.readUInt32BE(0)), number++)) to.write(encodeFrame(frame));
  });
  from.on('error', () => to.destroy());
  from.on('close', () => to.end());
}

/** Speaks frames, and nothing of the handshake by itself. */
async function stranger({ port }: { port: number }): Promise<FramedSocket> {
  const socket = await connectFramed({ host: '127.0.0.1', port, limits });
  sockets.push(socket);
  return socket;
}

async function frame(socket: FramedSocket): Promise<Buffer | undefined> {
  const next: IteratorResult<Buffer, unknown> = await socket[Symbol.asyncIterator]().next();
  return next.done === true ? undefined : next.value;
}

const send = (socket: FramedSocket, head: Head): Promise<void> => socket.send(...encodeParts(head));

describe('two who know the secret', () => {
  it('know who the other is, and understand each other', async () => {
    const [asks, answers] = await pair();
    expect([asks.peer, answers.peer]).toEqual(['node-1', 'admin']);
    await asks.send({ kind: 'backup', path: 'docs/ä\udcff' });
    expect((await answers.expect('list', 'backup')).head).toEqual({ kind: 'backup', path: 'docs/ä\udcff' });
    await answers.send({ kind: 'bundle' }, Buffer.from('one '), Buffer.from('two'));
    expect((await asks.expect('bundle')).body.toString()).toBe('one two');
  });

  it('keep the order of many messages in both directions at once', async () => {
    const [asks, answers] = await pair();
    const numbers = Array.from({ length: 300 }, (_, index) => index);
    const received = async (channel: Channel): Promise<number[]> => {
      const got: number[] = [];
      for (let count = 0; count < 300; count++) got.push((await channel.expect('kept', 'bundle')).body.length);
      return got;
    };
    const sent = [asks, answers].map(async (channel) => {
      for (const length of numbers)
        await channel.send(length % 2 === 0 ? { kind: 'bundle' } : { kind: 'kept', bytes: length }, Buffer.alloc(length));
    });
    expect(await Promise.all([received(asks), received(answers)])).toEqual([numbers, numbers]);
    await Promise.all(sent);
  });

  it('hear when the other has ended, and why it refuses', async () => {
    const [asks, answers] = await pair();
    await answers.send({ kind: 'failed', reason: 'the disk is full', code: 7 });
    await expect(asks.receive('answer')).rejects.toMatchObject({ name: 'RefusedError', message: 'the disk is full', code: 7 });
    const closing = answers.close();
    expect(await asks.receive('answer')).toBeUndefined();
    await expect(asks.expect('answer')).rejects.toThrow(RefusedError);
    await Promise.all([asks.close(), closing]);
  });

  it('never say it, nor anything that it could be told by', async () => {
    const seen: Buffer[] = [];
    const [asks, answers] = await pair((bytes) => {
      seen.push(Buffer.from(bytes));
      return [bytes];
    });
    for (const [from, to] of [
      [asks, answers],
      [answers, asks],
    ] as const) {
      await from.send({ kind: 'backup', path: 'docs' });
      await from.send({ kind: 'bundle' }, Buffer.from('content'));
      await to.expect('backup');
      await to.expect('bundle');
    }
    const wire = Buffer.concat(seen);
    expect(wire.includes('content')).toBe(true);
    for (const form of [secret, createHash('sha256').update(secret).digest()])
      for (const said of [
        form,
        form.toString('hex'),
        form.toString('hex').toUpperCase(),
        form.toString('base64'),
        form.toString('base64url'),
      ])
        expect(wire.includes(said)).toBe(false);
  });

  it('say other numbers and proofs each time', async () => {
    const seen: string[] = [];
    const { server } = await answerer();
    const port = await listenOn(server.port, (bytes) => {
      seen.push(...(bytes.toString('latin1').match(/[0-9a-f]{64}/g) ?? []));
      return [bytes];
    });
    for (let count = 0; count < 5; count++) await ask({ port });
    expect(seen).toHaveLength(5 * 4);
    expect(new Set(seen).size).toBe(seen.length);
  });
});

describe('who does not know the secret', () => {
  it('and asks is refused, and serves nothing', async () => {
    const { server, refused, channels } = await answerer();
    await expect(ask(server, { knows: wrong })).rejects.toMatchObject({ name: 'AuthenticationError', message: 'wrong secret' });
    expect(refused).toMatchObject([{ name: 'AuthenticationError', message: 'wrong secret' }]);
    expect(channels).toEqual([]);
    await ask(server);
    expect(channels).toHaveLength(1);
  });

  it.each<[string, (hello: Head<'hello'>) => string]>([
    ['no proof', () => ''],
    ['a proof that is none', () => 'not hex at all'],
    ['a proof of zeros', () => '00'.repeat(32)],
    ['the proof of the asker', ({ proof }) => proof],
    ['the number of the asker', ({ nonce }) => nonce],
  ])('and answers with %s is found out', async (_, proofOf) => {
    const server = await listenFramed({ host: '127.0.0.1', port: 0, limits }, async (socket) => {
      await send(socket, { kind: 'challenge', nonce: hash });
      const { head } = decode((await frame(socket))!, 'hello');
      await send(socket, { kind: 'welcome', name: 'node-1', proof: proofOf(head) });
      await frame(socket).catch(() => undefined);
    });
    servers.push(server);
    await expect(ask(server)).rejects.toMatchObject({
      name: 'AuthenticationError',
      message: 'the other side does not know the secret',
    });
  });

  it('gets nowhere with what it heard on another connection', async () => {
    const heard: Buffer[] = [];
    const { server, refused, channels } = await answerer();
    const port = await listenOn(server.port, (bytes, _, from) => {
      if (from === 'asker') heard.push(Buffer.from(bytes));
      return [bytes];
    });
    const honest = await ask({ port });
    await honest.send({ kind: 'shutdown' });
    await eventually(() => heard.length === 2);
    const socket = await stranger(server);
    await frame(socket);
    for (const bytes of heard) await socket.send(bytes);
    expect(decode((await frame(socket))!, 'failed').head.reason).toBe('wrong secret');
    expect(refused).toHaveLength(1);
    expect(channels).toHaveLength(1);
  });

  it('gets nowhere with the answer to its own question, asked of the other', async () => {
    // It lets a requester prove itself to it, with the number that a node has asked it for.
    const node = await answerer({ asker: 'requester' });
    const socket = await stranger(node.server);
    const over = Promise.withResolvers<void>();
    const { head: challenge } = decode((await frame(socket))!, 'challenge');
    const server = await listenFramed({ host: '127.0.0.1', port: 0, limits }, async (victim) => {
      await send(victim, challenge);
      const { head } = decode((await frame(victim))!, 'hello');
      await send(socket, { ...head, role: 'requester' });
      await over.promise;
    });
    servers.push(server);
    const victim = ask(server, { asker: 'admin' }).catch((error: unknown) => error);
    expect(decode((await frame(socket))!, 'failed').head.reason).toBe('wrong secret');
    expect(node.channels).toEqual([]);
    over.resolve();
    expect(await victim).toBeInstanceOf(AuthenticationError);
  });

  it('is cut off when it says nothing, whichever side it is on', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { server, refused } = await answerer();
    const socket = await stranger(server);
    await frame(socket);
    vi.advanceTimersByTime(4_900);
    expect(refused).toEqual([]);
    vi.advanceTimersByTime(200);
    expect(await frame(socket).catch(() => undefined)).toBeUndefined();
    expect(refused.map(({ message }) => message)).toEqual(['the other side did not say who it is within 5 s']);

    let connected = false;
    const silent = await listenFramed({ host: '127.0.0.1', port: 0, limits }, async (victim) => {
      connected = true;
      await frame(victim).catch(() => undefined);
    });
    servers.push(silent);
    const asking = ask(silent).catch((error: unknown) => error);
    await vi.waitFor(() => expect(connected).toBe(true));
    // The connection may be made here a moment later than there.
    const answer = await vi.waitFor(async () => {
      vi.advanceTimersByTime(5_100);
      return (
        (await Promise.race([asking, new Promise((resolve) => setImmediate(resolve, undefined))])) ??
        Promise.reject(new Error('still there'))
      );
    });
    expect(answer).toBeInstanceOf(AuthenticationError);
  });
});

describe('who asks the wrong one', () => {
  it('is told whom it answers', async () => {
    const node = await answerer({ asker: 'requester' });
    await expect(ask(node.server, { asker: 'admin' })).rejects.toThrow('node-1 answers requesters only');
    const { server } = await answerer({ asker: 'admin' });
    await expect(ask(server, { asker: 'requester' })).rejects.toThrow('node-1 answers admins only');
  });

  it('does not become another on the way', async () => {
    const node = await answerer({ asker: 'requester' });
    const port = await listenOn(node.server.port, (bytes, number, from) =>
      from === 'asker' && number === 0 ? [encode({ ...decode(bytes, 'hello').head, role: 'requester' })] : [bytes],
    );
    await expect(ask({ port }, { asker: 'admin' })).rejects.toThrow('wrong secret');
    expect(node.channels).toEqual([]);
  });

  it('or nobody, or what is no server of ours, hears so', async () => {
    const server = createServer((socket) => socket.on('error', () => undefined).end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    proxies.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    await expect(ask(server.address() as AddressInfo)).rejects.toThrow('a frame of 1213486160 bytes');
    const closing = createServer((socket) => socket.on('error', () => undefined).end());
    proxies.push(closing);
    closing.listen(0, '127.0.0.1');
    await once(closing, 'listening');
    await expect(ask(closing.address() as AddressInfo)).rejects.toThrow('closed the connection before it had said who it is');
    await expect(ask({ port: 1 })).rejects.toThrow('127.0.0.1:1');
  });
});

describe('rubbish instead of a handshake', () => {
  it.each<[string, Buffer]>([
    ['nothing', Buffer.alloc(0)],
    ['zeros', Buffer.alloc(100)],
    ['text', Buffer.from('hello')],
    ['a message of another kind', encode({ kind: 'list' })],
    ['a welcome', encode({ kind: 'welcome', name: 'x', proof: '' })],
    ['a hello with more in it than it may have', encode({ kind: 'hello', role: 'admin', nonce: hash, proof: 'f'.repeat(2000) })],
    [
      'a hello with a number that is none',
      Buffer.from('\0\0\0\x40{"kind":"hello","role":"admin","nonce":"x","proof":""}           '),
    ],
    ['a megabyte', Buffer.alloc(1024 * 1024, 'x')],
  ])('of %s is refused with a reason, and others are served', async (_, bytes) => {
    const { server, refused, channels } = await answerer();
    const socket = await stranger(server);
    await frame(socket);
    await socket.send(bytes);
    expect(decode((await frame(socket))!, 'failed').head.reason).not.toBe('');
    expect(await frame(socket).catch(() => undefined)).toBeUndefined();
    expect(refused).toHaveLength(1);
    await ask(server);
    expect(channels).toHaveLength(1);
  });

  it('that is not even a frame breaks the connection, and others are served', async () => {
    const { server, refused, channels } = await answerer();
    for (const bytes of [Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), Buffer.alloc(50, 0xff)]) {
      const socket = connect({ host: '127.0.0.1', port: server.port });
      sockets.push(socket);
      socket.on('error', () => undefined).resume();
      socket.write(bytes);
      await eventually(() => socket.closed);
    }
    expect(refused).toHaveLength(2);
    await ask(server);
    expect(channels).toHaveLength(1);
  });
});

describe('who sits on the wire', () => {
  /** What the answerer sees when somebody does this to the asker's messages, of which the first is its hello. */
  async function received(
    change: (frame: Buffer, number: number) => readonly Buffer[],
    messages: readonly Head[],
  ): Promise<unknown[]> {
    const [asks, answers] = await pair((bytes, number, from) =>
      from === 'asker' && number > 0 ? change(bytes, number) : [bytes],
    );
    for (const head of messages) await asks.send(head, Buffer.from('body'));
    await asks.close().catch(() => undefined);
    const seen: unknown[] = [];
    for (;;) {
      const message = await answers.receive('list', 'status', 'kept', 'bundle').catch((error: unknown) => error as Error);
      if (message === undefined) return seen;
      if (message instanceof Error) return [...seen, message.name];
      seen.push(message.head.kind);
    }
  }
  const three: Head[] = [{ kind: 'list' }, { kind: 'status' }, { kind: 'kept', bytes: 5 }];

  it('and does nothing is not noticed', async () => {
    expect(await received((bytes) => [bytes], three)).toEqual(['list', 'status', 'kept']);
  });

  it('cannot change a byte of a message, head, body or proof', async () => {
    const lengths: number[] = [];
    await received((bytes) => [bytes].map((each) => (lengths.push(each.length), each)), [{ kind: 'kept', bytes: 5 }]);
    for (let at = 0; at < lengths[0]!; at += 3) {
      const seen = await received(
        (bytes) => {
          const copy = Buffer.from(bytes);
          copy[at]! ^= 1;
          return [copy];
        },
        [{ kind: 'kept', bytes: 5 }],
      );
      expect(seen).toHaveLength(1);
      expect(['AuthenticationError', 'MalformedMessageError']).toContain(seen[0]);
    }
  });

  it('cannot leave out a message, repeat one, or send them in another order', async () => {
    const refused = ['AuthenticationError'];
    expect(await received((bytes, number) => (number === 1 ? [] : [bytes]), three)).toEqual(refused);
    expect(await received((bytes, number) => (number === 2 ? [] : [bytes]), three)).toEqual(['list', ...refused]);
    expect(await received((bytes) => [bytes, bytes], three)).toEqual(['list', ...refused]);
    let held: Buffer | undefined;
    const swapped = (bytes: Buffer, number: number): Buffer[] => {
      if (number === 1) held = Buffer.from(bytes);
      return number === 1 ? [] : number === 2 ? [bytes, held!] : [bytes];
    };
    expect(await received(swapped, three)).toEqual(refused);
  });

  it('cannot make a message of its own, or send one back to where it came from', async () => {
    const [asks] = await pair((bytes, number, from) => (from === 'asker' && number > 0 ? [] : [bytes]));
    await asks.send({ kind: 'list' });
    expect(await received((bytes) => [encode({ kind: 'list' }), bytes], three)).not.toContain('list');
    expect(await received((bytes) => [Buffer.concat([Buffer.alloc(16), encode({ kind: 'list' })]), bytes], three)).toEqual([
      'AuthenticationError',
    ]);
    let sent: Buffer | undefined;
    const [asker, answers] = await pair((bytes, number, from) => {
      if (from === 'asker' && number === 1) sent = Buffer.from(bytes);
      return from === 'answerer' && number > 1 ? [sent!] : [bytes];
    });
    await asker.send({ kind: 'list' });
    await answers.expect('list');
    await answers.send({ kind: 'status' });
    await expect(asker.expect('list', 'status')).rejects.toThrow('a message was changed on its way, or left out');
  });

  it('cannot pass something else for a bundle, or a bundle for something else', async () => {
    const [from, to] = [encode({ kind: 'kept', bytes: 5 }), encode({ kind: 'bundle' })];
    const exchange =
      (head: Buffer) =>
      (bytes: Buffer): Buffer[] => [Buffer.concat([bytes.subarray(0, 16), head, Buffer.from('body')])];
    expect(await received(exchange(to), [{ kind: 'kept', bytes: 5 }])).toEqual(['AuthenticationError']);
    expect(await received(exchange(from), [{ kind: 'bundle' }])).toEqual(['AuthenticationError']);
  });

  it('sends a frame that is too short in vain', async () => {
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(5), Buffer.alloc(19), Buffer.alloc(20)]) {
      const seen = await received(() => [bytes], [{ kind: 'list' }]);
      expect([[MalformedMessageError.name], ['AuthenticationError']]).toContainEqual(seen);
    }
  });
});
