import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * A port that nobody has now, below those that systems take for outgoing connections (from 32,768 on): of those, a client that tries again and
 * again while its server is down would some day be given the server's own, and connect to itself. Also below those of this kit's compose files,
 * and above the last that `fetch` refuses, 10,080.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_100, 20_000);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!free) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}
