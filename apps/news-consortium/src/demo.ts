/** The whole system in one process, on a PostgreSQL of its own: an administrator and two users tell a story, and what they were promised is checked while plugs are pulled. */
import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@lab/embedded-postgres';
import { interruptible, makeLogger, systemClock } from '@lab/process';
import { Lives } from '@lab/process/lives';
import { ordinaryCost } from '@lab/process/passwords';
import type { Tracer } from '@lab/tracing';
import type { DemoPage } from '@lab/watch/demo';
import type { DemoConfig } from './config.ts';
import { addressesOf, ask, connectTo } from './wire/asking.ts';
import { Consortium } from './client/consortium.ts';
import { Member } from './client/member.ts';
import { silenceMs, watch } from './client/watch.ts';
import type { Item } from './messages.ts';
import { Refusal, type RefusalCode } from './wire/refusal.ts';
import { makeAgent, makeNode, type Host, type ServingRole } from './wiring.ts';

const adminPassword = 'battery staple';
/** For what takes a second or two: a machine that is busy with a hundred other things has time for it, too. */
const patienceMs = 180_000;
/** Longer than a user who has an item in hand takes to mark it. */
const leaseMs = 10_000;
const anyPort = '127.0.0.1:0';

export async function demo({ watch }: DemoConfig): Promise<void> {
  await using page = watch ? await (await import('@lab/watch/demo')).openDemoPage('news-consortium') : undefined;
  await interruptible(async (interrupted) => {
    const postgres = await startEmbeddedPostgres();
    page?.breakable('postgres', { kill: () => postgres.kill(), start: () => postgres.restart() });
    const system = new DemoSystem(postgres.url, page);
    const story = new Story({ system, postgres, page, interrupted });
    try {
      await system.start();
      await story.tell();
    } finally {
      story.end();
      await system.stop();
      await postgres.stop();
    }
  });
  await page?.keep();
}

/** Two agents and three nodes. */
class DemoSystem {
  readonly #databaseUrl: string;
  readonly #page: DemoPage | undefined;
  readonly #lives: Lives;
  /** By the names of their roles: their next lives are there, too. */
  readonly #addresses = new Map<string, string>();

  constructor(databaseUrl: string, page?: DemoPage) {
    this.#databaseUrl = databaseUrl;
    this.#page = page;
    this.#lives = new Lives(page);
  }

  get agentAddresses(): string[] {
    return [...this.#addresses].flatMap(([name, address]) => (name.startsWith('agent') ? [address] : []));
  }

  async start(): Promise<void> {
    const common = { databaseUrl: this.#databaseUrl };
    for (const name of ['agent-1', 'agent-2'])
      await this.#begin(name, (host, listen) =>
        makeAgent(host, { ...common, name, listen, adminName: 'admin', adminPassword, session: 3_600_000 }),
      );
    for (const name of ['node-1', 'node-2', 'node-3'])
      await this.#begin(name, (host, listen) =>
        makeNode(host, { ...common, name, listen, healthListen: anyPort, agents: this.agentAddresses, lease: leaseMs }),
      );
  }

  async #begin(name: string, make: (host: Host, listen: string) => ServingRole): Promise<void> {
    await this.#lives.begin(name, () => {
      const role = make(host(name, this.#page?.tracer(name)), this.#addresses.get(name) ?? anyPort);
      const started = (): void => {
        const address = `127.0.0.1:${role.port}`;
        this.#addresses.set(name, address);
        this.#page?.servesAt(name, address);
        if (role.healthPort !== undefined) this.#page?.servesAt(name, `127.0.0.1:${role.healthPort}`);
      };
      return { role, started };
    });
  }

  /** In good order. */
  async leave(address: string): Promise<void> {
    const [name] = [...this.#addresses].find((each) => each[1] === address)!;
    await this.#lives.end(name);
  }

  stop(): Promise<void> {
    return this.#lives.stop();
  }
}

/** The plugs that the demo pulls make roles warn; of interest are errors. */
function host(name: string, tracer?: Tracer): Host {
  const log = makeLogger({ name, level: 'error' });
  return { clock: systemClock, nowMs: Date.now, newId: randomUUID, scryptCost: ordinaryCost, log, tracer };
}

interface StoryParts {
  readonly system: DemoSystem;
  readonly postgres: EmbeddedPostgres;
  readonly page: DemoPage | undefined;
  readonly interrupted: AbortSignal;
}

class Story {
  readonly #system: DemoSystem;
  readonly #postgres: EmbeddedPostgres;
  readonly #page: DemoPage | undefined;
  readonly #signal: AbortSignal;
  readonly #over = new AbortController();
  readonly #consortium: Consortium;
  /** What ben's watch printed. */
  readonly #watched: string[] = [];
  #watching: Promise<void> = Promise.resolve();
  /** What was acknowledged, in order. */
  readonly #posted: string[] = [];

  constructor({ system, postgres, page, interrupted: signal }: StoryParts) {
    this.#system = system;
    this.#postgres = postgres;
    this.#page = page;
    this.#signal = signal;
    const agents = (): Promise<string[]> => addressesOf(system.agentAddresses);
    this.#consortium = new Consortium({ agents, ask, clock: systemClock, patienceMs, signal });
  }

  end(): void {
    this.#over.abort();
  }

  async tell(): Promise<void> {
    const admin = this.#member();
    await admin.login('admin', adminPassword);
    await admin.ask('addArea', { area: 'sports', nodes: 2 });
    await admin.ask('addArea', { area: 'weather', nodes: 1 });
    console.log('admin adds the areas sports, which two nodes serve, and weather, which one serves');
    const [ana, ben] = [await this.#newUser('ana'), await this.#newUser('ben')];
    for (const user of [ana, ben]) await user.ask('subscribe', { area: 'sports' });
    console.log('ana and ben subscribe to sports; ben watches it');
    await this.#watch(ben);
    await this.#page?.goOn('ben watches sports, and ana is about to post; later the demo pulls plugs itself', {
      interrupted: this.#signal,
    });

    await this.#post(ana, 'The match was called off: it rains.');
    await this.#post(ana, 'The match is on again.');
    await refused('not-subscribed', () => ana.ask('post', { area: 'weather', text: 'It rains.' }));
    await this.#readUnread(ben);
    await this.#delete(ana, ben);
    await this.#page?.endFaults();
    await this.#killPostgres(ana);
    await this.#stopNode(ana);
    await this.#until(() => this.#posted.every((text) => this.#watched.includes(text)));
    await this.#logOut(ben);
    await this.#watching;
    await this.#check(ana);
  }

  /** Somebody at a client of their own. */
  #member(): Member {
    const sessions = { save: async () => undefined, remove: async () => undefined };
    return new Member({ consortium: this.#consortium, sessions, agents: [], newId: randomUUID }, undefined);
  }

  async #newUser(name: string): Promise<Member> {
    const member = this.#member();
    await member.ask('register', { name, password: `${name}'s password` });
    await member.login(name, `${name}'s password`);
    return member;
  }

  async #post(author: Member, text: string): Promise<void> {
    // Its key is made once, before the first try: however often the consortium is asked, it is one post.
    const { area, number } = await author.ask('post', { area: 'sports', text });
    this.#posted.push(text);
    console.log(`${author.kept.name} posts ${area}/${number}: ${text}`);
  }

  async #watch({ kept: { name, token } }: Member): Promise<void> {
    const started = Promise.withResolvers<void>();
    const watching = watch({
      ...{ consortium: this.#consortium, clock: systemClock, token, areas: ['sports'] },
      connect: (address) => connectTo(address, { idleTimeoutMs: silenceMs }),
      onItem: (area, { number, author, text }: Item) => {
        this.#watched.push(text);
        console.log(`  ${name}'s watch shows ${area}/${number} by ${author}: ${text}`);
      },
      onBegin: () => started.resolve(),
      signal: AbortSignal.any([this.#signal, this.#over.signal]),
    });
    const ended = watching.catch((error: unknown) => {
      if (!(error instanceof Refusal && error.code === 'unauthenticated')) throw error;
      console.log(`  ${name}'s watch ends: ${error.message}`);
    });
    this.#watching = waitedForLater(ended);
    await Promise.race([started.promise, this.#watching]);
  }

  /** Two clients of one user at once: each item goes to one of them. An item whose answer was lost is offered again when its lease ends. */
  async #readUnread(user: Member): Promise<void> {
    const beganMs = performance.now();
    const taken: number[] = [];
    await this.#until(async () => {
      const pages = await Promise.all([user.unread('sports', 1), user.unread('sports', 1)]);
      const items = pages.flatMap((page) => page.items);
      taken.push(...items.map(({ number }) => number));
      if (items.length > 0) await user.mark('sports', items);
      return items.length === 0 && pages.every(({ held }) => held === 0);
    });
    const twice = taken.length > new Set(taken).size && performance.now() - beganMs < leaseMs;
    require(new Set(taken).size === 2 && !twice, `two clients got each item once: ${taken.join(', ')}`);
    console.log('ben reads what is unread at two clients: each item goes to one of them; marked, nothing is unread');
  }

  async #delete(author: Member, other: Member): Promise<void> {
    await refused('forbidden', () => other.ask('delete', { area: 'sports', number: 1 }));
    await author.ask('delete', { area: 'sports', number: 1 });
    this.#posted.shift();
    console.log('ana deletes sports/1; ben could not');
  }

  async #killPostgres(author: Member): Promise<void> {
    await this.#postgres.kill();
    console.log('PostgreSQL is killed (SIGKILL) …');
    const posting = waitedForLater(this.#post(author, 'The database died while this was posted.'));
    await this.#postgres.restart();
    const startMs = performance.now();
    await posting;
    console.log(`… and answers again ${((performance.now() - startMs) / 1000).toFixed(1)} s after its restart`);
  }

  async #stopNode(author: Member): Promise<void> {
    const serving = await this.#servedBy(author, () => true);
    const posting = waitedForLater(this.#post(author, 'A node went while this was posted.'));
    await this.#system.leave(serving[0]!);
    await posting;
    await this.#servedBy(author, (address) => address !== serving[0]);
    console.log('a node that served sports has left; two nodes serve it again');
  }

  /** The two nodes of sports, when both of them are of that kind. */
  async #servedBy(user: Member, isGood: (address: string) => boolean): Promise<readonly string[]> {
    let found: readonly string[] = [];
    await this.#until(async () => {
      const { areas } = await user.status();
      found = areas.find(({ area }) => area === 'sports')!.nodes;
      return found.length === 2 && found.every(isGood);
    });
    return found;
  }

  /** Tries until it is so, or until somebody interrupts. */
  async #until(isSo: () => boolean | Promise<boolean>): Promise<void> {
    const deadlineMs = performance.now() + patienceMs;
    while (!(await isSo())) {
      require(performance.now() < deadlineMs, `it came about within ${patienceMs / 1000} s`);
      await wait(50, undefined, { signal: this.#signal });
    }
  }

  async #logOut(user: Member): Promise<void> {
    const { token, name } = user.kept;
    console.log(`${name} closes the session`);
    await user.logout();
    for (let node = 1; node <= 4; node++) await refused('unauthenticated', () => this.#consortium.ask('myAreas', { token }));
  }

  async #check(reader: Member): Promise<void> {
    const texts = (await reader.read('sports')).map(({ text }) => text);
    require(texts.join('\n') === this.#posted.join('\n'), `the area has what was acknowledged, each once: ${texts.join(' | ')}`);
    require(new Set(this.#watched).size === this.#watched.length, "ben's watch showed nothing twice");
    console.log(
      `Checked: the ${texts.length} posts that were acknowledged and not deleted are there, each once, in order; the watch had each once.`,
    );
    console.log("What is closed or somebody else's was refused.");
  }
}

/** It may fail before somebody waits for it: of that the process must not die, as it has to clean up. */
function waitedForLater<T>(work: Promise<T>): Promise<T> {
  work.catch(() => undefined);
  return work;
}

async function refused(code: RefusalCode, action: () => Promise<unknown>): Promise<void> {
  try {
    await action();
  } catch (error) {
    if (error instanceof Refusal && error.code === code) return;
    throw error;
  }
  throw new Error(`this should have been refused as ${code}`);
}

function require(condition: boolean, what: string): void {
  if (!condition) throw new Error(`not so: ${what}`);
}
