import { Agent } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '@lab/testing';
import { ask, EdgeSystem, floatingAddress, type WebServer } from './edge-system.ts';
import { Prober } from './edge-prober.ts';

/** What takes a second may take many on a busy machine; the figures are printed. */
const patience = { timeoutMs: 60_000 };

let system: EdgeSystem;
let webServers: WebServer[];
let prober: Prober;

const isUp = async (balancer: string, count: number): Promise<boolean> => {
  const { servers } = await system.status(balancer);
  return servers.length === count && servers.every(({ state }) => state === 'up');
};
/** Of HAProxy's checks two must fail; a server that stands still for longer than between two of them is not one that serves. */
const checkMs = 200;
/** What is done again is done by a machine that is too busy for its own servers: after so many times it is too busy for this suite. */
const triesMax = 5;

/**
 * Does what no request may notice, while a client waits for each answer. The web servers are this process' own: where it stood still it proves nothing that
 * HAProxy found them dead, and it is done again.
 */
async function unnoticed(act: () => Promise<unknown>): Promise<void> {
  for (let tries = 1; ; tries++) {
    await using client = new Prober(async () => {
      const { status } = await ask('/');
      if (status !== 200) throw new Error(`answered with ${status}`);
      return true;
    });
    await act();
    await client.stop();
    expect(client.asked).toBeGreaterThan(0);
    if (client.failures.length > 0 && client.stoodStillMs > checkMs && tries < triesMax) continue;
    expect(client.failures, `this process stood still for ${client.stoodStillMs} ms`).toEqual([]);
    return;
  }
}

/** Whoever answers at the floating address is the active one; both say so, too, a second later. */
const serves = async (balancer: string): Promise<void> => {
  await eventually(async () => (await ask('/', { timeoutMs: 250 })).balancer === balancer, { ...patience, intervalMs: 10 });
};
/** What it answers until it closes the connection. */
async function raw(request: string): Promise<string> {
  const socket = connect({ host: floatingAddress, port: 80 }).setEncoding('utf8');
  socket.write(request);
  let answer = '';
  for await (const part of socket) answer += part as string;
  return answer;
}
/** What the two servers were sent, together, that was no read. */
const orders = (): number => webServers.reduce((sum, { asked }) => sum + (asked.get('POST') ?? 0), 0);
/** So many requests after the last fault: what was open then is settled. */
const settled = async (requests = 20): Promise<void> => {
  const { asked } = prober;
  await eventually(() => prober.asked >= asked + requests, patience);
};
const print = (fault: string, figures: Readonly<Record<string, number>>): void =>
  console.log(
    `${fault}: ${Object.entries(figures)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')}`,
  );

beforeAll(async () => {
  system = await EdgeSystem.start();
  webServers = [await system.addWebServer('web-1'), await system.addWebServer('web-2')];
  await eventually(async () => (await isUp('lb-1', 4)) && (await isUp('lb-2', 4)), patience);
  await serves('lb-1');
  // A client that gives up soon, and tries again: it measures outages.
  prober = new Prober(async () => (await ask('/', { timeoutMs: 250 })).status === 200);
});
afterAll(async () => {
  await prober?.[Symbol.asyncDispose]();
  await system?.[Symbol.asyncDispose]();
});

describe('two balancers', () => {
  test('send requests for the API and for pages to servers of each, in turn, and say who they are', async () => {
    const texts = async (path: string): Promise<string[]> => {
      const answers = await Promise.all(Array.from({ length: 8 }, () => ask(path)));
      expect(answers.every(({ balancer }) => balancer === 'lb-1')).toBe(true);
      return [...new Set(answers.map(({ text }) => text))].sort();
    };
    expect(await texts('/')).toEqual(['web web-1', 'web web-2']);
    expect(await texts('/api/products')).toEqual(['api web-1', 'api web-2']);
    expect(await texts('/apiary')).toEqual(['web web-1', 'web web-2']);
  });

  test('give up a client that sends drop by drop, tell no version, and keep it from the servers', async () => {
    const before = orders();
    const [length, chunked] = ['Content-Length: 16384', 'Transfer-Encoding: chunked'].map((how) => `${how}\r\n\r\n`);
    const begun = [`${length}{`, `${length}${' '.repeat(16_383)}`, `${chunked}3fff\r\n${' '.repeat(16_383)}\r\n`];
    for (const answer of await Promise.all(begun.map((sent) => raw(`POST /api/orders HTTP/1.1\r\nHost: a\r\n${sent}`)))) {
      expect(answer).toMatch(/^HTTP\/1\.1 408 /);
      expect(answer).not.toMatch(/haproxy|server:/i);
    }
    expect(orders()).toBe(before);
  });

  test('take 16 KiB of headers and of a body, and no more', async () => {
    const order = (bodyBytes: number, headers: Record<string, string>) =>
      ask('/api/orders', { method: 'POST', headers, body: Buffer.alloc(bodyBytes, 'x') });
    // Node's own limit is for all headers together.
    const long = { 'x-long': 'x'.repeat(16_000) };
    const chunked = { 'transfer-encoding': 'chunked' };
    expect((await order(16_384, long)).status).toBe(200);
    expect((await order(16_384, { ...long, ...chunked })).status).toBe(200);
    const before = orders();
    for (const headers of [{}, chunked, { ...long, ...chunked }]) expect((await order(16_385, headers)).status).toBe(413);
    expect(orders()).toBe(before);
  });

  test('are nobody’s tunnel, and name themselves in their own answers', async () => {
    const answer = await raw('CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nConnection: close\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 405 [^]*\r\nx-balancer: lb-1\r\n/);
  });

  test('let nothing through of the connection to a server', async () => {
    const { headers } = await ask('/', { headers: { connection: 'keep-alive' } });
    expect(headers).not.toHaveProperty('keep-alive');
  });

  test('are no way in: from the external network no address behind them can be opened', async () => {
    const { inside, outside } = system.listening;
    expect(await system.openFromOutside([...inside, outside])).toEqual([outside, outside]);
  });

  test('move the address when HAProxy dies in the active one, and move it back when it has its servers again', async () => {
    prober.mark();
    await system.inside('lb-1', 'pkill -9 -x haproxy');
    await serves('lb-2');
    await settled();
    const outageMs = prober.outageMs;
    await serves('lb-1');
    await settled();
    print('HAProxy killed', { outageMs, failures: prober.failures.length });
    expect(outageMs).toBeLessThan(3_000);
  });

  test('lose nothing when the active one is stopped in good order, and returns', async () => {
    const active = system.container('lb-1');
    prober.mark();
    await active.stop();
    await serves('lb-2');
    await settled();
    const outageMs = prober.outageMs;
    prober.mark();
    await active.start();
    await serves('lb-1');
    await settled();
    print('stopped', { outageMs, returnOutageMs: prober.outageMs, returnFailures: prober.failures.length });
    expect(outageMs).toBeLessThan(3_000);
    expect(prober.outageMs).toBeLessThan(3_000);
  });

  test('move the address when the active one reaches no server anymore', async () => {
    prober.mark();
    await system.inside('lb-1', 'for c in INPUT:-s OUTPUT:-d; do iptables -I ${c%:*} ${c#*:} 10.91.1.0/24 -j DROP; done');
    await serves('lb-2');
    await settled();
    const outageMs = prober.outageMs;
    await system.inside('lb-1', 'iptables -F');
    await serves('lb-1');
    print('cut off from the servers', { outageMs, failures: prober.failures.length });
    expect(outageMs).toBeLessThan(5_000);
  });

  test('move the address when HAProxy hangs in the active one', async () => {
    prober.mark();
    await system.inside('lb-1', 'pkill -STOP -x haproxy');
    await serves('lb-2');
    await settled();
    const outageMs = prober.outageMs;
    await system.inside('lb-1', 'pkill -CONT -x haproxy');
    await serves('lb-1');
    await settled();
    print('HAProxy hangs', { outageMs, failures: prober.failures.length });
    expect(outageMs).toBeLessThan(5_000);
  });

  test('serve on when keepalived is killed in the active one', async () => {
    const pid = (): Promise<string> => system.inside('lb-1', 'pgrep -o -x keepalived || true');
    const before = await pid();
    prober.mark();
    await system.inside('lb-1', 'pkill -9 -x keepalived');
    await eventually(async () => !['', before].includes(await pid()), patience);
    await settled();
    await serves('lb-1');
    await settled();
    print('keepalived killed', { outageMs: prober.outageMs, failures: prober.failures.length });
    expect(prober.outageMs).toBeLessThan(3_000);
  });

  test('are found again at once after both held the address, as the passive one heard nothing for a moment', async () => {
    const takesIt = `while ! ip -br address | grep -q ${floatingAddress}; do :; done`;
    prober.mark();
    for (let time = 1; time <= 3; time++) {
      await system.inside('lb-2', `iptables -I INPUT -p vrrp -j DROP; ${takesIt}; iptables -F`);
      await serves('lb-1');
      // More than a second: a neighbour takes no other news of an address before.
      await settled(100);
    }
    print('deaf for a moment', { outageMs: prober.outageMs, failures: prober.failures.length });
    expect(prober.outageMs).toBeLessThan(3_000);
  });

  test('are both known to the status page, of which one is active', async () => {
    for (const { balancers, zookeeper } of [await system.status('lb-1'), await system.status('lb-2')]) {
      expect(balancers.map(({ name }) => name)).toEqual(['lb-1', 'lb-2']);
      expect(zookeeper.map(({ mode }) => mode).sort()).toEqual(['follower', 'follower', 'leader']);
    }
    for (const observer of ['lb-1', 'lb-2']) {
      await eventually(async () => (await system.active(observer)).join() === 'lb-1', patience);
    }
    const { events } = await system.status('lb-2');
    expect(events.map(({ text }) => text)).toContain('lb-1 does not answer');
  });

  test('repeat elsewhere what a server that hangs has not answered, where that does no harm', async () => {
    const hanging = await system.addWebServer('web-9');
    await eventually(() => isUp('lb-1', 6), patience);
    hanging.hangs = true;
    const before = orders();
    const six = (options: Parameters<typeof ask>[1]): Promise<number[]> =>
      Promise.all(Array.from({ length: 6 }, async () => (await ask('/api/orders', { timeoutMs: 30_000, ...options })).status));
    const [reads, keyed, others] = await Promise.all([
      six({}),
      six({ method: 'POST', headers: { 'idempotency-key': 'k' } }),
      six({ method: 'POST' }),
    ]);
    expect([...reads, ...keyed]).toEqual(Array.from({ length: 12 }, () => 200));
    expect(others.filter((status) => status === 504).length).toBeGreaterThan(0);
    // Each was sent once: what was not answered by one server was sent to no other.
    expect(orders() - before).toBe(12 - others.filter((status) => status === 504).length);
    await hanging.stop();
    await eventually(() => isUp('lb-1', 4), patience);
  });

  test('take out a server that hangs within 2 s, and forget it within 5 s of its leaving', async () => {
    const hanging = await system.addWebServer('web-8');
    await eventually(async () => (await isUp('lb-1', 6)) && (await isUp('lb-2', 6)), patience);
    prober.mark();
    const startMs = performance.now();
    hanging.hangs = true;
    await eventually(async () => (await system.status('lb-1')).servers.some(({ state }) => state === 'down'), patience);
    const outMs = Math.round(performance.now() - startMs);
    await hanging.withdraw();
    await eventually(async () => (await isUp('lb-1', 4)) && (await isUp('lb-2', 4)), patience);
    print('web server hangs', { outMs, goneMs: Math.round(performance.now() - startMs), failures: prober.failures.length });
    await hanging.stop();
  });

  test('lose no request when a server leaves in good order', async () => {
    await unnoticed(async () => {
      const leaving = await system.addWebServer('web-7');
      await eventually(async () => (await isUp('lb-1', 6)) && (await isUp('lb-2', 6)), patience);
      await leaving.withdraw();
      leaving.health = 503;
      await eventually(async () => (await isUp('lb-1', 4)) && (await isUp('lb-2', 4)), patience);
      await leaving.stop();
    });
  });

  test('ask servers that are there, when others have come and gone while clients kept their connections', async () => {
    await using stack = new AsyncDisposableStack();
    const clients = Array.from({ length: 10 }, () =>
      stack.adopt(new Agent({ keepAlive: true, maxSockets: 1 }), async (each) => each.destroy()),
    );
    for (let round = 0; round < 4; round++) {
      // What has left still answers, so whoever is sent to it shows it.
      const coming = await system.addWebServer(`web-2${round}.with.dots`);
      await eventually(async () => (await isUp('lb-1', 6)) && (await isUp('lb-2', 6)), patience);
      const names = [...webServers, coming].map(({ name }) => name);
      expect((await system.status('lb-1')).servers.map(({ name }) => name)).toContain(coming.name);
      for (const [path, service] of [
        ['/', 'web'],
        ['/api/x', 'api'],
      ] as const) {
        const texts = await Promise.all(clients.flatMap((agent) => names.map(async () => (await ask(path, { agent })).text)));
        expect([...new Set(texts)].toSorted()).toEqual(names.map((name) => `${service} ${name}`));
      }
      await coming.withdraw();
      coming.health = 503;
      await eventually(async () => (await isUp('lb-1', 4)) && (await isUp('lb-2', 4)), patience);
    }
  });

  test('keep what passes its checks, though no one is announced anymore', async () => {
    await unnoticed(async () => {
      await Promise.all(webServers.map((server) => server.withdraw()));
      const { at } = await system.status('lb-1');
      await eventually(async () => (await system.status('lb-1')).at > at + 2_000, patience);
      expect(await isUp('lb-1', 4)).toBe(true);
      await Promise.all(webServers.map((server) => server.announce()));
    });
  });

  test('hold only the living after 300 servers came and went', { timeout: 300_000 }, async () => {
    for (let round = 0; round < 10; round++) {
      await unnoticed(async () => {
        const many = await Promise.all(Array.from({ length: 30 }, (_, index) => system.addWebServer(`web-${100 + index}`)));
        await eventually(() => isUp('lb-1', 64), patience);
        await Promise.all(many.map((server) => server.withdraw()));
        many.forEach((server) => (server.health = 503));
        await eventually(async () => (await isUp('lb-1', 4)) && (await isUp('lb-2', 4)), patience);
        await Promise.all(many.map((server) => server.stop()));
      });
    }
  });

  test('lose no request when lb-sync is killed', async () => {
    await unnoticed(async () => {
      const pid = (): Promise<string> => system.inside('lb-1', 'pgrep -f "main[.]ts lb-sync" || true');
      const before = await pid();
      await system.inside('lb-1', `kill -9 ${before}`);
      await eventually(async () => !['', before].includes(await pid()), patience);
      const late = await system.addWebServer('web-6');
      await eventually(() => isUp('lb-1', 6), patience);
      await late.withdraw();
      late.health = 503;
      await eventually(() => isUp('lb-1', 4), patience);
      await late.stop();
    });
  });

  test('lose no request while the majority of ZooKeeper is away, and when it comes back; changes wait for it', async () => {
    await unnoticed(async () => {
      const away = [system.container('zookeeper-1'), system.container('zookeeper-2')];
      await Promise.all(away.map((server) => server.kill()));
      await eventually(async () => (await system.status('lb-1')).zookeeper.every(({ mode }) => mode === undefined), patience);
      const waiting = system.addWebServer('web-5');
      await settled();
      await Promise.all(away.map((server) => server.start()));
      const late = await waiting;
      await eventually(() => isUp('lb-1', 6), patience);
      late.health = 503;
      await late.withdraw();
      await eventually(() => isUp('lb-1', 4), patience);
      await late.stop();
    });
  });

  test('restore the servers after a reload of HAProxy', async () => {
    const workers = (): Promise<string> => system.inside('lb-1', 'pgrep -n -x haproxy');
    const before = await workers();
    prober.mark();
    await system.inside('lb-1', 'kill -USR2 "$(pgrep -o -x haproxy)"');
    await eventually(async () => (await workers()) !== before, patience);
    const { at } = await system.status('lb-1');
    await eventually(async () => (await isUp('lb-1', 4)) && (await system.status('lb-1')).at > at + 2_000, patience);
    await serves('lb-1');
    await settled();
    print('HAProxy reloaded', { outageMs: prober.outageMs, failures: prober.failures.length });
  });
});
