/** What is no name, no item, no token, no request or no client: each gets a refusal that says so, and whoever works beside it does not notice. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@lab/embedded-postgres';
import { ExitError, exitCodes, silentLogger, splitAddress, systemClock, type Clock, type Logger } from '@lab/process';
import { encodeFrame, FrameTooLargeError } from '@lab/protocol';
import { eventually } from '@lab/testing';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ask, connectTo } from '../src/wire/asking.ts';
import type { Consortium } from '../src/client/consortium.ts';
import { textBytesMax } from '../src/domain/names.ts';
import { freeFailures } from '../src/domain/tries.ts';
import { replyBytesMax, requestBytesMax, type Body, type Kind, type Replies } from '../src/messages.ts';
import { Refusal } from '../src/wire/refusal.ts';
import { Accounts } from '../src/store/accounts.ts';
import { connectionTo, Database } from '../src/store/database.ts';
import { migrate, migrationLock } from '../src/store/migrate.ts';
import { Tokens } from '../src/wire/tokens.ts';
import { query } from './assignment-log.ts';
import { administrator, ConsortiumInProcess, createDatabase } from './consortium-in-process.ts';

const area = 'sports';
const password = 'correct horse';
const timeoutMs = 10_000;
const mebibyte = 1024 * 1024;
let postgres: EmbeddedPostgres;
let system: ConsortiumInProcess;
let client: Consortium;
/** Of a user who is subscribed to the area, and of the administrator. */
let token: string;
let root: string;
let bystander: Bystander;
let heapBytesBefore: number;
/** Clients that are still there when all others have been tried. */
const hanging: Record<string, Socket[]> = {};

beforeAll(async () => {
  postgres = await startEmbeddedPostgres();
  system = await ConsortiumInProcess.start(postgres, { nodes: 2 });
  client = system.client();
  root = (await client.ask('login', { ...administrator, key: newKey() })).token;
  await client.ask('addArea', { token: root, area, nodes: 2, key: area });
  token = await member('ana');
  heapBytesBefore = heapBytes();
  bystander = new Bystander(await member('bystander'));
  await hang();
});

afterAll(async () => {
  await bystander.stop();
  await system[Symbol.asyncDispose]();
  await postgres.stop();
});

/** What is in use, without what is only not collected yet. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed;
}

async function member(name: string): Promise<string> {
  await client.ask('register', { name, password, key: 'member' });
  const session = await client.ask('login', { name, password, key: newKey() });
  await client.ask('subscribe', { token: session.token, area, key: newKey() });
  return session.token;
}

const agent = (): string => system.addressOf('agent-1');
const node = (): string => system.addressOf('node-1');

/** What a request to one peer comes to. */
async function answerOf<K extends Kind>(address: string, kind: K, body: Body<K>): Promise<string | Replies[K]> {
  try {
    return await ask(address, kind, body, { timeoutMs });
  } catch (error) {
    if (error instanceof Refusal) return `${error.code} ${error.message}`;
    throw error;
  }
}

let keys = 0;
const newKey = (): string => `key-${++keys}`;

/** Somebody who works on while others misbehave, through whichever agent and node. */
class Bystander {
  readonly waitsMs: number[] = [];
  readonly posted: number[] = [];
  readonly #token: string;
  readonly #stopping = new AbortController();
  readonly #working: Promise<void>;

  constructor(session: string) {
    this.#token = session;
    this.#working = this.#work();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#working;
  }

  async #work(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      const beganMs = performance.now();
      const { number } = await client.ask('post', {
        token: this.#token,
        area,
        key: `by-${this.posted.length}`,
        text: 'busy',
      });
      this.posted.push(number);
      await client.ask('delete', { token: this.#token, area, number });
      await client.ask('where', { area });
      this.waitsMs.push((performance.now() - beganMs) / 3);
      await new Promise<void>((resolve) => systemClock.after(5, resolve));
    }
  }
}

async function rawConnection(address: string): Promise<Socket> {
  const socket = connect(splitAddress(address));
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket.resume();
}

/** A reply as big as they come. */
const largeRead = (): string => JSON.stringify({ kind: 'read', deadlineMs: 5_000, token, area, limit: 100 });

/** Clients that say nothing, that say one byte in half a second, and that do not read what they asked for; past the proxies, which would hold much for them. */
async function hang(): Promise<void> {
  const writer = await member('writer');
  const text = 'x'.repeat(textBytesMax);
  for (let count = 0; count < 100; count++) await client.ask('post', { token: writer, area, key: newKey(), text });
  const connections = (count: number): Promise<Socket[]> =>
    Promise.all(
      Array.from({ length: count }, (_, index) => rawConnection(system.listenAddressOf(index % 2 === 0 ? 'agent-1' : 'node-1'))),
    );
  hanging['say nothing'] = await connections(100);
  hanging['send a byte in half a second'] = await connections(20);
  for (const socket of hanging['send a byte in half a second']) {
    // The first bytes of a request of 1,000.
    socket.write(header(1_000));
    const stop = systemClock.every(500, () => void socket.write(Buffer.alloc(1)));
    socket.once('close', stop);
  }
  const node = system.listenAddressOf('node-1');
  hanging['do not read their answers'] = await Promise.all(Array.from({ length: 10 }, () => rawConnection(node)));
  for (const socket of hanging['do not read their answers']) {
    socket.pause();
    const request = encodeFrame(Buffer.from(largeRead()));
    for (let count = 0; count < 20; count++) socket.write(request);
  }
}

/** Sends bytes; resolves with the first frame of the answer, or with `closed` when there is none. */
async function answerTo(address: string, bytes: Uint8Array): Promise<string> {
  const socket = await rawConnection(address);
  let received = Buffer.alloc(0);
  socket.on('data', (chunk) => (received = Buffer.concat([received, chunk])));
  const closed = once(socket, 'close');
  socket.write(bytes);
  const whole = (): string | undefined =>
    received.length >= 4 && received.length >= 4 + received.readUInt32BE()
      ? received.subarray(4, 4 + received.readUInt32BE()).toString()
      : undefined;
  try {
    return await Promise.race([
      closed.then(() => whole() ?? 'closed'),
      eventually(() => whole(), { intervalMs: 2 }) as Promise<string>,
    ]);
  } finally {
    socket.destroy();
  }
}

const framed = (payload: string | Uint8Array): Buffer => encodeFrame(Buffer.from(payload));
const header = (bytes: number): Buffer => {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(bytes);
  return buffer;
};

describe('a login', () => {
  const login = (name: string, tried: string, at = agent()) => answerOf(at, 'login', { name, password: tried, key: newKey() });

  it('under an unknown name and one with a wrong password get the same answer', async () => {
    const unknown = await login('nobody-of-this-name', 'wrong horse');
    await member('known');
    const wrong = await login('known', 'wrong horse');
    expect(unknown).toBe('wrong-password no user has the name nobody-of-this-name and this password');
    expect(wrong).toBe('wrong-password no user has the name known and this password');
  });

  /** As if so long had passed since. */
  const age = (name: string, ms: number): Promise<unknown> =>
    system.query(`UPDATE login_tries SET at = at - $2 * interval '1 ms' WHERE name = $1`, [name, ms]);
  const sessionsOf = async (name: string): Promise<number> =>
    (await system.query(`SELECT FROM sessions s JOIN users u ON u.id = s.user_id WHERE u.name = $1`, [name])).length;

  it(`is refused after ${freeFailures} wrong ones, at whichever agents, for longer and longer; others are not`, async () => {
    await member('guessed');
    const agents = system.agentAddresses;
    for (let tries = 0; tries < freeFailures; tries++)
      expect(await login('guessed', `wrong horse ${tries}`, agents[tries % 2])).toMatch(/^wrong-password/);
    for (const address of agents)
      expect(await login('guessed', password, address)).toBe('rate-limited too many wrong passwords for guessed: again in 1 s');
    expect(await login('ana', password)).toMatchObject({ name: 'ana' });
    await age('guessed', 1_000);
    expect(await login('guessed', 'wrong horse again')).toMatch(/^wrong-password/);
    const refused = ask(agent(), 'login', { name: 'guessed', password, key: newKey() }, { timeoutMs });
    await expect(refused).rejects.toSatisfy(
      ({ details }: Refusal) => details.retryAfterMs! > 1_000 && details.retryAfterMs! <= 2_000,
    );
    await age('guessed', 2_000);
    expect(await login('guessed', password)).toMatchObject({ name: 'guessed' });
  });

  it('is limited also for many tries at once, and for names that nobody has', async () => {
    const tries = Array.from({ length: 30 }, (_, index) =>
      login('unknown-and-many', 'wrong horse', system.agentAddresses[index % 2]),
    );
    const answers = await Promise.all(tries);
    const codes = Map.groupBy(answers, (answer) => (typeof answer === 'string' ? answer.split(' ')[0]! : 'ok'));
    expect(codes.get('wrong-password')).toHaveLength(freeFailures);
    codes.delete('wrong-password');
    expect(['rate-limited', 'unavailable']).toEqual(expect.arrayContaining([...codes.keys()]));
  });

  it('that succeeds forgets the failures before it', async () => {
    await member('clumsy');
    for (let round = 0; round < 2; round++) {
      for (let tries = 1; tries < freeFailures; tries++) await login('clumsy', 'wrong horse');
      expect(await login('clumsy', password)).toMatchObject({ name: 'clumsy' });
    }
  });

  it('that is asked again and again, as on a busy machine, is one: it counts as no failure, and opens one session', async () => {
    const name = 'patient';
    await client.ask('register', { name, password, key: 'patient' });
    const key = newKey();
    const asked = (index: number) => ask(system.agentAddresses[index % 2]!, 'login', { name, password, key }, { timeoutMs: 40 });
    await Promise.allSettled(Array.from({ length: 40 }, (_, index) => asked(index)));
    const { token } = await client.ask('login', { name, password, key });
    expect(await client.ask('login', { name, password, key })).toMatchObject({ token });
    expect(await sessionsOf(name)).toBe(1);
    expect(await client.ask('login', { name, password, key: newKey() })).not.toMatchObject({ token });
  });

  it('is no shorter way to guess a password for who has a session; a change that is asked for again is one', async () => {
    const session = await member('changed');
    const change = (tried: string, newPassword: string, key = newKey()) =>
      answerOf(agent(), 'changePassword', { token: session, password: tried, newPassword, key });
    for (let tries = 0; tries < freeFailures; tries++)
      expect(await change(`wrong horse ${tries}`, 'battery staple')).toMatch(/^wrong-password/);
    expect(await change(password, 'battery staple')).toMatch(/^rate-limited/);
    expect(await login('changed', password)).toMatch(/^rate-limited/);
    await age('changed', 1_000);
    const key = newKey();
    expect(await change(password, 'battery staple', key)).toEqual({});
    expect(await change(password, 'battery staple', key)).toEqual({});
    expect(await change(password, 'another staple')).toMatch(/^wrong-password/);
    expect(await change('battery staple', 'short')).toMatch(/^invalid/);
    expect(await login('changed', 'battery staple')).toMatchObject({ name: 'changed' });
  });

  it('of ten at once, where a look at a password takes a try of others, opens each', { timeout: 180_000 }, async () => {
    const scryptCost = { N: 2 ** 14, r: 8, p: 15 };
    await using slow = await ConsortiumInProcess.start(postgres, { agents: 2, nodes: 1, scryptCost });
    const people = Array.from({ length: 10 }, async (_, index) => {
      const user = { name: `one-of-ten-${index}`, password };
      const one = slow.client({ patienceMs: 150_000 });
      await one.ask('register', { ...user, key: newKey() });
      return one.ask('login', { ...user, key: newKey() });
    });
    expect(await Promise.all(people)).toHaveLength(10);
  });

  it('that has failed has failed, with whatever password it is asked again', async () => {
    await member('tried');
    const key = newKey();
    const again = (tried: string) => answerOf(agent(), 'login', { name: 'tried', password: tried, key });
    expect(await again('wrong horse')).toMatch(/^wrong-password/);
    expect(await again(password)).toMatch(/^wrong-password/);
    expect(await login('tried', password)).toMatchObject({ name: 'tried' });
  });

  it('of who is attacked from everywhere is refused where the user has never been, and nowhere else', async () => {
    await member('known-here');
    await using database = new AsyncDisposableStack();
    const log = silentLogger;
    const accounts = new Accounts(
      database.adopt(new Database({ url: system.databaseUrl, connections: 1, clock: systemClock, log }), (each) => each.close()),
    );
    const deadline = (): number => systemClock.nowMs() + timeoutMs;
    const lookedAt = async (source: string, key: string): Promise<unknown> =>
      accounts.lookAt({ name: 'known-here', source, key }, 0, deadline());
    for (let index = 0; index < 60; index++) {
      const source = `attacker ${index % 20}`;
      await accounts.lookAt({ name: 'known-here', source, key: `${index}` }, 1_000, deadline()).catch(() => undefined);
      await accounts.fail({ name: 'known-here', source, key: `${index}` }, deadline());
    }
    await expect(lookedAt('a place of nobody', 'new')).rejects.toMatchObject({ code: 'rate-limited' });
    expect(await login('known-here', password)).toMatchObject({ name: 'known-here' });
  });
});

describe('a key', () => {
  it('that was used for another request is refused, for every request that has one; the same one gets the first reply', async () => {
    const user = await member('keyed');
    const done: { by: string; kind: Kind; body: object; other: object }[] = [
      { by: root, kind: 'addArea', body: { area: 'keyed', nodes: 1 }, other: { area: 'keyed', nodes: 2 } },
      { by: root, kind: 'setArea', body: { area: 'keyed', nodes: 2 }, other: { area: 'keyed', nodes: 1 } },
      { by: root, kind: 'promote', body: { name: 'keyed' }, other: { name: 'ana' } },
      { by: root, kind: 'demote', body: { name: 'keyed' }, other: { name: 'ana' } },
      { by: user, kind: 'unsubscribe', body: { area }, other: { area: 'keyed' } },
      { by: user, kind: 'subscribe', body: { area }, other: { area: 'keyed' } },
      { by: user, kind: 'post', body: { area, text: 'one' }, other: { area, text: 'two' } },
      { by: root, kind: 'removeArea', body: { area: 'keyed' }, other: { area: 'none' } },
    ];
    const asks = (kind: Kind, body: object): Promise<unknown> =>
      ['post', 'subscribe', 'unsubscribe'].includes(kind) ? client.ask(kind, body as never) : client.ask(kind, body as never);
    const used = new Map<string, string>();
    for (const { by, kind, body, other } of done) {
      const key = newKey();
      const reply = await asks(kind, { token: by, key, ...body });
      expect(await asks(kind, { token: by, key, ...body })).toEqual(reply);
      if (kind !== 'unsubscribe' && kind !== 'subscribe')
        await expect(asks(kind, { token: by, key, ...other })).rejects.toMatchObject({ code: 'conflict' });
      const before = used.get(by);
      if (before !== undefined)
        await expect(asks(kind, { token: by, key: before, ...body })).rejects.toMatchObject({ code: 'conflict' });
      used.set(by, key);
    }
  });

  it('of who registers is good for the same password alone', async () => {
    const key = newKey();
    const register = (tried: string) => answerOf(agent(), 'register', { name: 'twice', password: tried, key });
    expect([await register(password), await register(password)]).toEqual([{ name: 'twice' }, { name: 'twice' }]);
    expect(await register('another horse')).toBe(`conflict the key ${key} was used for another request`);
  });
});

describe('a name', () => {
  const register = (name: string) => answerOf(agent(), 'register', { name, password, key: newKey() });

  it.each([
    ['a path', '../../etc/passwd'],
    ['a name with a slash', 'a/b'],
    ['an option', '-rf'],
    ['a hidden file', '.bashrc'],
    ['nothing', ''],
    ['a space', ' '],
    ['two words', 'an na'],
    ['SQL', `'; DROP TABLE users; --`],
    ['a terminal sequence', '\u001b[31mred'],
    ['NUL', 'a\u0000b'],
    ['a line break', 'a\nb'],
    ['an override of direction', 'a\u202eb'],
    ['a letter without width', 'a\u200bb'],
    ['half a character', 'a\ud800'],
    ['a combining mark first', '\u0301a'],
    ['65 letters', 'a'.repeat(65)],
    ['seven thousand letters', 'a'.repeat(7_000)],
    ['letters of two scripts', '\u0430na'],
    ['digits of two systems', 'an\u0663a3'],
    ['a letter that is a text', '\ufb01n'],
    ['a soft hyphen', 'an\u00ada'],
    ['a letter that fills', 'an\u3164a'],
    ['a mark twice', 'a\u0301\u0301na'],
  ])('is not %s', async (_, name) => {
    expect(await register(name)).toMatch(/^invalid ".{0,600}"? is no name: 1 to 64 letters and digits/s);
    expect(await answerOf(agent(), 'login', { name, password, key: newKey() })).toMatch(/^invalid /);
    expect(await answerOf(agent(), 'addArea', { token: root, area: name, nodes: 1, key: newKey() })).toMatch(/^invalid /);
    expect(await answerOf(node(), 'read', { token, area: name, limit: 1 })).toMatch(/^invalid /);
  });

  it('is one in both of its Unicode forms, and belongs to who had it first', async () => {
    const [composed, decomposed] = ['caf\u00e9', 'cafe\u0301'];
    expect(await register(decomposed)).toEqual({ name: composed });
    expect(await register(composed)).toMatch(/^exists /);
    expect(await answerOf(agent(), 'login', { name: composed, password, key: newKey() })).toMatchObject({ name: composed });
    await client.ask('addArea', { token: root, area: composed, nodes: 1, key: newKey() });
    expect(await answerOf(agent(), 'addArea', { token: root, area: decomposed, nodes: 1, key: newKey() })).toMatch(/^exists /);
    expect(await client.ask('subscribe', { token, area: decomposed, key: newKey() })).toEqual({
      area: composed,
      changed: true,
    });
  });

  it('may be of any script, and like a word of the language', async () => {
    for (const name of ['жанна', '東京', 'ñandú-2', 'constructor', '__proto__'.slice(2, 7), 'tostring', 'null'])
      expect(await register(name)).toEqual({ name });
  });

  it('is one in upper and lower case, and wide', async () => {
    expect(await register('Carla')).toEqual({ name: 'carla' });
    for (const name of ['carla', 'CARLA', '\uff23arla']) {
      expect(await register(name)).toBe('exists the name carla is taken');
      expect(await answerOf(agent(), 'login', { name, password, key: newKey() })).toMatchObject({ name: 'carla' });
    }
  });

  it('that looks like one that is taken is refused, whoever comes second', async () => {
    expect(await register('scope')).toEqual({ name: 'scope' });
    const cyrillic = '\u0455\u0441\u043e\u0440\u0435';
    expect(await register(cyrillic)).toBe(`exists the name ${cyrillic} looks like one that is taken`);
    const both = await Promise.all([register('c0rn'), register('com')]);
    expect(both.filter((answer) => typeof answer === 'object')).toHaveLength(1);
    const add = (name: string) => answerOf(agent(), 'addArea', { token: root, area: name, nodes: 1, key: newKey() });
    expect(await add('scope')).toEqual({ area: 'scope', nodes: 1 });
    expect(await add(cyrillic)).toBe(`exists the name ${cyrillic} looks like one that is taken`);
  });

  it.each(['short', '', 'x'.repeat(257)])('with the password %j is not registered', async (weak) => {
    expect(await answerOf(agent(), 'register', { name: 'weak', password: weak, key: newKey() })).toBe(
      'invalid a password has 8 to 256 characters',
    );
  });
});

describe('a token', () => {
  const use = (text: string) => answerOf(node(), 'areas', { token: text });
  const signer = async (): Promise<Tokens> => {
    const [row] = await system.query<{ key: Buffer }>('SELECT key FROM signing_key');
    return new Tokens(row!.key, Date.now);
  };
  const [payload, signature] = [(): string => token.split('.')[0]!, (): string => token.split('.')[1]!];
  const decoded = (): object => JSON.parse(Buffer.from(payload(), 'base64url').toString()) as object;
  const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const session = { kind: 'session', id: '00000000-0000-4000-8000-000000000000' } as const;
  const expiresMs = Date.now() + 3_600_000;
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

  it.each<[string, () => string]>([
    ['signed with another key', () => new Tokens(Buffer.alloc(32, 1), Date.now).sign({ ...session, expiresMs })],
    ['cut', () => token.slice(0, -1)],
    ['longer', () => `${token}A`],
    ['without a signature', payload],
    ['with an empty signature', () => `${payload()}.`],
    ['with two signatures', () => `${token}.${signature()}`],
    ["with another user's payload", () => `${encoded({ ...decoded(), id: session.id })}.${signature()}`],
    ['made an administrator', () => `${encoded({ ...decoded(), role: 'administrator' })}.${signature()}`],
    ['made good for longer', () => `${encoded({ ...decoded(), expiresMs: Number.MAX_SAFE_INTEGER })}.${signature()}`],
    ['of no algorithm', () => `${encoded({ alg: 'none' })}.${payload()}.`],
    ['with padding', () => `${token}=`],
    // The last of 43 letters has two bits that mean nothing.
    ['spelt otherwise', () => token.slice(0, -1) + alphabet[alphabet.indexOf(token.at(-1)!) ^ 1]!],
    ['with a line break', () => `${token}\n`],
    ['empty', () => ''],
    ['of a prototype', () => '__proto__'],
  ])('%s is refused', async (_, make) => {
    expect(await use(make())).toBe('unauthenticated the token is not of this system: log in again');
  });

  it('of a node opens no session, and that of a session makes no node', async () => {
    const tokens = await signer();
    expect(await use(tokens.sign({ kind: 'node', id: session.id, expiresMs }))).toMatch(/^unauthenticated /);
    const join = { name: 'spy', id: session.id, port: 1, host: '127.0.0.1' };
    expect(await answerOf(agent(), 'join', { token, ...join })).toMatch(/^unauthenticated /);
    const other = tokens.sign({ kind: 'node', id: '00000000-0000-4000-8000-000000000001', expiresMs });
    expect(await answerOf(agent(), 'join', { token: other, ...join })).toMatch(/^unauthenticated /);
  });

  it('that has expired is refused, by its own word and by that of the database', async () => {
    const tokens = await signer();
    expect(await use(tokens.sign({ ...session, expiresMs: Date.now() - 1 }))).toMatch(/^unauthenticated the session expired at /);
    expect(await use(tokens.sign({ ...session, expiresMs }))).toMatch(/^unauthenticated the session is closed or has expired/);
    const ended = (await client.ask('login', { name: 'ana', password, key: newKey() })).token;
    const { id } = JSON.parse(Buffer.from(ended.split('.')[0]!, 'base64url').toString()) as { id: string };
    await system.query('UPDATE sessions SET expires_at = now() WHERE id = $1', [id]);
    expect(await use(ended)).toMatch(/^unauthenticated the session is closed or has expired/);
  });

  it('of 3,000 letters is not even looked at', async () => {
    expect(await use('A'.repeat(3_000))).toMatch(/^invalid areas: token: /);
  });
});

describe('an item', () => {
  const post = (text: string, key = newKey()) => answerOf(node(), 'post', { token, area, key, text });
  const edit = (text: string) => answerOf(node(), 'edit', { token, area, number: 1, key: newKey(), text });

  it.each([
    ['nothing', '', 'invalid an item needs a text'],
    ['white space', ' \n\t ', 'invalid an item needs a text'],
    ['20 KB', 'x'.repeat(20_000), `invalid an item of 20000 bytes; at most ${textBytesMax} are allowed`],
    ['1 MB', 'x'.repeat(1_000_000), `malformed a request has at most ${requestBytesMax.toNode} bytes here`],
    [
      'a byte too much',
      'é'.repeat(textBytesMax / 2) + 'x',
      `invalid an item of ${textBytesMax + 1} bytes; at most ${textBytesMax} are allowed`,
    ],
    [
      'a bell',
      'ding\u0007',
      'invalid an item may have no control character but tab and line feed, and this has U+0007 at position 4',
    ],
    ['NUL', '\u0000x', 'invalid an item may have no control character but tab and line feed, and this has U+0000 at position 0'],
    [
      'a terminal sequence',
      '\u001b[2J',
      'invalid an item may have no control character but tab and line feed, and this has U+001B at position 0',
    ],
    [
      'half a character',
      'x\udc00',
      'invalid an item may have no control character but tab and line feed, and this has U+DC00 at position 1',
    ],
  ])('is not %s', async (_, text, expected) => {
    expect(await post(text)).toBe(expected);
    expect(await edit(text)).toBe(expected);
  });

  it.each([
    ['SQL', `'; DROP TABLE news; --`],
    ['placeholders', '$1 %s ${x} {{x}} \\ \\\\ " \' `'],
    ['JSON', '{"ok":{},"__proto__":null}'],
    ['markup', '<script>alert(1)</script>'],
    ['all scripts', 'שלום 你好 🦊👩‍👩‍👧 \u202eright to left'],
    ['as much as is allowed', 'é'.repeat(textBytesMax / 2)],
    ['as much, and in JSON twice that', '"'.repeat(textBytesMax)],
  ])('may be %s, and stays as it is', async (_, text) => {
    const { number } = (await post(text)) as { number: number };
    const { items } = (await answerOf(node(), 'read', { token, area, limit: 100 })) as Replies['read'];
    expect(items.find((item) => item.number === number)).toMatchObject({ author: 'ana', text });
  });

  it.each(['', 'a key', 'é', 'k'.repeat(101), 'a\n'])('with the key %j is not taken', async (key) => {
    expect(await post('text', key)).toMatch(/^invalid /);
  });

  it('larger than a frame is not even sent', async () => {
    await expect(post('x'.repeat(replyBytesMax))).rejects.toThrow(FrameTooLargeError);
  });

  it('of an unknown area is refused', async () => {
    expect(await answerOf(node(), 'post', { token, area: 'nowhere', key: newKey(), text: 'x' })).toBe(
      'unknown-area there is no area nowhere',
    );
    expect(await answerOf(agent(), 'where', { area: 'nowhere' })).toBe('unknown-area there is no area nowhere');
  });
});

describe('a number out of range', () => {
  const send = (request: object) => answerTo(node(), framed(JSON.stringify({ deadlineMs: 1_000, token, area, ...request })));

  it.each([2 ** 53, -1, 0, 1.5, 1e300, '1', null, [1], {}, true])('such as %j is no item', async (number) => {
    expect(await send({ kind: 'delete', number })).toMatch(/"code":"invalid","message":"delete: number: /);
    expect(await send({ kind: 'mark', numbers: [1, number] })).toMatch(/"code":"invalid","message":"mark: numbers\.1: /);
    expect(await send({ kind: 'read', before: number, limit: 1 })).toMatch(/"code":"invalid"/);
    expect(await send({ kind: 'read', limit: number === true ? 101 : number })).toMatch(/"code":"invalid"/);
    expect(await send({ kind: 'areas', deadlineMs: number })).toMatch(/"code":"invalid"/);
  });

  it('is no page, no area and no time', async () => {
    expect(await send({ kind: 'mark', numbers: [] })).toMatch(/"code":"invalid"/);
    expect(await send({ kind: 'mark', numbers: Array.from({ length: 101 }, () => 1) })).toMatch(/"code":"invalid"/);
    expect(await send({ kind: 'watch', after: -1 })).toMatch(/"code":"invalid"/);
    expect(await send({ kind: 'areas', deadlineMs: 30_001 })).toMatch(/"code":"invalid"/);
    expect(await answerOf(agent(), 'addArea', { token: root, area: 'many', nodes: 101, key: newKey() })).toMatch(/^invalid /);
  });

  it('is a number that no item has, where it is the largest there can be', async () => {
    const number = Number.MAX_SAFE_INTEGER;
    expect(await send({ kind: 'delete', number })).toMatch(/"code":"unknown-item"/);
    expect(await send({ kind: 'edit', number, text: 'x', key: newKey() })).toMatch(/"code":"unknown-item"/);
    expect(await send({ kind: 'mark', numbers: [number, number] })).toBe('{"ok":{"marked":0}}');
    expect(await send({ kind: 'read', before: number, limit: 1 })).toMatch(/^\{"ok":\{"items":\[\{/);
  });
});

describe('a frame', () => {
  const both = (): string[] => [agent(), node()];
  const depth = 3_000;

  it.each<[string, string | Uint8Array]>([
    ['nothing', ''],
    ['rubbish', Uint8Array.from({ length: 1_000 }, (_, index) => (index * 7919) % 256)],
    ['text that is not UTF-8', Uint8Array.of(0x22, 0xff, 0xfe, 0x22)],
    ['half a request', '{"kind":"areas"'],
    ['null', 'null'],
    ['a number', '1e400'],
    ['a list', '[{"kind":"areas"}]'],
    ['an empty object', '{}'],
    ['a kind that is none', '{"kind":"DROP TABLE users","deadlineMs":1}'],
    ['a kind of a prototype', '{"kind":"__proto__","deadlineMs":1}'],
    ['a kind that all objects have', '{"kind":"constructor","deadlineMs":1}'],
    ['a kind that is an object', '{"kind":{"toString":1},"deadlineMs":1}'],
    ['a kind that is a deep list', `{"kind":${'['.repeat(depth)}${']'.repeat(depth)},"deadlineMs":1}`],
    ['thousands of lists in each other', '['.repeat(depth) + ']'.repeat(depth)],
    ['thousands of lists that do not end', '['.repeat(depth)],
  ])('of %s is malformed, and the connection goes on', async (_, payload) => {
    for (const address of both()) {
      expect(await answerTo(address, framed(payload))).toMatch(/^\{"error":\{"code":"malformed","message":"/);
      const socket = await connectTo(address);
      const first = await socket.request(Buffer.from(payload), { timeoutMs });
      const second = await socket.request(Buffer.from('{"kind":"where","deadlineMs":1000,"token":""}'), { timeoutMs });
      expect([first.toString(), second.toString()]).toEqual([
        expect.stringMatching(/malformed/),
        expect.stringMatching(/^\{"(ok|error)":/),
      ]);
      socket.destroy();
    }
  });

  it('with objects where texts belong is invalid, however deep they are', async () => {
    const deep = '{"a":'.repeat(depth) + '1' + '}'.repeat(depth);
    expect(await answerTo(node(), framed(`{"kind":"areas","deadlineMs":1000,"token":${deep}}`))).toMatch(/"code":"invalid"/);
    const many = `{${Array.from({ length: depth }, (_, index) => `"k${index}":1`).join()},"kind":"areas","deadlineMs":1000}`;
    expect(await answerTo(node(), framed(many))).toMatch(/"code":"invalid"/);
  });

  it('with keys of prototypes changes no object', async () => {
    const evil = '"__proto__":{"polluted":1,"role":"administrator"},"constructor":{"prototype":{"polluted":1}}';
    expect(await answerTo(node(), framed(`{"kind":"areas","deadlineMs":1000,"token":${JSON.stringify(token)},${evil}}`))).toMatch(
      /^\{"ok":/,
    );
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    expect(await answerTo(agent(), framed(`{"deadlineMs":1000,"__proto__":{"kind":"status"}}`))).toMatch(/malformed/);
  });

  it('for an agent is none for a node, and the other way round', async () => {
    expect(await answerOf(node(), 'login', { name: 'ana', password, key: newKey() })).toBe(
      'malformed login is for an agent, and this is a node',
    );
    expect(await answerOf(agent(), 'areas', { token })).toBe('malformed areas is for a node, and this is an agent');
    expect(await answerTo(agent(), framed(JSON.stringify({ kind: 'watch', deadlineMs: 1_000, token, area })))).toMatch(
      /malformed/,
    );
  });

  it.each<[string, Uint8Array]>([
    ['4 GiB that are announced', header(2 ** 32 - 1)],
    ['a byte more than is allowed', header(requestBytesMax.toNode + 1)],
    ['1 MB that comes', framed('x'.repeat(1_000_000))],
    ['another protocol', Buffer.from('GET / HTTP/1.1\r\nHost: news\r\n\r\n')],
  ])('of %s ends the connection with a sentence, before a byte of it is kept', async (_, bytes) => {
    for (const address of both()) {
      const bytesMax = address === agent() ? requestBytesMax.toAgent : requestBytesMax.toNode;
      const socket = await rawConnection(address);
      const received: Buffer[] = [];
      socket.on('data', (chunk) => received.push(chunk));
      const closed = once(socket, 'close');
      socket.write(bytes);
      await closed;
      const sentence = `{"error":{"code":"malformed","message":"a request has at most ${bytesMax} bytes here"}}`;
      expect(Buffer.concat(received).toString()).toBe(framed(sentence).toString());
    }
  });

  it('as large as there may be is taken, and read as what it is', async () => {
    for (const [address, bytesMax] of [
      [agent(), requestBytesMax.toAgent],
      [node(), requestBytesMax.toNode],
    ] as const)
      expect(await answerTo(address, framed(' '.repeat(bytesMax)))).toMatch(/not JSON/);
  });
});

describe('500 clients at once', () => {
  it('are all served', async () => {
    const requests = Array.from({ length: 500 }, (_, index) =>
      index % 2 === 0 ? answerOf(node(), 'areas', { token }) : answerOf(agent(), 'where', { area }),
    );
    const answers = await Promise.all(requests);
    expect(answers.filter((answer) => typeof answer === 'string')).toEqual([]);
  });
});

describe('a start', () => {
  const folder = join(import.meta.dirname, '..', 'src', 'store', 'migrations');
  const migrations = readdirSync(folder)
    .map(Number.parseFloat)
    .toSorted((one, other) => one - other);
  const start = (url: string): Promise<void> => migrate({ url, clock: systemClock, log: silentLogger });

  it('with another password for the first administrator leaves the password as it is', async () => {
    await system.startAgent('agent-3', 'another password');
    const third = system.addressOf('agent-3');
    expect(await answerOf(third, 'login', { name: administrator.name, password: 'another password', key: newKey() })).toMatch(
      /^wrong-password /,
    );
    expect(await answerOf(third, 'login', { ...administrator, key: newKey() })).toMatchObject({ role: 'administrator' });
    await system.stop('agent-3');
  });

  it('with a wrong password for the database ends with a sentence and an exit code', async () => {
    const url = new URL(system.databaseUrl);
    url.password = 'wrong';
    const main = join(import.meta.dirname, '..', 'src', 'main.ts');
    const child = spawn(process.execPath, [main, 'node', '--database-url', url.href], { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const [code] = (await once(child, 'close')) as [number];
    expect(code).toBe(exitCodes.failed);
    expect(said).toMatch(/lab@127\.0\.0\.1:\d+\/consortium_\d+: password authentication failed for user \\?"lab\\?"/);
    expect(said).not.toMatch(/wrong|\n\s+at /);
  });

  it('on a database that a newer program has made is refused, and changes nothing', async () => {
    const url = await createDatabase(postgres);
    await start(url);
    await query(url, `INSERT INTO schema_versions (version, name, md5, run_at) VALUES (999, 'of-the-future', 'x', now())`);
    await expect(start(url)).rejects.toThrow(
      new ExitError(`the database has version 999, this program knows ${migrations.at(-1)}: start a newer program`),
    );
  });

  it('with a migration that was changed since it was applied is refused', async () => {
    const url = await createDatabase(postgres);
    await start(url);
    await query(url, `UPDATE schema_versions SET md5 = 'another' WHERE version = 2`);
    await expect(start(url)).rejects.toThrow(/MD5|md5|checksum/);
    await expect(start(url)).rejects.toBeInstanceOf(ExitError);
  });

  it('while another process migrates waits aloud, and not for ever', async () => {
    const url = await createDatabase(postgres);
    const other = new pg.Client(connectionTo(url, 'test'));
    await other.connect();
    await other.query('SELECT pg_advisory_lock($1)', [migrationLock]);
    const hurried: Clock = {
      ...systemClock,
      nowMs: () => 100 * systemClock.nowMs(),
      after: (ms, then) => systemClock.after(ms / 100, then),
    };
    const says = /another process migrates it/;
    await expect(migrate({ url, clock: hurried, log: silentLogger })).rejects.toThrow(says);
    const warned = vi.fn();
    const started = migrate({ url, clock: systemClock, log: Object.create(silentLogger, { warn: { value: warned } }) as Logger });
    await eventually(() => warned.mock.calls.some(([fields]) => says.test(String((fields as { err: unknown }).err))));
    await other.end();
    await started;
  });

  it('of many at once on an empty database migrates it once', async () => {
    const url = await createDatabase(postgres);
    await Promise.all(Array.from({ length: 5 }, () => start(url)));
    expect(await query(url, 'SELECT version::integer FROM schema_versions WHERE version > 0 ORDER BY version')).toEqual(
      migrations.map((version) => ({ version })),
    );
  });
});

describe('after all that', () => {
  it.each(['say nothing', 'send a byte in half a second', 'do not read their answers'])(
    'clients that %s have been turned out',
    async (which) => {
      const sockets = hanging[which]!;
      await eventually(
        () => {
          // Who does not read learns of the end when he writes.
          for (const socket of sockets) if (socket.isPaused()) socket.write(Buffer.alloc(1));
          return sockets.every((socket) => socket.closed);
        },
        { timeoutMs: 120_000 },
      );
    },
  );

  it('whoever worked beside it has done so without a failure, and hardly slower', async () => {
    await bystander.stop();
    const { posted, waitsMs } = bystander;
    expect(posted.length).toBeGreaterThan(50);
    expect(new Set(posted).size).toBe(posted.length);
    const sorted = waitsMs.toSorted((one, other) => one - other);
    const [p50, p99] = [0.5, 0.99].map((part) => Math.round(sorted[Math.floor(part * sorted.length)]!));
    console.log(`the bystander: ${posted.length} rounds, an answer in ${p50} ms (p50), ${p99} ms (p99)`);
    // The attackers, the agents and the nodes share one thread here.
    expect(p99).toBeLessThan(1_000);
  });

  it('nothing of it is kept in memory', () => {
    expect((heapBytes() - heapBytesBefore) / mebibyte).toBeLessThan(64);
  });
});
