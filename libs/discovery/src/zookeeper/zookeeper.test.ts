import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { eventually } from '@lab/testing';
import { afterEach, describe, expect, test } from 'vitest';
import { UnavailableError } from '../port.ts';
import { connectZookeeper } from './discovery.ts';
import type { ZookeeperOptions } from './options.ts';
import { numbered } from './own-node.ts';

describe('the zookeeper adapter without a server', () => {
  const open: Server[] = [];
  afterEach(() => {
    for (const server of open.splice(0)) server.close();
  });

  /** A server that does this with each connection. */
  const serve = async (answer: Buffer | undefined): Promise<string> => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => answer && socket.write(answer));
    }).listen(0, '127.0.0.1');
    open.push(server);
    await once(server, 'listening');
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  };

  /** Limits are short here, so on a busy machine a try may end before anybody could answer: the next one tells. */
  const givesUp = (options: () => ZookeeperOptions, reason: RegExp): Promise<boolean> =>
    eventually(async () => {
      await expect(connectZookeeper(options())).rejects.toThrow(reason);
      return true;
    });

  test('gives up after its limit with an UnavailableError that names the servers, and has said once what it waits for', async () => {
    let told: string[] = [];
    const tell = (_: object, message: string): void => void told.push(message);
    const log = { info: tell, warn: tell, error: tell };
    const servers = '127.0.0.1:1,127.0.0.1:2';
    const options = () => ((told = []), { servers, connectTimeoutMs: 200, log, random: () => 0 });
    await givesUp(options, /127\.0\.0\.1:1,127\.0\.0\.1:2.*200 ms.*ECONNREFUSED/);
    expect(told).toEqual(['waiting for ZooKeeper at 127.0.0.1:1,127.0.0.1:2']);
    await expect(connectZookeeper(options())).rejects.toThrow(UnavailableError);
  });

  test('does not wait for ever for a server that takes connections and says nothing', async () => {
    const servers = await serve(undefined);
    await givesUp(() => ({ servers, sessionTimeoutMs: 60, connectTimeoutMs: 100 }), /no session within 20 ms/);
  });

  test('outlives a server that speaks another language', async () => {
    const servers = await serve(Buffer.from('\0\0\0\x04spam'));
    await givesUp(() => ({ servers, sessionTimeoutMs: 300, connectTimeoutMs: 100 }), /what the server sent is not understood/);
  });

  test('refuses options that cannot work', async () => {
    for (const servers of ['', 'host', 'host:2181/chroot', 'host:2181,', 'host:99999']) {
      await expect(connectZookeeper({ servers })).rejects.toThrow(/servers must look like/);
    }
    await expect(connectZookeeper({ servers: 'host:2181', sessionTimeoutMs: 0 })).rejects.toThrow(/sessionTimeoutMs.*0/);
    await expect(connectZookeeper({ servers: 'host:2181', root: 'lab' })).rejects.toThrow(/root must look like/);
  });
});

describe('numbered nodes', () => {
  const [a, b] = ['a'.repeat(32), 'b'.repeat(32)];

  test('are in the order of their numbers, whatever their nonces', () => {
    const names = [`${a}-0000000010`, `${b}-0000000009`, `${a.replace('a', 'c')}-2147483647`];
    expect(numbered(names).map(({ sequence }) => sequence)).toEqual([9, 10, 2_147_483_647]);
  });

  test('count once for each nonce, and nothing else is one', () => {
    const names = [`${a}-0000000002`, `${a}-0000000001`, 'other', `${b}--2147483648`, `${b}-1`];
    expect(numbered(names)).toEqual([{ name: `${a}-0000000001`, nonce: a, sequence: 1 }]);
  });
});
