/** The client's commands as people and scripts type them: each a process, against a running system. */
import { randomUUID } from 'node:crypto';
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@lab/embedded-postgres';
import { eventually } from '@lab/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Consortium } from '../src/client/consortium.ts';
import { administrator, ConsortiumInProcess } from './consortium-in-process.ts';

const main = join(import.meta.dirname, '../src/main.ts');
const password = 'correct horse';
/** Longer than a test takes on a busy machine. */
const leaseMs = 600_000;

let postgres: EmbeddedPostgres;
let system: ConsortiumInProcess;
let client: Consortium;
let folder: string;
let admin: Person;
let people = 0;

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Somebody with a home of their own, which keeps the session. */
class Person {
  readonly name: string;
  readonly home: string;
  constructor(name: string) {
    this.name = name;
    this.home = join(folder, `home-${++people}`);
  }

  get sessionFile(): string {
    return join(this.home, '.lab-news-consortium', 'session');
  }

  start(...args: string[]): ChildProcessWithoutNullStreams {
    const env = { ...process.env, HOME: this.home, NODE_COMPILE_CACHE: join(folder, 'code') };
    return spawn(process.execPath, [main, 'client', ...args], { env });
  }

  async run(args: readonly string[], stdin = ''): Promise<Ended> {
    const child = this.start(...args);
    // Not every command reads what is piped in.
    child.stdin.on('error', () => undefined).end(stdin);
    return ended(child);
  }

  /** Of a command that succeeds: what it prints. */
  async does(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(args);
    // On a busy machine it may say that it waits.
    expect([code, stderr.replaceAll(/^no answer yet: .*\n/gm, '')]).toEqual([0, '']);
    return stdout;
  }

  async json(...args: string[]): Promise<unknown> {
    const text = await this.does(...args, '--json');
    expect(text).toMatch(/^[^\n]+\n$/);
    return JSON.parse(text) as unknown;
  }

  async logIn(secret: string): Promise<void> {
    const { code } = await this.run(['login', this.name, '--agents', system.agentAddresses.join(',')], `${secret}\n`);
    expect(code).toBe(0);
  }
}

async function ended(child: ChildProcessWithoutNullStreams): Promise<Ended> {
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { code, signal, stdout, stderr };
}

/** A new user who is logged in. */
async function newUser(): Promise<Person> {
  const person = new Person(`ana-${people}`);
  await client.ask('register', { name: person.name, password, key: person.name });
  await person.logIn(password);
  return person;
}

/** A new area, and a user who is subscribed to it. */
async function subscriber(): Promise<{ person: Person; area: string; token: string }> {
  const person = await newUser();
  const area = `area-${people}`;
  await admin.does('area', 'add', area);
  await person.does('subscribe', area);
  const { token } = await client.ask('login', { name: person.name, password, key: randomUUID() });
  return { person, area, token };
}

beforeAll(async () => {
  postgres = await startEmbeddedPostgres();
  system = await ConsortiumInProcess.start(postgres, { leaseMs });
  client = system.client();
  folder = await mkdtemp(join(tmpdir(), 'client-'));
  admin = new Person(administrator.name);
  await admin.logIn(administrator.password);
});
afterAll(async () => {
  await system[Symbol.asyncDispose]();
  await postgres.stop();
  await rm(folder, { recursive: true });
});

describe('the session', () => {
  it('is opened with a password that is piped in, kept for the commands that follow, and closed', async () => {
    const ana = new Person('ana');
    const agents = ['--agents', system.agentAddresses.join(',')];
    expect(await ana.run(['register', 'ana', ...agents], `${password}\n`)).toMatchObject({
      ...{ code: 0, stdout: 'registered ana; next: client login ana\n', stderr: '' },
    });
    expect(await ana.run(['login', 'ana', ...agents], `${password}\n`)).toMatchObject({
      ...{
        code: 0,
        stdout: expect.stringMatching(/^ana, user, until \d{4}-\d\d-\d\d \d\d:\d\d [+-]\d\d:\d\d\n$/) as string,
        stderr: '',
      },
    });
    expect(await ana.does('whoami')).toMatch(/^ana, user, until/);
    expect(await ana.json('whoami')).toMatchObject({ name: 'ana', role: 'user', agents: system.agentAddresses });
    expect(((await stat(ana.sessionFile)).mode & 0o777).toString(8)).toBe('600');
    expect(await ana.does('logout')).toBe('logged out\n');
    expect(await readdir(join(ana.sessionFile, '..'))).toEqual([]);
    expect(await ana.run(['whoami'])).toMatchObject({ code: 1, stderr: 'log in first: client login NAME (unauthenticated)\n' });
  });

  it('takes passwords as flags, and answers for programs without the token', async () => {
    const eve = new Person('eve');
    const flags = ['--password', password, '--agents', system.agentAddresses[1]!];
    expect(await eve.json('register', 'eve', ...flags)).toEqual({ name: 'eve' });
    expect(await eve.json('login', 'eve', ...flags)).toEqual({
      name: 'eve',
      role: 'user',
      expiresAt: expect.any(String) as string,
    });
    expect(await eve.json('logout')).toEqual({ wasOver: false });
  });

  it('stays open where the password is changed, and is over in all other places', async () => {
    const person = await newUser();
    const elsewhere = (await client.ask('login', { name: person.name, password, key: randomUUID() })).token;
    const agents = ['--agents', system.agentAddresses.join(',')];
    expect(await person.run(['password'], `wrong horse\nbattery staple\n`)).toMatchObject({ code: 1, stdout: '' });
    expect(await person.run(['password'], `${password}\nbattery staple\n`)).toMatchObject({
      ...{ code: 0, stdout: 'changed; your other sessions are closed\n' },
    });
    expect(await person.does('areas')).toBeDefined();
    await expect(client.ask('areas', { token: elsewhere })).rejects.toThrow('log in again');
    expect((await person.run(['login', person.name, ...agents], `${password}\n`)).code).toBe(1);
    expect((await person.run(['login', person.name, ...agents], 'battery staple\n')).code).toBe(0);
  });

  it('is over everywhere when it was closed in one place', async () => {
    const person = await newUser();
    const copy = join(person.home, 'copy');
    await cp(dirname(person.sessionFile), copy, { recursive: true, verbatimSymlinks: true });
    await person.does('logout');
    const over = await person.run(['areas', '--sessions', copy]);
    expect(over).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/log in again \(unauthenticated\)/) as string,
    });
  });

  it('of each of two users at two terminals is good for what is done as them', async () => {
    const here = await newUser();
    const other = await newUser();
    const agents = ['--agents', system.agentAddresses.join(',')];
    expect((await here.run(['login', other.name, ...agents], `${password}\n`)).code).toBe(0);
    const nameOf = async (...args: string[]): Promise<unknown> => ((await here.json('whoami', ...args)) as { name: string }).name;
    expect(await nameOf()).toBe(other.name);
    expect(await nameOf('--as', here.name)).toBe(here.name);
    expect(await here.does('logout', '--as', other.name)).toBe('logged out\n');
    expect((await here.run(['whoami'])).stderr).toMatch(/^log in first/);
    expect(await nameOf('--as', here.name)).toBe(here.name);
  });

  it('goes from its file when no agent knows it any more', async () => {
    const person = await newUser();
    const { token } = await client.ask('login', { name: person.name, password, key: randomUUID() });
    const kept = { token: `${token.slice(0, -2)}xx`, name: person.name, role: 'user', agents: system.agentAddresses };
    await writeFile(person.sessionFile, JSON.stringify({ ...kept, expiresAt: new Date().toISOString() }), { mode: 0o600 });
    expect(await person.does('logout')).toBe('the session was over already\n');
    expect(await readdir(join(person.sessionFile, '..'))).toEqual([]);
  });

  it('stays in its file while no agent confirms that it is closed', async () => {
    const person = await newUser();
    const unanswered = await person.run(['logout', '--agents', '127.0.0.1:1', '--patience', '1s']);
    expect(unanswered).toMatchObject({ code: 3, stdout: '' });
    expect(await person.does('logout')).toBe('logged out\n');
  });

  it('is not taken from a file that is damaged or that others can read, but another can be opened', async () => {
    const person = await newUser();
    await chmod(person.sessionFile, 0o644);
    expect(await person.run(['areas'])).toMatchObject({ code: 1, stderr: expect.stringContaining('by others') as string });
    await person.logIn(password);
    await writeFile(person.sessionFile, '{"tok');
    expect(await person.run(['areas'])).toMatchObject({ code: 1, stderr: expect.stringContaining('no session') as string });
    await person.logIn(password);
    expect(await person.json('areas')).toBeTypeOf('object');
  });

  it('is refused with a wrong password, an unknown user and a name that is taken', async () => {
    const person = await newUser();
    const agents = ['--agents', system.agentAddresses.join(',')];
    const wrong = await person.run(['login', person.name, ...agents], 'wrong horse\n');
    expect(wrong).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/\(wrong-password\)\n$/) as string });
    const unknown = await person.run(['login', 'nobody', '--json', '--password', password, ...agents]);
    expect([unknown.code, JSON.parse(unknown.stderr)]).toMatchObject([1, { error: { code: 'wrong-password' } }]);
    const taken = await person.run(['register', person.name, '--password', password, ...agents]);
    expect(taken).toMatchObject({ code: 1, stderr: `the name ${person.name} is taken (exists)\n` });
    expect(await person.run(['login', person.name, ...agents])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^there is no password/) as string,
    });
  });
});

describe('areas and news', () => {
  it('are subscribed to, posted, read, deleted and left', async () => {
    const person = await newUser();
    const area = `area-${people}`;
    expect(await admin.does('area', 'add', area, '--nodes', '2')).toBe(`added ${area}, for 2 nodes\n`);
    expect(await person.does('areas')).toMatch(new RegExp(`│ ${area} +│ +│`));
    expect(await person.does('my-areas')).toBe('subscribed to no area\n');
    expect(await person.does('subscribe', area)).toBe(`subscribed to ${area}\n`);
    expect(await person.does('subscribe', area)).toBe(`was subscribed to ${area} already\n`);
    expect(await person.does('read', area)).toBe(`no news in ${area}\n`);
    expect(await person.does('post', area, 'It', 'rains,\nand it', 'pours')).toBe(`${area}/1\n`);
    expect(await person.does('post', area, '--', '--unread')).toBe(`${area}/2\n`);
    expect(await person.does('my-areas')).toMatch(new RegExp(`│ ${area} +│ +2 │`));
    const time = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d [+-]\d\d:\d\d`;
    const first = String.raw`${area}/1  ${person.name}  ${time}  It rains,\n    and it pours\n`;
    const second = `${area}/2  ${person.name}  ${time}  --unread\n`;
    expect(await person.does('read', area)).toMatch(new RegExp(`^${first}${second}$`));
    expect(await person.does('read', area, '--last', '1')).toMatch(new RegExp(`^${second}$`));
    expect(await person.does('read', area, '--unread')).toMatch(new RegExp(`^${first}${second}$`));
    expect(await person.does('read', area, '--unread')).toBe(`nothing unread in ${area}\n`);
    expect(await person.does('edit', `${area}/2`, 'It', 'snows')).toBe(`edited ${area}/2\n`);
    expect(await person.does('read', area, '--unread')).toBe(`nothing unread in ${area}\n`);
    expect(await person.does('delete', `${area}/1`)).toBe(`deleted ${area}/1\n`);
    const edited = String.raw`${area}/2  ${person.name}  ${time} \(edited\)  It snows\n`;
    expect(await person.does('read', area)).toMatch(new RegExp(`^${edited}$`));
    expect(await person.does('unsubscribe', area)).toBe(`unsubscribed from ${area}\n`);
    expect(await person.does('unsubscribe', area)).toBe(`was not subscribed to ${area}\n`);
  });

  it('are answered as one JSON object for programs', async () => {
    const { person, area } = await subscriber();
    expect(await person.json('subscribe', area)).toEqual({ area, changed: false });
    expect(await person.json('post', area, 'It rains')).toEqual({ area, number: 1 });
    expect(await person.json('areas')).toMatchObject({
      areas: expect.arrayContaining([{ area, subscribed: true }]) as unknown[],
    });
    expect(await person.json('my-areas')).toMatchObject({ areas: [{ area, unread: 1 }] });
    const item = { number: 1, author: person.name, text: 'It rains', postedAt: expect.any(String) as string };
    expect(await person.json('read', area)).toEqual({ area, items: [item] });
    expect(await person.json('read', area, '--unread')).toEqual({ area, items: [item], held: 0, heldMs: 0 });
    expect(await person.json('read', area, '--unread')).toEqual({ area, items: [], held: 0, heldMs: 0 });
    expect(await person.json('edit', `${area}/1`, 'It snows')).toEqual({ area, number: 1 });
    const edited = { ...item, text: 'It snows', editedAt: expect.any(String) as string };
    expect(await person.json('read', area)).toEqual({ area, items: [edited] });
    expect(await person.json('delete', `${area}/1`)).toEqual({ area, number: 1 });
    expect(await person.json('unsubscribe', area)).toEqual({ area, changed: true });
  });

  it('are read over many pages, in order and without a gap', async () => {
    const { person, area, token } = await subscriber();
    for (let number = 1; number <= 230; number++)
      await client.ask('post', { token, area, key: `${area}-${number}`, text: `news ${number}` });
    const numbersOf = (text: string): number[] => [...text.matchAll(/ {2}news (\d+)\n/g)].map(([, number]) => Number(number));
    const all = Array.from({ length: 230 }, (_, index) => index + 1);
    expect(numbersOf(await person.does('read', area))).toEqual(all);
    expect(numbersOf(await person.does('read', area, '--last', '150'))).toEqual(all.slice(80));
    expect(numbersOf(await person.does('read', area, '--unread'))).toEqual(all);
    expect(await person.json('my-areas')).toMatchObject({ areas: [{ area, unread: 0 }] });
  });

  it('are posted once for each key', async () => {
    const { person, area } = await subscriber();
    expect(await person.does('post', area, 'It rains', '--key', 'rain')).toBe(`${area}/1\n`);
    expect(await person.does('post', area, 'It rains', '--key', 'rain')).toBe(`${area}/1\n`);
    const other = await person.run(['post', area, 'It snows', '--key', 'rain']);
    expect(other).toMatchObject({ code: 1, stderr: expect.stringMatching(/\(conflict\)\n$/) as string });
  });

  it('that another reader holds are told of, and come when that one has not marked them', async () => {
    const { person, area, token } = await subscriber();
    await person.does('post', area, 'It rains');
    await client.ask('unread', { token, area, limit: 100 });
    const held = await person.run(['read', area, '--unread']);
    expect(held).toMatchObject({ code: 0, stdout: `nothing unread in ${area}\n` });
    expect(held.stderr).toMatch(/^1 more item held for another reader of yours; free in \d+ s/);
    await system.query('UPDATE offers SET leased_until = now()');
    expect(await person.does('read', area, '--unread')).toContain('It rains');
  });

  it('stay unread when nobody takes what is printed', async () => {
    const { person, area } = await subscriber();
    await person.does('post', area, 'It rains');
    const reader = person.start('read', area, '--unread');
    reader.stdout.destroy();
    const [code] = (await once(reader, 'exit')) as [number | null];
    expect(code).toBe(141);
    expect(await person.json('my-areas')).toMatchObject({ areas: [{ area, unread: 1 }] });
  });

  it('do not act on the terminal of who reads them, whatever the database has', async () => {
    const { person, area } = await subscriber();
    await person.does('post', area, 'It rains');
    await system.query(String.raw`UPDATE news SET text = E'It \x1b[2Jrains\u009b\r' WHERE text = 'It rains'`);
    expect(await person.does('read', area)).toMatch(/ {2}It \[2Jrains\n$/);
    expect(await person.does('read', area, '--json')).toContain(String.raw`"It \u001b[2Jrains\u009b\r"`);
  });

  it('are refused where they may not be had', async () => {
    const { person, area } = await subscriber();
    const other = await newUser();
    await person.does('post', area, 'It rains');
    const refusals: [string[], string][] = [
      [['read', area], 'not-subscribed'],
      [['post', area, 'It snows'], 'not-subscribed'],
      [['subscribe', 'nowhere'], 'unknown-area'],
      [['edit', `${area}/1`, 'It snows'], 'forbidden'],
      [['edit', `${area}/7`, 'It snows'], 'unknown-item'],
      [['delete', `${area}/1`], 'forbidden'],
      [['delete', `${area}/7`], 'unknown-item'],
      [['area', 'add', 'mine'], 'forbidden'],
      [['promote', other.name], 'forbidden'],
      [['post', area, 'bell \u0007'], 'invalid'],
    ];
    for (const [args, code] of refusals) {
      const refused = await other.run([...args, '--json']);
      expect([refused.code, refused.stdout, JSON.parse(refused.stderr)]).toMatchObject([1, '', { error: { code } }]);
    }
  });
});

describe('administrators', () => {
  it('add, set and remove areas, promote users, and see the status', async () => {
    const { person, area } = await subscriber();
    await person.does('post', area, 'It rains');
    expect(await admin.does('area', 'set', area, '--nodes', '3')).toBe(`${area} is for 3 nodes\n`);
    expect(await admin.json('--json', 'area', 'set', area, '--nodes', '2')).toEqual({ area, nodes: 2 });
    expect(await admin.does('status')).toMatch(/^agent-\d decides\n[^]*│ node-1 [^]*│ node-3 /);
    expect(await admin.json('status')).toMatchObject({
      areas: expect.arrayContaining([expect.objectContaining({ area, wanted: 2 })]) as unknown[],
    });
    expect(await admin.does('area', 'remove', area)).toBe(`removed ${area}, with 1 item and 1 subscription\n`);
    expect(await admin.does('promote', person.name)).toBe(`${person.name} is an administrator\n`);
    expect(await person.json('area', 'add', area)).toEqual({ area, nodes: 1 });
    expect(await person.json('area', 'remove', area)).toEqual({ area, news: 0, subscriptions: 0 });
  });
});

describe('watch', () => {
  /** Until the watch has begun, which only the node knows, items are posted. */
  async function watched(person: Person, area: string, token: string, args: string[]): Promise<Ended> {
    const child = person.start('watch', ...args);
    const end = ended(child);
    let [shown, posted] = [false, 0];
    child.stdout.once('data', () => (shown = true));
    await eventually(async () => {
      await client.ask('post', { token, area, key: `${area}-${++posted}`, text: 'It rains' });
      return shown;
    });
    child.kill('SIGINT');
    return end;
  }

  it('shows items as they are posted, and ends well with Ctrl-C', async () => {
    const { person, area, token } = await subscriber();
    const { code, signal, stdout, stderr } = await watched(person, area, token, [area]);
    expect([code, signal, stderr]).toEqual([0, null, `watching ${area}\n`]);
    expect(stdout).toMatch(new RegExp(`^${area}/\\d+  ${person.name}  [-0-9]+ [:0-9]+ [-+:0-9]+  It rains\n`));
  });

  it('follows all areas, one object a line for programs', async () => {
    const { person, area, token } = await subscriber();
    const { code, stdout } = await watched(person, area, token, ['--json']);
    expect(code).toBe(0);
    const [first] = stdout.split('\n');
    expect(JSON.parse(first!)).toMatchObject({ area, author: person.name, text: 'It rains' });
  });

  it('shows what was edited and deleted', async () => {
    const { person, area, token } = await subscriber();
    await person.does('post', area, 'It rains');
    const child = person.start('watch', area);
    const end = ended(child);
    let edits = 0;
    let shown = '';
    child.stdout.on('data', (data: Buffer) => (shown += data.toString()));
    await eventually(async () => {
      await client.ask('edit', { token, area, number: 1, key: `${area}-${++edits}`, text: `It snows ${edits}` });
      return /^\S+\/1 .* \(edited\)  It snows \d+\n/.test(shown);
    });
    await person.does('delete', `${area}/1`);
    await eventually(() => shown.endsWith(`\n${area}/1  deleted\n`));
    child.kill('SIGINT');
    expect(await end).toMatchObject({ code: 0 });
  });

  it('is refused without a subscription', async () => {
    const { area } = await subscriber();
    const other = await newUser();
    expect(await other.run(['watch', area])).toMatchObject({
      code: 1,
      stderr: `you are not subscribed to ${area} (not-subscribed)\n`,
    });
  });
});

describe('the client', () => {
  it('says that nobody answers, once while it waits and once when it gives up', async () => {
    const { code, stdout, stderr } = await admin.run(['areas', '--agents', '127.0.0.1:1', '--patience', '1500ms']);
    expect([code, stdout]).toEqual([3, '']);
    expect(stderr).toMatch(/^no answer yet: .*; trying for 1\.5 s\nno answer in 1\.5 s: .* \(no-answer\)\n$/);
  });

  it('says so in one object a line to programs', async () => {
    const { stderr } = await admin.run(['areas', '--json', '--agents', '127.0.0.1:1', '--patience', '1500ms']);
    const lines = stderr
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown);
    const note = expect.stringMatching(/^no answer yet/) as string;
    expect(lines).toMatchObject([{ note }, { error: { code: 'no-answer' } }]);
  });

  it('ends at once with Ctrl-C while it waits', async () => {
    const child = admin.start('areas', '--agents', '127.0.0.1:1');
    const end = ended(child);
    const waiting = Promise.withResolvers<void>();
    child.stderr.once('data', () => waiting.resolve());
    await waiting.promise;
    child.kill('SIGINT');
    // A shell makes 130 of it.
    expect(await end).toMatchObject({ code: null, signal: 'SIGINT' });
  });

  it.each([
    [['areass'], /did you mean areas\?/],
    [['post', 'sports'], /behind the area comes the text/],
    [['post'], /WORDS\.\.\. is required/],
    [['delete', 'sports'], /named as it is shown: sports\/42/],
    [['edit', 'sports', 'It snows'], /first comes the item: an item is named as it is shown: sports\/42/],
    [['edit', 'sports/42'], /behind the item comes the text/],
    [['subscribe', '../x'], /AREA is "\.\.\/x": 1 to 64 letters/],
    [['read', 'sports', '--unread', '--last', '3'], /leave out --last/],
    [['area', 'add', 'sports', '--nodes', '0'], /--nodes is "0"/],
    [['menu'], /needs a terminal.*"client --help"/],
  ])('refuses %j before it asks anybody', async (args, sentence) => {
    const { code, stdout, stderr } = await new Person('nobody').run(args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(sentence);
  });

  it('explains itself', async () => {
    const nobody = new Person('nobody');
    await mkdir(nobody.home);
    expect(await nobody.does('--help')).toMatch(
      /^Usage: main\.ts client COMMAND[^]* {2}my-areas [^]* {2}area +for administrators/,
    );
    expect(await nobody.does('area', '--help')).toMatch(
      /^Usage: main\.ts client area COMMAND[^]* {2}add [^]* {2}set [^]* {2}remove /,
    );
    expect(await nobody.does('area', 'set', '--help')).toMatch(
      /^Usage: main\.ts client area set NAME --nodes NUMBER \[options\]\n/,
    );
  });
});
