import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from './eventually.ts';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';

let echo: Server;
let proxy: TcpProxy;
let client: Socket;
let received: string;
let accepted: Socket[];

/** A client of the proxy, and what it has received so far. */
async function open(): Promise<Socket> {
  const socket = connect({ port: proxy.port, host: proxy.host, allowHalfOpen: true });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

const hasReceived = (text: string): Promise<boolean> => eventually(() => received === text);

beforeEach(async () => {
  accepted = [];
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push(socket);
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  await once(echo.listen(0, '127.0.0.1'), 'listening');
  proxy = await startTcpProxy({ target: { host: '127.0.0.1', port: (echo.address() as AddressInfo).port } });
  client = await open();
  received = '';
  client.on('data', (chunk: Buffer) => (received += chunk.toString()));
});

afterEach(async () => {
  client.destroy();
  await proxy[Symbol.asyncDispose]();
  echo.close();
});

describe('a TCP proxy', () => {
  it('passes bytes both ways, and counts its connections', async () => {
    client.write('hello');
    await hasReceived('hello');
    expect(proxy.connections).toBe(1);
  });

  it('passes the end of one direction while the other goes on', async () => {
    client.end('last words');
    await once(client, 'end');
    expect(received).toBe('last words');
    await eventually(() => proxy.connections === 0);
  });

  it('holds back all bytes while it is cut, keeps the connection open and delivers in order when it heals', async () => {
    client.write('before ');
    await hasReceived('before ');
    proxy.cut();
    client.write('while cut ');
    // A second client's round trip through the same event loop, not through the cut: whatever was to pass has passed by then.
    await roundTrip(echo);
    expect(received).toBe('before ');
    proxy.heal();
    client.write('after');
    await hasReceived('before while cut after');
  });

  it('answers a connection that was opened while it was cut when it heals', async () => {
    proxy.cut();
    const late = await open();
    late.write('late');
    proxy.heal();
    expect(String((await once(late, 'data'))[0])).toBe('late');
    late.destroy();
  });

  it('delivers no byte sooner than the delay, in each direction, in order', async () => {
    proxy.delayBy(100);
    const begin = performance.now();
    for (const word of ['a', 'b', 'c']) client.write(word);
    await hasReceived('abc');
    expect(performance.now() - begin).toBeGreaterThanOrEqual(199);
  });

  it('delays without dividing the throughput: megabytes take no longer than their delay and their copying', async () => {
    proxy.delayBy(200);
    const bytes = 4 * 1024 * 1024;
    client.write(Buffer.alloc(bytes, 'x'));
    // One delay after the other, for each 64 KiB, would be 12 s in each direction.
    await eventually(() => received.length === bytes, { timeoutMs: 6_000 });
  });

  it('stops reading from a sender that is far ahead of a cut', async () => {
    proxy.cut();
    const sent = 64 * 1024 * 1024;
    client.write(Buffer.alloc(sent, 'x'));
    await roundTrip(echo);
    expect(client.writableLength).toBeGreaterThan(sent / 2);
  });

  it('resets what is open, and passes what is opened afterwards', async () => {
    const broken = once(client, 'error') as Promise<[NodeJS.ErrnoException]>;
    proxy.reset();
    expect((await broken)[0].code).toBe('ECONNRESET');
    const next = await open();
    next.write('again');
    expect(String((await once(next, 'data'))[0])).toBe('again');
    next.destroy();
  });

  it('passes on a reset of the target', async () => {
    client.write('hello');
    await hasReceived('hello');
    const reset = once(client, 'error') as Promise<[NodeJS.ErrnoException]>;
    for (const socket of accepted) socket.resetAndDestroy();
    expect((await reset)[0].code).toBe('ECONNRESET');
  });

  it('resets a connection that the target refuses', async () => {
    const refused = await startTcpProxy({ target: { host: '127.0.0.1', port: await closedPort() } });
    const socket = connect(refused.port, refused.host);
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNRESET');
    await refused[Symbol.asyncDispose]();
  });
});

async function roundTrip(server: Server): Promise<void> {
  const direct = connect((server.address() as AddressInfo).port, '127.0.0.1');
  direct.write('ping');
  await once(direct, 'data');
  direct.destroy();
}

async function closedPort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
