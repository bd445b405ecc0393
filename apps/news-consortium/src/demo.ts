/** The whole system in one process, on a PostgreSQL of its own: an administrator and two users tell a story, and what they were promised is checked while plugs are pulled. */
import { randomUUID } from 'node:crypto';
import { ExitError, makeLogger, systemClock } from '@lab/process';
import { ordinaryCost } from '@lab/process/passwords';
import { addressesOf, ask, connectTo } from './asking.ts';
import { Consortium } from './client/consortium.ts';
import { silenceMs, watch } from './client/watch.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@lab/testing/embedded-postgres';
import type { Body, Item, Kind, Replies, Session } from './messages.ts';
import { Refusal, type RefusalCode } from './refusal.ts';
import { makeAgent, makeNode, type Host, type ServingRole } from './wiring.ts';

const adminPassword = 'battery staple';
const patienceMs = 30_000;
/** How long a watcher may take to get what was posted while the database was away. */
const arriveMs = 10_000;

export async function demo(): Promise<void> {
  const postgres = await startEmbeddedPostgres();
  const system = new DemoSystem(postgres);
  const interrupted = new AbortController();
  process.once('SIGINT', () => interrupted.abort());
  const story = new Story(system, postgres, interrupted.signal);
  try {
    await system.start();
    await story.tell();
  } catch (error) {
    throw interrupted.signal.aborted ? new ExitError('interrupted', 130, { cause: error }) : error;
  } finally {
    story.end();
    await system.stop();
    await postgres.stop();
  }
}

/** Two agents and three nodes. */
class DemoSystem {
  readonly #url: string;
  readonly agents: ServingRole[] = [];
  readonly nodes: ServingRole[] = [];

  constructor({ url }: EmbeddedPostgres) {
    this.#url = url;
  }

  get agentAddresses(): string[] {
    return this.agents.map(({ port }) => `127.0.0.1:${port}`);
  }

  async start(): Promise<void> {
    const common = { listen: '127.0.0.1:0', databaseUrl: this.#url };
    for (const name of ['agent-1', 'agent-2']) {
      const agent = makeAgent(this.#host(name), { ...common, name, adminName: 'admin', adminPassword, session: 3_600_000 });
      this.agents.push(agent);
      await agent.start();
    }
    for (const name of ['node-1', 'node-2', 'node-3']) {
      const node = makeNode(this.#host(name), { ...common, name, agents: this.agentAddresses, lease: 10_000 });
      this.nodes.push(node);
      await node.start();
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
    await Promise.all(this.agents.map((agent) => agent.stop()));
  }

  /** The plugs that the demo pulls make roles warn; of interest are errors. */
  #host(name: string): Host {
    const log = makeLogger({ name, level: 'error' });
    return { clock: systemClock, nowMs: Date.now, newId: randomUUID, scryptCost: ordinaryCost, log };
  }
}

class Story {
  readonly #system: DemoSystem;
  readonly #postgres: EmbeddedPostgres;
  readonly #signal: AbortSignal;
  readonly #over = new AbortController();
  readonly #consortium: Consortium;
  /** What ben's watch printed. */
  readonly #watched: string[] = [];
  #watching: Promise<void> = Promise.resolve();
  /** What was acknowledged, in order. */
  readonly #posted: string[] = [];

  constructor(system: DemoSystem, postgres: EmbeddedPostgres, signal: AbortSignal) {
    this.#system = system;
    this.#postgres = postgres;
    this.#signal = signal;
    const agents = (): Promise<string[]> => addressesOf(system.agentAddresses);
    this.#consortium = new Consortium({ agents, ask, clock: systemClock, patienceMs, signal });
  }

  end(): void {
    this.#over.abort();
  }

  async tell(): Promise<void> {
    const admin = await this.#logIn('admin', adminPassword);
    await this.#agent('addArea', { token: admin.token, area: 'sports', nodes: 2, key: randomUUID() });
    await this.#agent('addArea', { token: admin.token, area: 'weather', nodes: 1, key: randomUUID() });
    console.log('admin adds the areas sports, which two nodes serve, and weather, which one serves');
    const ana = await this.#newUser('ana');
    const ben = await this.#newUser('ben');
    for (const { token } of [ana, ben]) await this.#node('sports', 'subscribe', { token, area: 'sports', key: randomUUID() });
    console.log('ana and ben subscribe to sports; ben watches it');
    await this.#watch(ben);

    await this.#post(ana, 'The match was called off: it rains.');
    await this.#post(ana, 'The match is on again.');
    await this.#refused('not-subscribed', () =>
      this.#node('weather', 'post', { token: ana.token, area: 'weather', key: randomUUID(), text: 'It rains.' }),
    );
    await this.#unread(ben);
    await this.#delete(ana, ben);
    await this.#killPostgres(ana);
    await this.#stopNode(ana);
    await this.#arrived();
    await this.#logOut(ben);
    await this.#watching;
    await this.#check(ana);
  }

  async #post(session: Session, text: string): Promise<void> {
    const { token, name } = session;
    // The key is made once, before the first try: however often the consortium is asked, it is one post.
    const body = { token, area: 'sports', key: randomUUID(), text };
    const { area, number } = await this.#node('sports', 'post', body);
    this.#posted.push(text);
    console.log(`${name} posts ${area}/${number}: ${text}`);
  }

  async #watch({ token }: Session): Promise<void> {
    const started = Promise.withResolvers<void>();
    const signal = AbortSignal.any([this.#signal, this.#over.signal]);
    const connect = (address: string) => connectTo(address, { idleTimeoutMs: silenceMs });
    const onItem = (area: string, { number, author, text }: Item): void => {
      this.#watched.push(text);
      console.log(`  ben's watch shows ${area}/${number} by ${author}: ${text}`);
    };
    const watching = watch({
      consortium: this.#consortium,
      connect,
      clock: systemClock,
      token,
      areas: ['sports'],
      onItem,
      onBegin: () => started.resolve(),
      signal,
    });
    this.#watching = watching.catch((error: unknown) => {
      if (!(error instanceof Refusal && error.code === 'unauthenticated')) throw error;
      console.log(`  ben's watch ends: ${error.message}`);
    });
    await Promise.race([started.promise, this.#watching]);
  }

  /** Two clients of one user at once: each item goes to one of them. */
  async #unread({ token }: Session): Promise<void> {
    const take = (): Promise<Replies['unread']> => this.#node('sports', 'unread', { token, area: 'sports', limit: 1 });
    const [one, other] = await Promise.all([take(), take()]);
    const numbers = [...one.items, ...other.items].map(({ number }) => number);
    require(new Set(numbers).size === 2, `two clients got one item each: ${numbers.join(', ')}`);
    await this.#node('sports', 'mark', { token, area: 'sports', numbers });
    const { items, held } = await take();
    require(items.length === 0 && held === 0, 'nothing is unread when all was marked');
    console.log('ben reads what is unread at two clients: each gets one item; marked, nothing is unread');
  }

  async #delete(author: Session, other: Session): Promise<void> {
    await this.#refused('forbidden', () => this.#node('sports', 'delete', { token: other.token, area: 'sports', number: 1 }));
    await this.#node('sports', 'delete', { token: author.token, area: 'sports', number: 1 });
    this.#posted.shift();
    console.log('ana deletes sports/1; ben could not');
  }

  async #killPostgres(author: Session): Promise<void> {
    await this.#postgres.kill();
    console.log('PostgreSQL is killed (SIGKILL) …');
    const posting = this.#post(author, 'The database died while this was posted.');
    await this.#postgres.restart();
    const startMs = performance.now();
    await posting;
    console.log(`… and answers again ${((performance.now() - startMs) / 1000).toFixed(1)} s after its restart`);
  }

  async #stopNode(author: Session): Promise<void> {
    const { areas } = await this.#agent('status', {});
    const serving = areas.find(({ area }) => area === 'sports')!.nodes;
    const leaver = this.#system.nodes.find(({ port }) => serving[0]?.endsWith(`:${port}`))!;
    const posting = this.#post(author, 'A node went while this was posted.');
    await leaver.stop();
    await posting;
    const after = (await this.#agent('status', {})).areas.find(({ area }) => area === 'sports')!.nodes;
    require(after.length === 2 && !after.includes(serving[0]!), 'two other nodes serve sports');
    console.log('a node that served sports has left; two nodes serve it again');
  }

  /** The watch has all that was posted. */
  async #arrived(): Promise<void> {
    const lateMs = performance.now() + arriveMs;
    while (!this.#posted.every((text) => this.#watched.includes(text))) {
      require(performance.now() < lateMs, `the watch has everything within ${arriveMs / 1000} s`);
      await new Promise<void>((resolve) => systemClock.after(20, resolve));
    }
  }

  async #logOut({ token, name }: Session): Promise<void> {
    console.log(`${name} closes the session`);
    await this.#agent('logout', { token });
    for (let node = 1; node <= 4; node++)
      await this.#refused('unauthenticated', () => this.#node(undefined, 'myAreas', { token }));
  }

  async #check({ token }: Session): Promise<void> {
    const { items } = await this.#node('sports', 'read', { token, area: 'sports', limit: 100 });
    const texts = items.map(({ text }) => text);
    require(texts.join('\n') === this.#posted.join('\n'), `the area has what was acknowledged, each once: ${texts.join(' | ')}`);
    require(new Set(this.#watched).size === this.#watched.length, "ben's watch showed nothing twice");
    console.log(
      `Checked: the ${items.length} posts that were acknowledged and not deleted are there, each once, in order; the watch had each once; what is closed or somebody else's was refused.`,
    );
  }

  async #refused(code: RefusalCode, action: () => Promise<unknown>): Promise<void> {
    try {
      await action();
    } catch (error) {
      if (error instanceof Refusal && error.code === code) return;
      throw error;
    }
    throw new Error(`this should have been refused as ${code}`);
  }

  async #newUser(name: string): Promise<Session> {
    const password = `${name}'s password`;
    await this.#agent('register', { name, password, key: randomUUID() });
    return this.#logIn(name, password);
  }

  #logIn(name: string, password: string): Promise<Session> {
    return this.#agent('login', { name, password });
  }

  #agent<K extends Kind>(kind: K, body: Body<K>): Promise<Replies[K]> {
    return this.#consortium.agent(kind, body);
  }

  #node<K extends Kind>(area: string | undefined, kind: K, body: Body<K>): Promise<Replies[K]> {
    return this.#consortium.node(area, kind, body);
  }
}

function require(condition: boolean, what: string): void {
  if (!condition) throw new Error(`not so: ${what}`);
}
