/** What is left of the promises when agents, nodes and the database die, hang and are cut off while clients are at work: all that they did and saw is checked. */
import { systemClock } from '@lab/process';
import { eventually, simulate, type Random } from '@lab/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../src/embedded-postgres.ts';
import type { Item } from '../src/messages.ts';
import { administrator, ConsortiumInProcess } from './consortium-in-process.ts';
import { longestWait, violations, type History, type Operation } from './history.ts';
import { RecordingClient, Watch } from './recording-client.ts';

const users = ['ana', 'bo', 'cyd'];
const areas = ['chess', 'sports', 'weather'];
const clientsPerUser = 2;
const password = 'correct horse';
const pageItems = 100;
/** Those of the auditor from the beginning on, and some of the users. */
const watchesMax = 8;
/** Far above what is promised: this machine may be busy with something else. */
const waitMsMax = 10_000;
/** Operations that must be done after a fault struck, before it ends: the clients went on without whoever is away. */
const operationsDuringFault = 40;

let postgres: EmbeddedPostgres;
beforeAll(async () => {
  postgres = await startEmbeddedPostgres();
});
afterAll(() => postgres.stop());

/** Clients at work on a system of their own. */
class Run {
  readonly system: ConsortiumInProcess;
  readonly operations: Operation[] = [];
  readonly #random: Random;
  readonly #clients: RecordingClient[];
  readonly #watches: Watch[] = [];
  /** Numbers of what a user has posted, by user and area. */
  readonly #posted = new Map<string, number[]>();
  /** Addresses of all nodes that ever were, by id. */
  readonly #addresses = new Map<string, string>();
  #posts = 0;
  #over = false;

  constructor(system: ConsortiumInProcess, random: Random) {
    this.system = system;
    this.#random = random;
    this.#clients = [...users.flatMap((user) => Array.from({ length: clientsPerUser }, () => user)), 'auditor'].map((name) =>
      this.#client(name),
    );
  }

  #client(name: string): RecordingClient {
    const record = (operation: Operation): void => void this.operations.push(operation);
    return new RecordingClient({ name, password, agents: async () => this.system.agentAddresses, record });
  }

  /** Users, areas, everybody subscribed to everything, and an auditor who watches all of it. */
  async prepare(): Promise<void> {
    await this.system.recordAssignments();
    this.noteNodes();
    const client = this.system.client();
    const { token } = await client.agent('login', administrator);
    for (const area of areas) await client.agent('addArea', { token, area, nodes: this.#random.integer(1, 2), key: area });
    for (const name of [...users, 'auditor']) await client.agent('register', { name, password, key: name });
    for (const each of this.#clients) await each.login();
    for (const each of this.#clients) for (const area of areas) await each.node('subscribe', area, {});
    for (const area of areas) await this.#watch(this.#clients.at(-1)!, area);
  }

  noteNodes(): void {
    for (const name of this.system.nodes) this.#addresses.set(this.system.idOf(name), this.system.addressOf(name));
  }

  /** Everybody works until the faults are over. */
  async during(faults: () => Promise<void>): Promise<void> {
    const working = this.#clients.slice(0, -1).map((client, index) => this.#work(client, this.#random.fork(`client ${index}`)));
    try {
      await Promise.race([faults(), Promise.all(working)]);
    } finally {
      this.#over = true;
    }
    await Promise.all(working);
  }

  /** Resolves when so many more operations were answered. */
  async goOn(operations: number): Promise<void> {
    const wanted = this.operations.length + operations;
    await eventually(() => this.operations.length >= wanted, { timeoutMs: 3 * waitMsMax, intervalMs: 5 });
  }

  /** Resolves at a moment at which somebody waits for an answer. */
  async amidWork(): Promise<void> {
    await eventually(() => this.#clients.some((client) => client.busy), { intervalMs: 1 });
  }

  async #work(client: RecordingClient, random: Random): Promise<void> {
    while (!this.#over) {
      await this.#step(client, random);
      await new Promise<void>((resolve) => systemClock.after(random.integer(0, 30), resolve));
    }
  }

  async #step(client: RecordingClient, random: Random): Promise<void> {
    const area = random.pick(areas);
    const chance = random.next();
    if (chance < 0.3) return this.#post(client, area);
    if (chance < 0.45) return void (await client.node('read', area, { limit: pageItems }));
    if (chance < 0.75) return this.#readUnread(client, area, random.chance(0.7));
    if (chance < 0.83) return this.#delete(client, area, random);
    if (chance < 0.85) return void (await client.node('unsubscribe', area, {}));
    if (chance < 0.92) return void (await client.node('subscribe', area, {}));
    if (chance < 0.95) return this.#relogin(client, area);
    await this.#watch(client, area);
  }

  async #post(client: RecordingClient, area: string): Promise<void> {
    const text = `post ${++this.#posts}`;
    const posted = await client.node('post', area, { text, key: text.replace(' ', '-') });
    if (posted === undefined) return;
    const name = `${client.user} ${area}`;
    this.#posted.set(name, [...(this.#posted.get(name) ?? []), posted.number]);
  }

  async #readUnread(client: RecordingClient, area: string, marks: boolean): Promise<void> {
    const offered = await client.node('unread', area, { limit: 5 });
    const numbers = offered?.items.map(({ number }) => number) ?? [];
    if (marks && numbers.length > 0) await client.node('mark', area, { numbers });
  }

  async #delete(client: RecordingClient, area: string, random: Random): Promise<void> {
    const numbers = this.#posted.get(`${client.user} ${area}`) ?? [];
    if (numbers.length > 0) await client.node('delete', area, { number: random.pick(numbers) });
  }

  /** And what the closed session still can do. */
  async #relogin(client: RecordingClient, area: string): Promise<void> {
    const { token } = client;
    await client.logout();
    await client.node('read', area, { limit: pageItems }, token);
    await client.login();
  }

  async #watch(client: RecordingClient, area: string): Promise<void> {
    if (this.#watches.length >= watchesMax) return;
    const watch = new Watch({ user: client.user, token: client.token, consortium: this.system.client() }, area);
    this.#watches.push(watch);
    await watch.begun();
  }

  /** All that is unread is read, all that is there is read by the auditor, and watches come to their ends. */
  async end(): Promise<History> {
    for (const client of this.#clients)
      for (const area of areas) await eventually(() => this.#drained(client, area), { intervalMs: 20 });
    const auditor = this.#clients.at(-1)!;
    const final = new Map<string, Item[]>();
    for (const area of areas) final.set(area, await allNews(auditor, area));
    for (const watch of this.#watches) {
      const { area, after } = watch.watched ?? { area: '', after: Infinity };
      const last = final.get(area)?.findLast(({ number }) => number > after)?.number;
      await eventually(() => last === undefined || watch.refusal !== undefined || watch.has(last));
      await watch.stop();
    }
    const watched = this.#watches.flatMap((watch) => watch.watched ?? []);
    return { operations: this.operations, final, watched, assigned: await this.system.assigned(this.#addresses) };
  }

  async #drained(client: RecordingClient, area: string): Promise<boolean> {
    const offered = await client.node('unread', area, { limit: pageItems });
    // The subscription has ended.
    if (offered === undefined) return true;
    const numbers = offered.items.map(({ number }) => number);
    if (numbers.length > 0) await client.node('mark', area, { numbers });
    return numbers.length === 0 && offered.held === 0;
  }
}

async function allNews(client: RecordingClient, area: string): Promise<Item[]> {
  const news: Item[] = [];
  for (let before: number | undefined; ; before = news[0]!.number) {
    const body = { token: client.token, area, limit: pageItems, ...(before !== undefined && { before }) };
    const { items } = await client.consortium.node(area, 'read', body);
    news.unshift(...items);
    if (items.length < pageItems) return news;
  }
}

type Fault = (run: Run, random: Random) => Promise<void>;
const anyNode = ({ system }: Run, random: Random): string => random.pick(system.nodes);
const anyAgent = ({ system }: Run, random: Random): string => random.pick(system.agents);

const faults: Readonly<Record<string, Fault>> = {
  async 'a node is killed'(run, random) {
    const name = anyNode(run, random);
    await run.system.kill(name);
    await run.goOn(operationsDuringFault);
    await run.system.startNode(name);
    run.noteNodes();
  },
  async 'an agent is killed'(run, random) {
    const name = anyAgent(run, random);
    await run.system.kill(name);
    await run.goOn(operationsDuringFault);
    await run.system.startAgent(name);
  },
  async 'the agent that decides hangs'(run) {
    const name = await eventually(() => run.system.decider());
    run.system.pause(name!);
    await eventually(async () => ![undefined, name].includes(await run.system.decider()));
    await run.goOn(operationsDuringFault);
    run.system.heal(name!);
  },
  async 'a node hangs'(run, random) {
    const name = anyNode(run, random);
    run.system.pause(name);
    await run.goOn(random.integer(1, 4) * operationsDuringFault);
    run.system.heal(name);
  },
  async 'a node is cut off'(run, random) {
    const name = anyNode(run, random);
    run.system.cut(name);
    await run.goOn(random.integer(1, 4) * operationsDuringFault);
    run.system.heal(name);
  },
  async 'an agent is cut off'(run, random) {
    const name = anyAgent(run, random);
    run.system.cut(name);
    await run.goOn(operationsDuringFault);
    run.system.heal(name);
  },
  async 'the database is killed'() {
    await postgres.kill();
    await postgres.restart();
  },
  async 'the database restarts'() {
    await postgres.restart();
  },
  async 'a node joins and leaves'(run) {
    await run.system.startNode('node-extra');
    run.noteNodes();
    await run.goOn(operationsDuringFault);
    await run.system.stop('node-extra');
  },
  async 'a node leaves and another one comes'(run, random) {
    const name = anyNode(run, random);
    await run.system.stop(name);
    await run.goOn(operationsDuringFault);
    await run.system.startNode(name);
    run.noteNodes();
  },
};

describe('whatever is killed, hangs or is cut off', () => {
  const seeds = Number(process.env['SEEDS'] || 2);
  it(`the histories of ${seeds} seeds keep all promises`, { timeout: seeds * 60_000 }, async () => {
    const waits: string[] = [];
    await simulate({ seeds, env: process.env, file: import.meta.filename, seedTimeoutMs: 60_000 }, async (random, seed) => {
      await using system = await ConsortiumInProcess.start(postgres);
      const run = new Run(system, random.fork('work'));
      await run.prepare();
      const chosen = random.shuffle(Object.keys(faults)).slice(0, random.integer(2, 3));
      await run.during(async () => {
        for (const name of chosen) {
          await run.goOn(operationsDuringFault);
          await run.amidWork();
          await faults[name]!(run, random);
        }
        await run.goOn(operationsDuringFault);
      });
      const history = await run.end();
      const { kind, waitedMs } = longestWait(history);
      waits.push(
        `seed ${seed}, ${chosen.join(', ')}: ${history.operations.length} operations, longest wait ${waitedMs} ms (${kind})`,
      );
      expect(violations(history).join('\n'), chosen.join(', ')).toBe('');
      expect(await system.trespasses(), chosen.join(', ')).toBe(0);
      expect(waitedMs, waits.at(-1)).toBeLessThan(waitMsMax);
    });
    console.log(waits.join('\n'));
  });
});
