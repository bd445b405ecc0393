/** The application on a real MariaDB, with servers that come and go and a database that fails. */
import { connect } from 'node:net';
import type { Role } from '@lab/process';
import { eventually, startTcpProxy } from '@lab/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../../docker/engine.ts';
import { appImage } from '../../../docker/images.ts';
import type { Basket, Current, Order, OrderRequest, ProductPage, Problem, Session } from '../src/shop/messages.ts';
import { standIns } from '../src/shop/stand-ins.ts';
import { startMariadb, type MariadbServer } from './shop-mariadb.ts';
import { FrontDoor, startApi } from './shop-services.ts';

type Api = Role & { readonly port: number };

let mariadb: MariadbServer;
let servers: readonly [Api, Api];

beforeAll(async () => {
  mariadb = await startMariadb('db-1');
  servers = await Promise.all([startApi('web-1', mariadb.port), startApi('web-2', mariadb.port)]);
  await eventually(async () => (await Promise.all(servers.map(isReady))).every(Boolean));
});
afterAll(async () => {
  await Promise.all((servers ?? []).map((server) => server.stop()));
  await mariadb?.[Symbol.asyncDispose]();
});
/** Faults of a test that failed are not the next one's. */
const repairs: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const repair of repairs.splice(0)) await repair();
  await mariadb.query('UPDATE products SET stock = 100');
});

const isReady = async ({ port }: Api): Promise<boolean> => (await fetch(`http://127.0.0.1:${port}/health`)).ok;

interface CallOptions {
  method?: string;
  body?: unknown;
  token?: string;
  headers?: Record<string, string>;
}

function call(
  server: { port: number } | string,
  path: string,
  { method, body, token, headers }: CallOptions = {},
): Promise<Response> {
  const origin = typeof server === 'string' ? server : `http://127.0.0.1:${server.port}`;
  return fetch(`${origin}/api${path}`, {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers: {
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
}

async function visit(): Promise<string> {
  const response = await call(servers[0], '/sessions/visitor', { body: { token: crypto.randomUUID() } });
  return ((await response.json()) as Session).token;
}

/** One of product 1, which costs 150 cents. */
const cabbage: OrderRequest = { items: [{ productId: 1, quantity: 1 }], totalCents: 150, deliverTo: 'Ana, Rua Nova 1, Lisboa' };

const order = (server: { port: number } | string, token: string, key: string, request = cabbage): Promise<Response> =>
  call(server, '/orders', { body: request, token, headers: { 'idempotency-key': key } });

const newKey = (): string => crypto.randomUUID();
const stockOf = async (product: number): Promise<number> =>
  Number((await mariadb.query(`SELECT stock FROM products WHERE id = ${product}`))[0]![0]);
const ordersWith = async (key: string): Promise<number> =>
  Number((await mariadb.query(`SELECT COUNT(*) FROM orders WHERE idempotency_key = '${key}'`))[0]![0]);

describe('two web servers', () => {
  it('that start together on an empty database fill it once', async () => {
    expect(await mariadb.query('SELECT (SELECT COUNT(*) FROM producers), (SELECT COUNT(*) FROM products)')).toEqual([
      ['12', '38'],
    ]);
    const response = await call(servers[1], '/products?search=estrela+aged&size=5');
    const { products, total } = (await response.json()) as ProductPage;
    expect({ total, names: products.map(({ name }) => name) }).toEqual({ total: 1, names: ['Estrela cheese, aged'] });
    expect([response.headers.get('x-web-server'), response.headers.get('x-database')]).toEqual(['web-2', 'db-1']);
  });

  it.each([
    ['%', 0],
    ['TEA gorreana', 2],
    ["o'clock", 0],
    ['', 38],
  ])('find by words, whatever they contain: %s', async (search, total) => {
    const response = await call(servers[0], `/products?${new URLSearchParams({ search }).toString()}`);
    expect(((await response.json()) as ProductPage).total).toBe(total);
  });

  it.each([
    ['%ff', 'invalid'],
    ['%zz', 'invalid'],
    ['1'.repeat(201), 'invalid'],
    ['0x1', 'invalid'],
    ['1e0', 'invalid'],
    ['01', 'invalid'],
    ['2147483648', 'not-found'],
  ])('refuse what is no product as they refuse everything: %s', async (id, kind) => {
    const refused = await call(servers[0], `/products/${id}`);
    expect(((await refused.json()) as Problem).type).toBe(`urn:marketplace:${kind}`);
    expect(Object.fromEntries(refused.headers)).toMatchObject({
      'content-type': expect.stringContaining('application/problem+json') as string,
      'cache-control': 'no-store',
      'x-web-server': 'web-1',
    });
  });

  it('know the same sessions, by token and by cookie, until they are closed', async () => {
    const credentials = { name: `ana-${newKey().slice(0, 8)}`, password: 'a long password' };
    const registered = await call(servers[0], '/accounts', { body: credentials });
    const { token, account } = (await registered.json()) as Session;
    const cookie = registered.headers.get('set-cookie')!;
    expect(cookie).toMatch(/^session=[\w-]+; Path=\/api; HttpOnly; SameSite=Lax; Max-Age=604800$/);
    const whoever = [{ token }, { headers: { cookie: cookie.split(';')[0]! } }];
    for (const options of whoever)
      expect(await (await call(servers[1], '/sessions/current', options)).json()).toEqual({ account });
    expect((await call(servers[1], '/sessions/current', { method: 'DELETE', token })).status).toBe(204);
    expect(await (await call(servers[0], '/sessions/current', { token })).json()).toEqual({ account: null });
    expect((await call(servers[0], '/basket', { token })).status).toBe(401);
  });

  it('let an account in with its own password only, also when registering is repeated', async () => {
    const credentials = { name: `rui-${newKey().slice(0, 8)}`, password: 'a long password' };
    const wrong = { ...credentials, password: 'another password' };
    const statuses = [];
    for (const [path, body] of [
      ['/accounts', credentials],
      ['/accounts', credentials],
      ['/accounts', wrong],
      ['/sessions', credentials],
      ['/sessions', wrong],
      ['/sessions', { ...credentials, name: 'nobody-at-all' }],
    ] as const)
      statuses.push((await call(servers[0], path, { body })).status);
    expect(statuses).toEqual([201, 201, 409, 201, 401, 401]);
  });

  it('tell names apart by each letter and its case, however it is composed', async () => {
    const password = 'a long password';
    const suffix = newKey().slice(0, 8);
    const status = async (path: string, name: string): Promise<number> =>
      (await call(servers[0], path, { body: { name: `${name}-${suffix}`, password } })).status;
    expect(await status('/accounts', 'ana')).toBe(201);
    // U+10400 and U+10401: letters that the default collation cannot tell apart.
    for (const other of ['ANA', 'an\u00e1', '\u{10400}na']) expect(await status('/sessions', other)).toBe(401);
    expect(await status('/accounts', 'an\u00e1')).toBe(201);
    expect(await status('/accounts', '\u{10400}na')).toBe(201);
    expect(await status('/sessions', 'ana\u0301')).toBe(201);
    expect(await status('/sessions', '\u{10401}na')).toBe(401);
  });

  it('let nobody into an account with a password whom a sign-in service calls by its name', async () => {
    const token = crypto.randomUUID();
    const name = (await standIns(Date.now).signIn.identify(token))!;
    expect((await call(servers[0], '/accounts', { body: { name, password: 'a long password' } })).status).toBe(201);
    expect((await call(servers[0], '/sessions/visitor', { body: { token } })).status).toBe(409);
  });
});

describe('an order', () => {
  it('sent 50 times at once with one key, to both servers, is one', async () => {
    const token = await visit();
    const key = newKey();
    const answers = await Promise.all(Array.from({ length: 50 }, (_, index) => order(servers[index % 2]!, token, key)));
    const ids = new Set(await Promise.all(answers.map(async (answer) => ((await answer.json()) as Order).id)));
    const statuses = Map.groupBy(answers, ({ status }) => status);
    expect([...statuses].map(([status, { length }]) => [status, length]).sort()).toEqual([
      [200, 49],
      [201, 1],
    ]);
    expect(ids.size).toBe(1);
    expect(await stockOf(1)).toBe(99);
    expect(await mariadb.query(`SELECT answers FROM orders WHERE idempotency_key = '${key}'`)).toEqual([['50']]);
  });

  it('takes from the stock, empties the basket, and is paid once', async () => {
    const token = await visit();
    await call(servers[0], '/basket/items/1', { method: 'PUT', body: { quantity: 3 }, token });
    await call(servers[0], '/basket/items/2', { method: 'PUT', body: { quantity: 1 }, token });
    const request = { ...cabbage, items: [{ productId: 1, quantity: 3 }], totalCents: 450 };
    const placed = (await (await order(servers[1], token, newKey(), request)).json()) as Order;
    expect(placed).toMatchObject({ status: 'placed', totalCents: 450, items: [{ productId: 1, quantity: 3, priceCents: 150 }] });
    const basket = (await (await call(servers[0], '/basket', { token })).json()) as Basket;
    expect(basket.items.map(({ product }) => product.id)).toEqual([2]);
    expect(await stockOf(1)).toBe(97);
    for (const server of servers) {
      const paid = await call(server, `/orders/${placed.id}/payment`, { method: 'POST', token });
      expect(((await paid.json()) as Order).status).toBe('paid');
    }
    expect((await call(servers[0], `/orders/${placed.id}`, { token: await visit() })).status).toBe(404);
  });

  it('is charged under a name of its own, though its number was given to one that was lost', async () => {
    const charged = new Map<string, number>();
    const charge = async (key: string, cents: number): Promise<'paid'> => (charged.set(key, cents), 'paid');
    const server = await startApi('web-7', mariadb.port, 0, { ...standIns(Date.now), payment: { charge } });
    repairs.push(() => server.stop());
    const token = await visit();
    const { account } = (await (await call(server, '/sessions/current', { token })).json()) as Current;
    const keys = [newKey(), newKey()] as const;
    const pay = async (id: number): Promise<string> =>
      ((await (await call(server, `/orders/${id}/payment`, { method: 'POST', token })).json()) as Order).status;
    const lost = (await (await order(server, token, keys[0])).json()) as Order;
    expect(await pay(lost.id)).toBe('paid');
    await mariadb.query(`DELETE FROM order_items WHERE order_id = ${lost.id}; DELETE FROM orders WHERE id = ${lost.id};
      ALTER TABLE orders AUTO_INCREMENT = ${lost.id}`);
    const request = { ...cabbage, items: [{ productId: 1, quantity: 2 }], totalCents: 300 };
    const next = (await (await order(server, token, keys[1], request)).json()) as Order;
    expect([next.id, next.status]).toEqual([lost.id, 'placed']);
    expect(await pay(next.id)).toBe('paid');
    // As if the server had died between charging and writing it down.
    await mariadb.query(`UPDATE orders SET paid_at = NULL WHERE id = ${next.id}`);
    expect(await pay(next.id)).toBe('paid');
    expect([...charged]).toEqual([
      [`${account!.id}:${keys[0]}`, 150],
      [`${account!.id}:${keys[1]}`, 300],
    ]);
  });

  it.each([
    ['with a used key and other content', { ...cabbage, deliverTo: 'somebody else' }, 'key-reused'],
    ['of more than there is', { ...cabbage, items: [{ productId: 1, quantity: 99 }], totalCents: 99 * 150 }, 'out-of-stock'],
    ['at a price that is not so', { ...cabbage, totalCents: 149 }, 'price-changed'],
    ['of what does not exist', { ...cabbage, items: [{ productId: 999, quantity: 1 }] }, 'not-found'],
  ])('%s is refused and changes nothing', async (_, request, kind) => {
    const token = await visit();
    const used = newKey();
    await order(servers[0], token, used);
    await mariadb.query('UPDATE products SET stock = 50');
    const key = kind === 'key-reused' ? used : newKey();
    const refused = await order(servers[0], token, key, request);
    expect(refused.headers.get('content-type')).toContain('application/problem+json');
    expect(((await refused.json()) as Problem).type).toBe(`urn:marketplace:${kind}`);
    expect(await stockOf(1)).toBe(50);
    expect(await ordersWith(key)).toBe(kind === 'key-reused' ? 1 : 0);
  });

  it.each([
    ['without a key', cabbage, {}, 'idempotency-key'],
    ['of nothing', { ...cabbage, items: [] }, { 'idempotency-key': 'k'.repeat(8) }, 'items'],
    [
      'of one product twice',
      { ...cabbage, items: [...cabbage.items, ...cabbage.items] },
      { 'idempotency-key': 'k'.repeat(8) },
      'each product once',
    ],
    [
      'of text for SQL',
      { ...cabbage, items: [{ productId: '1 OR 1', quantity: 1 }] },
      { 'idempotency-key': 'k'.repeat(8) },
      'productId',
    ],
    [
      'to where no line has a NUL',
      { ...cabbage, deliverTo: 'Ana\nRua Nova\0' },
      { 'idempotency-key': 'k'.repeat(8) },
      'deliverTo',
    ],
  ])('%s is explained', async (_, body, headers, word) => {
    const refused = await call(servers[0], '/orders', { body, headers, token: await visit() });
    expect(refused.status).toBe(400);
    expect(((await refused.json()) as Problem).detail).toContain(word);
  });
});

/** Buyers who order one after another through the door and repeat what is not answered, until `stop`; resolves with the acknowledged keys. */
function buy(door: FrontDoor, tokens: readonly string[]): { acknowledged: Map<string, number>; stop: () => Promise<void> } {
  const acknowledged = new Map<string, number>();
  let isOver = false;
  const buyer = async (token: string): Promise<void> => {
    while (!isOver) {
      const key = newKey();
      await eventually(
        async () => {
          const answer = await order(door.url, token, key);
          if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
          acknowledged.set(key, ((await answer.json()) as Order).id);
          return true;
        },
        { timeoutMs: 60_000 },
      );
    }
  };
  const buyers = Promise.all(tokens.map(buyer));
  return {
    acknowledged,
    async stop() {
      isOver = true;
      await buyers;
    },
  };
}

describe('while the database fails', () => {
  it('killed and started again under load, every acknowledged order is there once', async () => {
    await using stack = new AsyncDisposableStack();
    const door = stack.adopt(await FrontDoor.open(), (each) => each.close());
    door.apis = servers.map(({ port }) => port);
    await mariadb.query('UPDATE products SET stock = 1000000');
    const { acknowledged, stop } = buy(door, await Promise.all([visit(), visit(), visit(), visit()]));
    for (let round = 0; round < 3; round++) {
      const before = acknowledged.size;
      await eventually(() => acknowledged.size > before + 20);
      await mariadb.kill();
      await mariadb.start();
    }
    const atLast = acknowledged.size;
    await eventually(() => acknowledged.size > atLast + 20);
    await stop();
    const rows = await mariadb.query('SELECT idempotency_key, id FROM orders WHERE deliver_to LIKE "Ana,%"');
    const stored = new Map(rows.map(([key, id]) => [key!, Number(id)]));
    expect(stored.size).toBe(rows.length);
    expect([...acknowledged].filter(([key, id]) => stored.get(key) !== id)).toEqual([]);
    expect(await stockOf(1)).toBe(1_000_000 - acknowledged.size);
  });

  it('an order waits while it is read-only, and is placed when it is not', async () => {
    const token = await visit();
    repairs.push(() => mariadb.query('SET GLOBAL read_only = OFF'));
    await mariadb.query('SET GLOBAL read_only = ON');
    let isAnswered = false;
    const retries = await metric(servers[0], 'database_retries_total');
    const placed = order(servers[0], token, newKey()).finally(() => (isAnswered = true));
    expect((await call(servers[0], '/products')).status).toBe(200);
    await eventually(async () => (await metric(servers[0], 'database_retries_total')) > retries);
    expect(isAnswered).toBe(false);
    await mariadb.query('SET GLOBAL read_only = OFF');
    expect((await placed).status).toBe(201);
  });

  it('paused, reads and orders are refused in time with 503, and go on when it does', async () => {
    const token = await visit();
    const key = newKey();
    repairs.push(() => mariadb.unpause());
    await mariadb.pause();
    const [read, write] = await Promise.all([call(servers[0], '/products'), order(servers[0], token, key)]);
    for (const answer of [read, write]) {
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1']);
      expect(((await answer.json()) as Problem).type).toBe('urn:marketplace:unavailable');
    }
    await repairs.pop()!();
    expect((await order(servers[0], token, key)).ok).toBe(true);
    expect(await ordersWith(key)).toBe(1);
  });

  it('paused until reads are refused, an order still waits, and is placed when it goes on', async () => {
    const token = await visit();
    // The order waits for 3 s longer than the read: on a busy machine that can be over before the database goes on.
    const isPlaced = async (): Promise<boolean> => {
      repairs.push(() => mariadb.unpause());
      await mariadb.pause();
      const placed = order(servers[0], token, newKey());
      expect((await call(servers[0], '/products')).status).toBe(503);
      await repairs.pop()!();
      return (await placed).status === 201;
    };
    await eventually(isPlaced);
  });

  it('commits that wait for a replica hold their places, reads go on, and the orders are there once when the wait ends', async () => {
    const tokens = await Promise.all(Array.from({ length: 4 }, visit));
    repairs.push(() => mariadb.query('SET GLOBAL rpl_semi_sync_master_enabled = OFF'));
    await mariadb.query('SET GLOBAL rpl_semi_sync_master_timeout = 4294967295; SET GLOBAL rpl_semi_sync_master_enabled = ON');
    const keys = Array.from({ length: 24 }, newKey);
    const refused = Promise.all(keys.map((key, index) => order(servers[0], tokens[index % 4]!, key)));
    await eventually(async () => (await waitingCommits()) >= 1);
    expect((await call(servers[0], '/products')).status).toBe(200);
    expect((await refused).map(({ status }) => status)).toEqual(keys.map(() => 503));
    // Ten that write, some that read, and the lookout: what was refused did not pile up behind them.
    expect(await connectionsOfApp()).toBeLessThanOrEqual(2 * 21);
    await repairs.pop()!();
    const answers = await Promise.all(keys.map((key, index) => order(servers[1], tokens[index % 4]!, key)));
    expect(answers.every(({ ok }) => ok)).toBe(true);
    expect(await Promise.all(keys.map(ordersWith))).toEqual(keys.map(() => 1));
  });
});

describe('when the address of the database moves', () => {
  it('while the old one hangs, what was asked of it is asked of the new one', async () => {
    await using stack = new AsyncDisposableStack();
    const next = stack.use(await startMariadb('db-2'));
    const target = { host: '127.0.0.1', port: next.port };
    const address = stack.use(await startTcpProxy({ target }));
    const server = await startApi('web-5', address.port);
    stack.defer(() => server.stop());
    await eventually(() => isReady(server));
    target.port = mariadb.port;
    address.reset();
    await eventually(async () => (await call(server, '/products')).headers.get('x-database') === 'db-1');
    repairs.push(() => mariadb.unpause());
    await mariadb.pause();
    const asked = Promise.all([call(server, '/products'), call(server, '/sessions/visitor', { body: { token: newKey() } })]);
    target.port = next.port;
    const answers = await asked;
    expect(answers.map(({ status, headers }) => [status, headers.get('x-database')])).toEqual([
      [200, 'db-2'],
      [201, 'db-2'],
    ]);
  });

  it('an old primary that comes back with it is not asked: a later epoch was seen', async () => {
    await using stack = new AsyncDisposableStack();
    const next = stack.use(await startMariadb('db-2'));
    await next.query('INSERT INTO ha.epochs VALUES (2)');
    const target = { host: '127.0.0.1', port: next.port };
    const address = stack.use(await startTcpProxy({ target }));
    const server = await startApi('web-6', address.port);
    stack.defer(() => server.stop());
    await eventually(() => isReady(server));
    target.port = mariadb.port;
    address.reset();
    const retries = await metric(server, 'database_retries_total');
    const asked = call(server, '/products');
    await eventually(async () => (await metric(server, 'database_retries_total')) > retries + 5);
    target.port = next.port;
    expect((await asked).headers.get('x-database')).toBe('db-2');
  });
});

async function metric({ port }: Api, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
}

const waitingCommits = async (): Promise<number> =>
  Number((await mariadb.query("SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE '%semi-sync%'"))[0]![0]);
const connectionsOfApp = async (): Promise<number> =>
  Number((await mariadb.query("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app'"))[0]![0]);

describe('a web server', () => {
  it('ends a request that comes drop by drop', async () => {
    const socket = connect(servers[0].port, '127.0.0.1').setEncoding('utf8');
    repairs.push(async () => socket.destroy());
    let answer = '';
    socket.on('data', (part) => (answer += String(part)));
    socket.write('POST /api/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 16000\r\n\r\n{');
    const dripping = (): boolean => answer === '' && socket.write(' ');
    await eventually(() => !dripping(), { timeoutMs: 120_000 });
    expect(answer).toContain('HTTP/1.1 408 ');
  });

  it('makes the page of what is on a machine', async () => {
    const script = "const { makePage } = await import('/kit/apps/ha-web/src/shop/frontend.ts'); await makePage()";
    const node = `node --input-type=module -e "${script}" 2>&1`;
    expect(await run('docker', ['run', '--rm', '--entrypoint', 'sh', await appImage('ha-web'), '-c', node])).toBe('');
  });

  it('that starts while the database is read-only is not ready before it can be written to', async () => {
    repairs.push(() => mariadb.query('SET GLOBAL read_only = OFF'));
    await mariadb.query('DELETE FROM schema_versions WHERE version = 1000; DELETE FROM products WHERE id = 38');
    await mariadb.query('SET GLOBAL read_only = ON');
    const server = await startApi('web-3', mariadb.port);
    repairs.push(() => server.stop());
    await eventually(async () => (await metric(server, 'database_retries_total')) > 0);
    expect(await isReady(server)).toBe(false);
    await mariadb.query('DELETE FROM order_items; DELETE FROM basket_items; DELETE FROM products; DELETE FROM producers');
    await mariadb.query('SET GLOBAL read_only = OFF');
    await eventually(() => isReady(server));
    expect(await mariadb.query('SELECT COUNT(*) FROM products')).toEqual([['38']]);
  });

  it('that is stopped under load drains without a failed request', async () => {
    await using stack = new AsyncDisposableStack();
    const door = stack.adopt(await FrontDoor.open(), (each) => each.close());
    const leaving = await startApi('web-4', mariadb.port, 500);
    await eventually(() => isReady(leaving));
    await mariadb.query('UPDATE products SET stock = 1000000');
    const stopBalancing = balance(door, [servers[0], leaving]);
    stack.defer(stopBalancing);
    await eventually(() => door.apis.length === 2);
    const { acknowledged, stop } = buyWithoutRetry(door, await Promise.all([visit(), visit(), visit(), visit()]));
    await eventually(() => acknowledged.get('web-4')! > 20);
    await leaving.stop();
    const others = acknowledged.get('web-1')!;
    await eventually(() => acknowledged.get('web-1')! > others + 20);
    expect(await stop()).toEqual([]);
  });
});

/** Takes servers out and in by their health, as HAProxy does with `inter 200ms fall 2`. */
function balance(door: FrontDoor, apis: readonly Api[]): () => void {
  const check = async (): Promise<void> => {
    const answers = await Promise.all(apis.map((api) => isReady(api).catch(() => false)));
    door.apis = apis.filter((_, index) => answers[index]).map(({ port }) => port);
  };
  const timer = setInterval(() => void check(), 200);
  return () => clearInterval(timer);
}

/** Orders one after another; counts them by who answered, and gives back what failed. */
function buyWithoutRetry(
  door: FrontDoor,
  tokens: readonly string[],
): { acknowledged: Map<string, number>; stop: () => Promise<string[]> } {
  const acknowledged = new Map([
    ['web-1', 0],
    ['web-4', 0],
  ]);
  const failures: string[] = [];
  let isOver = false;
  const buyer = async (token: string): Promise<void> => {
    while (!isOver) {
      const answer = await order(door.url, token, newKey());
      const server = answer.headers.get('x-web-server')!;
      if (answer.ok) acknowledged.set(server, acknowledged.get(server)! + 1);
      else failures.push(`${server}: ${answer.status} ${await answer.text()}`);
    }
  };
  const buyers = Promise.all(tokens.map(buyer));
  return {
    acknowledged,
    async stop() {
      isOver = true;
      await buyers;
      return failures;
    },
  };
}
