import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { eventually } from '@lab/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { connectFramed, listenFramed, type FramedServer } from './connect.ts';
import { HandshakeError } from './errors.ts';
import type { FramedSocket } from './framed-socket.ts';
import { identityKey, identityOf, tlsByKey, tlsByKeys, type ClientKey } from './keys.ts';

const master = randomBytes(32);
const key = (identity: string): ClientKey => ({ identity, key: identityKey(master, identity), protocol: 'test/1' });

/** Its own text, which says nothing to a person. */
const openssl = /error:[0-9A-F]{8}|SSL routines/;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Echo {
  server: FramedServer;
  /** Who was served, and why others were not. */
  served: (string | undefined)[];
  refused: string[];
}

/** Knows all whose names begin with `a`. */
async function echo(): Promise<Echo> {
  const found: Echo = { server: undefined!, served: [], refused: [] };
  const keyOf = (identity: string): Buffer | undefined => (identity.startsWith('a') ? identityKey(master, identity) : undefined);
  const onRefused = ({ message }: Error): void => void found.refused.push(message);
  const tls = tlsByKeys({ keyOf, protocol: 'test/1' });
  found.server = await listenFramed({ host: '127.0.0.1', port: 0, tls, onRefused }, async (socket) => {
    found.served.push(identityOf(socket.stream));
    for await (const frame of socket) await socket.send(frame);
  });
  cleanups.push(() => found.server.close());
  return found;
}

async function open({ port }: { port: number }, client: ClientKey): Promise<FramedSocket> {
  const socket = await connectFramed({ host: '127.0.0.1', port, tls: tlsByKey(client) });
  cleanups.push(() => socket.destroy());
  return socket;
}

const ask = (socket: FramedSocket, text: string): Promise<string> =>
  socket.request(Buffer.from(text), { timeoutMs: 60_000 }).then(String);

async function portOf(server: Server): Promise<{ port: number }> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  cleanups.push(() => server.close());
  return server.address() as AddressInfo;
}

/** Passes everything on, and shows it. */
async function wire(target: number, see: (bytes: Buffer) => Buffer): Promise<{ port: number }> {
  return portOf(
    createServer((client) => {
      const server = connect(target, '127.0.0.1');
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const)
        from
          .on('data', (bytes: Buffer) => to.write(see(bytes)))
          .on('close', () => to.destroy())
          .on('error', () => undefined);
    }),
  );
}

describe('two who have the same key', () => {
  it('know who asks, and understand each other', async () => {
    const { server, served } = await echo();
    for (const name of ['a-1', 'a-2']) expect(await ask(await open(server, key(name)), name)).toBe(name);
    expect(served).toEqual(['a-1', 'a-2']);
  });

  it('say neither the key nor anything else that could be read on the way, and nothing twice', async () => {
    const { server } = await echo();
    const seen: Buffer[] = [];
    const through = await wire(server.port, (bytes) => (seen.push(bytes), bytes));
    for (let time = 0; time < 2; time++) await ask(await open(through, key('a-1')), 'the same content');
    const all = Buffer.concat(seen);
    expect(all.includes('a-1')).toBe(true);
    expect(all.includes('the same content')).toBe(false);
    expect(all.includes(Buffer.from(key('a-1').key))).toBe(false);
    const records = seen.filter(({ length }) => length > 30).map((bytes) => bytes.toString('hex'));
    expect(new Set(records).size).toBe(records.length);
  });

  it('notice when a byte is changed on the way', async () => {
    const { server } = await echo();
    let isHonest = true;
    const through = await wire(server.port, (bytes) => {
      if (!isHonest) bytes[bytes.length - 1]! ^= 1;
      return bytes;
    });
    const socket = await open(through, key('a-1'));
    expect(await ask(socket, 'before')).toBe('before');
    isHonest = false;
    const noticed = await ask(socket, 'after').catch((error: unknown) => String(error));
    expect(noticed).toContain('the connection is closed');
    expect(noticed).not.toMatch(openssl);
  });
});

describe('who has not the key', () => {
  it.each<[string, ClientKey, string, string]>([
    ['has another', { ...key('a-1'), key: randomBytes(32) }, 'wrong key', 'wrong key'],
    ['has that of another name', { ...key('a-1'), key: key('a-2').key }, 'wrong key', 'wrong key'],
    ['has a name that is not known', key('b'), 'the other side has no key for this name', 'no key, or one of a name'],
    ['speaks another version', { ...key('a-1'), protocol: 'test/2' }, 'another version of the protocol', 'another version'],
  ])('%s: is told so, and not served; others are', async (_, client, told, noted) => {
    const { server, served, refused } = await echo();
    const error = await open(server, client).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(HandshakeError);
    expect((error as Error).message).toContain(told);
    await eventually(() => refused.length > 0);
    expect(refused).toEqual([expect.stringContaining(noted)]);
    expect(await ask(await open(server, key('a-1')), 'x')).toBe('x');
    expect(served).toEqual(['a-1']);
  });

  it.each<[string, string | Buffer]>([
    ['HTTP', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['a frame', Buffer.from('\0\0\0\x05hello')],
    ['rubbish', Buffer.alloc(50, 0xff)],
  ])('says %s: its connection ends, and others are served', async (_, bytes) => {
    const { server, refused } = await echo();
    const stranger = connect(server.port, '127.0.0.1', () => stranger.write(bytes));
    stranger.on('error', () => undefined).resume();
    await eventually(() => stranger.closed);
    expect(refused).toEqual([expect.not.stringMatching(openssl)]);
    expect(await ask(await open(server, key('a-1')), 'x')).toBe('x');
  });

  const pem = (name: string): Buffer => readFileSync(join(import.meta.dirname, '../test', name));
  const certified = { key: pem('test-only.key.pem'), cert: pem('test-only.cert.pem'), ALPNProtocols: ['test/1'] };

  it('answers with a certificate, trusted or not, and is found out', async () => {
    const server = await portOf(createTlsServer(certified, (socket) => socket.on('error', () => undefined)));
    await expect(open(server, key('a-1'))).rejects.toThrow('it shows a certificate, not the key');
    const tls = { ...tlsByKey(key('a-1')), ca: certified.cert };
    await expect(connectFramed({ host: '127.0.0.1', ...server, tls })).rejects.toThrow('it shows a certificate, not the key');
  });

  it('answers without TLS, or not at all', async () => {
    const plain = await portOf(createServer((socket) => socket.on('error', () => undefined).end('HTTP/1.1 400 Bad Request\r\n')));
    await expect(open(plain, key('a-1'))).rejects.toThrow('what answers there does not speak TLS');
    const closing = await portOf(createServer((socket) => socket.on('error', () => undefined).end()));
    await expect(open(closing, key('a-1'))).rejects.toThrow('cannot connect to 127.0.0.1');
  });
});
